"""Time whoever takes turns, so that a busy moment of the machine falls on all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

MATRIX = 2048  # rows and columns of the product whose rate stands for the machine's best


def in_turns(turns: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each one's median seconds a turn; a first turn to warm up does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds + 1):
        for name, turn in turns.items():
            turn()  # not timed: meanwhile the threads of whoever came before stop spinning
            start = time.perf_counter()
            turn()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def best_product_rate(rounds: int) -> dict[str, float]:
    """Measure the float32 rate of a large product in GFLOP/s, by each library at hand.

    torch's in both of its settings, for what the second rounds to bfloat16 does not count; and NumPy's.
    """
    left, right = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    exact = left[:8].double() @ right.double()

    def by_torch(precision: str) -> Tensor:
        found = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            return left @ right
        finally:
            torch.set_float32_matmul_precision(found)

    turns: dict[str, Callable[[], object]] = {"torch": lambda: by_torch("highest"), "NumPy": lambda: np_left @ np_right}
    np_left, np_right = left.numpy(), right.numpy()
    if (by_torch("medium")[:8] - exact).abs().max() < 2 * (by_torch("highest")[:8] - exact).abs().max():
        turns["torch, medium"] = lambda: by_torch("medium")
    return {name: 2 * MATRIX**3 / seconds / 1e9 for name, seconds in in_turns(turns, rounds).items()}
