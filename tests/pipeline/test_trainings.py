"""A reader's trainings and predictions: right ones are not blamed, and each kind of mistake is called by its name."""

import numpy as np
import pytest
import torch

import pipeline
from pipeline.network.training import training_step
from tools import trainings
from tools.check_my_functions import PARTLY, RIGHT, UNJUDGED, WRONG, Row, judge
from tools.mistakes import AS_EVALUATED
from tools.trainings import COUNTS_CHECKS, KEPT_AS_A_REFERENCE, LEFT_OUT, ON_A_PLATEAU, TRAINS_ON

NEEDS = "copy of the best parameters not checked: it needs the arguments validation, evaluate_every, patience"


def held_back(m, how, part):
    """Return the examples to train on and those to validate on, drawn in one way or the other."""
    orders = {
        "first": lambda: torch.arange(m),
        "last": lambda: torch.arange(m).flip(0),
        "random": lambda: torch.as_tensor(np.random.permutation(m)),
        "fixed": lambda: torch.randperm(m, generator=torch.Generator().manual_seed(7)),
        "another each time": lambda: torch.as_tensor(np.random.default_rng().permutation(m)),
        "no": lambda: torch.arange(m).repeat(2),  # the same to train and to validate on
    }
    order, size = orders[how](), m if how == "no" else int(part * m)
    return order[size:], order[:size]


def costs_fall(cost, last, tolerance):
    """A right rule, if nothing is tolerated: any new low counts."""
    return cost < last["low"] - tolerance


