"""Each value of each record is damaged, one at a time: a stage refuses it in one line that names the record."""

import importlib
import json
import re
import types
from dataclasses import replace

import pytest
import torch
from clones import ROOT
from samples import DIVERGES, evaluated, trained
from torch import Tensor

import stages
from pipeline import TrainingResult, artifacts
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.timing import KINDS, Timing
from pipeline.data.preprocessing import Dataset, DatasetCard, Examples
from pipeline.data.sources import require_classes, source_of
from pipeline.params import load_params
from stages import report

CLOTHES = source_of("fashion_mnist").classes
IMAGES = torch.arange(24, dtype=torch.uint8).reshape(6, 4)
PIXELS = torch.zeros(6, 784, dtype=torch.uint8)
LABELS = torch.arange(6, dtype=torch.uint8)
DATASET = Dataset("fashion_mnist", CLOTHES, IMAGES, LABELS, IMAGES[:3], LABELS[:3])
CARD = DatasetCard("fashion_mnist", CLOTHES, 33.3, 78.5, {"train": 6, "validation": 2, "test": 3})
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
SIZES = {  # which the stages know when they read a record
    TrainingResult: lambda record: {"pixels": record.sizes["pixels"], "classes": record.sizes["classes"]},
    Evaluation: lambda record: trained().sizes,
    Examples: lambda record: {"examples": 6, "classes": 10, "pixels": 4},
}


def of_tensor(tensor):
    yield "missing", None
    for axis in range(tensor.dim()):
        yield f"too short along axis {axis}", tensor.narrow(axis, 0, tensor.shape[axis] - 1)
    yield "of one more axis", tensor.unsqueeze(0)
    yield "flat" if tensor.dim() > 1 else "a number", tensor.flatten() if tensor.dim() > 1 else tensor[0]
    for dtype in (torch.float32, torch.float16, torch.int32, torch.bool):
        if dtype != tensor.dtype:
            yield f"as {dtype}", tensor.to(dtype)
    if tensor.dtype == torch.int64:
        yield "full of -1", torch.full_like(tensor, -1)
    for value in (torch.nan, torch.inf, -torch.inf) if tensor.is_floating_point() else ():
        yield f"full of {value}", torch.full_like(tensor, value)
        yield f"with one {value}", tensor.index_fill(0, torch.tensor([0]), value)


def of_json(value):
    if type(value) is int:
        yield "as -1", -1
    for wrong in (None, "text", torch.nan, torch.inf, -1.5, [], {}, True):
        if type(wrong) is not type(value) or wrong in (torch.nan, torch.inf):
            yield f"as {wrong!r}", wrong
    if isinstance(value, str):
        yield "as a script", "</script><script>alert(1)</script>"
        yield "as a formula", "=HYPERLINK(1)"
    if isinstance(value, list) and value:
        yield "too short", value[:-1]
        yield "too long", [*value, value[-1]]


def damages(value):
    """Yield what a value of a record may turn into, and how; None for what is missing."""
    yield from of_tensor(value) if isinstance(value, Tensor) else of_json(value)
    if isinstance(value, dict):
        yield "with an entry too many", value | {"more": next(iter(value.values()))}
        for key, each in value.items():
            yield f"without {key}", {other: value[other] for other in value if other != key}
            for how, wrong in damages(each):
                if not (isinstance(each, Tensor) and wrong is None):
                    yield f"{key} {how}", value | {key: wrong}
    if isinstance(value, list):
        for how, wrong in damages(value[0]):
            yield f"[0] {how}", [wrong, *value[1:]]


