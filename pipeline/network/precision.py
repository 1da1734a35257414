"""Full float32 around a training or an evaluation, by one of torch's two CPU backends.

BLAS is the linear algebra library that torch was built with; oneDNN (MKL-DNN) is Intel's library for neural networks.
torch takes oneDNN for float32 products only where ``fp32_precision = "bf16"`` lets it round to bfloat16, of 16 bits.
Some processors do round; on others oneDNN is as exact as BLAS, and on some of these twice as fast for large products.
A call of it takes longer, which matters for small products. So one large product is tried, once in a process for a
number of threads, and oneDNN taken if it is clearly faster and as exact. "ieee" keeps to float32 and takes BLAS.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

PROBE = (320, 784, 256)  # rows, terms, columns: the first layer of sixteen networks, a batch of 256
ROUNDS = 20  # of each backend, in turns
CLEARLY_FASTER, AS_EXACT = 0.75, 2.0  # times BLAS's time and error; with room: noise of the clock rarely decides

_mkldnn: Any = torch.backends.mkldnn  # whose type hints lack the setting
ON_CPU, ON_GPU = _mkldnn.matmul, torch.backends.cuda.matmul


@contextmanager
def full_precision() -> Iterator[None]:
    """Let nothing round float32 products to less, on a GPU neither, and put torch's settings back at the end."""
    found = ON_CPU.fp32_precision, ON_GPU.fp32_precision
    try:
        ON_CPU.fp32_precision = "bf16" if onednn_is_better(torch.get_num_threads()) else "ieee"
        ON_GPU.fp32_precision = "ieee"
        yield
    finally:
        ON_CPU.fp32_precision, ON_GPU.fp32_precision = found


@lru_cache
def onednn_is_better(threads: int) -> bool:
    """Say whether oneDNN multiplies large float32 matrices clearly faster than BLAS, and as exactly."""
    rows, terms, columns = PROBE
    left = torch.arange(rows * terms, dtype=torch.float32).sin().view(rows, terms)
    right = torch.arange(terms * columns, dtype=torch.float32).cos().view(terms, columns)
    exact = left.double() @ right.double()
    seconds, errors = {"ieee": math.inf, "bf16": math.inf}, {"ieee": math.inf, "bf16": math.inf}
    found = ON_CPU.fp32_precision
    try:
        for _ in range(ROUNDS):
            for backend, best in seconds.items():
                ON_CPU.fp32_precision = backend
                elapsed, result = timed_product(left, right)
                seconds[backend] = min(elapsed, best)
                errors[backend] = torch.linalg.norm(result - exact).item()
    finally:
        ON_CPU.fp32_precision = found
    return seconds["bf16"] <= CLEARLY_FASTER * seconds["ieee"] and errors["bf16"] <= AS_EXACT * errors["ieee"]


def timed_product(left: Tensor, right: Tensor) -> tuple[float, Tensor]:
    """Multiply, and measure the seconds."""
    start = time.perf_counter()
    result = left @ right
    return time.perf_counter() - start, result
