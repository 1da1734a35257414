"""Training beside torch.nn and torch.optim, the stopping rule on every way out, and prediction."""

import ast
import functools
import itertools
import math
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import (
    COMBINATIONS,
    DIMS,
    TorchTwin,
    assert_all_close,
    assert_close,
    blobs,
    one_of,
    random_parameters,
)
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from pipeline import (
    L_layer_model,
    L_model_backward,
    L_model_forward,
    Predict,
    TrainingInterrupted,
    compute_cost,
    initialize_parameters,
    l2_penalty,
    predict,
    train,
    update_parameters,
)
from pipeline.network import arguments, ensemble, prediction, training
from pipeline.network.prediction import evaluate
from pipeline.network.training import mini_batches, stretches, training_step, training_steps

X, Y = blobs(40, noise=1.5)
VALIDATION = blobs(300, noise=1.5, seed=1)
SEEDS = [0, 1, 2, 3]
HUGE = 1e6  # with this lambda a network diverges within ten steps
LEARNING_RATE = 0.1
CPU = torch.device("cpu")

each_combination = pytest.mark.parametrize(("use_batchnorm", "l2"), COMBINATIONS.values(), ids=COMBINATIONS.keys())
with_and_without_batchnorm = pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])


def run(**changes):
    """Train small networks that overfit: the best validation cost comes well before step 150."""
    settings = {
        "X": X,
        "Y": Y,
        "layers_dims": DIMS,
        "learning_rate": LEARNING_RATE,
        "max_steps": 400,
        "batch_size": 10,
        "seeds": SEEDS,
        "validation": VALIDATION,
        "evaluate_every": 10,
    }
    return train(**(settings | changes))


def interrupt_at(step):
    def progress(snapshot):
        if snapshot.step == step:
            raise KeyboardInterrupt

    return progress


def interrupted(**changes):
    """Train until Ctrl-C, and take what was reached from the error."""
    with pytest.raises(TrainingInterrupted) as stopped:
        run(**changes)
    return stopped.value.result


def assert_best_is_returned(result):
    """Each network's parameters are those of its lowest validation cost, and were not trained on."""
    costs, _ = evaluate(*VALIDATION, result.parameters)
    for k, best_step in enumerate(result.best_step):
        recorded = result.validation_costs[:, k]
        lowest = recorded.nan_to_num(math.inf).argmin()
        assert result.evaluation_steps[lowest] == best_step
        assert_close(costs[k], recorded[lowest])


def assert_same_run(result, k, alone):
    """Network ``k`` of an ensemble is the network that was trained alone."""
    assert result.steps[k] == alone.steps[0]
    assert result.best_step[k] == alone.best_step[0]
    assert result.epochs[k] == alone.epochs[0]
    assert result.stop_reason[k] == alone.stop_reason[0]
    assert_all_close(one_of(result.parameters, k), one_of(alone.parameters, 0), 1e-9)
    for name in ("costs", "penalties", "validation_costs", "validation_accuracies"):
        ours, theirs = getattr(result, name)[:, k], getattr(alone, name)[:, 0]
        assert_close(ours[: len(theirs)], theirs, 1e-9)
        assert ours[len(theirs) :].isnan().all()  # it had left the ensemble


# beside torch.nn and torch.optim


@each_combination
def test_twenty_five_steps_of_the_brief_equal_torch(use_batchnorm, l2):
    twin = TorchTwin(DIMS, 3, use_batchnorm, l2, LEARNING_RATE)
    parameters = initialize_parameters(DIMS, seed=3, dtype=torch.float64)
    for batch in mini_batches(X.shape[1], 12, 25):
        X_batch, Y_batch = X[:, batch], Y[:, batch]
        AL, caches = L_model_forward(X_batch, parameters, use_batchnorm)
        cost = compute_cost(AL, Y_batch)
        update_parameters(parameters, L_model_backward(AL, Y_batch, caches, l2=l2), LEARNING_RATE)
        assert cost.item() == pytest.approx(twin.step(X_batch, Y_batch), rel=1e-10)
    assert_all_close(parameters, twin.parameters(), 1e-10)


@each_combination
def test_twenty_five_steps_of_train_equal_torch(use_batchnorm, l2):
    result = run(
        max_steps=25, batch_size=12, seeds=[3, 4], use_batchnorm=use_batchnorm, l2=l2, shuffle_seed=7,
        validation=None,
    )  # fmt: skip
    assert result.best_step == result.steps == [25, 25]
    for k, seed in enumerate(result.seeds):
        twin = TorchTwin(DIMS, seed, use_batchnorm, l2, LEARNING_RATE)
        for batch in mini_batches(X.shape[1], 12, 25, seed=7):
            twin.step(X[:, batch], Y[:, batch])
        assert_all_close(one_of(result.parameters, k), twin.parameters(), 1e-10)
        accuracy = predict(*VALIDATION, one_of(result.parameters, k))
        assert accuracy == pytest.approx(twin.accuracy(*VALIDATION), rel=1e-12)


