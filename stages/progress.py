"""How a stage shows that it works: a line that changes on a terminal, a plain line now and then elsewhere."""

import io
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from pipeline.text import COLUMNS

if TYPE_CHECKING:
    from pipeline.network.ensemble import Snapshot

Part = TypeVar("Part")

PLAIN_EVERY = 8.0  # seconds between two plain lines
SHOWN_EVERY = 1.0  # seconds between two changes on a terminal
CLOCK = "{desc}, {elapsed}"
COUNT = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}"
# The time left is that to the cap at the speed so far. Training ends sooner: networks stop before, and a step of fewer
# networks is faster.
TRAINING = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}, cap in {remaining}"


@contextmanager
def working(label: str, parts: Collection[Any] = (), form: str = CLOCK, **options: Any) -> Iterator["tqdm[Any]"]:
    """Show how long something has taken, and how far it is; to be used in a ``with`` statement.

    Gives a bar of tqdm, which takes further ``options``; it yields the parts, if there are any.
    """
    is_terminal = sys.stderr.isatty()
    bar = tqdm(
        parts,
        desc=label,
        bar_format=form if is_terminal else form.replace(" |{bar}|", ":"),
        file=sys.stderr if is_terminal else io.StringIO(),
        dynamic_ncols=is_terminal,
        mininterval=0,
        miniters=1,
        leave=False,
        disable=False,  # whatever TQDM_DISABLE says: the lines below are its
        **options,
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
    with working(label, parts, COUNT, unit=unit) as shown:
        yield from shown


@contextmanager
def training_shown(label: str, networks: int, max_steps: int) -> Iterator[Callable[["Snapshot"], None]]:
    """Show how far an ensemble is; give the callback that a training calls with each snapshot."""
    numbers = {"n_fmt": max_steps, "total_fmt": max_steps, "remaining": "0:00:00"}
    widest = TRAINING.format(desc="", bar=" ", postfix=f", {networks} training, best cost 00.0000", **numbers)
    room = max(COLUMNS - len(widest), len("train@..."))
    label = label if len(label) <= room else f"{label[: room - 3]}..."
    with working(label, form=TRAINING, total=max_steps, postfix=f"{networks} training", smoothing=0) as bar:

        def show(snapshot: "Snapshot") -> None:
            bar.postfix = f"{snapshot.training} training, best cost {snapshot.best_validation_cost:.4f}"
            bar.update(snapshot.step - bar.n)

        yield show


def say(line: str) -> None:
    """Print a line while something else shows that it works."""
    tqdm.write(line)
    sys.stdout.flush()
