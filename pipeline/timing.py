"""Seconds a training step of each kind of arm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.devices import clock
from pipeline.precision import full_precision
from pipeline.training import initialize_stack, training_step

LEARNING_RATE = 0.009  # of no consequence for the time
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
    batch_size: int,
    networks: Sequence[int],
    rounds: int,
    steps: int,
) -> dict[str, dict[str, list[float]]]:
    """Time training steps, the kinds and stack sizes taking turns.

    Parameters
    ----------
    X : (n_0, examples) tensor
        The steps are taken on its device.
    Y : (n_L, examples) tensor
    layers_dims : sequence of int
    batch_size : int
    networks : sequence of int
        Stack sizes.
    rounds : int
        Turns of each, after a first one to warm up that does not count.
    steps : int
        Training steps in a turn.

    Returns
    -------
    dict
        For each kind and stack size (as text), the seconds a step of the whole stack, a value a round.
    """
    examples = X.mT.contiguous()
    turns: dict[tuple[str, int], list[float]] = {pair: [] for pair in itertools.product(KINDS, dict.fromkeys(networks))}
    stacks = {pair: initialize_stack(layers_dims, range(pair[1]), device=X.device) for pair in turns}
    batches = torch.randint(len(examples), (steps, batch_size), generator=torch.Generator().manual_seed(0)).to(X.device)
    with torch.inference_mode(), full_precision():
        for _ in range(rounds + 1):
            for (kind, count), seconds in turns.items():
                parameters = stacks[kind, count]
                start = clock(X.device)
                for batch in batches:
                    X_batch, Y_batch = examples.index_select(0, batch).mT, Y.index_select(1, batch)
                    training_step(X_batch, Y_batch, parameters, LEARNING_RATE, **KINDS[kind])
                seconds.append((clock(X.device) - start) / steps)
    return {
        kind: {
            str(count): [float(f"{each:.4g}") for each in turns[kind, count][1:]] for count in dict.fromkeys(networks)
        }
        for kind in KINDS
    }
