"""What a training shows while it runs, on a terminal of 80 columns and where there is none."""

import fcntl
import os
import select
import struct
import sys
import termios

import torch

from pipeline.network.ensemble import Snapshot
from stages import progress
from stages.progress import TrainingProgress

SNAPSHOT = Snapshot(step=10_000, costs=torch.zeros(16), training=16, best_validation_cost=0.21384)


def test_a_terminal_of_80_columns_has_room_for_all(monkeypatch):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with TrainingProgress("train@batchnorm", 30_000) as shown:
            shown(SNAPSHOT)
            shown.bar.refresh()
            written = ""
            while "training" not in written and select.select([ours], [], [], 5)[0]:
                written += os.read(ours, 4096).decode()
    os.close(ours)
    line = written.split("\r")[-1].strip()
    assert line.startswith("train@batchnorm |")
    assert "| 10000/30000, 16 training, best cost 0.2138, cap in " in line
    assert line[-3] == ":" and len(line) <= 80


def test_elsewhere_there_is_a_plain_line_now_and_then(monkeypatch, capsys):
    clock = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with TrainingProgress("train@l2", 30_000) as shown:
        for _ in range(3):
            shown(SNAPSHOT)
    assert capsys.readouterr().out == (
        "train@l2: step 10,000 of at most 30,000, 16 training, best validation cost of all 0.2138, "
        "about 40 s to the cap\n"
    )


def test_only_the_first_rank_shows_it(capsys):
    with TrainingProgress("train@l2", 30_000, shown=False) as shown:
        shown(SNAPSHOT)
    assert capsys.readouterr() == ("", "")
