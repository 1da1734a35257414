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
KINDS = {"plain": False, "batchnorm": True}  # lambda costs no time: the same code runs if it is 0
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


def kind_of(use_batchnorm: bool) -> str:
    """Name the kind of an arm."""
    return "batchnorm" if use_batchnorm else "plain"


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
    value a round. That of the steps is their median, which a busy moment of the machine hardly moves.
    """
    ensembles = {
        (kind, size): initialize_ensemble(layers_dims, range(size), use_batchnorm=use_batchnorm, device=X.device)
        for (kind, use_batchnorm), size in itertools.product(KINDS.items(), networks)
    }
    per_step: Seconds = {kind: {str(size): [] for size in networks} for kind in KINDS}
    per_check: Seconds = {kind: {str(size): [] for size in networks} for kind in KINDS}
    batches = mini_batches(X, Y, batch_size, (rounds + 2) * len(ensembles) * steps)

    def settings(kind: str, size: int) -> dict[str, Any]:
        return {"use_batchnorm": KINDS[kind], "l2": X.new_zeros(size, dtype=torch.float64)}

    with full_precision():
        take_step: dict[str, Callable[..., Tensor]] = {}
        for is_warm in progress([False] + [True] * rounds):
            for (kind, size), parameters in ensembles.items():
                if kind not in take_step:
                    example = (*next(batches), ensembles[kind, max(networks)], LEARNING_RATE)
                    of_largest = settings(kind, max(networks))
                    take_step[kind] = compiled(training_step, *example, **of_largest) if compile else training_step
                taken, seconds = settings(kind, size), [clock(X.device)]
                for X_batch, Y_batch in itertools.islice(batches, steps):
                    take_step[kind](X_batch, Y_batch, parameters, LEARNING_RATE, **taken)
                    seconds.append(clock(X.device))
                evaluate(*validation, parameters)
                check = clock(X.device) - seconds[-1]
                step = statistics.median(after - before for before, after in itertools.pairwise(seconds))
                if is_warm:
                    per_step[kind][str(size)].append(float(f"{step:.4g}"))
                    per_check[kind][str(size)].append(float(f"{check:.4g}"))
    return {"seconds_per_step": per_step, "seconds_per_check": per_check}
