"""A wrong ``params.yaml`` stops `dvc repro` in one or two lines, before any output is touched."""

import json
import re

import pytest
import torch
from clones import DVC, RUNNING, small_params
from dvc.utils.serialize import dumps_yaml, loads_yaml
from runs import copy_of, run_stage
from wrong_params import COSTLY, NEEDED, NO_MAPS, WRONG, dotted, misspelt, with_value, without

import stages
from pipeline import artifacts
from pipeline.data import preprocessing
from pipeline.text import shown
from stages import check


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    return copy_of(clone, tmp_path_factory.mktemp("wrong"))


def wrong_files():
    """Make files that are wrong in one thing each, with the beginning of what must be said of it."""
    for key, value, _ in WRONG:
        path = [int(part) if part.isdigit() else part for part in key.split(".")]
        yield f"{key}={value!r}", with_value(path, value), f"params.yaml: {key} is {shown(repr(value))}: "
    for path in NEEDED:
        name = dotted(path)
        yield f"no {name}", without(path), f"params.yaml: {name} is missing"
        yield f"{name}x", misspelt(path), f"params.yaml: {name}x is not a key that this file may have"
    for name, (text, said) in (NO_MAPS | COSTLY).items():
        yield name, text, f"params.yaml {said}" if name in NO_MAPS else "params.yaml is not YAML as it should be: "
    layers, data = ("network", "layers"), ("data", "dataset")
    yield "nine classes", with_value(layers, [20, 9]), "check: network.layers is [20, 9]: it must end in the 10 classes"
    batch, share = ("training", "batch_size"), ("data", "validation_fraction")
    yield "large batch", with_value(batch, 48_001), "check: training.batch_size is 48001: it must be at most the 48,000"
    yield "all are set aside", with_value(share, 0.999999), "check: data.validation_fraction is 0.999999: of the"
    yield "no such data", with_value(data, "cifar"), "check: "
    if not torch.cuda.is_available():
        yield "no such device", with_value(("training", "device"), "cuda"), "check: the device asked for is cuda"


WRONG_FILES = {name: (text, said) for name, text, said in wrong_files()}


def test_that_is_more_than_forty_files():
    assert len({text for text, _ in WRONG_FILES.values()}) == len(WRONG_FILES) > 100


@pytest.mark.parametrize(("text", "said"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_the_check_fails_in_one_or_two_lines_and_touches_nothing(tmp_path, monkeypatch, text, said):
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/checked.json").write_text("as it was")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        stages.run(check.main, "check")
    words = stopped.value.code  # a text as exit code is printed, and the status is 1
    assert words.startswith(said)
    assert len(words.splitlines()) <= 2
    assert {path.name for path in tmp_path.rglob("*")} == {"params.yaml", "data", "checked.json"}
    assert (tmp_path / "data/checked.json").read_text() == "as it was"


def digits_of(classes, examples):
    """Make data that call themselves the digits."""
    tensors = [torch.zeros(examples, *shape, dtype=torch.uint8) for shape in [(784,), ()] * 2]
    return preprocessing.Dataset("digits", "the digits", [str(k) for k in range(classes)], *tensors)


@pytest.mark.parametrize(
    ("classes", "examples", "said"),
    [
        (10, 61, "training.batch_size is 50: it must be at most the 49 examples of digits that are left to train on"),
        (
            *(9, 100),
            "network.layers is [6, 5, 4, 10]: it must end in the 9 classes of digits",
        ),
        (
            *(10, 2),
            "data.validation_fraction is 0.2: of the 2 training examples of digits "
            "it must set at least two (for batch norm) aside and leave at least one",
        ),
    ],
    ids=["a batch", "classes", "a share"],
)
def test_the_split_refuses_what_does_not_go_with_the_data_that_stand_in(tmp_path, classes, examples, said):
    (tmp_path / "params.yaml").write_text(small_params(data={"dataset": "mnist"}))
    assert run_stage(tmp_path, "check")[0] == 0  # of MNIST it is right
    artifacts.write_record(tmp_path / "data/source", digits_of(classes, examples))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run_stage(tmp_path, "split") == (1, f"split: {said}\n")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_split_takes_what_just_fits(tmp_path):
    (tmp_path / "params.yaml").write_text(small_params(data={"dataset": "mnist"}))
    artifacts.write_record(tmp_path / "data/source", digits_of(10, 62))
    status, said = run_stage(tmp_path, "split")
    assert (status, said) == (0, "50 train, 12 validation, 62 test\n")


def test_what_is_compared_with_the_data_has_the_split_run_again():
    compared = {"data.validation_fraction", "network.layers", "training.batch_size"}
    assert compared <= set(DVC["stages"]["split"]["params"])


def test_the_order_of_the_arms_changes_no_result_and_the_reference_does(finished):
    values, before = loads_yaml((finished.folder / "params.yaml").read_text()), outputs(finished)
    turned = dict(reversed(values["arms"].items()))
    with finished.edited("params.yaml", dumps_yaml(values | {"arms": turned})):
        assert run_stage(finished.folder, "evaluate")[0] == 0
        assert outputs(finished) == before
    with finished.edited("params.yaml", dumps_yaml(values | {"reference": "l2"})):
        assert run_stage(finished.folder, "evaluate")[0] == 0
    study = json.loads((finished.folder / "metrics/study.json").read_text())
    assert list(study["arms"]) == ["l2", "baseline", "batchnorm"]
    assert ["test_accuracy" in arm for arm in study["arms"].values()] == [False, True, True]
    assert run_stage(finished.folder, "evaluate")[0] == 0
    assert outputs(finished) == before


def outputs(clone):
    """Read every output but the check's own."""
    contents = {path.relative_to(clone.folder).as_posix(): content for path, content in clone.contents().items()}
    contents.pop("data/checked.json", None)
    return contents | {"report.docx": (clone.folder / "report.docx").read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "wrong", "said"),
    [
        pytest.param(
            r"batch_size: \d+",
            "batch_size: -5",
            "params.yaml: training.batch_size is -5: input should be greater than",
            marks=pytest.mark.long,
        ),
        (r"\nnetwork:", "\ntiming: 7\nnetwork:", "timing"),
        (r"  l2:\n", "  x; touch owned:\n", "params.yaml: arms.x; touch owned is 'x; touch owned': string should"),
    ],
    ids=["a value", "a section twice", "an arm that is a command"],
)
def test_no_output_is_touched_and_no_command_is_made_of_a_name(finished, pattern, wrong, said):
    before, params = outputs(finished), (finished.folder / "params.yaml").read_text()
    changed = re.sub(pattern, wrong, params, count=1)
    assert changed != params
    (finished.folder / "params.yaml").write_text(changed)
    try:
        with pytest.raises(AssertionError) as failed:  # which shows what dvc printed
            finished.dvc("repro")
    finally:
        (finished.folder / "params.yaml").write_text(params)
    assert said in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert re.findall(RUNNING, str(failed.value)) in ([], ["check"])  # dvc itself finds a section that is there twice
    assert outputs(finished) == before
    assert not list(finished.folder.rglob("owned"))
