"""What a training shows while it runs, on a terminal of 80 columns and where there is none."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace

import pytest
import torch
from clones import ROOT, small_params
from dvc.utils.serialize import dumps_yaml, loads_yaml
from samples import DIVERGES, SETS, trained, write_split

from pipeline.network import training
from pipeline.network.ensemble import Snapshot
from pipeline.params import load_params
from stages import check, evaluate, l2_path, progress, train
from stages.progress import training_shown
from stages.train import _print_costs, _say

SNAPSHOT = Snapshot(step=10_000, costs=torch.zeros(16), training=16, best_validation_cost=0.21384)


def terminal_of_80_columns():
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    return ours, theirs


LONG = "a" * 40
LABELS = {
    "train@batchnorm": "train@batchnorm",
    f"train@{LONG}": "train@aaaaaaa...",
    "l2_path": "l2_path",
}
each_label = pytest.mark.parametrize(("label", "cut"), LABELS.items(), ids=["an arm", "40 letters", "l2_path"])


@each_label
def test_a_terminal_of_80_columns_has_room_for_all(monkeypatch, label, cut):
    ours, theirs = terminal_of_80_columns()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with training_shown(label, 16, 30_000) as show:
            show(SNAPSHOT)
            written = ""
            while "0.2138" not in written and select.select([ours], [], [], 5)[0]:
                written += os.read(ours, 4096).decode()
    os.close(ours)
    line = written.split("\r")[-1].strip()
    assert line.startswith(f"{cut} |")
    assert "| 10000/30000, 16 training, best cost 0.2138, cap in " in line
    assert line[-3] == ":" and len(line) <= 80


def test_a_setting_of_tqdm_changes_no_plain_line():
    code = "from stages.progress import training_shown\nwith training_shown('train@l2', 16, 300): pass"
    env = os.environ | {"TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "train@l2: 0/300, 16 training, cap in ?\n"


@each_label
def test_elsewhere_a_training_says_at_once_that_it_has_begun_and_then_now_and_then_how_far_it_is(
    monkeypatch, capsys, label, cut
):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.001)
    with training_shown(label, 16, 30_000) as show:
        said = capsys.readouterr().out
        show(SNAPSHOT)
        said += waited_for(capsys, f"{cut}: 10000/30000, 16 training, best cost 0.2138, cap in 00:0")
    assert said.startswith(f"{cut}: 0/30000, 16 training, cap in ?\n")
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(("steps", "networks"), [(10**6, 16), (10**8, 16)])
def test_large_numbers_take_the_room_of_the_label(capsys, steps, networks):
    with training_shown(f"train@{LONG}", networks, steps) as show:
        show(replace(SNAPSHOT, step=steps, training=networks))
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("train@") and "...: 0/1000000" in line
    whole = f", best cost 12.3456, cap in 1:02:03{steps}"
    assert len(line.replace(", cap in ?", whole)) <= 80


def test_what_a_training_with_a_long_name_says_at_its_end_fits_80_columns(capsys):
    result = trained(l2=(0.0, DIVERGES))
    _say(result, f"train@{LONG}")
    _print_costs(result, f"train@{LONG}")
    said = capsys.readouterr()
    lines = said.out.splitlines() + said.err.splitlines()
    assert max(map(len, lines)) <= 80 and " ".join(said.err.split()).startswith(f"train@{LONG}: seed ")


def test_whatever_stages_print_of_an_arm_with_the_longest_name_fits_80_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: [0], raising=False)  # fewer cores than threads
    monkeypatch.setattr(training, "compiled", lambda steps, *settings, **more: steps)
    name, stands_in = "a" * 64, {"dataset": "fashion_mnist"}
    values = loads_yaml(small_params(data=stands_in, training={"batch_size": 20, "threads": 2, "compile": True}))
    values |= {"reference": name, "arms": {name: {"title": "x", "use_batchnorm": False, "l2": 0.1}}}
    (tmp_path / "params.yaml").write_text(dumps_yaml(values))
    write_split(tmp_path / "data" / "split", SETS)
    params = load_params(tmp_path / "params.yaml")
    check.main(params)
    train.main(params, name)
    l2_path.main(params)
    evaluate.main(params)
    said = capsys.readouterr()
    assert [line for line in (said.out + said.err).splitlines() if len(line) > 80] == []
    words = " ".join(said.out.split())
    assert "training.threads is 2: stages use no more" in words and f"train@{name}: PyTorch compiles" in words
    assert re.search(rf"\b{name}: [\d.]+ % of the test set of digits \(fallback for fashion_mnist\)", words)


def test_a_line_may_be_said_meanwhile_on_a_terminal_too(monkeypatch, capsys):
    ours, theirs = terminal_of_80_columns()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(os.dup(theirs), "w") as out:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", out)
        with progress.working("download"):
            progress.say("a line")
        written = ""
        while not written.endswith(" \r") and select.select([ours], [], [], 5)[0]:
            written += os.read(ours, 4096).decode()
    os.close(ours)
    assert "\ra line\r\n" in written  # by itself, over blanks


def test_what_goes_through_parts_says_at_once_that_it_has_begun_and_goes_on_saying_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.001)
    said, seen = "", []
    for part in progress.each("evaluate", ["baseline", "l2"], "arms"):
        seen.append(part)
        said += waited_for(capsys, f"evaluate: {len(seen) - 1} of 2 arms, 00:0")
    assert seen == ["baseline", "l2"]
    assert said.startswith("evaluate: 0 of 2 arms, 00:00\n")


def test_what_has_no_parts_shows_how_long_it_has_taken(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.001)
    with progress.working("report: writing"):
        assert waited_for(capsys, "report: writing, 00:0").startswith("report: writing, 00:00\n")


def waited_for(capsys, line):
    """Wait until a line is printed, and once more; give all that was."""
    said, deadline = "", time.monotonic() + 30
    while said.count(line) < 2 and time.monotonic() < deadline:
        said += capsys.readouterr().out
    assert said.count(line) >= 2
    return said


def test_a_terminal_shows_parts_on_one_line_that_goes_away(monkeypatch, capsys):
    ours, theirs = terminal_of_80_columns()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert list(progress.each("timing", [1, 2, 3], "rounds")) == [1, 2, 3]
        written = ""
        while not written.endswith(" \r") and select.select([ours], [], [], 5)[0]:
            written += os.read(ours, 4096).decode()
    os.close(ours)
    assert "\rtiming: 0 of 3 rounds, 00:00" in written and "\n" not in written
    assert written.endswith(" \r")  # over blanks
    assert capsys.readouterr() == ("", "")


def test_what_is_shown_ends_with_an_error_too():
    with pytest.raises(ValueError, match="no such arm"), progress.working("evaluate"):
        raise ValueError("no such arm")
    assert not [thread for thread in threading.enumerate() if "go_on" in thread.name]
