"""The report holds what the brief asks for, says what the numbers say, and is a sound Word file."""

import dataclasses
import functools
import io
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import docx
import pytest
import torch
from reference import blobs

from pipeline import train
from pipeline.evaluation import evaluate_arm
from pipeline.params import load_params
from pipeline.preprocessing import DatasetCard
from pipeline.report import Study, _count_verdict, _verdict, build_report
from pipeline.statistics import Comparison
from pipeline.timing import KINDS

LAYERS = [6, 5, 10]
DIMS = [16, *LAYERS]
SETS = {
    name: blobs(size, dims=DIMS, seed=seed)
    for seed, (name, size) in enumerate({"train": 160, "validation": 80, "test": 90}.items())
}
PARAMS = load_params(Path("params.yaml"))
BRIEF = [
    *("initialize_parameters", "linear_forward", "softmax", "relu", "linear_activation_forward", "L_model_forward"),
    *("compute_cost", "apply_batchnorm", "linear_backward", "linear_activation_backward", "relu_backward"),
    *("softmax_backward", "L_model_backward", "update_parameters", "L_layer_model", "predict"),
]
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"


def trained(learning_rate=0.2, **arm):
    X, Y = SETS["train"]
    seeds = arm.pop("seeds", range(6))
    return train(
        X,
        Y,
        DIMS,
        learning_rate=learning_rate,
        max_steps=330,
        batch_size=16,
        seeds=seeds,
        validation=SETS["validation"],
        evaluate_every=30,
        **arm,
    )


@functools.cache
def study(learning_rate=0.2):
    params = PARAMS.model_copy(update={"network": PARAMS.network.model_copy(update={"layers": LAYERS})})
    results = {
        name: trained(learning_rate, use_batchnorm=arm.use_batchnorm, l2=arm.l2) for name, arm in PARAMS.arms.items()
    }
    return Study(
        params=params,
        card=DatasetCard(
            "mnist", [str(digit) for digit in range(10)], 33.0, 78.0, {"train": 160, "validation": 80, "test": 90}
        ),
        results=results,
        evaluations={name: evaluate_arm(result, SETS) for name, result in results.items()},
        path=trained(l2=[0.0, 0.0, 0.01, 0.01], seeds=[0, 1, 0, 1]),
        timing={"threads": 1, "seconds_per_step": {kind: {"1": 1e-4, "16": 4e-4} for kind in KINDS}},
        versions={"torch": "0.0"},
    )


@functools.cache
def report():
    return build_report(study())


@functools.cache
def document():
    return docx.Document(io.BytesIO(report()))


def text():
    cells = (cell.text for table in document().tables for row in table.rows for cell in row.cells)
    return "\n".join([*(paragraph.text for paragraph in document().paragraphs), *cells])


def test_the_same_study_gives_the_same_bytes():
    assert build_report(study()) == report()


def test_every_part_is_well_formed_and_carries_no_clock():
    with zipfile.ZipFile(io.BytesIO(report())) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                ElementTree.fromstring(archive.read(name))


@pytest.mark.parametrize("arm", PARAMS.arms)
def test_the_headline_model_s_figures_are_those_of_the_results(arm):
    result, evaluation = study().results[arm], study().evaluations[arm]
    k = evaluation.headline
    table = next(table for table in document().tables if _caption(table).startswith(f"{PARAMS.arms[arm].title}: accur"))
    cells = {row.cells[0].text: row.cells[1].text for row in table.rows}
    for name, accuracies in evaluation.accuracies.items():
        assert cells[f"{name} accuracy (%)"] == f"{accuracies[k].item():.2f}"
    assert cells["training steps"] == f"{result.steps[k]:,}"
    assert cells["epochs"] == f"{result.epochs[k]:.1f}"


@pytest.mark.parametrize("arm", PARAMS.arms)
def test_the_appendix_holds_the_cost_of_every_100th_step(arm):
    result, k = study().results[arm], study().evaluations[arm].headline
    table = next(table for table in document().tables if _caption(table).startswith(f"{PARAMS.arms[arm].title}: cost"))
    cells = [cell.text for row in table.rows[1:] for cell in row.cells]
    written = {step: cost for step, cost in zip(cells[::2], cells[1::2], strict=True) if step.strip()}
    costs = (result.costs + result.penalties)[:, k].tolist()
    recorded = [step for step in result.cost_steps if step <= result.steps[k]]
    assert written == {f"{step:,}": f"{cost:.4f}" for step, cost in zip(recorded, costs, strict=False)}
    assert recorded == list(range(100, result.steps[k] + 1, 100))


