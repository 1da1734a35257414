"""A full disk or a read-only folder: a clear error, nothing half-written, and the same bytes once there is room."""

import ctypes
import os
import re
import resource
import shutil

import pytest
import yaml
from runs import copy_of, run_stage
from test_pipeline import DVC

import stages.report

STAGES = ["check", "download", "split", "train@l2", "l2_path", "evaluate", "report", "timing"]
each_stage = pytest.mark.parametrize("name", STAGES)


def outs_of(name):
    stage, _, key = name.partition("@")
    stage = DVC["stages"][stage].get("do", DVC["stages"][stage])
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry.replace("${key}", key) for entry in entries]


def remove(folder, outs):
    """Remove outputs, as dvc does before it runs their stage."""
    for out in outs:
        path = folder / out
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def files_of(folder, outs):
    """Read all files of some outputs, and every temporary file."""
    paths = [path for out in outs for path in [folder / out, *(folder / out).rglob("*")] if path.is_file()]
    paths += [path for path in folder.rglob(".*.tmp") if ".dvc" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    return copy_of(clone, tmp_path_factory.mktemp("disk")).folder


def limit_files_to(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def give_up_privileges():
    """Take from root what lets it write where nobody may: all its capabilities (capset, version 3 of its header)."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0


@each_stage
def test_a_stage_survives_a_full_disk_and_a_read_only_folder(finished, monkeypatch, name):
    outs = outs_of(name)
    whole = files_of(finished, outs)
    largest = max(map(len, whole.values()))
    remove(finished, outs)
    monkeypatch.setattr(stages.report, "build_report", lambda study: whole["report.docx"])  # building it takes seconds

    for size in {largest - 1, 10} if len(whole) > 1 else {largest // 2}:  # full at the largest, and at the first file
        status, said = run_stage(finished, name, before=limit_files_to(size))
        assert status == 1, said
        path = re.fullmatch(rf"{name}: \[Errno 27\] File too large: '(.+)'", said.splitlines()[-1]).group(1)
        assert path in whole
        assert "Traceback" not in said
        left = files_of(finished, outs)
        assert left.items() <= whole.items() or name == "timing"
        assert path not in left

    remove(finished, outs)
    folders = [folder for folder in (finished, *finished.rglob("*")) if folder.is_dir() and ".dvc" not in folder.parts]
    modes = {folder: folder.stat().st_mode for folder in folders}
    try:
        for folder in folders:
            folder.chmod(0o555)
        status, said = run_stage(finished, name, before=give_up_privileges)
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert status == 1, said
    assert re.fullmatch(rf"{name}: \[Errno 13\] Permission denied: '.+'", said.splitlines()[-1]), said
    assert "Traceback" not in said
    assert files_of(finished, outs) == {}

    status, said = run_stage(finished, name)
    assert status == 0, said
    made = files_of(finished, outs)
    assert set(made) == set(whole)
    assert name == "timing" or made == whole


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data": 1}))
    (tmp_path / "data").write_text("")
    status, said = run_stage(tmp_path, "split")
    assert (status, said.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "stage", "said"),
    [
        ("data/source/tensors.safetensors", "split", "data/source/tensors.safetensors is damaged: "),
        ("data/source/record.json", "split", "data/source/record.json is damaged: "),
        ("models/l2/parameters.safetensors", "evaluate", "models/l2/parameters.safetensors is damaged: "),
        ("results/timing.json", "report", "results/timing.json is damaged: "),
    ],
)
def test_a_damaged_input_is_named(finished, damage, stage, said):
    path = finished / damage
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        status, words = run_stage(finished, stage)
    finally:
        path.write_bytes(whole)
    assert status == 1
    assert words.startswith(f"{stage}: {said}")
    assert words.count("\n") == 1


def test_a_missing_input_is_named(finished):
    path = finished / "data/split/card"
    path.rename(finished / "elsewhere")
    try:
        status, said = run_stage(finished, "train@l2")
    finally:
        (finished / "elsewhere").rename(path)
    assert (status, said) == (1, "train@l2: [Errno 2] No such file or directory: 'data/split/card/record.json'\n")
