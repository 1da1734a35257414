"""How a stage shows that it trains: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from pipeline.training import Snapshot

PLAIN_EVERY = 15.0  # seconds between two plain lines


class TrainingProgress:
    """A callback for :func:`pipeline.training.train`, to be used in a ``with`` statement."""

    def __init__(self, label: str, max_steps: int, *, shown: bool = True) -> None:
        self.label = label
        self.shown = shown
        self.terminal = shown and sys.stderr.isatty()
        self.bar = tqdm(total=max_steps, desc=label, unit="step", disable=not self.terminal, leave=False)
        self.last_line = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def __call__(self, snapshot: Snapshot) -> None:
        """Show how the stack stands."""
        state = f"{snapshot.training} training, best validation cost {snapshot.best_validation_cost:.4f}"
        if self.terminal:
            self.bar.set_postfix_str(state, refresh=False)
            self.bar.update(snapshot.step - self.bar.n)
        elif self.shown and time.monotonic() - self.last_line > PLAIN_EVERY:
            self.last_line = time.monotonic()
            print(f"{self.label}: step {snapshot.step:,}, {state}", flush=True)
