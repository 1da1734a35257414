"""Measure a training step on a GPU beside its peers and its two floors.

The floors are what the matrix products of a step need: their operations at the rate of a large float32 product, and
their operands and results, each once through memory, at the rate of a large copy.
"""

import os
import sys
from collections.abc import Mapping, Sequence

import jax
import torch

from benchmarks import EXAMPLES, LAYERS, peers
from benchmarks.measure import Steps, in_turns, line, microseconds
from benchmarks.rates import best_product_rate
from pipeline.network.devices import device_of

BATCH_SIZE = 512
NETWORKS = (16, 32, 1024)
COPY = 2**30  # bytes

Table = Mapping[str, Mapping[str, float]]


def gpu() -> torch.device:
    """Return the GPU, or end in one line where there is none."""
    try:
        return device_of("cuda")
    except ValueError as error:
        sys.exit(f"benchmarks: {error}")


def measure(
    device: torch.device,
    rounds: int,
    seconds: float,
    *,
    layers: list[int] = LAYERS,
    networks: Sequence[int] = NETWORKS,
    batch_size: int = BATCH_SIZE,
    copy: int = COPY,
) -> str:
    """Measure everything, and return the table."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of the GPU's memory at once
    operations, memory = max(best_product_rate(rounds, device).values()), copy_rate(copy, rounds, device)
    data = peers.Data.random(EXAMPLES, layers[0], device)
    table = {}
    for use_batchnorm in (False, True):
        for n in networks:
            setting = (data, layers, n, use_batchnorm)
            entrants: dict[str, tuple[int, Steps]] = {
                "engine": (n, peers.engine(*setting)),
                "eager autograd": (1, peers.eager(data, layers, use_batchnorm)),
                "vmap(grad)": (n, peers.vmap_grad(*setting)),
                "products": (n, peers.bare_products(layers, n, batch_size, device)),
            }
            if jax.default_backend() == device.type.replace("cuda", "gpu"):
                entrants["JAX"] = (n, peers.jax_scan(*setting))
            row = microseconds(entrants, batch_size, examples=EXAMPLES, rounds=rounds, seconds=seconds, device=device)
            row["floor of operations"] = peers.product_operations(layers, batch_size) / operations / 1e3
            row["floor of bytes"] = peers.product_bytes(layers, n, batch_size) / n / memory / 1e3
            row["engine / floor"] = row["engine"] / max(row["floor of operations"], row["floor of bytes"])
            table[f"x{n:,}{', bn' * use_batchnorm}"] = row
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    return "\n".join(
        [
            f"Microseconds a training step of one network, batch {batch_size}, on {name}",
            *as_lines(table),
            f"Large float32 product: {operations:.4g} GFLOP/s; large copy: {memory:.4g} GB/s",
        ]
    )


def copy_rate(size: int, rounds: int, device: torch.device) -> float:
    """Measure the rate at which memory is read and written, in GB/s."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    destination = torch.empty_like(source)
    return 2 * size / in_turns({"copy": lambda: destination.copy_(source)}, rounds, device)["copy"] / 1e9


def as_lines(table: Table) -> list[str]:
    """Set a table, what was measured a line."""
    width = max(map(len, table)) + 3
    rows = next(iter(table.values()))
    return [line("", table, width), *(line(row, [f"{of[row]:.3g}" for of in table.values()], width) for row in rows)]
