"""Time a training step and a validation check of one network of each kind of arm.

The kinds take turns, so that a busy moment of the machine falls on all of them. This is the only stage whose
output differs from run to run; of all stages the report alone depends on it.
"""

import torch

from pipeline import artifacts
from pipeline.analysis.timing import Timing, time_steps
from pipeline.network.devices import take_device
from pipeline.params import Params
from stages import RESULTS, examples, run
from stages.progress import each


def main(params: Params) -> None:
    training = params.training
    torch.set_num_threads(1)  # as many as a network gets in a training; two would wait for each other at every product
    device = take_device(training.device)
    X, Y = examples("train", device)
    per_step, per_check = time_steps(
        X,
        Y,
        [len(X), *params.network.layers],
        validation=examples("validation", device),
        batch_size=training.batch_size,
        rounds=params.timing.rounds,
        steps=params.timing.steps,
        compile=training.compile,
        progress=lambda rounds: each("timing", rounds, "rounds"),
    )
    timing = Timing(device.type, seconds_per_step=per_step, seconds_per_check=per_check)
    artifacts.write_record(RESULTS / "timing", timing)


if __name__ == "__main__":
    run(main, "timing")