@each_combination
def test_recorded_costs_are_those_of_torch_at_each_hundredth_step(use_batchnorm, l2):
    result = run(max_steps=210, seeds=[3], use_batchnorm=use_batchnorm, l2=l2, validation=None)
    twin, costs, penalties = TorchTwin(DIMS, 3, use_batchnorm, l2, LEARNING_RATE), [], []
    for batch in mini_batches(X.shape[1], 10, 200):
        penalties.append(l2_penalty(twin.parameters(), l2).item())  # of the step's start, as the cost is
        costs.append(twin.step(X[:, batch], Y[:, batch]))
    assert result.cost_steps == [100, 200]
    assert result.costs[:, 0].tolist() == pytest.approx(costs[99::100], rel=1e-9)
    assert result.penalties[:, 0].tolist() == pytest.approx(penalties[99::100], rel=1e-9)


# ensembles


@with_and_without_batchnorm
def test_an_ensemble_equals_its_seeds_trained_alone_also_where_they_stop_apart(use_batchnorm):
    result = run(use_batchnorm=use_batchnorm)
    assert len(set(result.steps)) >= 3
    for k, seed in enumerate(SEEDS):
        assert_same_run(result, k, run(seeds=[seed], use_batchnorm=use_batchnorm))


def test_an_ensemble_of_lambdas_equals_each_lambda_alone_also_where_they_stop_apart():
    lambdas = [0.0, 0.3, 0.01, 0.1]
    result = run(l2=lambdas, seeds=[1, 1, 1, 0])
    assert len(set(result.steps)) >= 3
    for k, (seed, l2) in enumerate(zip(result.seeds, lambdas, strict=True)):
        assert_same_run(result, k, run(seeds=[seed], l2=l2))


def test_a_network_does_not_depend_on_its_place_in_the_ensemble():
    forwards, backwards = run(max_steps=50), run(max_steps=50, seeds=SEEDS[::-1])
    assert backwards.seeds == SEEDS[::-1]
    for name, each in forwards.parameters.items():
        assert_close(backwards.parameters[name].flip(0), each, 1e-12)


# the stopping rule


@pytest.mark.parametrize(("patience", "stop"), [(30, 40), (25, 40), (20, 30), (1, 20)])
def test_patience_is_counted_in_training_steps(patience, stop):
    # Only the first evaluation, at step 10, can improve by that much.
    result = run(patience=patience, min_delta=1e6)
    assert result.best_step == [10] * 4
    assert result.steps == [stop] * 4
    assert result.stop_reason == ["no improvement"] * 4
    assert result.evaluation_steps == list(range(10, stop + 1, 10))
    assert result.epochs == [stop * 10 / 40] * 4


def test_a_network_stops_once_its_best_is_patience_steps_old():
    result = run(patience=60)
    assert result.stop_reason == ["no improvement"] * 4
    assert [step - best for step, best in zip(result.steps, result.best_step, strict=True)] == [60] * 4
    assert_best_is_returned(result)


def test_min_delta_is_what_a_cost_must_fall_by():
    result = run(min_delta=0.02, patience=50)
    for k, best_step in enumerate(result.best_step):
        best, best_cost = 0, math.inf
        for step, cost in zip(result.evaluation_steps, result.validation_costs[:, k].tolist(), strict=True):
            if cost < best_cost - 0.02:
                best, best_cost = step, cost
        assert best_step == best
    assert result.best_step != run(patience=50).best_step


def test_an_equal_cost_is_no_improvement(monkeypatch):
    monkeypatch.setattr(training, "evaluate", lambda X, Y, p: (torch.ones(len(p["W1"])),) * 2)
    result = run(patience=100)
    assert result.best_step == [10] * 4
    assert result.steps == [110] * 4


@with_and_without_batchnorm
def test_best_parameters_are_returned_when_the_cap_is_reached(use_batchnorm):
    result = run(max_steps=205, patience=1000, use_batchnorm=use_batchnorm)
    assert result.stop_reason == ["cap reached"] * 4
    assert result.steps == [205] * 4
    assert result.evaluation_steps == [*range(10, 201, 10), 205]  # the last step is evaluated
    assert sorted(result.best_step)[2] < 200  # of three of the four, another than the last
    assert_best_is_returned(result)


@with_and_without_batchnorm
def test_best_parameters_are_copies_that_later_steps_do_not_change(use_batchnorm):
    settings = {"patience": 1000, "use_batchnorm": use_batchnorm}
    result = run(max_steps=205, **settings)
    for k, seed in enumerate(SEEDS):
        stopped_there = run(max_steps=result.best_step[k], seeds=[seed], **settings)
        assert stopped_there.best_step[0] == result.best_step[k]
        assert_all_close(one_of(result.parameters, k), one_of(stopped_there.parameters, 0), 1e-9)


@with_and_without_batchnorm
def test_best_parameters_are_returned_when_interrupted(use_batchnorm):
    result = interrupted(patience=1000, progress=interrupt_at(200), use_batchnorm=use_batchnorm)
    assert result.stop_reason == ["interrupted"] * 4
    assert result.steps == [200] * 4
    assert min(result.best_step) < 200
    assert_best_is_returned(result)


def test_an_interruption_during_an_evaluation_leaves_the_best_before_it(monkeypatch):
    calls = itertools.count(1)

    def evaluate_until_the_fourth(*arguments):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(training, "evaluate", evaluate_until_the_fourth)
    result = interrupted()
    assert result.stop_reason == ["interrupted"] * 4
    assert result.steps == [40] * 4
    assert result.evaluation_steps == [10, 20, 30]
    assert_best_is_returned(result)


