"""How a stage shows that it works: a line that changes on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from pipeline.network.ensemble import Snapshot

Part = TypeVar("Part")

PLAIN_EVERY = 8.0  # seconds between two plain lines
SHOWN_EVERY = 1.0  # seconds between two changes on a terminal
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}, cap in {remaining}"  # it all fits 80 columns
COUNT = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}"
CLOCK = "{desc}, {elapsed}"


@contextmanager
def working(label: str, parts: Collection[Part] = (), unit: str = "") -> Iterator[tqdm[Part]]:
    """Show how long something has taken, and how many of its parts are done; to be used in a ``with`` statement.

    Gives the parts, to be gone through.
    """
    is_terminal = sys.stderr.isatty()
    bar = tqdm(
        parts,
        desc=label,
        unit=unit,
        bar_format=COUNT if parts else CLOCK,
        file=sys.stderr if is_terminal else io.StringIO(),
        mininterval=0,
        miniters=1,
        leave=False,
    )
    over = threading.Event()

    def show() -> None:
        if is_terminal:
            bar.refresh()
        else:
            print(bar, flush=True)

    def go_on() -> None:
        while not over.wait(SHOWN_EVERY if is_terminal else PLAIN_EVERY):
            show()

    show()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield bar
    finally:
        over.set()
        thread.join()
        bar.close()


def each(label: str, parts: Collection[Part], unit: str) -> Iterator[Part]:
    """Go through parts, and show how many are done."""
    with working(label, parts, unit) as shown:
        yield from shown


class TrainingProgress:
    """A callback for :func:`pipeline.network.training.train`, to be used in a ``with`` statement.

    The time left is that to ``max_steps`` at the speed so far. Training ends sooner: networks stop before, and a step
    of fewer networks is faster.
    """

    def __init__(self, label: str, max_steps: int, *, shown: bool = True) -> None:
        self.label = label
        self.max_steps = max_steps
        self.shown = shown
        self.terminal = shown and sys.stderr.isatty()
        self.bar = tqdm(
            total=max_steps,
            desc=label,
            bar_format=BAR,
            dynamic_ncols=True,
            smoothing=0,
            disable=not self.terminal,
            leave=False,
        )
        self.start = self.last_line = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def __call__(self, snapshot: Snapshot) -> None:
        """Show how the ensemble stands."""
        cost = f"{snapshot.best_validation_cost:.4f}"
        if self.terminal:
            self.bar.postfix = f"{snapshot.training} training, best cost {cost}"
            self.bar.update(snapshot.step - self.bar.n)
        elif self.shown and (now := time.monotonic()) - self.last_line > PLAIN_EVERY:
            self.last_line = now
            left = (now - self.start) / snapshot.step * (self.max_steps - snapshot.step)
            print(
                f"{self.label}: {snapshot.step:,}/{self.max_steps:,}, {snapshot.training} training, "
                f"best cost {cost}, cap in {tqdm.format_interval(left)}",
                flush=True,
            )
