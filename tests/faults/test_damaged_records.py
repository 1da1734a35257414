"""A record that is not as it was written is refused: in one line, which names it and what makes it again."""

import importlib
import json
import random
import re
from dataclasses import replace

import pytest
import torch
from clones import ROOT
from samples import DIVERGES, evaluated, trained

import stages
from pipeline import artifacts
from pipeline.analysis.evaluation import evaluate_arm, require_fit
from pipeline.analysis.timing import KINDS, Timing
from pipeline.data import preprocessing
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


def changed(content):
    """Yield what a file of a record may turn into, and how."""
    yield "empty", b""
    yield "half", content[: len(content) // 2]
    yield "longer", content + b"\n"
    yield "of zeros", bytes(len(content))
    for old, new in ((b"1", b"2"), (b"1", b"NaN"), (b"1", b'"text"'), (b"[", b"[null, "), (b'"', b'"=HYPERLINK(1)')):
        if old in content:
            yield f"with {new} in place of {old}", content.replace(old, new, 1)
    draw = random.Random(0)
    for place in draw.choices(range(len(content)), k=20):
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)])
        yield f"with a flipped bit at {place}", content[:place] + flipped + content[place + 1 :]


def said_by_a_stage(record, folder):
    """Give what a stage says that reads the record and ends with an error; None if it takes the record."""
    try:
        stages.run(lambda params: artifacts.read_record(type(record), folder), "stage")
    except SystemExit as ended:
        return ended.code
    return None


def is_refusal(said, folder):
    again = r"to make it again: python -m tools\.verify --remove \S+ && dvc repro"
    words = rf"(?:is damaged|cannot be read): .{{1,310}}; {again}|is missing; to make it: dvc repro"
    return said is not None and re.fullmatch(rf"stage: {folder}.*? (?:{words})", said)


@pytest.fixture(autouse=True)
def _params(monkeypatch):
    monkeypatch.setattr(stages, "load_params", lambda path: load_params(ROOT / "params.yaml"))


@each_kind
def test_every_damage_is_refused_in_one_line_that_names_the_record_and_what_heals_it(tmp_path, name):
    record, folder, wrong = KIND_OF_RECORD[name](), tmp_path / "record", {}
    artifacts.write_record(folder, record)
    for path in folder.iterdir():
        whole = path.read_bytes()
        for how, damaged in changed(whole):
            path.write_bytes(damaged)
            if not is_refusal(said := said_by_a_stage(record, folder), folder):
                wrong[f"{path.name} {how}"] = said
        path.write_bytes(whole)
    assert wrong == {}
    assert said_by_a_stage(record, folder) is None


def test_a_flipped_bit_of_a_number_is_refused_even_where_json_reads_the_same(tmp_path):
    artifacts.write_record(tmp_path, replace(CARD, mean=0.1 + 0.2, std=1e-05))
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    for old, new in ((b"0.30000000000000004", b"0.30000000000000005"), (b"1e-05", b"1E-05")):
        assert old in whole and json.loads(whole) == json.loads(whole.replace(old, new))
        path.write_bytes(whole.replace(old, new))
        assert is_refusal(said_by_a_stage(CARD, tmp_path), tmp_path)


@pytest.mark.parametrize("file", ["SHA256SUMS", "record.json", "tensors.safetensors", "parameters.safetensors"])
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
        forger.setattr(preprocessing, "require_plain", lambda *names: None)
        changed = {field: [hostile, *CLOTHES[1:]] if field == "classes" else hostile}
        artifacts.write_record(stages.SOURCE, replace(DATASET, **changed))
        artifacts.write_record(stages.SPLIT / "card", replace(CARD, **changed))
    with pytest.raises(SystemExit) as ended:
        stages.run(importlib.import_module(f"stages.{stage}").main, stage)
    folder = stages.SOURCE if stage == "split" else stages.SPLIT / "card"
    assert ended.value.code.startswith(f"{stage}: {folder} is damaged: the name ")
    assert ended.value.code.isprintable()
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize("name", ["", "-x", "C++", "a b\nc", "=1", "a" * 41])
def test_a_data_set_whose_names_are_not_plain_is_no_source(name):
    for changes in ({"title": name}, {"classes": [*CLOTHES[1:], name]}):
        with pytest.raises(ValueError, match=r"^the name .* must begin with a letter or digit, and hold at most 40 "):
            replace(SOURCES["mnist"], **changes)


@pytest.mark.parametrize("other", ["seeds", "layers"])
def test_trainings_that_do_not_belong_together_are_refused(other):
    result = trained()
    parameters = {name: each for name, each in result.parameters.items() if name[1:] != "3"}
    unlike = trained(l2=(0.0, 0.0)) if other == "seeds" else replace(result, parameters=parameters)
    require_fit({"a": result, "b": result}, {})
    with pytest.raises(ValueError, match=r"^the arm b was trained with other seeds or layers than the others: run "):
        require_fit({"a": result, "b": unlike}, {})


@pytest.mark.parametrize("changes", [{"activity": {}}, {"confusion": torch.zeros(2, 4, 4)}], ids=["layers", "networks"])
def test_an_evaluation_of_other_networks_is_refused(changes):
    result, evaluation = trained(), evaluated(trained())
    require_fit({"a": result, "b": result}, {"a": evaluation, "b": evaluation})
    with pytest.raises(ValueError, match=r"^the evaluation of the arm b is of other networks: run dvc repro$"):
        require_fit({"a": result, "b": result}, {"a": evaluation, "b": replace(evaluation, **changes)})


@pytest.mark.parametrize("change", [{"pixels": 5}, {"classes": 3}])
def test_networks_of_another_data_set_are_called_by_their_shape(change):
    """A record is checked by itself; whether two of them fit shows where they meet."""
    sizes = {"pixels": 12, "classes": 4} | change
    sets = {name: (torch.zeros(sizes["pixels"], 6), torch.eye(sizes["classes"], 6)) for name in CARD.sizes}
    with pytest.raises(ValueError, match=r"^\w+ wants .* got .*\("):
        evaluate_arm(trained(), sets)