def assert_is_whole(result):
    """Check that a curve is finite up to a network's stop (its last check, if it diverged), and all of one length."""
    dims = result.layers_dims
    shapes = {}
    for layer in range(1, len(dims)):
        shapes |= {f"W{layer}": (dims[layer], dims[layer - 1]), f"b{layer}": (dims[layer], 1)}
    assert {name: each.shape[1:] for name, each in result.parameters.items()} == shapes
    counts = {len(each) for each in (result.l2, result.steps, result.best_step, result.epochs, result.stop_reason)}
    assert counts == {len(result.parameters["W1"])} == {len(result.seeds)}
    stops, best = torch.tensor(result.steps), torch.tensor(result.best_step)
    checks = torch.tensor([0, *result.evaluation_steps])
    before = checks[torch.searchsorted(checks, stops) - 1]
    is_known = torch.tensor([reason in ("no improvement", "cap reached") for reason in result.stop_reason])
    finite_until = stops.where(is_known, before)
    curves = dict.fromkeys(("costs", "penalties"), result.cost_steps)
    curves |= dict.fromkeys(("validation_costs", "validation_accuracies"), result.evaluation_steps)
    for field, steps in curves.items():
        assert steps == sorted({step for step in steps if step > 0})
        curve, at = getattr(result, field), torch.tensor(steps).reshape(-1, 1)
        assert curve.shape == (len(steps), len(result.seeds)) and not (curve < 0).any()
        assert not (~curve.isfinite() & (at <= finite_until)).any() and not (~curve.isnan() & (at > stops)).any()
    if result.evaluation_steps:
        assert (result.at_best(result.validation_costs).isfinite() | (best == 0)).all()


@pytest.mark.parametrize("l2", [0.0, [0.0, 0.1, HUGE]], ids=["one lambda", "a lambda each"])
def test_an_interruption_at_any_line_of_the_records_leaves_them_whole(monkeypatch, l2):
    monkeypatch.setattr(training, "COST_EVERY", 4)
    records = {"record_costs", "keep_best", "stop", "result", "_of_all", "_curves"}

    def run_interrupted_at(line):
        lines = itertools.count()

        def trace(frame, event, argument):
            inside = frame.f_code.co_filename == ensemble.__file__ and frame.f_code.co_name in records
            if inside and event == "line" and next(lines) == line:
                raise KeyboardInterrupt
            return trace

        found = sys.gettrace()
        sys.settrace(trace)
        try:
            result = run(max_steps=12, patience=4, evaluate_every=2, seeds=[0, 1, 2], l2=l2, learning_rate=1.0)
        except TrainingInterrupted as stopped:
            result = stopped.result
        finally:
            sys.settrace(found)
        return result, next(lines) > line

    for line in itertools.count():
        result, was_interrupted = run_interrupted_at(line)
        assert_is_whole(result)
        lowest = result.validation_costs.nan_to_num(math.inf)
        for k, step in enumerate(result.best_step):
            assert step == (result.evaluation_steps[lowest[:, k].argmin()] if lowest[:, k].isfinite().any() else 0)
        if not was_interrupted:
            break
    assert line > 50
    assert "diverged" not in result.stop_reason if l2 == 0.0 else result.stop_reason[2] == "diverged"


def test_an_interruption_spares_the_reasons_of_networks_that_had_stopped():
    result = interrupted(l2=[0, 0, HUGE, 0], patience=1000, progress=interrupt_at(100))
    assert result.stop_reason == ["interrupted", "interrupted", "diverged", "interrupted"]
    assert result.steps == [100, 100, 10, 100]


@with_and_without_batchnorm
def test_interrupted_before_any_evaluation_the_start_is_returned_and_can_predict(use_batchnorm):
    result = interrupted(evaluate_every=1000, progress=interrupt_at(100), use_batchnorm=use_batchnorm)
    assert result.best_step == [0] * 4
    for k, seed in enumerate(SEEDS):
        start = TorchTwin(DIMS, seed, use_batchnorm, 0.0, LEARNING_RATE)
        assert_all_close(one_of(result.parameters, k), start.parameters(), 0)
    assert predict(*VALIDATION, result.parameters).min() > 0


@with_and_without_batchnorm
@pytest.mark.parametrize("validation", [VALIDATION, None], ids=["validation", "no validation"])
def test_only_the_network_that_diverges_stops(use_batchnorm, validation):
    settings = {"use_batchnorm": use_batchnorm, "validation": validation, "max_steps": 120}
    result = run(l2=[0.1, HUGE, 0.1, 0.0], **settings)
    assert [reason == "diverged" for reason in result.stop_reason] == [False, True, False, False]
    assert result.steps[1] < min(result.steps[0], result.steps[2], result.steps[3])
    assert result.costs[:, 1].isnan().all()
    assert all(each[1].isfinite().all() for each in result.parameters.values())
    assert math.isfinite(evaluate(*VALIDATION, result.parameters)[0][1])
    for k, l2 in ((0, 0.1), (2, 0.1), (3, 0.0)):
        assert_same_run(result, k, run(seeds=[SEEDS[k]], l2=l2, **settings))


def test_best_parameters_are_returned_where_a_network_diverges_later():
    result = run(max_steps=200, patience=1000, l2=[0, 30.0, 0, 0])  # each step doubles and flips the weights
    assert result.stop_reason[1] == "diverged"
    assert 0 < result.best_step[1] < result.steps[1]
    assert_best_is_returned(result)


