"""Seconds a training step of a stack in one process and divided among two, in turns.

``python -m benchmarks.scaling NETWORKS`` prints a table. The data have MNIST's size; evaluations of the validation
set and the gathering of the results count, the seconds in which processes start do not.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pipeline.distributed import Group
from stages.launch import launch_ranks

ROUNDS = 5
STEPS = 200
EXAMPLES = {"train": 48_000, "validation": 12_000}
LAYERS = [784, 20, 7, 5, 10]
BATCH_SIZE = 512

Examples = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Setting:
    """How many processes train, and how many threads each has."""

    processes: int
    threads: int


SETTINGS = [Setting(1, 1), Setting(1, 2), Setting(2, 1)]


def measure(networks: int) -> None:
    """Let the settings take turns on two ranks, of which the second rests where one is enough; rank 0 prints."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    sets = [random_examples(count) for count in EXAMPLES.values()]
    seconds: dict[Setting, list[float]] = {setting: [] for setting in SETTINGS}
    for _ in range(ROUNDS + 1):
        for setting, taken in seconds.items():
            torch.set_num_threads(setting.threads)
            dist.barrier()
            start = time.perf_counter()
            if rank < setting.processes:
                train_together(Group(rank, ["this host"] * setting.processes), sets, networks)
            taken.append(time.perf_counter() - start)
    if rank == 0:
        show(networks, {setting: taken[1:] for setting, taken in seconds.items()})  # the first turn warms up
    dist.destroy_process_group()


def random_examples(count: int) -> Examples:
    """Make up standardised columns of pixels and one-hot columns of labels."""
    labels = torch.randint(LAYERS[-1], (count,))
    return torch.randn(count, LAYERS[0]).mT, torch.nn.functional.one_hot(labels, LAYERS[-1]).float().mT


def train_together(ranks: Group, sets: list[Examples], networks: int) -> None:
    """Train the stack on the ranks of a group for some steps."""
    (X, Y), validation = sets
    ranks.train(
        X,
        Y,
        LAYERS,
        seeds=range(networks),
        l2=0.0,
        progress=lambda snapshot: None,
        validation=validation,
        learning_rate=0.009,
        max_steps=STEPS,
        batch_size=BATCH_SIZE,
        patience=STEPS,
    )


def show(networks: int, seconds: dict[Setting, list[float]]) -> None:
    """Print medians, and the speed as a multiple of one process with one thread in the same round."""
    reference = seconds[SETTINGS[0]]
    print(f"{networks} networks, {STEPS} steps of {BATCH_SIZE} examples, {ROUNDS} rounds")
    print("processes  threads each  ms a step        speed (lowest to highest)")
    for setting, taken in seconds.items():
        speeds = [before / now for before, now in zip(reference, taken, strict=True)]
        print(
            f"{setting.processes:9}  {setting.threads:12}  {statistics.median(taken) / STEPS * 1e3:9.2f}        "
            f"{statistics.median(speeds):5.2f} ({min(speeds):.2f} to {max(speeds):.2f})"
        )


if __name__ == "__main__":
    if dist.is_torchelastic_launched():
        measure(int(sys.argv[1]))
    else:
        launch_ranks(2, "scaling", "-m", "benchmarks.scaling", sys.argv[1])
