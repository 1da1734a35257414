"""When a stage ends before its time: with the dvc that runs it, and at Ctrl-C in one line.

It is the first thing that a stage imports, since torch, which comes next, takes seconds.
"""

from __future__ import annotations

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
INTERRUPTED = 130  # the exit status of what Ctrl-C ended
RWLOCK = Path(".dvc/tmp/rwlock")  # where dvc notes which process runs a stage


def end_with_dvc() -> None:
    """Let this process end soon after the dvc that started it, even if that was killed and could tell nobody.

    A shell may stand between the two; dvc gives it the stage's environment, as it gives it to the stage.
    """

    def watch() -> None:
        with contextlib.suppress(psutil.Error, OSError):  # a process that is gone is an answer too
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
    """Tell dvc from who adopts the orphans of a dvc that is gone already.

    Where dvc has noted nobody, who adopts is told by a session of its own.
    """
    with contextlib.suppress(OSError, ValueError):  # ValueError: a dvc is just writing
        notes = RWLOCK.read_text(encoding="utf-8")
        json.loads(notes)
        if noted := re.findall(r'"pid": (\d+)', notes):
            return not set(noted).isdisjoint(map(str, parents))
    return os.getsid(parents[-1]) == os.getsid(0)


def _belongs_to_a_stage(process: psutil.Process) -> bool:
    try:
        return "DVC_STAGE" in process.environ()
    except psutil.Error:
        return False


def report_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say of Ctrl-C that it came, and of everything else where."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = report_uncaught
if "DVC_STAGE" in os.environ and os.name == "posix":
    end_with_dvc()
