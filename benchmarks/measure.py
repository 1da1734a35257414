"""Time whoever takes turns, so that a busy moment of the machine falls on all."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.network.devices import clock

PAUSE, PAUSES = 0.01, 50  # seconds, and how many at most before a turn
CPU = torch.device("cpu")

Steps = Callable[[Tensor], Any]  # from indices to the trained parameters by name, or None


def in_turns(turns: Mapping[str, Callable[[], object]], rounds: int, device: torch.device = CPU) -> dict[str, float]:
    """Return each one's median seconds a turn on a device; a first turn to warm up does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds + 1):
        for name, turn in turns.items():
            _rest()
            turn()  # not timed: it wakes the threads
            start = clock(device)
            turn()
            seconds[name].append(clock(device) - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def microseconds(
    entrants: Mapping[str, tuple[int, Steps]],
    batch_size: int,
    *,
    examples: int,
    rounds: int,
    seconds: float,
    device: torch.device = CPU,
) -> dict[str, float]:
    """Return each entrant's microseconds a step of one network; it comes with how many networks it trains.

    A turn has as many steps as take about so many seconds.
    """
    generator = torch.Generator().manual_seed(0)
    turns: dict[str, Callable[[], object]] = {}
    steps = {}
    for name, (_, take) in entrants.items():
        trial = torch.randint(examples, (4, batch_size), generator=generator).to(device)
        take(trial)  # compiles, where something compiles
        a_step = in_turns({name: partial(take, trial)}, rounds=1, device=device)[name] / len(trial)
        steps[name] = max(2, round(seconds / a_step))
        batches = torch.randint(examples, (steps[name], batch_size), generator=generator).to(device)
        turns[name] = partial(take, batches)
    medians = in_turns(turns, rounds, device)
    return {name: 1e6 * medians[name] / steps[name] / networks for name, (networks, _) in entrants.items()}


def _rest() -> None:
    """Wait, half a second at most, until nobody's threads spin: NumPy's OpenBLAS keeps a core busy for 0.13 s."""
    for _ in range(PAUSES):
        start = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - start < PAUSE / 2:
            return


def line(label: str, cells: Iterable[str], width: int) -> str:
    """Set a line of a table."""
    return f"{label:26}" + "".join(f"{cell:>{width}}" for cell in cells)
