"""Matrix products at full float32 accuracy, a large one by the faster of torch's two CPU libraries.

torch multiplies by its BLAS unless ``torch.set_float32_matmul_precision("medium")`` lets oneDNN do it. On some
processors that doubles the speed of a large product at the same accuracy, while a small one costs more than before; on
others it rounds to bfloat16, or changes nothing. So it is tried, once in a process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

SMALL = 50_000  # multiplications and additions; below, waking a second thread costs more than it saves
LARGE = 4_000_000  # multiplications and additions; below, oneDNN's call costs what its speed gains
PROBE = (320, 784, 512)  # rows, terms and columns of the product that is tried: the first layer of sixteen networks
ROUNDS = 10  # of each setting, in turns
CLEARLY_FASTER = 0.75  # of the time: no noise of the clock may decide, as the two round differently
AS_EXACT = 2.0  # times the error


def product(left: Tensor, right: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Multiply matrices or stacks of them.

    Parameters
    ----------
    left : (..., n, k) tensor
    right : (..., k, m) tensor
    out : (..., n, m) tensor, optional
        Where to put the result.

    Returns
    -------
    (..., n, m) tensor
    """
    stacks = left.dim() == right.dim() == 3 and left.shape[0] == right.shape[0]
    multiply = torch.bmm if stacks else torch.matmul  # small stacks cost matmul more than the product itself
    operations = 2 * left.numel() * right.shape[-1]
    if operations < SMALL:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return multiply(left, right, out=out)
        finally:
            torch.set_num_threads(threads)
    is_single_on_cpu = left.dtype == torch.float32 and left.device.type == "cpu"
    if operations >= LARGE and is_single_on_cpu and onednn_is_faster(torch.get_num_threads()):
        found = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return multiply(left, right, out=out)
        finally:
            torch.set_float32_matmul_precision(found)
    return multiply(left, right, out=out)


@contextmanager
def full_precision() -> Iterator[None]:
    """Round float32 products to nothing less, on a GPU neither, and put torch's setting back at the end."""
    found = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(found)


@lru_cache
def onednn_is_faster(threads: int) -> bool:
    """Try a large float32 product by both libraries: is oneDNN clearly faster, and no less exact?

    The answer is kept, and is that for as many threads as torch uses now.
    """
    generator = torch.Generator().manual_seed(0)
    rows, terms, columns = PROBE
    left, right = torch.randn(rows, terms, generator=generator), torch.randn(terms, columns, generator=generator)
    exact = left.double() @ right.double()
    found = torch.get_float32_matmul_precision()
    seconds: dict[str, list[float]] = {"highest": [], "medium": []}
    errors = {}
    try:
        for _ in range(ROUNDS):
            for precision, elapsed in seconds.items():
                torch.set_float32_matmul_precision(precision)
                time_taken, result = _timed_product(left, right)
                elapsed.append(time_taken)
                errors[precision] = torch.linalg.norm(result - exact).item()
    finally:
        torch.set_float32_matmul_precision(found)
    faster = min(seconds["medium"]) < CLEARLY_FASTER * min(seconds["highest"])
    return faster and errors["medium"] <= AS_EXACT * errors["highest"]


def _timed_product(left: Tensor, right: Tensor) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = left @ right
    return time.perf_counter() - start, result
