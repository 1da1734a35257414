"""The best rate at which this machine multiplies large float32 matrices, by any library."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch
from torch import Tensor

from benchmarks.measure import CPU, in_turns
from pipeline.network.precision import ON_CPU, full_precision

MATRIX = {"cpu": 2048, "cuda": 8192}  # rows and columns of the product whose rate stands for the machine's best
FULL_PRECISION = 1e-5  # relative error of that product; of one rounded to bfloat16 or TF32 it is above 1e-4


def best_product_rate(rounds: int, device: torch.device = CPU) -> dict[str, float]:
    """Measure the float32 rate of a large product in GFLOP/s, by each library at hand.

    On the CPU by torch's two, oneDNN if it does not round to less, and by NumPy's and JAX's.
    """
    size = MATRIX[device.type]
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    exact = left[:8].double() @ right.double()

    def by_onednn() -> Tensor:
        ON_CPU.fp32_precision = "bf16"
        try:
            return left @ right
        finally:
            ON_CPU.fp32_precision = "ieee"

    turns: dict[str, Callable[[], object]] = {"torch": lambda: left @ right}
    if device.type == "cpu":
        np_left, np_right = left.numpy(), right.numpy()
        turns["NumPy"] = lambda: np_left @ np_right
        jax_left, jax_right = jnp.asarray(np_left), jnp.asarray(np_right)
        turns["JAX"] = lambda: jax.block_until_ready(jax_left @ jax_right)
    with full_precision():
        if device.type == "cpu" and torch.linalg.norm(by_onednn()[:8] - exact) < FULL_PRECISION * exact.norm():
            turns["oneDNN"] = by_onednn
        return {name: 2 * size**3 / seconds / 1e9 for name, seconds in in_turns(turns, rounds, device).items()}
