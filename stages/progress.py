"""How a stage shows that it trains: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from pipeline.network.ensemble import Snapshot

PLAIN_EVERY = 15.0  # seconds between two plain lines
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}, cap in {remaining}"  # it all fits 80 columns


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
                f"{self.label}: step {snapshot.step:,} of at most {self.max_steps:,}, {snapshot.training} training, "
                f"best validation cost of all {cost}, about {left:.0f} s to the cap",
                flush=True,
            )
