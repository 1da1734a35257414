"""Matrix products on as many threads, and by that one of torch's two CPU libraries, as their size deserves.

torch multiplies by its BLAS unless ``torch.backends.mkldnn.matmul.fp32_precision = "bf16"`` lets oneDNN do it. On some
processors that is up to twice as fast for a large product at full float32 accuracy, while a small one costs more than
before; on others it rounds to bfloat16. So it is tried, once in a process for a number of threads.
The two round differently: oneDNN is taken unless it is clearly slower, so that no noise of the clock decides where
both are alike. Threads and library are settings of the process: products of several threads at once would change them
for one another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

SMALL = 300_000  # multiplications and additions; below, waking a second thread costs more than it saves
LARGE = 4_000_000  # multiplications and additions; below, oneDNN's call costs what its speed gains
PROBE = (320, 784, 512)  # rows, terms and columns of what is tried: the first layer of sixteen networks, batch 512
ROUNDS = 20  # of each setting, in turns
CLEARLY_SLOWER = 1.33  # times the time
AS_EXACT = 2.0  # times the error

_mkldnn: Any = torch.backends.mkldnn  # whose type hints lack the setting
ON_CPU, ON_GPU = _mkldnn.matmul, torch.backends.cuda.matmul


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
    if has_torch_function((left, right)):  # to a trace, one call
        return handle_torch_function(product, (left, right), left, right, plus)
    way = way_of(left, right)
    if way == "one thread":
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            return _multiply(left, right, plus)
        finally:
            torch.set_num_threads(threads)
    if way == "oneDNN":
        found = ON_CPU.fp32_precision
        try:
            ON_CPU.fp32_precision = "bf16"
            return _multiply(left, right, plus)
        finally:
            ON_CPU.fp32_precision = found
    return _multiply(left, right, plus)


def way_of(left: Tensor, right: Tensor) -> Literal["one thread", "oneDNN", "torch's own"]:
    """Choose how two matrices, or stacks of them, are multiplied."""
    operations = 2 * left.numel() * right.shape[-1]
    if operations < SMALL and left.is_cpu:
        return "one thread"
    if operations >= LARGE and left.is_cpu and left.dtype == torch.float32 and type(left) is Tensor:
        return "oneDNN" if onednn_is_as_good(torch.get_num_threads()) else "torch's own"
    return "torch's own"


@contextmanager
def full_precision() -> Iterator[None]:
    """Let nothing round float32 products to less, on a GPU neither, and put torch's settings back at the end."""
    found = ON_CPU.fp32_precision, ON_GPU.fp32_precision
    try:
        ON_CPU.fp32_precision = ON_GPU.fp32_precision = "ieee"
        yield
    finally:
        ON_CPU.fp32_precision, ON_GPU.fp32_precision = found


@lru_cache
def onednn_is_as_good(threads: int) -> bool:
    """Try a large float32 product by both libraries, and say whether oneDNN is neither clearly slower nor less exact.

    Parameters
    ----------
    threads : int
        As many as torch uses now; there is an answer for each number.
    """
    rows, terms, columns = PROBE
    left = torch.arange(rows * terms, dtype=torch.float32, device="cpu").sin().view(rows, terms)
    right = torch.arange(terms * columns, dtype=torch.float32, device="cpu").cos().view(terms, columns)
    exact = left.double() @ right.double()
    found = ON_CPU.fp32_precision
    seconds: dict[str, list[float]] = {"ieee": [], "bf16": []}
    errors = {}
    try:
        for _ in range(ROUNDS):
            for precision, elapsed in seconds.items():
                ON_CPU.fp32_precision = precision
                time_taken, result = _timed_product(left, right)
                elapsed.append(time_taken)
                errors[precision] = torch.linalg.norm(result - exact).item()
    finally:
        ON_CPU.fp32_precision = found
    is_fast = min(seconds["bf16"]) < CLEARLY_SLOWER * min(seconds["ieee"])
    return is_fast and errors["bf16"] <= AS_EXACT * errors["ieee"]


def _multiply(left: Tensor, right: Tensor, plus: Tensor | None) -> Tensor:
    """Multiply by the function that costs least to call; one that adds too saves a pass over the result."""
    dims = left.dim() if plus is None or plus.dim() == left.dim() else 0
    if dims == right.dim() == 2:
        return torch.mm(left, right) if plus is None else torch.addmm(plus, left, right)
    if dims == right.dim() == 3:
        networks = left.shape[0]
        if networks == right.shape[0] and (plus is None or networks == plus.shape[0]):
            return torch.bmm(left, right) if plus is None else torch.baddbmm(plus, left, right)
    result = torch.matmul(left, right)
    if plus is None:
        return result
    return result.add_(plus) if plus.shape[:-1] == result.shape[:-1] else result + plus


def _timed_product(left: Tensor, right: Tensor) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = left @ right
    return time.perf_counter() - start, result
