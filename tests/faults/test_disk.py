"""A full disk or a read-only folder: a clear error, nothing half-written, and the same bytes once there is room."""

import ctypes
import os
import re
import resource
import sys

import pytest
from dvc.utils.serialize import dumps_yaml
from runs import copy_of, files_of, outs_of, remove, run_stage

import stages.report

STAGES = ["check", "download", "split", "train@l2", "l2_path", "evaluate", "report", "timing"]
each_stage = pytest.mark.parametrize("name", STAGES)


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    return copy_of(clone, tmp_path_factory.mktemp("disk")).folder


def limit_files_to(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def give_up_privileges():
    """Take from root what lets it write where nobody may: all its capabilities (capset, version 3 of its header)."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0


@pytest.fixture
def missing(finished, name, monkeypatch):
    """Take a stage's outputs away and see that it can make them again at the end; yield what they were."""
    outs = outs_of(finished, name)
    whole = files_of(finished, outs)
    remove(finished, outs)
    monkeypatch.setattr(stages.report, "build_report", lambda study: whole["report.docx"])  # building it takes seconds
    yield whole
    status, said = run_stage(finished, name)
    assert status == 0, said
    made = files_of(finished, outs)
    assert set(made) == set(whole)
    assert name == "timing" or made == whole


@each_stage
def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(finished, missing, name):
    largest = max(map(len, missing.values()))
    within = largest * 3 // 4  # of the largest file; the last byte would be too late: times have no fixed length
    for size in [10, within] if len(missing) > 1 else [within]:  # full at the first file, then within the largest
        status, said = run_stage(finished, name, before=limit_files_to(size))
        assert status == 1, said
        path = re.fullmatch(rf"{name}: \[Errno 27\] File too large: '(.+)'", said.splitlines()[-1]).group(1)
        assert path in missing
        assert "Traceback" not in said
        left = files_of(finished, outs_of(finished, name))
        assert left.items() <= missing.items() or name == "timing"
        assert path not in left


@pytest.mark.skipif(
    os.geteuid() == 0 and not sys.platform.startswith("linux"),
    reason="root writes into every folder, and only on Linux can it give that up",
)
@each_stage
def test_a_folder_that_is_read_only_is_a_clear_error_and_gets_nothing(finished, missing, name):
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
    assert files_of(finished, outs_of(finished, name)) == {}


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "params.yaml").write_text(dumps_yaml({"data": 1}))
    (tmp_path / "data").write_text("")
    status, said = run_stage(tmp_path, "split")
    assert (status, said.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "stage", "said"),
    [
        ("data/source/tensors.safetensors", "split", "data/source is damaged: tensors.safetensors does not "),
        ("data/source/record.json", "split", "data/source is damaged: record.json does not "),
        (
            "models/l2/parameters.safetensors",
            "evaluate",
            "models/l2 is damaged: parameters.safetensors does not ",
        ),
        ("results/timing/record.json", "report", "results/timing is damaged: record.json does not "),
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
    assert (status, said.strip()) == (1, "train@l2: data/split/card/SHA256SUMS is missing; to make it: dvc repro")
