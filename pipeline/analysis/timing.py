"""Seconds of each kind of arm: a training step, and a look at the validation set."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.network.devices import clock
from pipeline.network.precision import full_precision
from pipeline.network.tracing import Traced
from pipeline.network.training import evaluate, initialize_stack, training_step

LEARNING_RATE = 0.009  # of no consequence for the time
Seconds = dict[tuple[str, int], list[float]]  # of each round, by kind and stack size
KINDS: dict[str, Any] = {
    "plain": {"use_batchnorm": False, "l2": 0.0},
    "batchnorm": {"use_batchnorm": True, "l2": 0.0},
    "l2": {"use_batchnorm": False, "l2": 0.01},
    "batchnorm_l2": {"use_batchnorm": True, "l2": 0.01},
}


def kind_of(use_batchnorm: bool, l2: float) -> str:
    """Name the kind of an arm; within a kind, the value of lambda costs no time."""
    return next(
        name for name, kind in KINDS.items() if kind["use_batchnorm"] == use_batchnorm and (kind["l2"] > 0) == (l2 > 0)
    )


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
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Time training steps and looks at the validation set, the kinds and stack sizes taking turns.

    Parameters
    ----------
    X : (n_0, examples) tensor
        The steps are taken on its device.
    Y : (n_L, examples) tensor
    layers_dims : sequence of int
    validation : (X, Y)
        The validation set, on the same device.
    batch_size : int
    networks : sequence of int
        Stack sizes.
    rounds : int
        Turns of each, after a first one to warm up that does not count.
    steps : int
        Training steps in a turn; one look follows them.

    Returns
    -------
    dict
        ``seconds_per_step`` and ``seconds_per_look``: for each kind and stack size (as text), the seconds of the
        whole stack, a value a round.
    """
    examples = X.mT.contiguous()
    stacks = {
        (kind, count): initialize_stack(
            layers_dims, range(count), use_batchnorm=KINDS[kind]["use_batchnorm"], device=X.device
        )
        for kind, count in itertools.product(KINDS, dict.fromkeys(networks))
    }
    take_step = {pair: Traced(training_step) for pair in stacks}
    per_step: Seconds = {pair: [] for pair in stacks}
    per_look: Seconds = {pair: [] for pair in stacks}
    batches = torch.randint(len(examples), (steps, batch_size), generator=torch.Generator().manual_seed(0)).to(X.device)
    with torch.inference_mode(), full_precision():
        for _ in range(rounds + 1):
            for (kind, count), parameters in stacks.items():
                start = clock(X.device)
                for batch in batches:
                    X_batch, Y_batch = examples.index_select(0, batch).mT, Y.index_select(1, batch)
                    take_step[kind, count](X_batch, Y_batch, parameters, LEARNING_RATE, **KINDS[kind])
                stepped = clock(X.device)
                evaluate(*validation, parameters)
                per_step[kind, count].append((stepped - start) / steps)
                per_look[kind, count].append(clock(X.device) - stepped)
    return {"seconds_per_step": _by_kind(per_step), "seconds_per_look": _by_kind(per_look)}


def _by_kind(seconds: Seconds) -> dict[str, dict[str, list[float]]]:
    """Sort the rounds by kind and stack size, without the first, which warms up."""
    table: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for (kind, count), rounds in seconds.items():
        table[kind][str(count)] = [float(f"{each:.4g}") for each in rounds[1:]]
    return table