@pytest.mark.parametrize(
    ("huge", "learning_rate", "validation"), [(1e307, 100, None), (1e200, LEARNING_RATE, VALIDATION)],
    ids=["its cost still finite", "its parameters still finite"],
)  # fmt: skip
def test_a_network_has_diverged_as_soon_as_its_cost_or_its_parameters_are_not_finite(huge, learning_rate, validation):
    lambdas = [0.0, huge, 0.0, 0.0]
    result = run(max_steps=1, l2=lambdas, learning_rate=learning_rate, validation=validation)
    assert result.stop_reason == ["cap reached", "diverged", "cap reached", "cap reached"]
    assert result.best_step == [1, 0, 1, 1]
    start = initialize_parameters(DIMS, seed=SEEDS[1], dtype=torch.float64)
    assert_all_close(one_of(result.parameters, 1), start, 0)


def test_all_diverged_ends_the_training():
    result = run(l2=HUGE)
    assert result.stop_reason == ["diverged"] * 4
    assert max(result.steps) < 100


def test_without_validation_every_network_trains_to_the_cap():
    result = run(max_steps=57, patience=1, validation=None)
    assert result.stop_reason == ["cap reached"] * 4
    assert result.steps == result.best_step == [57] * 4
    assert result.evaluation_steps == []
    assert result.validation_costs.shape == result.validation_accuracies.shape == (0, 4)


def test_without_validation_an_interruption_returns_the_last_parameters_that_were_kept():
    result = interrupted(evaluate_every=30, validation=None, progress=interrupt_at(100))
    assert result.steps == [100] * 4
    assert result.best_step == [90] * 4
    assert_all_close(result.parameters, run(max_steps=90, validation=None).parameters, 1e-12)


def test_returned_parameters_can_be_trained_on():
    parameters = run(max_steps=20, use_batchnorm=True).parameters
    AL, caches = L_model_forward(X, parameters, True)
    update_parameters(parameters, L_model_backward(AL, Y, caches), LEARNING_RATE)


def test_what_comes_back_may_be_changed_in_place_and_put_under_autograd():
    def returned_by_the_model(**changes):
        settings = {"use_batchnorm": True, "validation": VALIDATION, "evaluate_every": 10, "patience": 1000}
        return L_layer_model(X, Y, DIMS, 0.1, 120, 10, **settings, **changes)

    ended, (parameters, _) = run(max_steps=120, use_batchnorm=True), returned_by_the_model(progress=False)
    stopped = interrupted(use_batchnorm=True, patience=1000, progress=interrupt_at(100))
    with pytest.raises(TrainingInterrupted) as model_stopped:
        returned_by_the_model(progress=interrupt_at(100))
    curves = [each for result in (ended, stopped) for each in vars(result).values() if isinstance(each, torch.Tensor)]
    assert len(curves) == 8
    networks = ended.parameters, stopped.parameters, parameters, model_stopped.value.parameters
    for each in (*curves, *(value for network in networks for value in network.values())):
        each.add_(1)
        (each.requires_grad_() ** 2).sum().backward()


def test_a_step_runs_in_inference_mode_and_a_callback_does_not(monkeypatch):
    in_steps, in_callbacks = [], []

    def watched_steps(*arguments, **settings):
        in_steps.append(torch.is_inference_mode_enabled())
        return training_steps(*arguments, **settings)

    monkeypatch.setattr(training, "training_steps", watched_steps)
    for train_it in (run, functools.partial(L_layer_model, X, Y, DIMS, 0.1, 100, 10)):
        train_it(progress=lambda snapshot: in_callbacks.append(torch.is_inference_mode_enabled()))
    assert in_steps and all(in_steps)
    assert in_callbacks and not any(in_callbacks)


@pytest.mark.parametrize("moment", ["__enter__", "__exit__"])
@pytest.mark.parametrize(
    "train_it",
    [lambda: run(max_steps=30), lambda: L_layer_model(X, Y, DIMS, 0.1, 30, 10)],
    ids=["train", "L_layer_model"],
)
def test_ctrl_c_as_a_step_begins_or_ends_leaves_no_mode_on(monkeypatch, moment, train_it):
    original = getattr(torch.inference_mode, moment)

    def interrupted_there(self, *arguments):
        if moment == "__enter__":
            original(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.inference_mode, moment, interrupted_there)
    with pytest.raises(TrainingInterrupted) as stopped:
        train_it()
    assert not torch.is_inference_mode_enabled()
    parameters = stopped.value.result.parameters if "result" in vars(stopped.value) else stopped.value.parameters
    assert not any(each.is_inference() for each in parameters.values())


def test_a_progress_callback_sees_each_hundredth_step():
    snapshots = []
    result = run(l2=[0, HUGE, 0.1, 0], max_steps=230, patience=1000, progress=snapshots.append)
    assert [snapshot.step for snapshot in snapshots] == [100, 200]
    assert [snapshot.training for snapshot in snapshots] == [3, 3]
    for i, snapshot in enumerate(snapshots):
        torch.testing.assert_close(snapshot.costs, (result.costs[i] + result.penalties[i])[[0, 2, 3]])
        so_far = result.validation_costs[: 10 * (i + 1)]
        assert snapshot.best_validation_cost == so_far.nan_to_num(math.inf).min().item()


def test_a_progress_callback_sees_no_validation_cost_where_there_is_none():
    snapshots = []
    run(max_steps=100, validation=None, progress=snapshots.append)
    assert math.isnan(snapshots[0].best_validation_cost)


