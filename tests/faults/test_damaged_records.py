"""A record that is not as it was written is refused: in one line, which names it and what makes it again."""

import importlib
import json
import random
import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from clones import ROOT
from samples import DIVERGES, evaluated, trained
from torch import Tensor

import stages
from pipeline import artifacts
from pipeline.analysis.evaluation import evaluate_arm
from pipeline.analysis.timing import KINDS, Timing
from pipeline.data.preprocessing import Dataset, DatasetCard, Examples
from pipeline.data.sources import SOURCES
from pipeline.params import load_params

CLOTHES = SOURCES["fashion_mnist"].classes
IMAGES = torch.arange(24, dtype=torch.uint8).reshape(6, 4)
LABELS = torch.arange(6, dtype=torch.uint8)
DATASET = Dataset("fashion_mnist", "Fashion-MNIST", CLOTHES, IMAGES, LABELS, IMAGES[:3].clone(), LABELS[:3].clone())
CARD = DatasetCard("fashion_mnist", "Fashion-MNIST", CLOTHES, 33.3, 78.5, {"train": 6, "validation": 2, "test": 3})
SECONDS = {kind: [0.1, 0.2] for kind in KINDS}
KIND_OF_RECORD = {
    "a training": trained,
    "a training with batchnorm": lambda: trained(use_batchnorm=True, max_steps=2000),
    "a training of which one diverged": lambda: trained(l2=(0.0, 0.01, DIVERGES)),
    "an evaluation": lambda: evaluated(trained()),
    "a data set": lambda: DATASET,
    "a card": lambda: CARD,
    "examples": lambda: Examples(IMAGES, LABELS, torch.arange(6)),
    "a timing": lambda: Timing("cpu", SECONDS, SECONDS),
}
each_kind = pytest.mark.parametrize("name", KIND_OF_RECORD)


def of_tensor(tensor):
    yield "one axis more", tensor.unsqueeze(0)
    yield "flat" if tensor.dim() > 1 else "too short", tensor.flatten()[: -1 if tensor.dim() < 2 else None]
    yield "of another type", tensor.bool()
    yield "with another first number", tensor.flatten().index_fill(0, torch.tensor([0]), 77).view_as(tensor)


def of_json(value):
    for wrong in (None, "text", -1, -1.5, torch.nan, torch.inf, [], {}, True, "=HYPERLINK(1)"):
        if wrong != value or type(wrong) is not type(value):
            yield f"as {wrong!r}", wrong
    if isinstance(value, int | float):
        yield "a little larger", value * 1.0001 + 1e-300
    if isinstance(value, list) and value:
        yield "too short", value[:-1]
        yield "turned around", value[::-1] if value != value[::-1] else [*value, value[0]]
        yield from ((f"[0] {how}", [wrong, *value[1:]]) for how, wrong in of_json(value[0]))


def damages(value):
    """Yield what a value of a record may turn into, and how."""
    yield from of_tensor(value) if isinstance(value, Tensor) else of_json(value)
    if isinstance(value, dict):
        yield "with an entry too many", value | {"more": next(iter(value.values()))}
        for key, each in value.items():
            yield f"without {key}", {other: value[other] for other in value if other != key}
            yield from ((f"{key} {how}", value | {key: wrong}) for how, wrong in damages(each))


def write(folder, fields):
    """Write the fields of a record as they are, beside the checksum that is there."""
    sha256 = json.loads((folder / "record.json").read_text())["sha256"]
    for path in folder.iterdir():
        path.unlink()
    tensors = {name: fields.pop(name) for name, value in [*fields.items()] if isinstance(value, Tensor)}
    groups = {name: fields.pop(name) for name, value in [*fields.items()] if artifacts._is_tensors(value)}
    for name, group in (groups | ({"tensors": tensors} if tensors else {})).items():
        whole = {key: each.contiguous().clone() for key, each in group.items()}
        safetensors.torch.save_file(whole, folder / f"{name}.safetensors")
    (folder / "record.json").write_text(json.dumps({**fields, "sha256": sha256}))


def said_by_a_stage(record, folder):
    """Give what a stage says that reads the record and ends with an error; None if it takes the record."""
    try:
        stages.run(lambda params: artifacts.read_record(type(record), folder), "stage")
    except SystemExit as ended:
        return ended.code
    return None


