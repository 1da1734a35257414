"""Which of torch's two CPU libraries multiplies float32 matrices faster, at full float32 accuracy.

torch multiplies by its BLAS unless ``torch.set_float32_matmul_precision("medium")`` lets oneDNN do it. On some
processors that doubles the speed at the same accuracy; on others it rounds to bfloat16, or changes nothing. So it
is tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

ROUNDS = 20  # of each setting, in turns
CLEARLY_FASTER = 0.75  # of the time: no noise of the clock may decide, as the two round differently
AS_EXACT = 2.0  # times the error


@contextmanager
def fastest_products(left: Tensor, right: Tensor) -> Iterator[None]:
    """Use the faster library for products like ``left @ right``, and put torch's setting back at the end.

    Parameters
    ----------
    left : (..., n, k) tensor
    right : (k, m) tensor
    """
    found = torch.get_float32_matmul_precision()
    try:
        if left.dtype == torch.float32:
            is_cpu = left.device.type == "cpu"  # a GPU in any other setting than the highest multiplies in TF32
            torch.set_float32_matmul_precision(
                fastest_precision(left.shape, right.shape, torch.get_num_threads()) if is_cpu else "highest"
            )
        yield
    finally:
        torch.set_float32_matmul_precision(found)


@lru_cache
def fastest_precision(left_shape: tuple[int, ...], right_shape: tuple[int, ...], threads: int) -> str:
    """Measure the speed and the error of a product of two shapes in both settings; one of them stays set.

    The answer is kept, and is that for as many threads as torch uses now.

    Returns
    -------
    {"highest", "medium"}
        ``"medium"`` if it is clearly faster and no less exact.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(left_shape, generator=generator), torch.randn(right_shape, generator=generator)
    exact = left.double() @ right.double()
    seconds: dict[str, list[float]] = {"highest": [], "medium": []}
    errors = {}
    for _ in range(ROUNDS):
        for precision, elapsed in seconds.items():
            torch.set_float32_matmul_precision(precision)
            time_taken, product = _timed_product(left, right)
            elapsed.append(time_taken)
            errors[precision] = (product - exact).abs().max().item()
    faster = min(seconds["medium"]) < CLEARLY_FASTER * min(seconds["highest"])
    return "medium" if faster and errors["medium"] <= AS_EXACT * errors["highest"] else "highest"


def _timed_product(left: Tensor, right: Tensor) -> tuple[float, Tensor]:
    start = time.perf_counter()
    product = left @ right
    return time.perf_counter() - start, product
