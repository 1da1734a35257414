"""What a training step and a whole training cost, beside peers; what follows is the same in all of them."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as in the stages

LAYERS = [784, 20, 7, 5, 10]
EXAMPLES = 48_000  # MNIST's to train on
LEARNING_RATE = 0.009  # of no consequence for the time
