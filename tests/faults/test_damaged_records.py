"""A record that is not as it was written is refused: in one line, which names it and what makes it again."""

import importlib
import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clones import ROOT
from samples import DIVERGES, evaluated, trained

import stages
from pipeline import TrainingResult, artifacts
from pipeline.analysis.evaluation import Evaluation, evaluate_arm
from pipeline.analysis.timing import KINDS, Timing
from pipeline.data import preprocessing
from pipeline.data.preprocessing import Dataset, DatasetCard, Examples
from pipeline.data.sources import SOURCES
from pipeline.params import load_params
from stages import check

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
    """Tell whether one line names the record, what is wrong, and the two commands that make it again."""
    files = r"(SHA256SUMS|record\.json|\w+\.safetensors)"
    fault = rf"{files} (is no list of checksums|is missing|does not match its checksum in SHA256SUMS)"
    heal = rf"to make it again: python -m tools\.verify --remove {folder}(/SHA256SUMS)? && dvc repro"
    unreadable = r"/SHA256SUMS is damaged: 'utf-8' codec can't decode .*"
    return said is not None and re.fullmatch(rf"stage: {folder}( is damaged: {fault}|{unreadable}); {heal}", said)


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


@pytest.mark.slow
def test_every_flipped_bit_and_every_cut_of_the_checksums_is_refused(tmp_path):
    artifacts.write_record(tmp_path, record := KIND_OF_RECORD["examples"]())
    path = tmp_path / "SHA256SUMS"
    whole = path.read_bytes()
    damages = [whole[:length] for length in range(len(whole))]
    damages += [
        whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
        for place in range(len(whole))
        for bit in range(8)
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        said = said_by_a_stage(record, tmp_path)
        is_a_line_less = damaged and whole.startswith(damaged) and damaged.endswith(b"\n")
        assert "is damaged: it is no Examples: " in said if is_a_line_less else is_refusal(said, tmp_path), damaged
    path.write_bytes(whole)
    assert said_by_a_stage(record, tmp_path) is None


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


@pytest.mark.parametrize("name", ["", "-x", "_x", "C++", "a b\nc", "=1", "a" * 41])
def test_a_data_set_whose_names_are_not_plain_is_refused_by_the_first_stage(monkeypatch, name):
    for changes in ({"title": name}, {"classes": [*CLOTHES[1:], name]}):
        monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], **changes))
        with pytest.raises(SystemExit) as ended:
            stages.run(check.main, "check")
        assert ended.value.code.startswith("check: the name ")
        assert "must begin with a letter or digit, and hold at most 40 " in ended.value.code


def without_last_layer(result):
    return replace(result, parameters={name: each for name, each in result.parameters.items() if name[1:] != "4"})


UNLIKE = "the arms baseline and l2 were trained with different seeds or layers: run dvc repro"
OF_OTHERS = "the evaluation of the arm l2 is of other networks: run dvc repro"


@pytest.mark.parametrize(
    ("stage", "folder", "change", "said"),
    [
        ("evaluate", "models/l2", lambda result: replace(result, seeds=[0, 1, 7]), UNLIKE),
        ("evaluate", "models/l2", without_last_layer, UNLIKE),
        ("report", "models/l2", without_last_layer, UNLIKE),
        ("report", "results/evaluation/l2", lambda each: replace(each, confusion=each.confusion[1:]), OF_OTHERS),
        ("report", "results/evaluation/l2", lambda each: replace(each, activity={}), OF_OTHERS),
    ],
    ids=["seeds", "layers", "layers, report", "fewer networks", "fewer layers"],
)
def test_a_stage_refuses_results_that_do_not_belong_together(
    request, tmp_path, monkeypatch, stage, folder, change, said
):
    finished = request.getfixturevalue("trained")
    for name in ("models", "results", "data", "params.yaml"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copy
        copy(finished / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    kind = TrainingResult if folder.startswith("models") else Evaluation
    artifacts.write_record(Path(folder), change(artifacts.read_record(kind, Path(folder))))
    with pytest.raises(SystemExit) as ended:
        stages.run(importlib.import_module(f"stages.{stage}").main, stage)
    assert ended.value.code == f"{stage}: {said}"
    assert not Path("metrics").exists() and not Path("report.docx").exists()


def test_a_set_and_a_card_that_disagree_are_healed_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifacts.write_record(stages.SPLIT / "card", replace(CARD, sizes=CARD.sizes | {"train": 7}))
    artifacts.write_record(stages.SPLIT / "train", KIND_OF_RECORD["examples"]())
    heals = r"python -m tools\.verify --remove data/split && dvc repro"
    with pytest.raises(
        ValueError, match=rf"^data/split is damaged: train holds 6 examples, and card says 7; .*{heals}$"
    ):
        stages.examples("train")


@pytest.mark.parametrize("change", [{"pixels": 5}, {"classes": 3}])
def test_networks_of_another_data_set_are_refused_with_both_shapes(change):
    """A record is checked alone; a mismatch between two shows when they are used."""
    sizes = {"pixels": 12, "classes": 4} | change
    sets = {name: (torch.zeros(sizes["pixels"], 6), torch.eye(sizes["classes"], 6)) for name in CARD.sizes}
    with pytest.raises(ValueError, match=r"^\w+ wants .* got .*\("):
        evaluate_arm(trained(), sets)