def write(folder, fields):
    """Write the fields of a record, as they are: a stage would refuse to."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    tensors = {name: fields.pop(name) for name, value in [*fields.items()] if isinstance(value, Tensor)}
    groups = {name: fields.pop(name) for name, value in [*fields.items()] if artifacts._is_tensors(value)}
    for name, group in (groups | ({"tensors": tensors} if tensors else {})).items():
        artifacts.write_tensors(folder / f"{name}.safetensors", {key: each.clone() for key, each in group.items()})
    (folder / "record.json").write_text(json.dumps(fields))


def read(record, folder):
    """Read a record as the stages do."""
    if isinstance(record, Timing):
        return artifacts.read_json(folder / "record.json", Timing)
    kind = type(record)
    whole = artifacts.read_record(kind, folder, **SIZES[kind](record) if kind in SIZES else {})
    if kind in (Dataset, DatasetCard):
        with artifacts.damage_named(folder):
            require_classes(whole.name, whole.classes)
    return whole


def said_by_a_stage(record, folder):
    """Give what a stage says that reads the record and ends with an error; None if it takes the record."""
    try:
        stages.run(lambda params: read(record, folder), "stage")
    except SystemExit as ended:
        return ended.code
    return None


@pytest.mark.parametrize("name", KIND_OF_RECORD)
def test_every_damage_is_refused_in_one_line_that_names_the_record_and_what_heals_it(tmp_path, monkeypatch, name):
    monkeypatch.setattr(stages, "load_params", lambda path: None)
    record, folder, wrong = KIND_OF_RECORD[name](), tmp_path / "record", {}
    write(folder, dict(vars(record)))
    assert said_by_a_stage(record, folder) is None
    for field, value in vars(record).items():
        for how, damaged in damages(value):
            write(folder, vars(record) | {field: damaged})
            said = said_by_a_stage(record, folder)
            heal = r"to make it again: python -m tools\.verify --remove \S+ && dvc repro"
            if not said or not re.fullmatch(rf"stage: {folder}\S* is damaged: .{{1,310}}; {heal}", said):
                wrong[f"{field} {how}"] = said
    assert wrong == {}


def with_first(value, wrong):
    """Replace the first number of a list or a tensor, or of what a dictionary holds."""
    if isinstance(value, dict):
        return {key: with_first(each, wrong) for key, each in value.items()}
    if isinstance(value, list):
        return [wrong, *value[1:]]
    return value.flatten().index_fill(0, torch.tensor([0]), wrong).view_as(value)


def test_the_report_reads_every_training_with_the_sizes_of_the_data(monkeypatch):
    asked = {}

    def read_record(kind, folder, **sizes):
        if kind is TrainingResult:
            asked[str(folder)] = sizes
        return KIND_OF_RECORD["a card"]() if kind is DatasetCard else types.SimpleNamespace(sizes={})

    monkeypatch.setattr(artifacts, "read_record", read_record)
    monkeypatch.setattr(report, "examples", lambda name: (torch.zeros(784, 1), torch.zeros(10, 1)))
    monkeypatch.setattr(report, "first_gradient_norms", lambda *arguments: None)
    monkeypatch.setattr(artifacts, "read_json", lambda *arguments: 1 / 0)  # all records are read before it
    with pytest.raises(ZeroDivisionError):
        report.main(load_params(ROOT / "params.yaml"))
    assert asked.keys() == {"models/baseline", "models/batchnorm", "models/l2", "results/l2_path"}
    assert all(sizes == {"pixels": 784, "classes": 10} for sizes in asked.values())


def test_a_set_and_a_card_that_disagree_are_healed_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = KIND_OF_RECORD["a card"]()
    columns = Examples(torch.zeros(2, 784, dtype=torch.uint8), torch.zeros(2, dtype=torch.uint8), torch.arange(2))
    artifacts.write_record(stages.SPLIT / "card", replace(card, sizes=card.sizes | {"train": 3}))
    artifacts.write_record(stages.SPLIT / "train", columns)
    heals = r"python -m tools\.verify --remove data/split && dvc repro"
    with pytest.raises(
        ValueError, match=rf"^data/split is damaged: train holds 2 examples, and card says 3; .*{heals}$"
    ):
        stages.examples("train")


COUNTS = ("seeds", "steps", "best_step")
REALS = ("l2", "costs", "penalties", "validation_costs", "validation_accuracies", "epochs")
OUT_OF_RANGE = [
    *(("a training", field, -1) for field in COUNTS),
    *(("a training", field, -1e-9) for field in REALS),
    ("a training", "validation_accuracies", 100.5),
    *(("an evaluation", field, wrong) for field in ("accuracies", "activity") for wrong in (-1e-9, 100.5)),
    *(("an evaluation", field, -1) for field in ("costs", "confusion")),
]


@pytest.mark.parametrize(("name", "field", "wrong"), OUT_OF_RANGE)
def test_a_number_that_no_training_or_evaluation_gives_is_refused(tmp_path, name, field, wrong):
    record = KIND_OF_RECORD[name]()
    artifacts.write_record(tmp_path, replace(record, **{field: with_first(getattr(record, field), wrong)}))
    said = rf"is damaged: {field}\S* holds {wrong:g}: must be (0 or more|from 0 to 100|from 0 to 1);"
    with pytest.raises(ValueError, match=said):
        read(record, tmp_path)


@pytest.mark.parametrize(
    ("name", "field", "limit"),
    [
        ("a training", "seeds", 0),
        ("a training", "validation_accuracies", 0.0),
        ("a training", "validation_accuracies", 100.0),
        ("an evaluation", "accuracies", 100.0),
        ("an evaluation", "activity", 1.0),
        ("an evaluation", "costs", 0.0),
    ],
)
def test_the_lowest_and_the_highest_number_are_taken(tmp_path, name, field, limit):
    record = KIND_OF_RECORD[name]()
    artifacts.write_record(tmp_path, replace(record, **{field: with_first(getattr(record, field), limit)}))
    read(record, tmp_path)


@pytest.mark.parametrize("wrong", [3, 99])
def test_a_headline_that_is_no_network_is_refused(tmp_path, wrong):
    artifacts.write_record(tmp_path, replace(evaluated(trained()), headline=wrong))
    with pytest.raises(ValueError, match=rf"is damaged: headline holds {wrong}: must be from 0 to 2;"):
        artifacts.read_record(Evaluation, tmp_path, **trained().sizes)


@pytest.mark.parametrize("field", ["true", "predicted"])
def test_a_mistake_of_a_class_that_is_none_is_refused(tmp_path, field):
    record = evaluated(trained())
    mistakes = record.mistakes | {field: with_first(record.mistakes[field], 4)}
    artifacts.write_record(tmp_path, replace(record, mistakes=mistakes))
    with pytest.raises(ValueError, match=rf"is damaged: mistakes\.{field} holds 4: must be from 0 to 3;"):
        artifacts.read_record(Evaluation, tmp_path, **trained().sizes)


def test_a_confidence_or_a_variance_that_cannot_be_is_refused(tmp_path):
    record = evaluated(trained())
    for wrong in (-0.5, 1.5):
        mistakes = record.mistakes | {"confidence": with_first(record.mistakes["confidence"], wrong)}
        artifacts.write_record(tmp_path, replace(record, mistakes=mistakes))
        with pytest.raises(ValueError, match=rf"mistakes\.confidence holds {wrong}: must be from 0 to 1;"):
            read(record, tmp_path)
    record = trained(use_batchnorm=True)
    parameters = record.parameters | {"var2": with_first(record.parameters["var2"], -1.0)}
    artifacts.write_record(tmp_path, replace(record, parameters=parameters))
    with pytest.raises(ValueError, match=r"is damaged: var2 holds -1: must be 0 or more;"):
        read(record, tmp_path)


@pytest.mark.parametrize(
    "empty", [Timing("cpu", SECONDS, SECONDS | {"plain": [0.1, 0.0]}), replace(CARD, sizes=CARD.sizes | {"test": 0})]
)
def test_a_round_that_took_no_time_and_a_set_without_examples_are_refused(tmp_path, empty):
    write(tmp_path / "record", dict(vars(empty)))
    with pytest.raises(ValueError, match=r"(seconds_per_check\.plain\.1|sizes\.test) is 0.*greater than 0"):
        read(empty, tmp_path / "record")


@pytest.mark.parametrize("label", [10, 255])
def test_a_label_without_a_class_is_refused(tmp_path, label):
    labels = torch.tensor([0, label], dtype=torch.uint8)
    artifacts.write_record(tmp_path, Examples(IMAGES[:2].clone(), labels, torch.arange(2)))
    with pytest.raises(ValueError, match=rf"is damaged: the label {label} is none of the 10 classes"):
        artifacts.read_record(Examples, tmp_path, classes=10)


@pytest.mark.parametrize("field", ["train_labels", "test_labels"])
def test_a_label_of_a_data_set_without_a_class_is_refused(tmp_path, field):
    write(tmp_path / "record", vars(DATASET) | {field: with_first(getattr(DATASET, field), 10)})
    with pytest.raises(ValueError, match=r"is damaged: the label 10 is none of the 10 classes"):
        artifacts.read_record(Dataset, tmp_path / "record")


@pytest.mark.parametrize("changes", [{"mean": -5.0}, {"mean": 1e39}, {"std": 0.0}, {"std": 1e-320}, {"std": 1e308}])
def test_a_mean_or_deviation_that_no_grey_levels_have_is_refused(tmp_path, changes):
    artifacts.write_record(tmp_path, replace(CARD, **changes))
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=rf"is damaged: {name} is {re.escape(str(value))}: must be from "):
        artifacts.read_record(DatasetCard, tmp_path)


@pytest.mark.parametrize("stage", ["split", "train", "l2_path", "timing", "evaluate"])
def test_images_of_other_sides_are_refused_in_one_line(tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "load_params", lambda path: load_params(ROOT / "params.yaml"))
    small = torch.zeros(6, 27 * 27, dtype=torch.uint8)
    artifacts.write_record(
        stages.SOURCE, Dataset("fashion_mnist", CLOTHES, *(each.clone() for each in (small, LABELS) * 2))
    )
    artifacts.write_record(stages.SPLIT / "card", CARD)
    for name, size in CARD.sizes.items():
        whole = Examples(small[:size].clone(), LABELS[:size].clone(), torch.arange(size))
        artifacts.write_record(stages.SPLIT / name, whole)
    main, arm = importlib.import_module(f"stages.{stage}").main, ["baseline"] if stage == "train" else []
    with pytest.raises(SystemExit) as ended:
        stages.run(lambda params: main(params, *arm), stage)
    folder = stages.SOURCE if stage == "split" else stages.SPLIT / "train"
    field = "train_images" if stage == "split" else "images"
    assert ended.value.code.startswith(
        f"{stage}: {folder} is damaged: {field} has the shape (6, 729): must have 784 as "
    )
    assert "\n" not in ended.value.code


@pytest.mark.parametrize("stage", ["split", "evaluate", "report"])
@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "=HYPERLINK(1)", "\x1b[2J"])
def test_a_hostile_class_name_goes_no_further(tmp_path, monkeypatch, stage, name):
    """It would reach the page of the plots, which DVC writes without escaping, and a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "load_params", lambda path: load_params(ROOT / "params.yaml"))
    artifacts.write_record(
        stages.SOURCE,
        Dataset("fashion_mnist", [name, *CLOTHES[1:]], *(each.clone() for each in (PIXELS, LABELS) * 2)),
    )
    artifacts.write_record(stages.SPLIT / "card", replace(CARD, classes=[name, *CLOTHES[1:]]))
    with pytest.raises(SystemExit) as ended:
        stages.run(importlib.import_module(f"stages.{stage}").main, stage)
    folder = stages.SOURCE if stage == "split" else stages.SPLIT / "card"
    assert ended.value.code.startswith(f"{stage}: {folder} is damaged: the classes are ")
    assert ended.value.code.isprintable()
    assert not (tmp_path / "plots").exists()
