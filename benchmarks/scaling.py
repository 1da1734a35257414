"""Measure a training step of an ensemble in one process and divided among several.

``python -m benchmarks.scaling`` writes ``scaling.json`` beside this file and its table into ``docs/scaling.md``.
The data have MNIST's size; the steps are not compiled, as by default. Evaluations of the validation set count; what a
training does once does not, as the start of processes: two trainings differ only in the number of their steps.
"""

import os
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks import EXAMPLES, LAYERS, LEARNING_RATE
from pipeline import artifacts
from pipeline.network import distributed
from pipeline.network.distributed import Group
from stages.launch import launch_ranks

NETWORKS = (16, 64)
SETTINGS = ((1, 1), (1, 2), (2, 1), (4, 1))  # processes, and threads of each
ROUNDS = 3
STEPS = (200, 1000)  # of the two trainings
SIZES = {"train": EXAMPLES, "validation": EXAMPLES // 4}
BATCH_SIZE = 256
RANKS = 2  # of one thread, on a core each: whose cost is extrapolated
SEEDS, SEED_STEPS, MACHINES, CORES = 1000, 10_000, 4, 16  # to this
RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path("docs/scaling.md")

Examples = tuple[torch.Tensor, torch.Tensor]


def measure() -> None:
    """Let the settings take turns on four ranks, of which some rest where fewer are enough; rank 0 writes."""
    with distributed.group() as ranks:
        sets = [random_examples(count) for count in SIZES.values()]
        seconds = {networks: in_turns(ranks, sets, networks) for networks in NETWORKS}
        if ranks.rank == 0:
            sizes = {
                "steps": STEPS[1] - STEPS[0],
                "batch_size": BATCH_SIZE,
                "cores": os.cpu_count(),
                "torch": torch.__version__,
            }
            artifacts.write_json(RESULTS, {**sizes, "seconds": {str(key): value for key, value in seconds.items()}})
            write_page()


def write_page() -> None:
    """Put the table of the results into the page, between its two marks."""
    text = as_text(artifacts.read_json(RESULTS))
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(r"(?s)(<!-- scaling -->\n).*?(\n<!-- end -->)", lambda mark: mark[1] + text + mark[2], page)
    artifacts.write_bytes(PAGE, page.encode())


def in_turns(ranks: Group, sets: Sequence[Examples], networks: int) -> dict[str, list[float]]:
    """Return, for each setting, the seconds that the further steps of the longer training took, a value a turn."""
    seconds: dict[str, list[float]] = {_name(*setting): [] for setting in SETTINGS}
    train_together(ranks, sets, networks, STEPS[0])  # to warm up
    for _ in range(ROUNDS):
        for processes, threads in SETTINGS:
            torch.set_num_threads(threads)
            short, long = (seconds_of(ranks, processes, sets, networks, steps) for steps in STEPS)
            seconds[_name(processes, threads)].append(round(long - short, 4))
    return seconds


def seconds_of(ranks: Group, processes: int, sets: Sequence[Examples], networks: int, steps: int) -> float:
    """Let some of the ranks train, and measure the seconds."""
    dist.barrier()
    start = time.perf_counter()
    if ranks.rank < processes:
        train_together(Group(ranks.rank, ranks.hosts[:processes]), sets, networks, steps)
    return time.perf_counter() - start


def random_examples(count: int) -> Examples:
    """Make up standardised columns of pixels and one-hot columns of labels."""
    labels = torch.randint(LAYERS[-1], (count,))
    return torch.randn(count, LAYERS[0]).mT, torch.nn.functional.one_hot(labels, LAYERS[-1]).float().mT


def train_together(ranks: Group, sets: Sequence[Examples], networks: int, steps: int) -> None:
    """Train the ensemble on the ranks of a group for some steps."""
    (X, Y), validation = sets
    ranks.train(
        X,
        Y,
        LAYERS,
        seeds=range(networks),
        l2=0.0,
        progress=lambda snapshot: None,
        validation=validation,
        learning_rate=LEARNING_RATE,
        max_steps=steps,
        batch_size=BATCH_SIZE,
        patience=steps,
    )


def as_text(results: Mapping[str, Any]) -> str:
    """Set medians and speeds as a table, and say what a thousand seeds would take here and on larger machines."""
    lines = [
        "| Networks | Processes x threads | ms a step | ms a step and network | Speed (lowest to highest) |",
        "| ---: | :---: | ---: | ---: | ---: |",
    ]
    of_a_core = {}
    for networks, seconds in results["seconds"].items():
        reference = seconds[_name(*SETTINGS[0])]
        for name, taken in seconds.items():
            speeds = [before / now for before, now in zip(reference, taken, strict=True)]
            cost = statistics.median(taken) / results["steps"] * 1e3
            each = cost / int(networks)
            if name == _name(RANKS, 1):
                of_a_core[int(networks) // RANKS] = each * RANKS
            spread = f"{statistics.median(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f})"
            lines.append(f"| {networks} | {name} | {cost:.1f} | {each:.2f} | {spread} |")
    measured = " and ".join(f"{cost:.2f} ms in ensembles of {networks}" for networks, cost in of_a_core.items())
    here, there = (
        " to ".join(
            dict.fromkeys(f"{cost * SEEDS * SEED_STEPS / 6e4 / cores:.0f}" for cost in sorted(of_a_core.values()))
        )
        for cores in (results["cores"], MACHINES * CORES)
    )
    machines = f"{MACHINES} machines of {CORES} such cores"
    extrapolated = (
        f"With two ranks a core takes, for a step of one network, {measured}.\n"
        f"**Extrapolated from that, not run:** an arm of {SEEDS:,} networks of {SEED_STEPS:,} steps takes {here} "
        f"minutes\non this machine's {results['cores']} cores, or {there} on {machines}. This assumes that more\n"
        f"cores do not slow each other, and that communication costs nothing."
    )
    return "\n".join([*lines, "", extrapolated])


def _name(processes: int, threads: int) -> str:
    return f"{processes} x {threads}"


if __name__ == "__main__":
    launch_ranks("scaling", max(processes for processes, _ in SETTINGS), measure)