def test_it_says_batch_size_and_why_training_stopped():
    assert f"batches of {PARAMS.training.batch_size} examples" in text()
    assert "no improvement of the validation cost for 100 training steps" in text() or "the cap of" in text()


def test_every_function_of_the_brief_is_explained():
    for name in BRIEF:
        assert any(paragraph.text.startswith(f"{name} ") for paragraph in document().paragraphs), name


def test_formulas_are_word_equations():
    xml = document().element.xml
    assert xml.count("<m:oMathPara") >= 17


def test_every_table_repeats_its_header_and_has_a_numbered_caption():
    for number, table in enumerate(document().tables, start=1):
        assert table.rows[0]._tr.trPr.find(f"{W}tblHeader") is not None
        assert _caption(table, whole=True).startswith(f"Table {number}.")


def test_every_figure_has_a_text_for_those_who_cannot_see_it_and_a_numbered_caption():
    properties = list(document().element.iter(f"{WP}docPr"))
    captions = [p.text for p in document().paragraphs if p.style.name == "Caption" and p.text.startswith("Figure")]
    assert len(properties) == len(captions) >= 9
    assert all(len(each.get("descr")) > 20 for each in properties)
    for number, caption in enumerate(captions, start=1):
        assert caption.startswith(f"Figure {number}.")


def test_figures_and_tables_that_the_text_refers_to_exist():
    captions = {p.text.split(".")[0] for p in document().paragraphs if p.style.name == "Caption"}
    for reference in re.findall(r"(?:Figure|Table) \d+", text()):
        assert reference in captions


def test_sections_that_the_text_refers_to_are_what_it_says():
    numbers = {}
    count = 0
    for paragraph in document().paragraphs:
        if paragraph.style.name == "Heading 1":
            count += 1
            numbers[paragraph.text] = count
    assert f"section {numbers['The cost at every 100th training step']};" in text()
    assert f"(section {numbers['All arms over all seeds']} says which)" in text()


def test_the_table_of_contents_lists_every_heading():
    headings = [p.text for p in document().paragraphs if p.style.name in ("Heading 1", "Heading 2")]
    linked = [link.find(f".//{W}t").text for link in document().element.iter(f"{W}hyperlink")]
    assert [entry.split("  ", 1)[1] for entry in linked] == headings


def test_diverged_arms_are_reported_and_do_not_stop_the_report():
    content = build_report(study(learning_rate=1e6))
    paragraphs = " ".join(p.text for p in docx.Document(io.BytesIO(content)).paragraphs)
    assert "The training of these seeds diverged: 0, 1, 2, 3, 4, 5." in paragraphs


def test_the_digits_are_named_when_they_stand_in_for_mnist():
    digits = dataclasses.replace(study(), card=dataclasses.replace(study().card, name="digits"))
    paragraphs = " ".join(p.text for p in docx.Document(io.BytesIO(build_report(digits))).paragraphs)
    assert "The data set mnist could not be fetched" in paragraphs
    assert "Fashion" not in paragraphs and "on MNIST" not in paragraphs


@pytest.mark.parametrize(
    ("comparison", "kwargs", "said"),
    [
        (Comparison(1.3, 0.6, 2.2, 14, 2, 16), {}, "better by 1.30 points [0.60, 2.20], in 14 of 16 seeds"),
        (Comparison(-1.3, -2.2, -0.6, 2, 14, 16), {}, "worse by 1.30 points [0.60, 2.20], in 14 of 16 seeds"),
        (
            Comparison(-0.02, -0.03, -0.01, 3, 13, 16),
            {"unit": "nats", "decimals": 3, "lower_is_better": True},
            "better by 0.020 nats [0.010, 0.030], in 13 of 16 seeds",
        ),
        (
            Comparison(0.3, -0.4, 1.0, 9, 7, 16),
            {},
            "no different as far as 16 seeds can show (+0.30 points [-0.40, 1.00])",
        ),
    ],
)
def test_sentences_follow_from_the_interval(comparison, kwargs, said):
    assert _verdict(comparison, **kwargs) == said


def test_steps_are_compared_in_words_of_their_own():
    assert _count_verdict(Comparison(-900, -1500, -300, 2, 14, 16)) == "900 [300, 1,500] fewer steps, in 14 of 16 seeds"
    assert _count_verdict(Comparison(900, 300, 1500, 14, 2, 16)) == "900 [300, 1,500] more steps, in 14 of 16 seeds"


def _caption(table, whole=False):
    paragraph = table._tbl.getprevious()
    caption = "".join(node.text or "" for node in paragraph.iter(f"{W}t"))
    return caption if whole else caption.split(". ", 1)[1]


def test_torch_is_left_as_it_was_found():
    before = torch.get_num_threads()
    report()
    assert torch.get_num_threads() == before
