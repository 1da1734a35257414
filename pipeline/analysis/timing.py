"""Time of a training step and of a validation check, for each kind of arm."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline.network.compiling import compiled
from pipeline.network.devices import clock
from pipeline.network.ensemble import initialize_ensemble
from pipeline.network.precision import full_precision
from pipeline.network.prediction import evaluate
from pipeline.network.training import mini_batches, training_step

LEARNING_RATE = 0.009  # of no consequence for the time
KINDS: dict[str, Any] = {
    "plain": {"use_batchnorm": False, "l2": 0.0},
    "batchnorm": {"use_batchnorm": True, "l2": 0.0},
    "l2": {"use_batchnorm": False, "l2": 0.01},
    "batchnorm_l2": {"use_batchnorm": True, "l2": 0.01},
}
Seconds = dict[str, dict[str, list[float]]]  # a value a round, by kind and number of networks (as text)


@dataclass(frozen=True)
class Timing:
    """What the timing stage records; seconds are of the whole ensemble."""

    device: Literal["cpu", "cuda"]
    threads: int
    seconds_per_step: Seconds
    seconds_per_check: Seconds

    def require_whole(self, sizes: Mapping[str, int]) -> None:
        """Refuse kinds and sizes that lack a round."""
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}: must be 1 or more")
        by_size = [each for seconds in (self.seconds_per_step, self.seconds_per_check) for each in seconds.values()]
        if not self.seconds_per_step.keys() == self.seconds_per_check.keys() == KINDS.keys():
            raise ValueError(f"seconds_per_step and seconds_per_check must be of {', '.join(KINDS)}")
        if len({tuple(each) for each in by_size}) > 1 or not all(map(str.isdecimal, by_size[0])):
            raise ValueError("all kinds must be timed in ensembles of the same sizes")
        rounds = [values for each in by_size for values in each.values()]
        if len(set(map(len, rounds))) != 1 or not all(value > 0 for values in rounds for value in values):
            raise ValueError("all kinds must be timed in as many rounds, and take longer than 0 seconds")

    def seconds_alone(self, kind: str, steps: int, evaluate_every: int) -> float:
        """Return the seconds that one network alone takes for so many steps and their validation checks."""
        per_step, per_check = (
            statistics.median(seconds[kind]["1"]) for seconds in (self.seconds_per_step, self.seconds_per_check)
        )
        return steps * per_step + math.ceil(steps / evaluate_every) * per_check


def kind_of(use_batchnorm: bool, l2: float) -> str:
    """Name the kind of an arm; within a kind, the value of lambda costs no time."""
    return "_".join(["batchnorm"] * use_batchnorm + ["l2"] * (l2 > 0)) or "plain"


def time_steps(
    X: Tensor,
    Y: Tensor,
    layers_dims: Sequence[int],
    *,
    validation: tuple[Tensor, Tensor],
    batch_size: int,
    networks: Sequence[int],
    rounds: int,
    steps: int,
    compile: bool = False,
    progress: Callable[[Sequence[bool]], Iterable[bool]] = iter,
) -> dict[str, Seconds]:
    """Time training steps and validation checks; the kinds and sizes of ensemble take turns.

    ``X`` is ``(n_0, examples)``, ``Y`` ``(n_L, examples)``, ``validation`` such a pair; the device of ``X`` computes.
    ``networks`` are the sizes. Each takes ``rounds`` turns, after one to warm up that does not count; a turn is
    ``steps`` training steps, compiled or not, and one validation check. ``progress`` goes through the rounds and may
    show it. Returns ``seconds_per_step`` and ``seconds_per_check`` of the whole ensemble, by kind and size (as text), a
    value a round.
    """
    ensembles = {
        (kind, size): initialize_ensemble(
            layers_dims, range(size), use_batchnorm=settings["use_batchnorm"], device=X.device
        )
        for (kind, settings), size in itertools.product(KINDS.items(), networks)
    }
    settings = {
        (kind, size): {**KINDS[kind], "l2": X.new_full((size,), KINDS[kind]["l2"], dtype=torch.float64)}
        for kind, size in ensembles
    }
    per_step: Seconds = {kind: {str(size): [] for size in networks} for kind in KINDS}
    per_check: Seconds = {kind: {str(size): [] for size in networks} for kind in KINDS}
    batches = mini_batches(X, Y, batch_size, (rounds + 2) * len(ensembles) * steps)
    with full_precision():
        take_step = {}  # by batch norm: lambda changes nothing in the code
        for is_warm in progress([False] + [True] * rounds):
            for (kind, size), parameters in ensembles.items():
                use_batchnorm, largest = KINDS[kind]["use_batchnorm"], (kind, max(networks))
                if use_batchnorm not in take_step:
                    take_step[use_batchnorm] = (
                        compiled(training_step, *next(batches), ensembles[largest], LEARNING_RATE, **settings[largest])
                        if compile
                        else training_step
                    )
                start = clock(X.device)
                for X_batch, Y_batch in itertools.islice(batches, steps):
                    take_step[use_batchnorm](X_batch, Y_batch, parameters, LEARNING_RATE, **settings[kind, size])
                stepped = clock(X.device)
                evaluate(*validation, parameters)
                checked = clock(X.device)
                if is_warm:
                    per_step[kind][str(size)].append(float(f"{(stepped - start) / steps:.4g}"))
                    per_check[kind][str(size)].append(float(f"{checked - stepped:.4g}"))
    return {"seconds_per_step": per_step, "seconds_per_check": per_check}
