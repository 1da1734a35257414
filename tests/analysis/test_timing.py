"""The clock is held to every kind of arm in turn, and every turn but the first is kept."""

import itertools

import pytest
import torch
from reference import DIMS, blobs

from pipeline.analysis import timing
from pipeline.analysis.timing import AT_ONCE, KINDS, Timing, kind_of, time_steps
from pipeline.network import devices

X, Y = (each.float() for each in blobs(30))
VALIDATION = tuple(each.float() for each in blobs(40, seed=1))
ROUNDS, STEPS = 3, 2


def timed(rounds=ROUNDS, steps=STEPS):
    return time_steps(X, Y, DIMS, validation=VALIDATION, batch_size=10, rounds=rounds, steps=steps)


@pytest.mark.parametrize(("use_batchnorm", "kind"), [(False, "plain"), (True, "batchnorm")])
def test_an_arms_kind_is_told_by_what_costs_time(use_batchnorm, kind):
    assert kind_of(use_batchnorm) == kind


def test_every_kind_has_a_positive_time():
    measured = timed()
    for seconds in measured:
        assert list(seconds) == list(KINDS)
        assert all(len(each) == ROUNDS and all(0 < value < 1 for value in each) for each in seconds.values())


@pytest.mark.parametrize(("steps", "checks"), [(100, 2), (101, 3), (0, 0)])
def test_a_network_alone_takes_the_median_times_of_its_steps_and_checks(steps, checks):
    per_step, per_check = ({"plain": [each, 9 * each, 2 * each]} for each in (1.0, 10.0))
    timing = Timing("cpu", per_step, per_check)
    assert timing.seconds_alone("plain", steps, evaluate_every=50) == steps * 2 + checks * 20


def test_the_rounds_can_be_shown_and_the_first_that_does_not_count_among_them():
    shown = []

    def progress(rounds):
        for each in rounds:
            shown.append(each)
            yield each

    per_step, _ = time_steps(X, Y, DIMS, validation=VALIDATION, batch_size=10, rounds=2, steps=1, progress=progress)
    assert len(shown) == 3
    assert all(len(of_kind) == 2 for of_kind in per_step.values())


def test_every_turn_is_kept_but_the_first_with_the_median_of_its_steps(monkeypatch):
    """In the first turn of a kind a step takes 1000 s, in the others 1, 9 and 2 s, times the kind's number.

    The last steps of a turn take 500 s more, and a validation check 7 s.
    """
    steps = 3 * AT_ONCE
    turns = [turn * kind for turn in (1000, 1, 9, 2) for kind in range(1, len(KINDS) + 1)]
    calls = (AT_ONCE * turn for turn in turns)
    passed = ((0, call, call, call + 500, 7) for call in calls)
    clock = itertools.accumulate(itertools.chain.from_iterable(passed))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: next(clock))
    per_step, per_check = timed(steps=steps)
    for kind, number in zip(KINDS, range(1, len(KINDS) + 1), strict=True):
        assert per_step[kind] == [turn * number for turn in (1, 9, 2)]
        assert per_check[kind] == [7, 7, 7]


def test_the_kinds_take_turns_in_training_their_own_network(monkeypatch):
    calls = []

    def take(X, Y, batches, parameters, learning_rate, *, use_batchnorm, l2):
        assert len(parameters["W1"]) == len(l2) == 1 and l2 == 0
        assert torch.is_inference_mode_enabled()  # an eager step
        assert X.mT.is_contiguous()  # as a training lays it out
        calls.append((id(parameters), use_batchnorm, len(batches)))

    checks = []
    monkeypatch.setattr(timing, "training_steps", take)
    monkeypatch.setattr(timing, "evaluate", lambda X, Y, parameters: checks.append((id(parameters), X.shape, Y.shape)))
    timed(rounds=1, steps=AT_ONCE + 3)
    once = calls[::2][: len(KINDS)]
    assert [len_of_call for *_, len_of_call in calls] == [AT_ONCE, 3] * 2 * len(KINDS)
    assert [call[:2] for call in calls] == [call[:2] for _ in range(2) for call in once for _ in range(2)]
    assert [use_batchnorm for _, use_batchnorm, _ in once] == [*KINDS.values()]
    assert len({network for network, *_ in once}) == len(once)
    assert checks == [(network, *(each.shape for each in VALIDATION)) for _ in range(2) for network, *_ in once]


def test_the_step_is_compiled_while_the_rounds_are_shown_once_with_and_once_without_batch_norm(monkeypatch):
    happened = []

    def compiled(steps, X, Y, batch_size, parameters, learning_rate, *, use_batchnorm, l2):
        happened.append((use_batchnorm, len(parameters["W1"]), len(l2)))
        return steps

    def shown(rounds):
        happened.append("shown")
        yield from rounds

    monkeypatch.setattr(timing, "compiled", compiled)
    settings = {"validation": VALIDATION, "batch_size": 10, "rounds": 2, "steps": STEPS}
    time_steps(X, Y, DIMS, **settings, compile=True, progress=shown)
    assert happened == ["shown", (False, 1, 1), (True, 1, 1)]


def test_the_data_are_left_as_they_are():
    before = X.clone(), Y.clone()
    timed()
    assert torch.equal(X, before[0])
    assert torch.equal(Y, before[1])


def test_each_kind_is_checked_with_its_own_statistics(monkeypatch):
    seen = []
    monkeypatch.setattr(timing, "evaluate", lambda X, Y, parameters: seen.append("mean1" in parameters))
    X, Y = torch.rand(6, 40), torch.eye(3)[torch.arange(40) % 3].T.contiguous()
    timing.time_steps(X, Y, [6, 4, 3], validation=(X, Y), batch_size=10, rounds=1, steps=2)
    assert seen == [False, True] * 2