def test_train_does_not_change_its_data_and_takes_numpy():
    before = X.clone(), Y.clone()
    numpy = run(X=X.numpy(), Y=Y.numpy(), validation=tuple(each.numpy() for each in VALIDATION), max_steps=20)
    assert_all_close(numpy.parameters, run(max_steps=20).parameters, 0)
    assert torch.equal(X, before[0]) and torch.equal(Y, before[1])


def test_integer_labels_will_do():
    assert_all_close(run(Y=Y.int(), max_steps=20).parameters, run(max_steps=20).parameters, 0)


def test_single_precision_stays_single_and_near_double():
    single = run(X=X.float(), validation=tuple(each.float() for each in VALIDATION), max_steps=20)
    for name, tensor in run(max_steps=20).parameters.items():
        assert single.parameters[name].dtype == torch.float32
        assert_close(single.parameters[name].double(), tensor, 1e-4)


@pytest.mark.parametrize(
    "l2",
    [torch.tensor(0.1), np.array(0.1), np.float64(0.1), np.full(4, 0.1)[::-1], torch.full((4,), 0.1), (0.1,) * 4],
    ids=repr,
)
def test_lambda_may_come_as_any_number_or_any_four(l2):
    ours, expected = run(l2=l2, max_steps=20), run(l2=0.1, max_steps=20)
    assert ours.l2 == pytest.approx(expected.l2)
    assert_all_close(ours.parameters, expected.parameters, 1e-7)


def test_a_plateau_longer_than_the_patience_stops_no_network(monkeypatch):
    """The slightest improvement counts; with a ``min_delta`` the same networks stop before they learn."""

    def small_start(layers_dims, **options):
        return {name: 0.1 * value for name, value in initialize_parameters(layers_dims, **options).items()}

    monkeypatch.setattr(ensemble, "initialize_parameters", small_start)
    examples, others = blobs(400, noise=0.5), blobs(300, noise=0.5, seed=1)
    settings = {"X": examples[0], "Y": examples[1], "validation": others, "batch_size": 40, "max_steps": 2000}
    result = run(**settings)
    plateau = 10 * (result.validation_costs > 0.98 * math.log(4)).sum(dim=0)
    assert (plateau >= 100).all() and (plateau > 100).any()  # the patience is 100
    assert (result.at_best(result.validation_costs) < 0.1).all()
    hasty = run(**settings, min_delta=0.05)
    assert (hasty.at_best(hasty.validation_costs) > 1).all()


# L_layer_model


def test_model_returns_plain_matrices_and_a_cost_for_each_hundred_steps(capsys):
    parameters, costs = L_layer_model(X, Y, DIMS, LEARNING_RATE, 250, 10)
    shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
    assert shapes == {name: tuple(each.shape) for name, each in initialize_parameters(DIMS).items()}
    printed = re.findall(r"step +(\d+) +cost +([\d.]+)", capsys.readouterr().out)
    assert [int(step) for step, _ in printed] == [100, 200]
    assert [float(cost) for _, cost in printed] == pytest.approx(costs, abs=1e-5)
    assert all(isinstance(cost, float) for cost in costs)


@pytest.mark.parametrize(("steps", "values"), [(99, 0), (100, 1), (600, 6)])
def test_model_saves_one_cost_for_each_hundred_steps(steps, values):
    assert len(L_layer_model(X, Y, DIMS, LEARNING_RATE, steps, 10)[1]) == values


def test_model_prints_a_cost_that_is_no_number_too(capsys):
    with pytest.warns(RuntimeWarning, match="diverged"), pytest.warns(RuntimeWarning, match="as unscaled pixels"):
        _, costs = L_layer_model(1e30 * X, Y, DIMS, 1e6, 300, 10, evaluate_every=1000)
    assert all(math.isnan(cost) for cost in costs)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"step    {step}  cost nan" for step in (100, 200, 300)]


def test_model_prints_nothing_when_told_so(capsys):
    L_layer_model(X, Y, DIMS, LEARNING_RATE, 100, 10, progress=False)
    assert capsys.readouterr().out == ""


@each_combination
def test_model_equals_train_of_its_seed(use_batchnorm, l2):
    options = {"use_batchnorm": use_batchnorm, "l2": l2, "validation": VALIDATION}
    options |= {"evaluate_every": 10, "patience": 40, "min_delta": 1e-3}
    parameters, costs = L_layer_model(X, Y, DIMS, LEARNING_RATE, 300, 10, seed=5, **options)
    result = run(max_steps=300, seeds=[5], **options)
    assert_all_close(parameters, one_of(result.parameters, 0), 1e-10)
    assert costs == pytest.approx((result.costs + result.penalties)[:, 0].tolist(), rel=1e-10)


@with_and_without_batchnorm
def test_model_warns_that_it_diverged_and_returns_its_last_finite_parameters(use_batchnorm):
    with pytest.warns(RuntimeWarning, match="diverged.*step 50.*parameters of step 0"):
        parameters, costs = L_layer_model(X, Y, DIMS, 1e300, 300, 10, seed=5, use_batchnorm=use_batchnorm)
    assert costs == []
    start = TorchTwin(DIMS, 5, use_batchnorm, 0.0, LEARNING_RATE).parameters()
    assert_all_close(parameters, start, 0)


# predict and evaluate


