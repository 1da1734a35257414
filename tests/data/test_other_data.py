"""Other data of MNIST's file format run through the whole pipeline, by one entry of the table of data sets.

The real files are not at hand: synthetic ones of the same names lie in a mirror folder, and their checksums stand in
the table in place of the real ones.
"""

import dataclasses
import io
import re
import zipfile

import docx
import numpy as np
import pytest
import torch
from clones import PARAMS, ROOT, Clone, small_params
from dvc.utils.serialize import dumps_yaml, loads_yaml
from mirrors import checksums, idx
from pages import Page
from samples import text_of

import stages
from pipeline import artifacts
from pipeline.analysis.evaluation import Evaluation
from pipeline.data import preprocessing
from pipeline.data.sources import SOURCES, DataSource, source_of
from pipeline.params import load_params
from pipeline.report import figures
from stages import check, download, evaluate, l2_path, report, split, timing, train

SIZES = {"train": 300, "t10k": 100}
SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
LETTERS = ["alpha", "beta", "gamma", "delta", "epsilon"]


def files(classes):
    """Make the four files of a data set: noise, and a bright block in a place of its own for each class."""
    numbers, made = np.random.default_rng(0), {}
    for part, count in SIZES.items():
        labels = np.arange(count, dtype=np.uint8) % classes
        images = numbers.integers(0, 120, (count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6, 4:24] = 200
        made |= {f"{part}-images-idx3-ubyte.gz": idx(images), f"{part}-labels-idx1-ubyte.gz": idx(labels)}
    return made


def mirror_of(folder, name, classes=10):
    """Put a data set into a mirror folder; the checksums of its files."""
    content = files(classes)
    for filename, packed in content.items():
        artifacts.write_bytes(folder / name / filename, packed)
    return checksums(content)


def fourth_arm():
    """The example in the shipped parameters, without its comment signs."""
    (block,) = re.findall(r"# A fourth arm.*\n((?:  # .*\n)+)", SHIPPED)
    return block.replace("  # ", "  ")


def parameters(**changes):
    """Small parameters of two arms: the baseline and the fourth."""
    arms = {"baseline": PARAMS["arms"]["baseline"], **loads_yaml(fourth_arm())}
    return dumps_yaml(loads_yaml(small_params(**changes)) | {"arms": arms})


def assert_is_about(folder, name, title, classes, arms=("baseline", "batchnorm_l2")):
    """Metrics, plots and report of a run carry the data set's name, its classes' and the arms'."""
    study = artifacts.read_json(folder / "metrics" / "study.json")
    assert list(study["arms"]) == list(arms) and study["dataset"] == name
    plots = {path.stem: artifacts.read_table(path) for path in (folder / "plots").glob("*.csv")}
    assert {each for table in plots.values() for each in table["dataset"]} == {name}
    titles = {PARAMS["arms"]["baseline"]["title"], "Batch norm and L2"}
    for plot in ("accuracy", "confusion", "curves", "results", "seeds", "weights"):
        assert set(plots[plot]["arm"]) == titles
    assert set(plots["confusion"]["actual"].astype(str)) == set(classes)
    assert set(plots["confusion"]["predicted"].astype(str)) == set(classes)
    written = docx.Document(folder / "report.docx")
    text = text_of(written)
    assert f"\n{title}: " in text and "; 3 networks per arm" in text
    assert "could not be fetched" not in text and re.search(r"\bMNIST\b(?<!-MNIST)", text) is None
    assert "Batch norm and L2" in text.splitlines()  # a cell of a table
    described = " ".join(each._inline.docPr.get("descr") for each in written.inline_shapes)
    (found,) = re.findall(r"takes a true (.+?) most often for (.+?)\. ", described)
    assert set(found) <= set(classes)


@pytest.mark.long
def test_fashion_mnist_runs_through_dvc_from_a_mirror_folder_by_one_option(tmp_path):
    clone = Clone(tmp_path)
    checksums = mirror_of(tmp_path / "mirror", "fashion_mnist")
    table = clone.folder / "pipeline" / "data" / "sources.py"
    text = table.read_text(encoding="utf-8")
    for real, made_up in zip(SOURCES["fashion_mnist"].sha256, checksums, strict=True):
        assert real in text
        text = text.replace(real, made_up)
    table.write_text(text, encoding="utf-8")
    (clone.folder / "params.yaml").write_text(parameters())
    clone.commit()
    clone.shell(Page("elsewhere.md").take("DATA_MIRROR", **{"/a/folder": tmp_path / "mirror"}))
    assert_is_about(clone.folder, "fashion_mnist", "Fashion-MNIST", SOURCES["fashion_mnist"].classes)


@pytest.fixture
def run_all(tmp_path, monkeypatch):
    """Run every stage in a folder, in this process, on a data set that a mirror folder holds."""

    def run_all(name, entry, **changes):
        checksums = mirror_of(tmp_path / "mirror", name, len(entry.classes))
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(entry, sha256=checksums, mirrors=[]))
        text = parameters(data={"dataset": name, "offline_fallback": None}, **changes)
        (tmp_path / "params.yaml").write_text(text)
        params = load_params(tmp_path / "params.yaml")
        for stage in (check, download, split):
            stage.main(params)
        for arm in params.arms:
            train.main(params, arm)
        for stage in (l2_path, evaluate, timing, report):
            stage.main(params)
        return tmp_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    return run_all


