"""How a stage shares the machine and ends early: together with its dvc, and with one line at Ctrl-C.

A stage imports this first, because the import of torch takes seconds.
"""

import contextlib
import itertools
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

LOOK_EVERY = 0.1  # seconds
INTERRUPTED = 130  # the exit status after Ctrl-C
RWLOCK = Path(".dvc/tmp/rwlock")  # dvc's list of the processes that run stages


def end_with_dvc() -> None:
    """End this process soon after the dvc that started it, even if dvc was killed.

    A shell may stand between the two. It has the stage's environment too.
    """

    def watch() -> None:
        with contextlib.suppress(psutil.Error, OSError):  # a process that is gone has ended
            stage = psutil.Process()
            below_dvc = list(itertools.takewhile(_belongs_to_a_stage, [stage, *stage.parents()]))
            parents = [process.ppid() for process in below_dvc]
            started_by_dvc = _is_dvc_among(parents)
            while started_by_dvc and [process.ppid() for process in below_dvc] == parents:
                time.sleep(LOOK_EVERY)
        with contextlib.suppress(OSError):
            sys.stderr.write("dvc has ended, and this stage with it\n")
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_dvc_among(parents: list[int]) -> bool:
    """Tell whether a parent is dvc, and not the process that adopted us after dvc had ended.

    dvc is in its own list. If the list is empty, dvc is in our session, and the adopter is not.
    """
    with contextlib.suppress(OSError, ValueError):
        notes = RWLOCK.read_text(encoding="utf-8")
        json.loads(notes)  # raises if dvc has written half of it
        if noted := re.findall(r'"pid": (\d+)', notes):
            return not set(noted).isdisjoint(map(str, parents))
    return os.getsid(parents[-1]) == os.getsid(0)


def _belongs_to_a_stage(process: psutil.Process) -> bool:
    try:
        return "DVC_STAGE" in process.environ()
    except psutil.Error:
        return False


def end_at_once() -> None:
    """Exit without Python's own clean-up, which takes up to a second once torch is imported."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def report_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one line at Ctrl-C, and a traceback for every other error."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = report_uncaught
# A thread that waits for another spins for about a tenth of a millisecond, as a product is soon done, then sleeps. By
# default it spins for much longer, and so may hold the core that the other needs.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # read by GNU's OpenMP when torch is imported
if "DVC_STAGE" in os.environ and os.name == "posix":
    end_with_dvc()