def test_predict_is_the_percentage_of_argmax_where_there_are_no_ties():
    parameters = random_parameters(DIMS)
    AL, _ = L_model_forward(VALIDATION[0], parameters, False)
    accuracy = predict(*VALIDATION, parameters)
    assert isinstance(accuracy, float)
    assert accuracy == pytest.approx((AL.argmax(0) == VALIDATION[1].argmax(0)).double().mean().item() * 100)
    assert Predict(VALIDATION[0].numpy(), VALIDATION[1].numpy(), parameters) == accuracy


def test_predict_counts_a_tie_as_a_miss():
    logits = torch.tensor([[2.0, 1, 1], [1, 1, 0], [1, 1, 0], [0, 5, 5], [1, 1, 2]]).T
    truth = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 0, 2])).T
    parameters = {"W1": torch.eye(3), "b1": torch.zeros(3, 1)}
    assert predict(logits, truth, parameters) == 40.0
    assert predict(logits, truth, {"W1": torch.zeros(3, 3), "b1": torch.zeros(3, 1)}) == 0.0


def test_predict_gives_one_accuracy_for_each_network():
    parameters = random_parameters(DIMS, (2, 3))
    accuracy = predict(*VALIDATION, parameters)
    assert accuracy.shape == (2, 3)
    alone = {name: each[1, 2] for name, each in parameters.items()}
    assert accuracy[1, 2].item() == predict(*VALIDATION, alone)


def test_predict_classifies_an_image_alone_as_in_a_batch_under_batchnorm():
    parameters = run(max_steps=100, use_batchnorm=True).parameters
    before = {name: each.clone() for name, each in parameters.items()}
    alone = torch.stack([predict(x[:, None], y[:, None], parameters) for x, y in zip(X.T, Y.T, strict=True)])
    assert_close(alone.mean(0), predict(X, Y, parameters))
    assert_all_close(parameters, before, 0)  # and predicting learns nothing


@with_and_without_batchnorm
def test_evaluation_in_blocks_equals_evaluation_at_once(use_batchnorm):
    parameters = run(max_steps=50, use_batchnorm=use_batchnorm).parameters
    X, Y = blobs(2 * prediction.BLOCK + 300, seed=2)
    cost, accuracy = evaluate(X, Y, parameters)
    AL, _ = L_model_forward(X, parameters, use_batchnorm, inference=True)
    assert_close(cost, compute_cost(AL, Y))
    assert_close(accuracy, (AL.argmax(-2) == Y.argmax(-2)).double().mean(-1) * 100)


# arguments


def with_one(tensor, value):
    tensor = tensor.clone()
    tensor[1, 2] = value
    return tensor


BAD_EXAMPLES = {
    "X transposed": ({"X": X.T}, r"X of shape \(6, examples\).*got \(40, 6\)"),
    "X a vector": ({"X": X[:, 0]}, r"X of .*got \(6,\)"),
    "X empty": ({"X": X[:, :0]}, r"X of .*got \(6, 0\)"),
    "X of integers": ({"X": X.to(torch.uint8)}, r"X of float32 or float64, got torch\.uint8"),
    "X with NaN": ({"X": with_one(X, math.nan)}, r"a finite X, got .* in 1 places"),
    "X with inf": ({"X": with_one(X, math.inf)}, r"a finite X, got .* in 1 places"),
    "Y transposed": ({"Y": Y.T}, r"Y of shape \(4, 40\), got \(40, 4\)"),
    "Y of class numbers": ({"Y": Y.argmax(0)}, r"Y of shape \(4, 40\), got \(40,\)"),
    "Y soft": ({"Y": Y * 0.5 + 0.125}, "a one-hot Y.*got 40 other"),
    "Y of two classes": ({"Y": torch.ones_like(Y)}, "a one-hot Y"),
    "Y of no class": ({"Y": torch.zeros_like(Y)}, "a one-hot Y"),
}
BAD_SETTINGS = {
    "validation X": ({"validation": (X.T, Y)}, r"validation\[0\] of shape .*got \(40, 6\)"),
    "validation Y": ({"validation": (X, Y.T)}, r"validation\[1\] of shape .*got \(40, 4\)"),
    "layers_dims": ({"layers_dims": [6, 0, 4]}, r"layers_dims of .*got \[6, 0, 4\]"),
    "layers_dims of one layer": ({"layers_dims": [6]}, r"layers_dims of .*got \[6\]"),
    "seeds of which two would be one": ({"seeds": [0.2, 0.7]}, r"seeds whole, .*got \[0.2, 0.7\]"),
    "a batch of one with batch norm": (
        {"batch_size": 1, "use_batchnorm": True},
        "a batch_size of at least 2 .*got 1",
    ),
    "no seeds": ({"seeds": []}, r"seeds whole, .* one at least, got \[\]"),
    "batch_size above the examples": ({"batch_size": 41}, "a batch_size of at most the 40 .*got 41"),
    "min_delta": ({"min_delta": -0.1}, "a min_delta of .*got -0.1"),
    "min_delta infinite": ({"min_delta": math.inf}, "a min_delta of .*got inf"),
    "l2": ({"l2": -0.1}, "l2 of at least 0 and finite, .*got .*-0.1"),
    "shuffle_seed": ({"shuffle_seed": 1.5}, r"shuffle_seed whole, .*got \[1.5\]"),
    "a seed too large": ({"seeds": [0, 2**64]}, r"seeds whole, from -2\*\*63 to .*got \[0, 18446744073709551616\]"),
    "l2 not a number": ({"l2": math.nan}, "l2 of .*got .*nan"),
    "l2 of one network": ({"l2": [0, 0, math.inf, 0]}, "l2 of .*got .*inf"),
    "l2 in words": ({"l2": "0.1"}, "l2 of .* as one number or one for each of 4 networks, got '0.1'"),
    "l2 nested": ({"l2": [[0.1, 0.2]] * 4}, r"l2 of .* as one number or one for each of 4 networks, got \[\["),
    "l2 of too few networks": (
        {"l2": [0.1, 0.1]},
        r"l2 of .* as one number or one for each of 4 networks, got \[0.1, 0.1\]",
    ),
}
BAD_SETTINGS |= {
    f"{name} {value}": ({name: value}, rf"a whole {name}, at least 1 and below 2\*\*63, got {value}")
    for name in ("max_steps", "batch_size", "evaluate_every", "patience")
    for value in (0, -3, 2.5, 2**63)
}
BAD_SETTINGS |= {
    f"learning_rate {value}": (
        {"learning_rate": value}, f"a positive and finite learning_rate, got {value}"
    )
    for value in (0, -0.1, math.inf, math.nan)
}  # fmt: skip