def test_kmnist_runs_through_every_stage_and_its_classes_are_in_the_figures(run_all):
    folder = run_all("kmnist", SOURCES["kmnist"])
    assert_is_about(folder, "kmnist", "Kuzushiji-MNIST", ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"])
    titles = {name: arm.title for name, arm in load_params(folder / "params.yaml").arms.items()}
    evaluations = {arm: artifacts.read_record(Evaluation, folder / "results" / "evaluation" / arm) for arm in titles}
    counts = {arm: each.confusion[each.headline].numpy() for arm, each in evaluations.items()}
    names, digits = SOURCES["kmnist"].classes, [str(digit) for digit in range(10)]
    wrong = counts["baseline"] - np.diag(counts["baseline"].diagonal())
    true, predicted = (names[index] for index in np.unravel_index(wrong.argmax(), wrong.shape))
    said = f"The baseline headline model takes a true {true} most often for {predicted}"
    drawn = {tuple(each): figures.confusion_matrices(counts, each, titles, said) for each in (names, digits)}
    mistakes = {tuple(each): figures.confident_mistakes(evaluations["baseline"], each, "") for each in (names, digits)}
    with zipfile.ZipFile(io.BytesIO((folder / "report.docx").read_bytes())) as package:
        pictures = [package.read(name) for name in package.namelist() if name.endswith(".png")]
    assert drawn[tuple(names)] in pictures and drawn[tuple(digits)] not in pictures
    assert mistakes[tuple(names)] != mistakes[tuple(digits)]


def test_a_new_data_set_is_one_entry_also_with_another_number_of_classes(run_all):
    entry = DataSource(title="Five Letters", mirrors=[], sha256=[], classes=LETTERS)
    folder = run_all("letters", entry, network={"layers": [6, 5, 4, 5]})
    assert_is_about(folder, "letters", "Five Letters", LETTERS)
    card = artifacts.read_record(preprocessing.DatasetCard, folder / "data" / "split" / "card")
    assert (card.name, card.classes) == ("letters", LETTERS)
    assert card.sizes == {"train": 240, "validation": 60, "test": 100}


@pytest.mark.parametrize("name", ["imagenet", "MNIST", "", "http://example.org", "../mnist"])
def test_a_data_set_that_is_not_in_the_table_is_refused_before_anything_is_fetched(tmp_path, monkeypatch, name):
    (tmp_path / "params.yaml").write_text(small_params(data={"dataset": name}))
    monkeypatch.chdir(tmp_path)
    for stage, of in ((check.main, "check"), (download.main, "download")):
        with pytest.raises(SystemExit) as stopped:
            stages.run(stage, of)
        expected = f"{of}: data.dataset is {name!r}: must be one of mnist, fashion_mnist, kmnist, digits"
        assert stopped.value.code == expected
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("layers", [[20, 7, 5], [10, 20], [1]], ids=str)
@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_layers_end_in_the_classes_of_the_data_set(tmp_path, monkeypatch, layers, name):
    (tmp_path / "params.yaml").write_text(small_params(network={"layers": layers}, data={"dataset": name}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        stages.run(check.main, "check")
    assert stopped.value.code == f"check: network.layers is {layers}: it must end in the 10 classes of {name}"
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_the_example_of_a_fourth_arm_is_four_lines_that_load(tmp_path):
    example = fourth_arm()
    assert len(example.splitlines()) == 4
    assert example in SHIPPED.replace("  # ", "  ")
    (tmp_path / "params.yaml").write_text(re.sub(r"  # A fourth arm.*\n(?:  # .*\n)+", example, SHIPPED))
    arms = load_params(tmp_path / "params.yaml").arms
    assert list(arms) == sorted([*PARAMS["arms"], "batchnorm_l2"])
    assert arms["batchnorm_l2"].use_batchnorm and arms["batchnorm_l2"].l2 > 0
    assert example in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_digits_have_ten_classes_and_no_files():
    assert source_of("digits").classes == list("0123456789")
    assert "digits" not in SOURCES
