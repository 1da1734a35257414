"""Training steps a second of a stack in one process and divided among two, in turns; prints a table.

``python -m benchmarks.scaling NETWORKS``. Data of MNIST's size, evaluations of the validation set included, and the
gathering of the results too; not the seconds in which processes start.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pipeline import distributed
from pipeline.distributed import Group
from pipeline.training import train
from stages.launch import launch_ranks

ROUNDS = 5
STEPS = 200
EXAMPLES = {"train": 48_000, "validation": 12_000}
DIMS = [784, 20, 7, 5, 10]
BATCH_SIZE = 512


@dataclass(frozen=True)
class Setting:
    """How many processes train, and with how many threads each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} process{'es' * (self.processes > 1)}, {self.threads} thread{'s' * (self.threads > 1)} each"


SETTINGS = [Setting(1, 1), Setting(1, 2), Setting(2, 1)]


def main(networks: int) -> None:
    """Let the settings take turns; rank 0 prints."""
    with distributed.group() as ranks:
        sets = {name: _examples(count) for name, count in EXAMPLES.items()}
        seconds: dict[Setting, list[float]] = {setting: [] for setting in SETTINGS}
        for _ in range(ROUNDS + 1):
            for setting, taken in seconds.items():
                dist.barrier()
                torch.set_num_threads(setting.threads)
                start = time.perf_counter()
                if setting.processes > ranks.rank:
                    _train(Group(ranks.rank, ranks.hosts[: setting.processes]), sets, networks)
                taken.append(time.perf_counter() - start)
        if ranks.rank == 0:
            _print(networks, {setting: taken[1:] for setting, taken in seconds.items()})


def _train(ranks: Group, sets: dict[str, tuple[torch.Tensor, torch.Tensor]], networks: int) -> None:
    ranks.train(
        *sets["train"],
        DIMS,
        seeds=range(networks),
        l2=0.0,
        progress=lambda snapshot: None,
        validation=sets["validation"],
        learning_rate=0.009,
        max_steps=STEPS,
        batch_size=BATCH_SIZE,
        patience=STEPS,
    )
    ranks.leave()