def cases(table):
    return pytest.mark.parametrize(("changes", "message"), table.values(), ids=table.keys())


@cases(BAD_EXAMPLES | BAD_SETTINGS)
def test_train_names_a_bad_argument_and_what_it_got(changes, message):
    with pytest.raises(ValueError, match=f"^train wants .*{message}"):
        run(**changes)


@cases(BAD_EXAMPLES)
def test_predict_names_a_bad_argument_and_what_it_got(changes, message):
    with pytest.raises(ValueError, match=f"^predict wants .*{message}"):
        predict(*({"X": X, "Y": Y} | changes).values(), random_parameters(DIMS))


@pytest.mark.parametrize(
    ("dims", "rate", "steps", "batch_size", "message"),
    [
        ([7, 5, 4], 0.1, 10, 10, r"X of shape \(7, examples\)"),
        (DIMS, 0, 10, 10, "learning_rate"),
        (DIMS, 0.1, 0, 10, "a whole num_iterations, .*got 0"),
        (DIMS, 0.1, 10, 0, "batch_size"),
    ],
    ids=["dims", "learning_rate", "num_iterations", "batch_size"],
)
def test_model_names_a_bad_argument(dims, rate, steps, batch_size, message):
    with pytest.raises(ValueError, match=f"^L_layer_model wants .*{message}"):
        L_layer_model(X, Y, dims, rate, steps, batch_size)


# checks


@with_and_without_batchnorm
def test_no_step_of_a_training_fits_shapes_again(monkeypatch, use_batchnorm):
    calls, fit, broadcast = [], arguments.take_fitting, arguments._broadcast
    monkeypatch.setattr(arguments, "take_fitting", lambda *given, **more: calls.append(given) or fit(*given, **more))
    monkeypatch.setattr(arguments, "_broadcast", lambda *shapes: calls.append(shapes) or broadcast(*shapes))

    def checks_of(steps):
        calls.clear()
        run(max_steps=steps, validation=None, use_batchnorm=use_batchnorm)
        L_layer_model(X, Y, DIMS, LEARNING_RATE, steps, 10, use_batchnorm=use_batchnorm, progress=False)
        return len(calls)

    assert checks_of(5) == checks_of(10)
    training_step(X, Y, initialize_parameters(DIMS), LEARNING_RATE)
    assert calls  # called by itself it does check


def test_what_a_user_calls_meanwhile_is_checked():
    refusals = []

    def call_with_class_numbers(*snapshot):
        with pytest.raises(ValueError, match="make columns of class numbers") as refused:
            compute_cost(torch.full((3, 4), 1 / 3), torch.tensor([0, 1, 2, 0]))
        refusals.append(refused)

    def step():
        thread = threading.Thread(target=call_with_class_numbers)
        thread.start()
        thread.join()

    run(max_steps=100, progress=call_with_class_numbers)
    arguments.unchecked(step)()
    assert len(refusals) == 2


# batches


@pytest.mark.parametrize(("examples", "batch_size"), [(40, 10), (37, 10), (10, 10), (7, 5), (5, 1)])
def test_every_epoch_sees_each_example_once_in_full_batches(examples, batch_size):
    batches = list(mini_batches(examples, batch_size, 3 * examples, seed=4))
    assert [len(batch) for batch in batches] == [batch_size] * (3 * examples)
    epochs = torch.cat(batches)[: 3 * examples].reshape(3, examples)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(examples))
    assert not torch.equal(epochs[0], epochs[1])  # shuffled anew


def test_the_order_of_batches_depends_on_the_shuffle_seed_alone():
    first, again, other = (torch.cat(list(mini_batches(40, 10, 8, seed))) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[:40], torch.arange(40))


def test_a_step_takes_whole_examples_and_their_labels(monkeypatch):
    rows = torch.tensor([[0], [100], [200]])
    numbers, taken = torch.arange(40) + rows, []
    monkeypatch.setattr(training, "training_step", lambda X, Y, *settings, **more: taken.append((X, Y)))
    batches = torch.stack([*mini_batches(40, 10, 8)])
    training_steps(numbers, -numbers, batches, {}, 0.1)
    for batch, (X_batch, Y_batch) in zip(batches, taken, strict=True):
        assert torch.equal(X_batch, batch + rows)  # whole columns, their units in order
        assert torch.equal(Y_batch, -X_batch)


