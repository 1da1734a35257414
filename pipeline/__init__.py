"""A neural network from scratch: the functions of an assignment, by its names.

The assignment is the exercise "Deep Learning - Basics". Docstrings cite its sections: 1 forward propagation,
2 backward propagation, 3 training and prediction, 4 the experiment on MNIST, 5 the same with batch norm, 6 with L2.
"""

from pipeline.network.backward import (
    L_model_backward,
    Linear_backward,
    Update_parameters,
    batchnorm_backward,
    linear_activation_backward,
    linear_backward,
    relu_backward,
    softmax_backward,
    update_parameters,
)
from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import (
    L_model_forward,
    apply_batchnorm,
    batchnorm_forward,
    compute_cost,
    initialize_parameters,
    l2_penalty,
    linear_activation_forward,
    linear_forward,
    relu,
    softmax,
)
from pipeline.network.prediction import Predict, predict
from pipeline.network.training import L_layer_model, TrainingInterrupted, train

__all__ = [
    "L_layer_model",
    "L_model_backward",
    "L_model_forward",
    "Linear_backward",
    "Predict",
    "TrainingInterrupted",
    "TrainingResult",
    "Update_parameters",
    "apply_batchnorm",
    "batchnorm_backward",
    "batchnorm_forward",
    "compute_cost",
    "initialize_parameters",
    "l2_penalty",
    "linear_activation_backward",
    "linear_activation_forward",
    "linear_backward",
    "linear_forward",
    "predict",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_backward",
    "train",
    "update_parameters",
]