def named(value):
    """Name a case: a function by its name, as its address differs from one process of the tests to the next."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={getattr(each, '__name__', each)}" for key, each in value.items())
    return str(value)


def no_step_is_small(cost, last, tolerance):
    """A rule that compares neighbours, and forgets the low."""
    return abs(cost - last["cost"]) > tolerance


def training(  # as a student would write it, with a validation set of its own
    held="random",
    part=0.2,
    every=20,
    patience=100,
    unit="steps",
    improves=costs_fall,
    tolerance=0.0,
    watches="cost",
    returns="best",
    is_shuffled=True,
    drops=False,
    own_batch=None,
    dtype=torch.float64,
):
    def L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size):
        X, Y = torch.as_tensor(X, dtype=dtype), torch.as_tensor(Y, dtype=dtype)
        learn, check = held_back(X.shape[1], held, part)
        seed, batch_size = np.random.randint(1000), own_batch or batch_size
        parameters, costs, step, waited = pipeline.initialize_parameters(layers_dims, seed=seed, dtype=dtype), [], 0, 0
        best, last = dict(parameters), {"low": np.inf, "cost": np.inf}
        while True:
            for batch in (
                learn[torch.randperm(len(learn))].split(batch_size) if is_shuffled else learn.split(batch_size)
            ):
                if drops and len(batch) < batch_size:
                    continue
                cost, step = training_step(X[:, batch], Y[:, batch], parameters, learning_rate), step + 1
                costs += [cost.item()] if step % 100 == 0 else []
                if every and step % every == 0:
                    AL, _ = pipeline.L_model_forward(X[:, check], parameters, False)
                    found = pipeline.compute_cost(AL, Y[:, check]).item()
                    if watches == "accuracy":
                        found = -pipeline.Predict(X[:, check], Y[:, check], parameters)
                    waited += {"steps": every, "checks": 1}[unit]
                    if improves(found, last, tolerance):
                        best, waited = dict(parameters), 0
                    last = {"low": min(found, last["low"]), "cost": found}
                if waited >= patience or step == num_iterations:
                    return best if every and returns == "best" else parameters, costs

    return L_layer_model


@pytest.mark.parametrize(
    "options",
    [
        {"held": "no", "every": None},
        {"held": "no", "every": None, "is_shuffled": False, "drops": True},
        {"held": "no"},
        {"every": 1},
        {"every": 100},
        {"held": "fixed", "is_shuffled": False},
        {"held": "another each time"},
        {"part": 0.1, "is_shuffled": False, "drops": True},
        {"part": 0.25, "drops": True},
        {"returns": "last"},
        {"patience": 300, "every": 100},
        {"watches": "accuracy"},
        {"watches": "accuracy", "every": 100, "patience": 200},
        {"every": 1, "dtype": torch.float32},
        {"dtype": torch.float32, "watches": "accuracy"},
        {"tolerance": 1e-6},
        {"every": None},
        {"held": "no", "every": None, "is_shuffled": False, "drops": True, "own_batch": 32},
        *({"held": "no", "watches": watched, "every": 1, "is_shuffled": False} for watched in ("cost", "accuracy")),
    ],
    ids=named,
)
def test_a_right_training_with_a_validation_set_of_its_own_is_not_blamed(options):
    assert judge("L_layer_model", {"L_layer_model": training(**options)}) == Row("L_layer_model", PARTLY, NEEDS)


def test_a_training_that_returns_a_network_of_its_first_epoch_holds_nothing_back(monkeypatch):
    start = pipeline.initialize_parameters

    def small(dims, seed, dtype):
        generator = torch.Generator().manual_seed(4)  # whose first best is of the first epoch
        weights = start(dims, dtype=dtype)
        return {
            name: 0.01 * torch.randn(each.shape, generator=generator, dtype=dtype) if name[0] == "W" else each
            for name, each in weights.items()
        }

    monkeypatch.setattr(pipeline, "initialize_parameters", small)
    train = training(held="no", watches="accuracy", every=1, is_shuffled=False)
    assert trainings.of_its_validation_set(train, torch.clone) == []


def unshuffled(which, count):
    return f"it never trains on the {which} {count} of 100 examples: draw the validation set at random"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"held": "first"}, unshuffled("first", 20)),
        ({"held": "last"}, unshuffled("last", 20)),
        ({"held": "first", "part": 0.1}, unshuffled("first", 10)),
        ({"held": "first", "every": None}, unshuffled("first", 20)),
        ({"held": "first", "watches": "accuracy", "every": 1}, unshuffled("first", 20)),
        ({"held": "first", "is_shuffled": False, "dtype": torch.float32}, unshuffled("first", 20)),
        ({"unit": "checks", "every": 10}, TRAINS_ON.format("1,000")),
        pytest.param({"unit": "checks", "every": 100}, TRAINS_ON.format("10,100"), marks=pytest.mark.slow),
        ({"patience": 1000, "every": 100}, TRAINS_ON.format("1,100")),
    ],
    ids=named,
)
def test_a_wrong_validation_set_or_stopping_rule_is_called_by_its_name(options, said):
    row = judge("L_layer_model", {"L_layer_model": training(**options)})
    assert (row.state, row.words, row.is_known) == (WRONG, said, True)


@pytest.mark.parametrize(
    "options",
    [
        {"tolerance": 1e-3},
        {"tolerance": 1e-3, "every": 100, "held": "no"},
        {"tolerance": 1e-4, "every": 1, "improves": no_step_is_small},
        {"tolerance": 1e-3, "every": 50, "improves": no_step_is_small},
    ],
    ids=named,
)
def test_a_rule_that_stops_on_a_plateau_is_named_but_not_called_wrong_as_the_assignment_allows_it(options):
    row = judge("L_layer_model", {"L_layer_model": training(**options)})
    assert row == Row("L_layer_model", PARTLY, f"{NEEDS}; {ON_A_PLATEAU}")


def test_a_slow_training_is_not_trained_so_long_that_it_would_be_ended(monkeypatch):
    monkeypatch.setattr(trainings, "QUICK", 0.0)
    assert judge("L_layer_model", {"L_layer_model": training(unit="checks")}).state == PARTLY


def test_a_training_that_cannot_take_the_examples_of_a_further_check_is_not_blamed():
    def L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size):
        assert layers_dims[0] < 10 and torch.as_tensor(X).any(), "no other examples"
        return training(held="first", tolerance=1e-3)(X, Y, layers_dims, learning_rate, num_iterations, batch_size)

    assert judge("L_layer_model", {"L_layer_model": L_layer_model}).state == PARTLY


def l_layer_model(*, is_copied=True, unit="steps", tolerance=0.0):
    """Train with a stop that keeps its best parameters and counts its patience in one way or the other."""

    def L_layer_model(X, Y, dims, learning_rate, steps, batch_size, validation, evaluate_every=50, patience=100):
        parameters, costs, lowest, waited = pipeline.initialize_parameters(dims, dtype=X.dtype), [], np.inf, 0
        for step in range(1, steps + 1):
            AL, caches = pipeline.L_model_forward(X, parameters, False)
            costs += [pipeline.compute_cost(AL, Y).item()] if step % 100 == 0 else []
            pipeline.update_parameters(parameters, pipeline.L_model_backward(AL, Y, caches), learning_rate)
            if step % evaluate_every == 0:
                X_val, Y_val = validation
                cost = pipeline.compute_cost(pipeline.L_model_forward(X_val, parameters, False)[0], Y_val)
                waited += evaluate_every if unit == "steps" else 1
                if cost < lowest - tolerance:
                    best, lowest, waited = dict(parameters) if is_copied else parameters, cost, 0
                if waited >= patience:
                    break
        return best, costs

    return L_layer_model


@pytest.mark.parametrize(
    ("is_copied", "unit"), [(True, "steps"), (False, "steps"), (True, "checks"), (False, "checks")]
)
def test_a_stop_that_keeps_a_reference_or_counts_checks_is_seen(is_copied, unit):
    row = judge("L_layer_model", {"L_layer_model": l_layer_model(is_copied=is_copied, unit=unit)})
    assert (KEPT_AS_A_REFERENCE in row.words, COUNTS_CHECKS in row.words) == (not is_copied, unit == "checks")
    assert (row.state == RIGHT) == (is_copied and unit == "steps")


def test_a_stop_on_a_plateau_is_seen_where_the_validation_set_is_an_argument_too():
    row = judge("L_layer_model", {"L_layer_model": l_layer_model(tolerance=1e-3)})
    assert row == Row("L_layer_model", RIGHT, ON_A_PLATEAU)


@pytest.mark.parametrize(
    ("costs", "is_right"),
    [
        *(([1e-9, 1e-8], True), ([0.5], True), ([0.5, 0.6], False), ([0.5, np.nan], False)),
        *(([(100, 0.5), (200, 0.4)], True), ([[0.5, 100], [0.6, 200]], False)),  # each with its step
        *(([(0.5, 100), (0.4, 200)], True), ([[100, 0.5], [200, 0.6]], False)),
        *(({100: 0.5, 200: 0.4}, True), ({100: 0.5, 200: 0.6}, False)),
    ],
)
def test_costs_that_are_low_already_or_but_one_need_not_fall(costs, is_right):
    def L_layer_model(*arguments):
        return pipeline.L_layer_model(*arguments, progress=False)[0], costs

    said = judge("L_layer_model", {"L_layer_model": L_layer_model}).words
    assert ("costs: does not fall" in said) == (not is_right)


def predict_by(normalise):
    """Predict with batch norm: by the statistics of the set, or as it should be."""

    def Predict(X, Y, parameters, use_bn=False):
        use_bn = use_bn and normalise != "none"
        AL, _ = pipeline.L_model_forward(X, dict(parameters), use_bn, inference=normalise == "running")
        return 100 * (AL.argmax(0) == torch.as_tensor(Y).argmax(0)).double().mean()

    return Predict


def L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size, batch_norm=False):
    return pipeline.L_layer_model(
        X, Y, layers_dims, learning_rate, num_iterations, batch_size, use_batchnorm=batch_norm, progress=False
    )


@pytest.mark.parametrize("trains", [True, False])
def test_the_switch_of_batch_norm_may_have_another_name_or_be_of_predict_alone(trains):
    trained = {"L_layer_model": L_layer_model} if trains else {}
    right, wrong = (judge("Predict", trained | {"Predict": predict_by(how)}) for how in ("running", "the set"))
    assert (right.state == RIGHT) == trains and right.state != WRONG
    assert (wrong.state, wrong.words) == (WRONG, "accuracy: " + AS_EVALUATED)


def test_a_prediction_that_leaves_batch_norm_out_is_seen_however_easy_the_data():
    row = judge("Predict", {"L_layer_model": L_layer_model, "Predict": predict_by("none")})
    assert (row.state, row.words) == (WRONG, "accuracy: " + LEFT_OUT)


def test_a_training_that_requires_more_than_the_assignment_passes_is_not_judged():
    def more(X, Y, layers_dims, learning_rate, num_iterations, batch_size, use_batchnorm, lambd, X_val, Y_val):
        return pipeline.L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size, progress=False)

    def enough(X, Y, layers_dims, learning_rate, num_iterations, batch_size, use_batchnorm, lambd):
        return L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size, use_batchnorm)

    solution = {"L_layer_model": more, "Predict": predict_by("running")}
    said = "requires X_val, Y_val, and the assignment does not pass that"
    assert judge("L_layer_model", solution) == Row("L_layer_model", UNJUDGED, said)
    assert judge("Predict", solution) == Row("Predict", PARTLY, f"batch norm not checked: L_layer_model {said}")
    assert judge("L_layer_model", {"L_layer_model": enough}).state == PARTLY
