"""What is written is read back the same, with the same bytes each time, and whole or not at all."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pandas import DataFrame
from pandas.testing import assert_frame_equal
from samples import DIVERGES, evaluated, is_same, trained

from pipeline import TrainingResult, artifacts
from pipeline.analysis.evaluation import Evaluation
from pipeline.data.preprocessing import Dataset, DatasetCard, Examples


def uint8(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


def dataset():
    train, test = (uint8(9, 4), uint8(9) % 3), (uint8(3, 4), uint8(3) % 3)
    return Dataset("Größe 十", "Die Größe", ["T-shirt/top", "二", "c"], *train, *test)


RECORDS = {
    "TrainingResult": trained,
    "TrainingResult with batchnorm": lambda: trained(use_batchnorm=True),
    "TrainingResult that diverged": lambda: trained(l2=(0.0, DIVERGES)),
    "TrainingResult without costs": lambda: trained(max_steps=40),
    "Evaluation": lambda: evaluated(trained()),
    "Evaluation without hidden layers": lambda: replace(evaluated(trained()), activity={}, activations={}),
    "Dataset": dataset,
    "Examples": lambda: Examples(uint8(5, 4), uint8(5), torch.arange(5)),
    "Examples, none": lambda: Examples(uint8(0, 4), uint8(0), torch.arange(0)),
    "DatasetCard": lambda: DatasetCard("x", "X", ["a", "b"], 33.318447, 1 / 3, {"train": 3, "test": 1}),
}
each_record = pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS.keys())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@each_record
def test_a_record_comes_back_as_it_was(tmp_path, make):
    record = make()
    artifacts.write_record(tmp_path / "deep" / "folder", record)
    assert is_same(artifacts.read_record(type(record), tmp_path / "deep" / "folder"), record)


@each_record
def test_the_same_record_gives_the_same_bytes(tmp_path, make):
    record = make()
    artifacts.write_record(tmp_path / "once", record)
    artifacts.write_record(tmp_path / "twice", artifacts.read_record(type(record), tmp_path / "once"))
    assert contents(tmp_path / "once") == contents(tmp_path / "twice") != {}


def test_a_record_is_json_and_safetensors_and_nothing_else(tmp_path):
    artifacts.write_record(tmp_path, trained())
    assert set(contents(tmp_path)) == {"SHA256SUMS", "record.json", "tensors.safetensors", "parameters.safetensors"}
    artifacts.write_record(tmp_path / "evaluation", evaluated(trained()))
    names = {"accuracies", "activations", "activity", "costs", "mistakes", "tensors"}
    files = {f"{name}.safetensors" for name in names}
    assert set(contents(tmp_path / "evaluation")) == {"SHA256SUMS", "record.json", *files}


def test_a_record_of_another_kind_is_refused(tmp_path):
    artifacts.write_record(tmp_path, RECORDS["DatasetCard"]())
    with pytest.raises(ValueError, match=r"is damaged: it is no Evaluation: .* unexpected keyword argument 'name'"):
        artifacts.read_record(Evaluation, tmp_path)


def test_a_record_that_is_none_says_what_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"^{tmp_path}/SHA256SUMS is missing; to make it: dvc repro$"):
        artifacts.read_record(TrainingResult, tmp_path)


@pytest.mark.parametrize("name", ["record.json", "tensors.safetensors", "parameters.safetensors"])
def test_a_record_without_one_of_its_files_is_named(tmp_path, name):
    artifacts.write_record(tmp_path, trained())
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"^{tmp_path} is damaged: {name} is missing; to make it again: python -m "):
        artifacts.read_record(TrainingResult, tmp_path)


def test_a_field_too_few_or_too_many_is_named(tmp_path):
    for name, value in {"mean": None, "median": 0.5}.items():
        fields = vars(RECORDS["DatasetCard"]()) | {name: value}
        known = {key: each for key, each in fields.items() if each is not None}
        artifacts.write_record(tmp_path, SimpleNamespace(**known))
        with pytest.raises(ValueError, match=rf"^{tmp_path} is damaged: it is no DatasetCard: .* '{name}'; "):
            artifacts.read_record(DatasetCard, tmp_path)


def test_the_checksums_are_as_sha256sum_has_them(tmp_path):
    artifacts.write_record(tmp_path, trained())
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, 3)


def test_what_a_file_manager_leaves_beside_a_record_is_no_part_of_it(tmp_path):
    artifacts.write_record(tmp_path, trained())
    for name in ("._tensors.safetensors", "tensors copy.safetensors", ".DS_Store"):
        (tmp_path / name).write_bytes(b"left")
    assert is_same(artifacts.read_record(TrainingResult, tmp_path), trained())


def test_a_record_with_nan_in_its_json_leaves_the_old_one_whole(tmp_path):
    artifacts.write_record(tmp_path, trained())
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_record(tmp_path, replace(trained(learning_rate=0.02), epochs=[math.nan]))
    assert is_same(artifacts.read_record(TrainingResult, tmp_path), trained())


def test_nothing_of_an_earlier_record_stays(tmp_path):
    evaluation = evaluated(trained())
    artifacts.write_record(tmp_path / "record", evaluation)
    without = replace(evaluation, activity={}, activations={})
    for folder in ("record", "alone"):
        artifacts.write_record(tmp_path / folder, without)
    assert contents(tmp_path / "record") == contents(tmp_path / "alone")
    assert is_same(artifacts.read_record(Evaluation, tmp_path / "record"), without)


def test_tensors_come_back_in_the_order_of_their_names(tmp_path):
    artifacts.write_record(tmp_path, trained(use_batchnorm=True))
    names = list(artifacts.read_record(TrainingResult, tmp_path).parameters)
    assert names == sorted(names) and len(names) == 10


def test_a_transposed_tensor_is_stored_as_it_looks(tmp_path):
    tensor = torch.arange(6).reshape(2, 3).mT
    artifacts.write_record(tmp_path, Examples(tensor, tensor, tensor))
    assert torch.equal(artifacts.read_record(Examples, tmp_path).images, tensor)


WRITERS = {
    "bytes": (lambda path: artifacts.write_bytes(path, b"new")),
    "json": (lambda path: artifacts.write_json(path, {"new": 1})),
    "table": (lambda path: artifacts.write_table(path, DataFrame({"new": [1]}))),
}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


def full_disk(path, content):
    with path.open("wb") as file:
        file.write(content[:2])
    raise OSError(28, "No space left on device")


def interrupted(path, target):
    raise KeyboardInterrupt


@each_writer
@pytest.mark.parametrize(
    ("operation", "failure", "error"),
    [("write_bytes", full_disk, OSError), ("replace", interrupted, KeyboardInterrupt)],
    ids=["disk full", "interrupted"],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, write, operation, failure, error
):
    (tmp_path / "file").write_bytes(b"old")
    with monkeypatch.context() as patched, pytest.raises(error):
        patched.setattr(Path, operation, failure)
        write(tmp_path / "file")
    assert contents(tmp_path) == {"file": b"old"}


@each_writer
def test_a_file_is_replaced_by_a_rename_in_its_own_folder(tmp_path, monkeypatch, write):
    renamed = []
    rename = Path.replace

    def replacing(path, target):
        assert fnmatch(path.name, ".*.tmp")  # which .dvcignore names
        renamed.append((path.parent, target, path.stat().st_size))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replacing)
    write(tmp_path / "new" / "file")
    size = (tmp_path / "new" / "file").stat().st_size
    assert renamed == [(tmp_path / "new", tmp_path / "new" / "file", size)]
    assert list(contents(tmp_path)) == ["new/file"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_json_takes_no_number_that_json_has_not(tmp_path, value):
    artifacts.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "a.json", {"deep": [{"value": value}]})
    assert artifacts.read_json(tmp_path / "a.json") == {"old": 1}


def test_json_is_readable_text_that_keeps_its_order(tmp_path):
    content = {"b": 1, "a": [0.1, None, True], "title": "Größe"}
    artifacts.write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert list(json.loads(text)) == ["b", "a", "title"]
    assert artifacts.read_json(tmp_path / "a.json") == content
    assert "Größe" in text
    assert text.endswith("}\n")


def test_a_table_comes_back_as_it_was(tmp_path):
    costs = [0.1, 1e-9, 1 / 3, math.pi * 1e20, math.nan]
    table = DataFrame({"arm": ['a, "b"', "十\nx", "c", "d", "e"], "step": range(5), "cost": costs})
    artifacts.write_table(tmp_path / "a.csv", table)
    assert_frame_equal(artifacts.read_table(tmp_path / "a.csv"), table, check_exact=True)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == (
        f'arm,step,cost\n"a, ""b""",0,0.1\n"十\nx",1,1e-09\nc,2,{1 / 3}\nd,3,{math.pi * 1e20}\ne,4,\n'
    )


