"""The engine as the pipeline trains with it: processes of one thread, each with its part of the networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measure import Steps

PROCESSES = 2


@contextmanager
def started(data: peers.Data, processes: int = PROCESSES) -> Iterator[Sequence[Connection]]:
    """Start the processes, each with the data, and end them."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(processes)]
    # As NumPy arrays: a tensor would go through /dev/shm, which is small in a container.
    arrays = [each.numpy() for each in (data.rows, data.labels, data.Y)]
    workers = [context.Process(target=_work, args=(theirs, *arrays), daemon=True) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    try:
        yield [ours for ours, _ in pipes]
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def compiled_engine(
    ranks: Sequence[Connection], layers: list[int], networks: int, batch_size: int, use_batchnorm: bool
) -> Steps:
    """Take compiled steps of an ensemble that is divided among the ranks."""
    bounds = [rank * networks // len(ranks) for rank in range(len(ranks) + 1)]
    for pipe, first, last in zip(ranks, bounds[:-1], bounds[1:], strict=True):
        pipe.send((layers, range(first, last), batch_size, use_batchnorm))

    def steps(batches: Tensor) -> dict[str, Tensor]:
        for pipe in ranks:
            pipe.send(batches.numpy())
        parts = [pipe.recv() for pipe in ranks]
        return {name: torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in parts[0]}

    return steps


def _work(pipe: Connection, *arrays: object) -> None:
    """Make the steps that are asked for, and take them on the batches that follow."""
    torch.set_num_threads(1)
    data = peers.Data(*map(torch.as_tensor, arrays))
    steps: Steps | None = None
    while True:
        asked = pipe.recv()
        if isinstance(asked, tuple):
            layers, seeds, batch_size, use_batchnorm = asked
            take_step = peers.compiled_step(data, layers, batch_size, use_batchnorm)
            steps = peers.compiled_engine(data, layers, seeds, use_batchnorm, take_step)
        elif steps:
            pipe.send({name: value.numpy() for name, value in steps(torch.as_tensor(asked)).items()})