@pytest.mark.parametrize("evaluate_every", [1, 7, 50, 1000])
def test_a_stretch_ends_where_a_training_looks_and_no_batch_is_lost(evaluate_every):
    batches = [*mini_batches(40, 10, 205)]
    ends, cut = zip(*stretches(batches, 205, evaluate_every), strict=True)
    assert torch.equal(torch.cat(cut), torch.stack(batches))
    assert [*itertools.accumulate(map(len, cut))] == [*ends]
    looks = {99, 100, 199, 200, 205, *range(evaluate_every, 206, evaluate_every)}
    assert {*ends} == looks  # before and at each hundredth step, at each check and at the last


@pytest.mark.parametrize("evaluate_every", [40, 1000])
def test_ctrl_c_within_a_stretch_names_the_last_step_of_the_one_before(monkeypatch, evaluate_every):
    def until_step_120(*arguments, **settings):
        taken.append(arguments)
        if len(taken) == 120:
            raise KeyboardInterrupt
        return training_step(*arguments, **settings)

    monkeypatch.setattr(training, "training_step", until_step_120)
    settings = {"evaluate_every": evaluate_every, "progress": False}
    for begin in (
        lambda: L_layer_model(X, Y, DIMS, LEARNING_RATE, 500, 10, **settings),
        lambda: run(max_steps=500, validation=None, **settings),
    ):
        taken = []
        with pytest.raises(TrainingInterrupted, match="at step 100; "):
            begin()


# the rules of the house


ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
@pytest.mark.parametrize("l2", [0.0, 0.01, "each its own"])
def test_a_step_stays_on_its_device_and_never_waits_for_it(use_batchnorm, l2):
    """A fake GPU refuses to mix devices, and to give a value to the host."""
    with FakeTensorMode():
        parameters = {
            name: torch.empty(16, *value.shape, device="cuda") for name, value in initialize_parameters(DIMS).items()
        }
        X, Y = torch.empty(DIMS[0], 12, device="cuda"), torch.empty(DIMS[-1], 12, device="cuda")
        lambdas = torch.empty(16, device="cuda") if l2 == "each its own" else l2
        cost = training_step(X, Y, parameters, 0.1, use_batchnorm=use_batchnorm, l2=lambdas)
        assert {each.device.type for each in (cost, *parameters.values())} == {"cuda"}


def test_a_fake_gpu_refuses_what_it_should():
    with FakeTensorMode():
        on_gpu = torch.empty(3, device="cuda")
        with pytest.raises(DataDependentOutputException):
            on_gpu.sum().item()
        with pytest.raises(RuntimeError, match="device"):
            on_gpu + torch.empty(3)


ENGINE = sorted((ROOT / "pipeline" / "network").glob("*.py"))
FORBIDDEN_MODULES = ("torch.nn", "torch.optim", "torch.autograd", "torch.func")
FORBIDDEN_NAMES = {"requires_grad", "requires_grad_", "enable_grad", "backward", "autograd", "optim"}


def dotted(node):
    """Spell an attribute such as ``torch.nn.functional``; what it hangs on need not be a name."""
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def autograd_in(source):
    """List what of torch's own networks, optimisers and autograd a source uses."""
    tree = ast.parse(source)
    names = list(imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.append(dotted(node))
            if node.attr in FORBIDDEN_NAMES and dotted(node) != "pipeline.network.backward":
                yield node.attr
        elif isinstance(node, ast.keyword) and node.arg == "requires_grad":
            yield node.arg
    for name in names:
        yield from (module for module in FORBIDDEN_MODULES if f"{name}.".startswith(f"{module}."))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_ships_uses_no_autograd(path):
    assert list(autograd_in(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn as nn",
        "from torch import nn",
        "from torch.nn import functional",
        "from torch.optim import SGD",
        "from torch.autograd import grad",
        "import torch\ntorch.nn.functional.relu(x)",
        "import torch as t\nt.autograd.grad(y, x)",
        "x.requires_grad_()",
        "x.requires_grad = True",
        "torch.zeros(3, requires_grad=True)",
        "(a + b).backward()",
    ],
)
def test_the_search_for_autograd_finds_it(source):
    assert list(autograd_in(source))


@pytest.mark.parametrize("module", ENGINE, ids=lambda path: path.stem)
def test_the_network_imports_torch_alone(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for_types = [node for node in tree.body if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"]
    tree.body = [node for node in tree.body if node not in for_types]
    for name in imports(tree):
        assert name.partition(".")[0] in {*sys.stdlib_module_names, "torch"} or name.startswith("pipeline.network.")


def test_model_names_its_own_number_of_iterations():
    with pytest.raises(ValueError, match=r"a whole num_iterations, at least 1 and below .*, got 0"):
        L_layer_model(X, Y, DIMS, 0.1, 0, 10, progress=False)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32], ids=str)
def test_labels_of_any_dtype_train_alike(dtype):
    ours, theirs = run(Y=Y.to(dtype), max_steps=30), run(max_steps=30)
    assert all(torch.equal(ours.parameters[name], theirs.parameters[name]) for name in theirs.parameters)
