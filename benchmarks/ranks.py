"""The engine as the pipeline trains with it: processes of one thread, each with its part of the networks.

The processes read their orders from standard input, and answer on standard output: a line of JSON, then arrays.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measure import Steps

PROCESSES = 2
Rank = subprocess.Popen[bytes]


@contextmanager
def started(examples: int, pixels: int = 784) -> Iterator[Sequence[Rank]]:
    """Start the processes, each with the data of ``peers.Data.random``, and end them."""
    with ExitStack() as stack:
        ranks = []
        for _ in range(PROCESSES):
            rank = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ranks", str(examples), str(pixels)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.enter_context(rank)
            stack.callback(rank.kill)
            ranks.append(rank)
        yield ranks


def compiled_engine(
    ranks: Sequence[Rank], layers: list[int], networks: int, batch_size: int, use_batchnorm: bool
) -> Steps:
    """Take compiled steps of an ensemble that is divided among the ranks."""
    bounds = [rank * networks // len(ranks) for rank in range(len(ranks) + 1)]
    orders = [
        {"layers": layers, "seeds": seeds, "batch_size": batch_size, "use_batchnorm": use_batchnorm}
        for seeds in itertools.pairwise(bounds)
    ]

    def steps(batches: Tensor) -> dict[str, Tensor]:
        for rank, order in zip(ranks, orders, strict=True):
            _send(rank.stdin, order, {"batches": batches})
        parts = [_receive(rank.stdout)[1] for rank in ranks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    return steps


def work(examples: int, pixels: int) -> None:
    """Take the steps that are asked for; those of an order that came before go on where they were."""
    torch.set_num_threads(1)
    data = peers.Data.random(examples, pixels)
    made: dict[str, Steps] = {}
    while True:
        order, arrays = _receive(sys.stdin.buffer)
        if (name := json.dumps(order)) not in made:
            layers, seeds, batch_size, use_batchnorm = order.values()
            take_steps = peers.compiled_steps(data, layers, batch_size, use_batchnorm)
            made[name] = peers.compiled_engine(data, layers, range(*seeds), use_batchnorm, take_steps)
        _send(sys.stdout.buffer, {}, made[name](arrays["batches"]))


def _send(stream: IO[bytes] | None, order: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    assert stream
    given = {name: array.numpy() for name, array in arrays.items()}
    header = [order, {name: [str(array.dtype), array.shape] for name, array in given.items()}]
    stream.write(json.dumps(header).encode() + b"\n" + b"".join(array.tobytes() for array in given.values()))
    stream.flush()


def _receive(stream: IO[bytes] | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    assert stream
    order, kinds = json.loads(stream.readline())
    arrays = {}
    for name, (dtype, shape) in kinds.items():
        content = stream.read(np.dtype(dtype).itemsize * int(np.prod(shape)))
        arrays[name] = torch.from_numpy(np.frombuffer(content, dtype).reshape(shape).copy())
    return order, arrays


if __name__ == "__main__":
    work(*map(int, sys.argv[1:]))
