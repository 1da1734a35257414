"""Time of a training step and of a validation check of one network, for each kind of arm."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.network.compiling import compiled, eager
from pipeline.network.devices import clock
from pipeline.network.ensemble import initialize_ensemble
from pipeline.network.precision import full_precision
from pipeline.network.prediction import evaluate
from pipeline.network.training import mini_batches, training_steps

LEARNING_RATE = 0.009  # of no consequence for the time
AT_ONCE = 25  # steps in a call whose time is taken; a training makes calls of up to evaluate_every
KINDS = {"plain": False, "batchnorm": True}  # lambda costs no time: the same code runs if it is 0
Seconds = dict[str, list[float]]  # a value per round, by kind


@dataclass(frozen=True)
class Timing:
    """What the timing stage records, of one network alone; on the CPU on one thread."""

    device: str  # "cpu" or "cuda"
    seconds_per_step: Seconds
    seconds_per_check: Seconds

    def seconds_alone(self, kind: str, steps: int, evaluate_every: int) -> float:
        """Return the seconds that one network alone takes for so many steps and their validation checks."""
        per_step = statistics.median(self.seconds_per_step[kind])
        per_check = statistics.median(self.seconds_per_check[kind])
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
    rounds: int,
    steps: int,
    compile: bool = False,
    progress: Callable[[Sequence[bool]], Iterable[bool]] = iter,
) -> tuple[Seconds, Seconds]:
    """Time training steps and validation checks of one network; the kinds take turns.

    ``X`` is ``(n_0, examples)``, ``Y`` ``(n_L, examples)``, ``validation`` such a pair; the device of ``X`` computes.
    Each kind takes ``rounds`` turns, after one to warm up that does not count; a turn is ``steps`` training steps,
    compiled or not, and one validation check. ``progress`` goes through the rounds and may show it. Returns the seconds
    per step and the seconds per check, each by kind, a value per round. A clock is read after every 25th step, when a
    GPU is waited for. A round's seconds per step are the median over such calls, which a busy moment of the machine
    hardly moves.
    """
    networks = {
        kind: initialize_ensemble(layers_dims, range(1), use_batchnorm=use_batchnorm, dtype=X.dtype, device=X.device)
        for kind, use_batchnorm in KINDS.items()
    }
    per_step: Seconds = {kind: [] for kind in KINDS}
    per_check: Seconds = {kind: [] for kind in KINDS}
    X = X.mT.contiguous().mT  # as a training lays them out
    batches = mini_batches(X.shape[1], batch_size, len(KINDS) * (rounds + 1) * steps)
    take_steps: dict[str, Callable[..., Tensor]] = dict.fromkeys(KINDS, eager(training_steps))
    with full_precision():
        for is_warm in progress([False] + [True] * rounds):
            for kind, parameters in networks.items():
                settings: dict[str, Any] = {"use_batchnorm": KINDS[kind], "l2": X.new_zeros(1, dtype=torch.float64)}
                if compile and not is_warm:
                    take_steps[kind] = compiled(training_steps, X, Y, batch_size, parameters, LEARNING_RATE, **settings)
                of_this_turn = torch.stack([*itertools.islice(batches, steps)]).to(X.device)
                seconds = []
                before = clock(X.device)
                for some in torch.split(of_this_turn, AT_ONCE):
                    take_steps[kind](X, Y, some, parameters, LEARNING_RATE, **settings)
                    after = clock(X.device)
                    seconds.append((after - before) / len(some))
                    before = after
                evaluate(*validation, parameters)
                check = clock(X.device) - before
                step = statistics.median(seconds)
                if is_warm:
                    per_step[kind].append(float(f"{step:.4g}"))
                    per_check[kind].append(float(f"{check:.4g}"))
    return per_step, per_check
