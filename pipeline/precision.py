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

SMALL = 150_000  # multiplications and additions; below, waking a second thread costs more than it saves
LARGE = 4_000_000  # multiplications and additions; below, oneDNN's call costs what its speed gains
PROBE = (320, 784, 512)  # rows, terms and columns of the product that is tried: the first layer of sixteen networks
ROUNDS = 10  # of each setting, in turns
CLEARLY_FASTER = 0.75  # of the time: no noise of the clock may decide, as the two round differently
AS_EXACT = 2.0  # times the error


def product(left: Tensor, right: Tensor, plus: Tensor | None = None) -> Tensor:
    """Compute ``left @ right + plus`` of matrices or stacks of them.

    Parameters
    ----------
    left : (..., n, k) tensor
    right : (..., k, m) tensor
    plus : (..., n, 1) tensor, optional

    Returns
    -------
    (..., n, m) tensor
    """
    operations = 2 * left.numel() * right.shape[-1]
    if operations < SMALL:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return _multiply(left, right, plus)
        finally:
            torch.set_num_threads(threads)
    if operations >= LARGE and left.dtype == torch.float32 and left.device.type == "cpu" and onednn_is_faster():
        found = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return _multiply(left, right, plus)
        finally:
            torch.set_float32_matmul_precision(found)
    return _multiply(left, right, plus)


@contextmanager
def full_precision() -> Iterator[None]:
    """Round float32 products to nothing less, on a GPU neither, and put torch's setting back at the end."""
    found = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(found)


def onednn_is_faster() -> bool:
    """Say whether oneDNN multiplies large float32 matrices clearly faster than torch's BLAS here, and no less exactly.

    It is tried once in a process for each number of threads.
    """
    return _onednn_is_faster(torch.get_num_threads())


@lru_cache
def _onednn_is_faster(threads: int) -> bool:
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


def _multiply(left: Tensor, right: Tensor, plus: Tensor | None) -> Tensor:
    """Multiply by the function that costs least to call; one that adds too saves a pass over the result."""
    dims = left.dim() if plus is None or plus.shape[:-1] == left.shape[:-1] else 0
    if dims == 2 and right.dim() == 2:
        return torch.mm(left, right) if plus is None else torch.addmm(plus, left, right)
    if dims == 3 and right.dim() == 3 and left.shape[0] == right.shape[0]:
        return torch.bmm(left, right) if plus is None else torch.baddbmm(plus, left, right)
    result = torch.matmul(left, right)
    return result if plus is None else result + plus


def _timed_product(left: Tensor, right: Tensor) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = left @ right
    return time.perf_counter() - start, result