def is_refusal(said, folder):
    heal = r"to make it again: python -m tools\.verify --remove \S+ && dvc repro"
    return said is not None and re.fullmatch(rf"stage: {folder}\S* is damaged: .{{1,310}}; {heal}", said)


@pytest.fixture(autouse=True)
def _params(monkeypatch):
    monkeypatch.setattr(stages, "load_params", lambda path: load_params(ROOT / "params.yaml"))


@each_kind
def test_every_damage_is_refused_in_one_line_that_names_the_record_and_what_heals_it(tmp_path, name):
    record, folder, wrong = KIND_OF_RECORD[name](), tmp_path / "record", {}
    artifacts.write_record(folder, record)
    write(folder, dict(vars(record)))
    assert said_by_a_stage(record, folder) is None
    for field, value in vars(record).items():
        for how, damaged in damages(value):
            write(folder, vars(record) | {field: damaged})
            if not is_refusal(said := said_by_a_stage(record, folder), folder):
                wrong[f"{field} {how}"] = said
    assert wrong == {}


@each_kind
def test_a_flipped_bit_is_refused_in_whichever_file_it_is(tmp_path, name):
    record, folder, draw = KIND_OF_RECORD[name](), tmp_path / "record", random.Random(0)
    artifacts.write_record(folder, record)
    for path in folder.iterdir():
        whole = path.read_bytes()
        for place in draw.choices(range(len(whole)), k=60):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
            assert is_refusal(said_by_a_stage(record, folder), folder), (path.name, place)
        path.write_bytes(whole)
    assert said_by_a_stage(record, folder) is None


@pytest.mark.parametrize("file", ["record.json", "tensors.safetensors", "parameters.safetensors"])
def test_a_record_of_files_of_two_runs_is_refused(tmp_path, file):
    """Such as a process leaves that is killed between two files."""
    artifacts.write_record(tmp_path / "one", trained())
    artifacts.write_record(tmp_path / "other", trained(learning_rate=0.02))
    (tmp_path / "other" / file).replace(tmp_path / "one" / file)
    assert is_refusal(said_by_a_stage(trained(), tmp_path / "one"), tmp_path / "one")


@pytest.mark.parametrize("stage", ["split", "evaluate", "report"])
@pytest.mark.parametrize("field", ["name", "title", "classes"])
@pytest.mark.parametrize("hostile", ["</script><script>alert(1)</script>", "=HYPERLINK(1)", "\x1b[2J", "", "a" * 41])
def test_a_hostile_name_goes_no_further(tmp_path, monkeypatch, stage, field, hostile):
    """It would reach the page of the plots, which DVC writes without escaping, and a table."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as forger:
        forger.setattr("pipeline.data.preprocessing._require_plain", lambda *names: None)
        changed = {field: [hostile, *CLOTHES[1:]] if field == "classes" else hostile}
        artifacts.write_record(stages.SOURCE, replace(DATASET, **changed))
        artifacts.write_record(stages.SPLIT / "card", replace(CARD, **changed))
    with pytest.raises(SystemExit) as ended:
        stages.run(importlib.import_module(f"stages.{stage}").main, stage)
    folder = stages.SOURCE if stage == "split" else stages.SPLIT / "card"
    assert ended.value.code.startswith(f"{stage}: {folder} is damaged: the name ")
    assert ended.value.code.isprintable()
    assert not (tmp_path / "plots").exists()


def test_the_names_of_all_data_sets_are_plain():
    for name, source in SOURCES.items():
        replace(CARD, name=name, title=source.title, classes=source.classes)


@pytest.mark.parametrize("change", [{"pixels": 5}, {"classes": 3}])
def test_networks_of_another_data_set_are_called_by_their_shape(change):
    """A record is checked by itself; whether two of them fit shows where they meet."""
    sizes = {"pixels": 12, "classes": 4} | change
    sets = {name: (torch.zeros(sizes["pixels"], 6), torch.eye(sizes["classes"], 6)) for name in CARD.sizes}
    with pytest.raises(ValueError, match=r"^\w+ wants .* got .*\("):
        evaluate_arm(trained(), sets)