def test_committed_tables_are_written_as_they_were_read(tmp_path):
    tables = list((Path(__file__).parents[2] / "plots").glob("*.csv"))
    assert len(tables) >= 6
    for path in tables:
        artifacts.write_table(tmp_path / path.name, artifacts.read_table(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    artifacts.write_table(tmp_path / "a.csv", DataFrame(columns=["arm", "step"]))
    assert contents(tmp_path) == {"a.csv": b"arm,step\n"}
    assert artifacts.read_table(tmp_path / "a.csv").columns.tolist() == ["arm", "step"]


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None", "1", "1e5", "True", "-", "#N/A"])
def test_a_title_that_looks_like_a_number_or_like_nothing_stays_a_title(tmp_path, name):
    table = DataFrame({"arm": [name, "Baseline"], "cost": [0.5, math.nan]})
    artifacts.write_table(tmp_path / "a.csv", table)
    assert_frame_equal(artifacts.read_table(tmp_path / "a.csv"), table)
    alone = artifacts.read_table(tmp_path / "a.csv", {"arm": str})
    assert_frame_equal(alone, table[["arm"]])


@pytest.mark.parametrize("text", ["arm,test\na,1.5\n", "arm,steps\na,many\n", "steps\n1\n", "arm,steps\na,\n"])
def test_a_table_of_other_columns_or_values_is_named(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv is damaged: .*; to make it again: python -m tools\.verify --remove"):
        artifacts.read_table(tmp_path / "a.csv", {"arm": str, "steps": int})


def test_a_missing_file_or_a_folder_in_its_place_is_named_with_what_makes_it(tmp_path):
    for name, read in (("a.json", artifacts.read_json), ("a.csv", artifacts.read_table)):
        path = tmp_path / name
        with pytest.raises(FileNotFoundError, match=rf"^{path} is missing; to make it: dvc repro$"):
            read(path)
        path.mkdir()
        with pytest.raises(
            (OSError, ValueError), match=rf"^{path} (cannot be read|is damaged): .*; to make it again: "
        ):
            read(path)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3\n", b"a\n\xff\n"], ids=["empty", "ragged", "no text"])
def test_a_damaged_table_is_named(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.csv is damaged: "):
        artifacts.read_table(tmp_path / "a.csv")


@each_writer
def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path, write):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"File exists: '.*taken'$"):
        write(tmp_path / "taken" / "file")
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError, match=r"Is a directory: '[^']*/file'$"):
        write(tmp_path / "file")
    assert contents(tmp_path) == {"taken": b""}


@each_writer
def test_what_a_dead_process_left_of_the_same_file_is_removed(tmp_path, write):
    alive, dead = os.getppid(), subprocess.Popen([sys.executable, "--version"], stdout=subprocess.DEVNULL)
    dead.wait()
    kept = {f".file.{alive}.tmp", f".file2.{dead.pid}.tmp", f".other.{dead.pid}.tmp", ".file.x.tmp"}
    for name in (*kept, f".file.{dead.pid}.tmp"):
        (tmp_path / name).write_bytes(b"left")
    write(tmp_path / "file")
    assert set(contents(tmp_path)) == {"file", *kept}


def test_records_do_not_depend_on_when_or_where_they_were_written(tmp_path, monkeypatch):
    artifacts.write_record(tmp_path / "here", trained())
    monkeypatch.setattr(artifacts.os, "getpid", lambda: 99)
    artifacts.write_record(tmp_path / "elsewhere", trained())
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")


def test_a_result_read_back_is_a_training_result(tmp_path):
    artifacts.write_record(tmp_path, trained())
    result = artifacts.read_record(TrainingResult, tmp_path)
    assert all(type(value) is int for value in result.steps + result.best_step + result.seeds)
    assert all(type(value) is float for value in result.epochs + result.l2)
