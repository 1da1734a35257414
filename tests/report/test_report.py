"""The report holds what the assignment asks for, says what the numbers say, and is a sound Word file."""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import inspect
import io
import itertools
import math
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import docx
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from docx.enum.text import WD_ALIGN_PARAGRAPH, WD_TAB_ALIGNMENT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from openxml_audit import OpenXmlValidator
from pandas import DataFrame
from PIL import Image
from reference import blobs
from samples import text_of

import pipeline
from pipeline import train
from pipeline.analysis.beginnings import first_gradient_norms, gradient_factors
from pipeline.analysis.comparison import ACTIVATION, NORM, QUANTITIES, SECONDS, STEP_TIME
from pipeline.analysis.evaluation import evaluate_arm
from pipeline.analysis.statistics import SUBSETS, Comparison, compare, typical_interval
from pipeline.analysis.tables import l2_path_table
from pipeline.analysis.timing import KINDS, Timing
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.ensemble import initialize_ensemble
from pipeline.params import load_params
from pipeline.report import (
    appendices,
    build,
    chapter_baseline,
    chapter_batchnorm,
    chapter_l2,
    chapter_questions,
    chapter_summary,
    figures,
)
from pipeline.report.build import build_report
from pipeline.report.chapter_questions import questions
from pipeline.report.chapter_summary import findings
from pipeline.report.document import DIGIT_WIDTH, GREY, PROJECT, Document
from pipeline.report.levels import OF_HEADLINE, _opposite, levels
from pipeline.report.study import Study
from pipeline.report.wording import interval, is_settled, listed, lower, numbered, roughly, signed, verdict

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
SLOWER = [2e-4] * 3
BOTTOM_MARGIN = 62  # points
HEADING_HEIGHT = 13.5  # points that a line of a heading is higher than, and one of the contents is not
DOTS_PER_INCH = 50  # of the pages on which is looked whether anything is drawn outside the text
WHITE = 0.25  # of the height of a page's text, which may stay empty at its foot
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
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


def with_params(params=PARAMS, **sections):
    """Change single parameters of some sections."""
    return params.model_copy(
        update={name: getattr(params, name).model_copy(update=changes) for name, changes in sections.items()}
    )


@functools.cache
def study(learning_rate=0.2):
    params = with_params(
        network={"layers": LAYERS}, training={"seeds": [*range(6)], "evaluate_every": 30}, l2_path={"seeds": [0, 1]}
    )
    results = {
        name: trained(learning_rate, use_batchnorm=arm.use_batchnorm, l2=arm.l2) for name, arm in PARAMS.arms.items()
    }
    return Study(
        params=params,
        card=DatasetCard(
            "mnist",
            "MNIST",
            [str(digit) for digit in range(10)],
            33.0,
            78.0,
            {"train": 160, "validation": 80, "test": 90},
        ),
        results=results,
        evaluations={name: evaluate_arm(result, SETS) for name, result in results.items()},
        path=trained(l2=[0.0, 0.0, 0.01, 0.01], seeds=[0, 1, 0, 1]),
        gradients={name: first_gradient_norms(*SETS["train"], result) for name, result in results.items()},
        timing=Timing(
            device="cpu",
            seconds_per_step={kind: [1e-4, 3e-4, 1e-4] if kind != "batchnorm" else SLOWER for kind in KINDS},
            seconds_per_check={kind: [2e-3, 4e-3, 3e-3] for kind in KINDS},
        ),
        versions={"torch": "0.0"},
    )


PICTURES = (
    *("headline_costs", "training", "by_layer", "accuracy_curves", "seed_distribution"),
    *("confusion_matrices", "confident_mistakes", "first_layer_weights"),
)
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


def in_few_dots():
    """Build the report with figures of 100 dots an inch, which takes a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figures.STYLE, "figure.dpi", 100)
        return build_report(study())


@functools.cache
def report():
    return in_few_dots()


@functools.cache
def diverged():
    """Open the report of networks that learn nothing, of which those with L2 diverge."""
    return opened(study(learning_rate=1e6))


@functools.cache
def document():
    return docx.Document(io.BytesIO(report()))


@functools.cache
def text():
    return text_of(document())


@pytest.mark.slow
def test_the_same_study_gives_the_same_bytes():
    assert in_few_dots() == report()


def test_every_part_is_well_formed_and_carries_no_clock():
    with zipfile.ZipFile(io.BytesIO(report())) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                ElementTree.fromstring(archive.read(name))


def cells_of(opened_report, caption):
    """Return the texts of the table whose caption begins so, a row each."""
    (found,) = (table for table in opened_report.tables if _caption(table).startswith(caption))
    return [[cell.text for cell in row.cells] for row in found.rows]


@pytest.mark.parametrize("arm", PARAMS.arms)
def test_page_one_sets_the_headline_models_side_by_side(arm):
    result, evaluation = study().results[arm], study().evaluations[arm]
    k, of_sets, test = evaluation.headline, evaluation.accuracies, evaluation.accuracies["test"]
    header, *rows = cells_of(document(), "The headline model of each arm")
    assert header == ["", *(each.title for each in PARAMS.arms.values())]
    a_step, a_check = np.median(study().step_times(arm)) / 1e6, np.median([2e-3, 4e-3, 3e-3])
    seconds = result.steps[k] * a_step + result.steps[k] // 30 * a_check
    assert {row[0]: row[header.index(PARAMS.arms[arm].title)] for row in rows} == {
        **{f"{name.capitalize()} accuracy (%)": f"{of_sets[name][k]:.2f}" for name in of_sets},
        "Train minus validation (points)": f"{of_sets['train'][k] - of_sets['validation'][k]:.2f}",
        "Batch size": str(PARAMS.training.batch_size),
        "Iterations (training steps) to the stop": f"{result.steps[k]:,}",
        "Epochs to the stop": f"{result.epochs[k]:.1f}",
        "Lowest validation cost (nats)": f"{result.validation_costs[:, k].nan_to_num(math.inf).min():.4f}",
        "Seconds to train it (calculated)": f"{seconds:.1f}",
        "Mean test accuracy, all networks (%)": f"{test.mean():.2f}",
        "Its standard deviation (points)": f"{test.std():.2f}",
    }


def test_section_4_sums_up_all_networks_of_the_baseline():
    result, evaluation = study().results["baseline"], study().evaluations["baseline"]
    header, *rows = cells_of(document(), "Baseline: accuracy")
    assert header[1:4] == ["Train (%)", "Validation (%)", "Test (%)"]
    cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    for name, accuracies in evaluation.accuracies.items():
        column = f"{name.capitalize()} (%)"
        assert cells["Mean"][column] == f"{accuracies.mean().item():.2f}"
        assert cells["Standard deviation"][column] == f"{accuracies.std().item():.2f}"
        assert cells["Lowest"][column] == f"{accuracies.min().item():.2f}"
        assert cells["Median"][column] == f"{accuracies.quantile(0.5).item():.2f}"
    assert cells["Highest"]["Iterations"] == f"{max(result.steps):,}"
    assert cells["Mean"]["Epochs"] == f"{np.mean(result.epochs):.1f}"


def section(number):
    """Return the paragraphs of the section of that number."""
    (title,) = (each for each in headings() if each.startswith(f"{number} "))
    behind = itertools.dropwhile(lambda paragraph: paragraph.text != title, document().paragraphs)
    return [next(behind), *itertools.takewhile(lambda paragraph: paragraph.style.name != "Heading 1", behind)]


def test_section_4_answers_in_the_order_of_the_assignment():
    parts = [paragraph.text for paragraph in section(4) if re.match("4[abc]", paragraph.text)]
    assert [text.partition(".")[0] for text in parts] == ["4a", "4b", "4b", "4b", "4c", "4c"]
    result, accuracies, k = (
        study().results["baseline"],
        study().evaluations["baseline"].accuracies,
        study().evaluations["baseline"].headline,
    )
    data, configuration, stopping, length, final, costs = parts
    assert "A random 20 % of the training set" in data and "160 train, 80 validation and 90 test" in data
    assert "Layers of 6, 5, 10 units" in configuration and "batch norm off" in configuration
    assert f"batch size {PARAMS.training.batch_size}" in configuration and "learning rate 0.009" in configuration
    assert "training stops after 100 steps without a new low, or at 30,000 steps" in stopping
    assert f"{result.steps[k]:,} iterations, {result.epochs[k]:.1f} epochs" in length
    assert "the validation cost had no new low for 100 training steps" in length
    assert final.startswith("4c. Final accuracies. Train ")
    assert all(f"{name} {value[k]:.2f}\xa0%" in final.lower() for name, value in accuracies.items())
    assert costs.startswith("4c. Costs. Section 8, page 8, lists the cost and the index of every 100th training step")


def costs_written(opened_report):
    """Read the tables of costs: by title of the arm the cost at each step that has one."""
    written = {}
    for table in (table for table in opened_report.tables if _caption(table).startswith("Cost of the headline models")):
        header, *rows = [[cell.text for cell in row.cells] for row in table.rows]
        starts = [place for place, title in enumerate(header) if title == "Step"]
        for row, start in itertools.product(rows, starts):
            for place in range(start + 1, start + starts[-1] // max(1, len(starts) - 1) or len(header)):
                if row[place]:
                    written.setdefault(header[place], {})[row[start]] = row[place]
    return written


@pytest.mark.parametrize("count", [1, 3, 12])
def test_section_8_holds_the_cost_of_every_100th_step_of_every_arm(count):
    changed = with_arms({f"arm{number}": f"Arm {number}" for number in range(count)})
    alone = Document("", "")
    build._cost_tables(alone, changed)
    written = costs_written(alone._docx)
    for arm, title in changed.titles.items():
        result, k = changed.results[arm], changed.evaluations[arm].headline
        recorded = list(range(100, result.steps[k] + 1, 100))
        columns = {title: result.costs}
        if changed.params.arms[arm].l2:  # the data cost and the penalty apart
            columns = {f"{title}: data cost": result.costs, f"{title}: penalty": result.penalties}
        for column, costs in columns.items():
            found = zip(recorded, costs[:, k].tolist(), strict=False)
            assert written.pop(column) == {f"{step:,}": f"{cost:.4f}" for step, cost in found}
    assert not written


def test_the_functions_of_the_brief_are_listed_with_section_file_and_formula():
    header, *rows = cells_of(document(), "The assignment's functions")
    assert header == ["Section", "Function", "File", "Formula"]
    assert set(BRIEF) <= {name for _, name, *_ in rows}
    sections = [*(f"1{letter}" for letter in "abcdefgh"), *(f"2{letter}" for letter in "abcdef"), "3a", "3b", "5"]
    assert [section for section, *_ in rows] == sections
    aliases = {name for name, of in vars(pipeline).items() if inspect.isfunction(of) and of.__name__ != name}
    (said,) = (paragraph.text for paragraph in document().paragraphs if "name the same functions" in paragraph.text)
    assert aliases and all(alias in said for alias in aliases)
    explained = dict(re.findall(r"^(\(\d+\)) (\w+) ", text(), re.MULTILINE))
    for _, name, file, formula in rows:
        assert re.search(rf"^def {name}\(", Path(file).read_text(encoding="utf-8"), re.MULTILINE), name
        assert explained[formula] == name


def formulas():
    """Return each explained function's formulas, a line each, as the letters that they show."""
    found, name = {}, None
    for paragraph in document().paragraphs:
        if re.match(r"\(\d+\) ", paragraph.text):
            name = paragraph.text.split()[1]
            found[name] = []
        elif name and paragraph._p.findall(f"{M}oMathPara"):
            found[name].append("".join(node.text for node in paragraph._p.iter(f"{M}t")))
    return found


def test_every_function_has_a_formula_that_is_a_word_equation():
    assert set(BRIEF) <= set(formulas())
    for name, lines in formulas().items():
        assert lines, name
        assert all(re.fullmatch(r".+( = | ∼ | ← ).+", line) for line in lines), name


def test_all_text_of_a_formula_is_in_a_run_and_no_part_is_empty():
    assert formulas()["linear_backward"] == [
        "dWl = 1mdZlAl-1T,\N{EM SPACE}dbl = 1mexamplesdZl,\N{EM SPACE}dAl-1 = WlTdZl"
    ]
    for equation in document().element.iter(f"{M}oMathPara"):
        for part in equation.iter():
            assert part.tail is None and (part.text is None) == (part.tag != f"{M}t")
        for part in equation.iter(*(f"{M}{each}" for each in ("num", "den", "e", "sub", "sup"))):
            assert "".join(node.text for node in part.iter(f"{M}t")) or part.getparent().tag == f"{M}nary"


def test_the_formulas_of_the_whole_backward_pass_define_every_gradient():
    """And no others are on their right sides than those that are on the left of some."""
    lines = formulas()["L_model_backward"]
    defined = {match for line in lines for match in re.findall(r"(d[AZWb][lL]) = ", line)}
    assert defined == {"dAL", "dZL", "dAl", "dZl", "dWl", "dbl"}
    assert any("λ Wl" in line for line in lines)
    assert any("[Zl > 0] · BN'(dAl)" in line for line in lines)


def test_the_formulas_of_training_say_what_a_step_is_and_of_which_cost_is_kept():
    step, cost = formulas()["L_layer_model"]
    assert step.startswith("θ(t) = θ(t-1) - α ∇J(θ(t-1); batcht)")
    assert cost == "costk = J(θ(100k-1); batch100k)"


def test_a_letter_of_the_formulas_means_one_thing():
    """The layers' L and l, and the units' n, have one each; N, g, P, B and T had a second."""
    words = r"Normal|norm|batch|examples|softmax|relu|mean|max|accuracy|cost|log|for all|BN|NA"
    lines = [re.sub(words, " ", line) for of_function in formulas().values() for line in of_function]
    letters = set(re.findall("[A-Za-z]", " ".join(lines)))
    assert letters == set("ALWXYZJTabcdegijklmnptyz")
    assert [line for line in lines if "n" in line] == [line for line in lines if "∼" in line]
    (forward,) = formulas()["linear_activation_forward"]
    assert [line for line in lines if "g" in line] == [re.sub(words, " ", forward)]


def test_every_table_repeats_its_header_and_has_a_numbered_caption():
    for number, table in enumerate(document().tables, start=1):
        assert table.rows[0]._tr.trPr.find(f"{W}tblHeader") is not None
        assert _caption(table, whole=True).startswith(f"Table {number}.")


def test_every_figure_has_a_text_for_those_who_cannot_see_it_and_a_numbered_caption():
    properties = list(document().element.iter(f"{WP}docPr"))
    captions = [p.text for p in document().paragraphs if p.style.name == "Caption" and p.text.startswith("Figure")]
    assert len(properties) == len(captions) == 8
    for number, (caption, each) in enumerate(zip(captions, properties, strict=True), start=1):
        assert caption.startswith(f"Figure {number}. ")
        told = caption.partition(". ")[2]
        assert each.get("descr").startswith(told) and len(each.get("descr")) > len(told) + 20
        assert each.get("name") == f"Figure {number}"


def alternative(caption):
    """Return the alternative text of the figure whose caption has these words."""
    captions = [p.text for p in document().paragraphs if p.style.name == "Caption" and p.text.startswith("Figure")]
    figures = list(document().element.iter(f"{WP}docPr"))
    (found,) = (each for each, text in zip(figures, captions, strict=True) if caption in text)
    return found.get("descr")


def of_each(said):
    return "; ".join(f"{arm.title} {said(name)}" for name, arm in PARAMS.arms.items())


def test_the_texts_of_figures_say_what_they_show():
    of_the_arms, results = study().evaluations, study().results

    def ends(name):
        k = of_the_arms[name].headline
        return f"best step {results[name].best_step[k]:,}, stop {results[name].steps[k]:,}"

    def last_median(name):
        columns = results[name].validation_accuracies.mT.numpy()
        return f"{np.median([column[np.isfinite(column)][-1] for column in columns]):.1f}"

    def test_range(name):
        accuracies = of_the_arms[name].accuracies["test"]
        return f"{min(accuracies):.1f} to {max(accuracies):.1f}"

    def mistakes(name):
        counts = of_the_arms[name].confusion[of_the_arms[name].headline]
        return f"{counts.sum() - counts.trace()}"

    assert alternative("Data cost of each headline model").endswith(f" its stop. {of_each(ends)}")
    curve = results["baseline"].validation_costs[:, of_the_arms["baseline"].headline]
    half, steps = 30 * (1 + int((curve < math.log(10) / 2).nonzero()[0])), results["baseline"].steps
    said = f"by step {half} of {steps[of_the_arms['baseline'].headline]} the validation cost is half that of guessing."
    assert alternative("and its validation cost").endswith(f" Baseline: {said}")
    assert alternative("Validation accuracy, median").endswith(f"The medians end at: {of_each(last_median)}.")
    assert alternative("Test accuracy of every network").endswith(f" to highest in per cent: {of_each(test_range)}.")
    assert "along its random start, means: " in alternative("weights of the headline models")
    assert alternative("Confusion matrices").endswith(f"Mistakes: {of_each(mistakes)}.")
    best = min(of_the_arms.values(), key=lambda each: each.costs["validation"][each.headline])
    most_confident = f"{best.mistakes['true'][0]} as {best.mistakes['predicted'][0]}"
    assert f" The mistakes: {most_confident}" in alternative("The most confident mistakes")


def bookmarks():
    """Return the text that each bookmark of the document spans."""
    spans = {}
    for start in document().element.iter(f"{W}bookmarkStart"):
        identity = start.get(f"{W}id")
        inside = itertools.takewhile(
            lambda each, identity=identity: (each.tag, each.get(f"{W}id")) != (f"{W}bookmarkEnd", identity),
            start.itersiblings(),
        )
        spans[start.get(f"{W}name")] = "".join(node.text for run in inside for node in run.iter(f"{W}t"))
    return spans


def references():
    """Return the instruction and the shown text of each reference."""
    for instruction in document().element.iter(f"{W}instrText"):
        if instruction.text.startswith(" REF "):
            result = instruction.getparent().getnext().getnext()
            yield instruction.text.split(), result.find(f"{W}t").text


def headings(opened_report=None):
    return [p.text for p in (opened_report or document()).paragraphs if p.style.name.startswith("Heading")]


def test_sections_are_numbered_as_the_assignment_is_and_appendices_by_letters():
    assert [each for each in headings() if each[0].isdigit()] == [
        *("4 Baseline on MNIST", "5 Batch normalisation", "5.1 Why", "6 The L2 norm"),
        *("6.1 The weights with and without L2", "6.2 The choice of lambda"),
        *("7 Questions one might be asked", "8 The cost at every 100th iteration"),
    ]
    appendices = [each[:10] for each in headings() if each.startswith("Appendix")]
    assert appendices == [f"Appendix {letter}" for letter in "ABCDEF"]
    many = headings(crowded()[1])
    assert [each for each in many if each.startswith("Appendix")][-1] == "Appendix G. The other arms"


def test_references_are_fields_that_show_what_their_bookmarks_span():
    spans = bookmarks()
    found = list(references())
    assert len(found) > 20
    for (_, name, *_), shown in found:
        assert shown == spans[name]
    assert not re.search(r"\[\[|\]\]", text())
    assert len({start.get(f"{W}id") for start in document().element.iter(f"{W}bookmarkStart")}) == len(spans)


def test_nothing_is_referred_to_but_by_a_field():
    shown = [text for _, text in references()]
    styles = ("Caption", "Heading", "toc")
    body = "\n".join(p.text for p in document().paragraphs if not p.style.name.startswith(styles))
    body += "\n".join(p.text.partition(". ")[2] for p in document().paragraphs if p.style.name == "Caption")
    named = re.findall(r"(?:Figure|Table) \d+|Appendix [A-Z]", body)
    assert sorted(named) == sorted(each for each in shown if not each[0].isdigit())
    assert sorted(re.findall(r"[Ss]ection (\d[\d.]*\d|\d)", body)) == sorted(
        each for each in shown if each[0].isdigit()
    )


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (lambda document: document.paragraph("see [[nowhere]]"), r"refers to \[\[nowhere\]\]"),
        (lambda document: [document.heading("A", name="a"), document.heading("B", name="a")], "two things are named a"),
        (lambda document: [document.contents(), document.heading("A")], r"refers to \[\[\]\]"),  # from the contents
    ],
    ids=["unknown", "twice", "unnamed"],
)
def test_a_reference_needs_one_thing_of_its_name(fill, said):
    unfinished = Document("title", "subtitle")
    with pytest.raises(ValueError, match=said):
        fill(unfinished)
        unfinished.to_bytes()


def test_it_is_valid_office_open_xml(tmp_path):
    path = tmp_path / "report.docx"
    path.write_bytes(report())
    assert len(report()) < 2e6
    found = [error.description for error in OpenXmlValidator().validate(path).errors]
    assert found == []
    assert docx.Document(path).settings.element.find(f"{W}zoom").get(f"{W}percent") == "100"  # the schema wants it


def test_its_properties_are_honest():
    with zipfile.ZipFile(io.BytesIO(report())) as archive:
        assert b"<Application>python-docx</Application>" in archive.read("docProps/app.xml")
    properties = document().core_properties
    assert properties.title == "A neural network from scratch"
    assert properties.author == properties.last_modified_by == PROJECT
    assert "MNIST" in properties.subject
    assert (properties.language, properties.comments) == ("en-GB", "")
    assert (properties.created, properties.modified) == (None, None)  # the report knows no day, and claims none


def test_the_foot_of_every_page_tells_one_report_from_another():
    (footer,) = document().sections[0].footer.paragraphs
    digest = hashlib.sha256(study().params.model_dump_json().encode()).hexdigest()
    assert re.fullmatch(rf"MNIST · parameters {digest[:16]} · \d+", footer.text)


def test_a_smallest_improvement_is_named_with_the_stopping_criterion():
    changed = with_params(study().params, training={"patience": 99, "min_delta": 0.01})
    said = chapter(chapter_baseline.write, dataclasses.replace(study(), params=changed))
    assert "training stops after 99 steps without a new low by more than 0.01 nats, or at 30,000 steps" in said


def test_there_are_lines_to_sign_on():
    (line,) = (p for p in document().paragraphs if p.text.startswith("Name"))
    assert re.fullmatch(r"Name _+ +Date _+ +Signature _+", line.text)
    headings = [p for p in document().paragraphs if p.style.name.startswith("Heading")]
    assert line._p.getparent().index(line._p) < headings[0]._p.getparent().index(headings[0]._p)


def test_every_caption_is_referred_to():
    referred = {name for (_, name, *_), _ in references()}
    captions = {name for name, text in bookmarks().items() if re.fullmatch(r"(Figure|Table) \d+", text)}
    assert len(captions) == len(document().tables) + len(document().inline_shapes)
    assert captions <= referred


def test_what_a_caption_names_is_referred_to_before_it_in_the_same_chapter():
    spans, referred = bookmarks(), set()
    for paragraph in document().paragraphs:
        if paragraph.style.name == "Heading 1" and paragraph.text != "Findings":  # which share a page with the table
            referred = set()
        words = [node.text.split() for node in paragraph._p.iter(f"{W}instrText")]
        referred |= {spans[name] for kind, name, *_ in words if kind == "REF"}
        if paragraph.style.name == "Caption":
            assert paragraph.text.partition(".")[0] in referred


def test_headings_captions_and_pictures_stay_with_what_follows_and_rows_are_whole():
    def is_kept(paragraph):
        own = paragraph.paragraph_format.keep_with_next
        return paragraph.style.paragraph_format.keep_with_next if own is None else own

    kept = [p for p in document().paragraphs if re.match("Heading|Caption: Table", f"{p.style.name}: {p.text}")]
    pictures = [p for p in document().paragraphs if p._p.findall(f".//{WP}inline")]
    assert len(kept) == len(headings()) + len(document().tables)
    assert all(map(is_kept, kept + pictures))
    for table in document().tables:
        assert all(row._tr.trPr.find(f"{W}cantSplit") is not None for row in table.rows)


COMPARATIVE = (
    r"\b(more|less|better|worse|higher|lower|fewer|faster|slower|sooner|later|longer|shorter|larger|smaller|greater|"
    r"earlier|than|as long|times as|against|beside|outperforms?|improves?|differ|gains?|beats?|shrinks?)\b"
)
ALLOWED = [  # what describes the method, single networks, or what tables and figures show
    r"compares them with an earlier commit's",
    r"^If two arms do (not )?differ",
    r"^A difference is clear if zero lies outside its interval, ",
    r"^Its networks differ, because their random starts do; data, batches",
    r"more than a third of a difference",
    r"^The norm differs [\d.e+]+-fold in W1 .* between the .* networks",
    r"^A possible reason: the batch norm networks differ less in the first gradient of W\d+ ",
    r"^A possible reason: there are more (weights|training examples)",
    r": means, and the mean of the paired differences \([^)]+ minus [^)]+\)\.$",
    r"^Who gains \(Table \d+\)\.$",
    r"^A possible reason: small weights ",
    r"^If one network of each arm is drawn at random, .* of the draws",
    r"^Why several networks, and not one run\? Because single networks differ\.$",
    r"^Do baseline networks with a small first gradient take more steps",
    r"the L2 penalty stands beside it",
]


def sentences(paragraphs):
    for paragraph in paragraphs:
        if not paragraph.style.name.startswith("Heading") and not paragraph._p.findall(f".//{W}hyperlink"):
            for sentence in re.split(r"(?<=\.) (?=[A-Z])", paragraph.text):
                yield sentence, paragraph


def numbers_of(sentence):
    """Name the arms of which a sentence has numbers."""
    arms = {lower(arm.title) for arm in PARAMS.arms.values()}
    return {arm for arm in arms if re.search(rf"(?<![\w-])\d.*\b{arm}\b", sentence)}


def unsupported(paragraphs):
    """List the sentences that compare and bring neither an interval nor a verdict."""
    return [
        sentence
        for sentence, paragraph in sentences(paragraphs)
        if (re.search(COMPARATIVE, sentence) or len(numbers_of(sentence)) > 1)
        and not re.search(r"\[[-+\d.,]+, [-+\d.,]+|no clear difference|not comparable|near zero", sentence)
        and not (" by about " in sentence and re.search(r"Table \d", paragraph.text))  # which has the interval
        and not any(re.search(allowed, sentence) for allowed in ALLOWED)
    ]


def test_every_sentence_that_compares_has_an_interval_or_a_verdict():
    assert unsupported(document().paragraphs) == []
    assert unsupported(diverged().paragraphs) == []
    wrong = docx.Document()
    assert unsupported([wrong.add_paragraph("L2 is better. It took 3 steps. No arm is faster [1, 2].")]) == [
        "L2 is better."
    ]
    assert unsupported([wrong.add_paragraph("It is 3 for baseline and 2 for L2. L2 has 3.")]) == [
        "It is 3 for baseline and 2 for L2."
    ]


A_NUMBER = r"[-+−]?[\d,]+(\.\d+)?( ± [\d,.]+| \[[-+−\d,. ]+\])?|"


def test_columns_of_numbers_are_aligned_at_the_decimal_point():
    for table in document().tables:
        for header, *cells in zip(*(row.cells for row in table.rows), strict=True):
            filled = [cell for cell in cells if cell.text.strip()]
            stops = {tuple(stop.alignment for stop in cell.paragraphs[0].paragraph_format.tab_stops) for cell in filled}
            is_numeric = all(re.fullmatch(A_NUMBER, cell.text.strip()) for cell in cells)
            assert stops <= ({(WD_TAB_ALIGNMENT.DECIMAL,)} if is_numeric else {()})
            is_right = header.paragraphs[0].alignment == WD_ALIGN_PARAGRAPH.RIGHT
            assert is_right == is_numeric, header.text


def test_columns_of_numbers_have_room_for_what_stands_before_the_point():
    looked_at = 0
    for cell in (cell for table in document().tables for row in table.rows[1:] for cell in row.cells):
        if stops := list(cell.paragraphs[0].paragraph_format.tab_stops):
            whole = re.match("[-+−\\d,]*", cell.text)[0]
            width = sum(0.25 if character == "," else DIGIT_WIDTH for character in whole)
            assert width * cell.paragraphs[0].style.font.size.pt <= stops[0].position.pt, cell.text
            looked_at += 1
    assert looked_at > 100


def test_the_page_is_a4_and_no_table_is_wider_than_its_text():
    section = document().sections[0]
    assert (round(section.page_width.cm, 1), round(section.page_height.cm, 1)) == (21.0, 29.7)
    width = section.page_width - section.left_margin - section.right_margin
    for table in document().tables:
        assert sum(column.width for column in table.columns) <= width * 1.02


def listed_headings():
    """Return the headings of the first level, which the contents list."""
    return [p.text for p in document().paragraphs if p.style.name == "Heading 1"]


def test_the_table_of_contents_lists_every_section_and_has_a_field_for_its_page():
    spans = bookmarks()
    entries = [p for p in document().paragraphs if p.style.name.startswith("toc")]
    known = dict(zip(["Find", "Func", "4 ", "5 ", "6 ", "7 ", "8 "], [1, 2, 3, 4, 6, 8, 8], strict=True))
    pages = [next((page for start, page in known.items() if text.startswith(start)), "") for text in listed_headings()]
    assert [entry.text for entry in entries] == list(map("{}\t{}".format, listed_headings(), pages))
    assert [page for page in pages if page] == [*known.values()]
    for entry, heading in zip(entries, listed_headings(), strict=True):
        (link,) = entry._p.findall(f"{W}hyperlink")
        (instruction,) = link.iter(f"{W}instrText")
        kind, target, *switches = instruction.text.split()
        assert (kind, switches) == ("PAGEREF", ["\\h"])
        assert target == link.get(f"{W}anchor")
        assert re.fullmatch(rf"{spans[target]}([. ].*)?", heading)
        shown = "".join(node.text or "" for node in link.iter(f"{W}t"))
        assert shown == entry.text.replace("\t", "")


def test_no_field_makes_the_reader_answer_a_question():
    with zipfile.ZipFile(io.BytesIO(report())) as archive:
        assert not any(re.search(rb"w:dirty|updateFields", archive.read(name)) for name in archive.namelist())


def test_rows_of_a_long_table_are_apart_but_for_some_at_both_ends():
    def kept(rows):
        sheet = Document("title", "subtitle")
        sheet.table(pd.DataFrame({"A": ["1"] * rows}), "Rows.", name="rows")
        (table,) = docx.Document(io.BytesIO(sheet.to_bytes())).tables
        return [bool(row.cells[0].paragraphs[0].paragraph_format.keep_with_next) for row in table.rows]

    assert kept(23) == [True] * 23 + [False]
    assert kept(30) == [True] * 3 + [False] * 25 + [True] * 2 + [False]


def test_diverged_arms_are_reported_and_do_not_stop_the_report():
    said = text_of(diverged())
    assert said.count("Training diverged: ") == 1 and "L2 seeds 0, 1, 2, 3, 4 and 5." in said
    assert not re.search(r"\b(nan|inf)\b", said)
    assert "Training diverged: " not in text()


def test_divergence_names_the_seeds():
    assert not any("diverged" in said for said in findings(fared()))
    said = findings(fared(seed0={"diverged": True}, seed5={"diverged": True}))
    assert said[-1] == "**Training diverged: Baseline seeds 0 and 5.**"


def test_the_digits_are_named_when_they_stand_in_for_mnist():
    digits = dataclasses.replace(study(), card=dataclasses.replace(study().card, name="digits", title="the digits"))
    said = shown(digits)
    assert "The data set mnist could not be fetched" in said
    assert "Fashion" not in said and "on MNIST" not in said


@pytest.mark.parametrize(
    ("comparison", "quantity", "said"),
    [
        (Comparison(1.3, 0.6, 2.2, 14, 2, 16), "test_accuracy", "better by 1.30 points [0.60, 2.20]"),
        (Comparison(-1.3, -2.2, -0.6, 2, 14, 16), "test_accuracy", "worse by 1.30 points [0.60, 2.20]"),
        (
            Comparison(-0.02, -0.03, -0.01, 3, 13, 16),
            "validation_cost",
            "better by 0.0200 nats [0.0100, 0.0300]",
        ),
        (
            Comparison(0.3, -0.4, 1.0, 9, 7, 16),
            "test_accuracy",
            "no clear difference (n\xa0=\xa016)",
        ),
        (Comparison(1.21, 0.01, 2.66, 12, 4, 16), "test_accuracy", "uncertain, as its interval ends near zero"),
        (Comparison(0.0, 0.0, 0.0, 0, 0, 16), "steps", "no difference (n\xa0=\xa016)"),
        (Comparison(0.06, 0.0, 0.2, 1, 0, 16), "dead_units", "no clear difference (n\xa0=\xa016)"),
        (Comparison(37.5, 6.25, 62.5, 6, 0, 16), "collapsed", "more by 37.50 % of all, 6 of 16 seeds"),
        (
            Comparison(0.3, -math.inf, math.inf, 3, 1, 4),
            "test_accuracy",
            "no clear difference (n\xa0=\xa04)",
        ),
        (Comparison(-900, -1500, -300, 2, 14, 16), "steps", "fewer by 900 steps [300, 1,500]"),
        (Comparison(900, 300, 1500, 14, 2, 16), "half_cost_steps", "later by 900 steps [300, 1,500]"),
        (
            Comparison(math.nan, -math.inf, math.inf, 0, 0, 0),
            "steps",
            "not comparable (no pair has both values)",
        ),
    ],
)
def test_sentences_follow_from_the_interval(comparison, quantity, said):
    assert verdict(comparison, QUANTITIES[quantity]) == said


@pytest.mark.parametrize(
    ("comparison", "quantity", "said"),
    [
        (Comparison(2.37, 0.87, 3.94, 14, 2, 16), "test_accuracy", "better by about 2.4 points, in 14 of 16 seeds"),
        (Comparison(-559.0, -786, -335, 1, 15, 16), "half_cost_steps", "sooner by about 560 steps, in 15 of 16 seeds"),
        (Comparison(12345, 9000, 15000, 6, 0, 6), "steps", "more by about 12,000 steps, in 6 of 6 seeds"),
        (Comparison(-0.0495, -0.088, -0.015, 3, 13, 16, alone=(14, 34.0)), "validation_cost",
         "better by about 0.05 nats, in 13 of 16 seeds (much of it in seed 14)"),
        (Comparison(1.21, 0.01, 2.66, 12, 4, 16), "test_accuracy", "uncertain, as its interval ends near zero"),
        (Comparison(1.21, -0.01, 2.66, 12, 4, 16), "test_accuracy", "uncertain, as its interval ends near zero"),
        (Comparison(1.21, -1.01, 2.66, 12, 4, 16), "test_accuracy", "no clear difference (n\xa0=\xa016)"),
        (Comparison(1.0, -math.inf, math.inf, 1, 0, 1), "test_accuracy", "no clear difference (n\xa0=\xa01)"),
        (Comparison(math.nan, -math.inf, math.inf, 0, 0, 0), "steps", "not comparable (no pair has both values)"),
    ],
)  # fmt: skip
def test_what_a_table_shows_is_said_without_its_numbers(comparison, quantity, said):
    assert roughly(comparison, QUANTITIES[quantity]) == said


def test_no_interval_of_the_body_is_in_the_text_what_a_table_has_or_another_sentence():
    """Page one, which says the findings, is before it; shares of networks can be the same by chance."""

    def intervals(said):
        found = re.findall(r"\[[+−]?([\d.,]+), [+−]?([\d.,]+)\]", said)
        return [frozenset(ends) for ends in found]

    body = [paragraph.text for number in (4, 5, 6, 7, 8) for paragraph in section(number)]
    in_text = [interval for said in body for interval in intervals(said)]
    in_tables = [interval for table in document().tables for cell in table._cells for interval in intervals(cell.text)]
    assert len(in_text) > 1 and len(in_tables) > 20
    assert len(set(in_text)) == len(in_text)
    assert not set(in_text) & set(in_tables)


def test_time_and_numbers_in_words():
    assert verdict(Comparison(2.0, 1.0, 3.0, 9, 0, 9), SECONDS) == "longer by 2.0 s [1.0, 3.0]"
    assert roughly(Comparison(1.0, 0.8, 1.2, 8, 0, 8), SECONDS) == "longer by about 1 s, in 8 of 8 seeds"
    assert [signed(value, 2) for value in (1.25, -0.001, 0.0, -1234.5)] == [
        "+1.25",
        "0.00",
        "0.00",
        "\N{MINUS SIGN}1,234.50",
    ]
    assert (lower("Batch norm"), lower("L2")) == ("batch norm", "L2")


@contextlib.contextmanager
def without_pictures():
    """Let every figure of the report be one pixel: drawing takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for picture in PICTURES:
            patch.setattr(figures, picture, lambda *data: PIXEL)
        yield


def opened(changed):
    with without_pictures():
        return docx.Document(io.BytesIO(build_report(changed)))


def shown(changed):
    return " ".join(p.text for p in opened(changed).paragraphs)


def chapter(write, changed):
    """Return the text of one chapter, without its tables; its references are empty."""
    alone = Document("", "")
    with without_pictures():
        write(alone, changed)
    return " ".join(paragraph.text for paragraph in alone._docx.paragraphs)


def with_arms(arms):
    """Let each of ``arms``, a title by name, take the results of one of the study's, in turn."""
    names = list(study().params.arms)
    taken = {name: names[index % len(names)] for index, name in enumerate(arms)}
    renamed = {name: study().params.arms[old].model_copy(update={"title": arms[name]}) for name, old in taken.items()}
    return dataclasses.replace(
        study(),
        params=study().params.model_copy(update={"arms": renamed, "reference": next(iter(arms))}),
        results={name: study().results[old] for name, old in taken.items()},
        evaluations={name: study().evaluations[old] for name, old in taken.items()},
        gradients={name: study().gradients[old] for name, old in taken.items()},
    )


def finding(gain, arm="batchnorm", **more):
    """Return what page one says of an arm whose gain in test accuracy is this one."""
    changed = dataclasses.replace(study())
    changed.__dict__["comparisons"] = {  # where the cached property would be
        each: compared | ({"test_accuracy": gain, **more} if each == arm else {})
        for each, compared in study().comparisons.items()
    }
    (said,) = (each for each in findings(changed) if each.startswith(f"**{PARAMS.arms[arm].title}"))
    return said


def test_findings_are_three_to_five_each_with_a_number_and_why():
    said = findings(study())
    assert 3 <= len(said) <= 5
    assert all(each.startswith("**") and re.search(r"\d", each) for each in said)
    assert ", because their random starts do" in said[0]
    assert "A possible reason: " in said[-1]


def test_every_finding_of_page_one_that_is_of_several_networks_has_an_interval():
    said = findings(study())
    assert all(re.search(r" \[[\d.]+, [\d.]+\]|no clear difference|near zero", each) for each in said)
    test = study().evaluations["baseline"].accuracies["test"]
    low, high = typical_interval(test)
    assert said[0].startswith(f"**Baseline: mean test accuracy {test.mean():.2f}\xa0%** [{low:.2f}, {high:.2f}]. ")
    gaps = [compare(each.accuracies["train"], each.accuracies["validation"]) for each in study().evaluations.values()]
    gap = max(gaps, key=lambda each: each.difference)
    assert f"at most {gap.difference:.2f} points [{gap.low:.2f}, {gap.high:.2f}] in an arm" in said[-1]


@pytest.mark.parametrize(
    ("gain", "said", "is_explained"),
    [
        (Comparison(2.2, 0.65, 3.8, 5, 1, 6), "** raises mean test accuracy** by 2.20 points [0.65, 3.80].", True),
        (Comparison(-2.2, -3.8, -0.65, 1, 5, 6), "** lowers mean test accuracy** by 2.20 points [0.65, 3.80]", False),
        (Comparison(0.3, -0.8, 1.4, 3, 3, 6), ", mean test accuracy: no clear difference (n\xa0=\xa06).**", False),
        (
            Comparison(1.3, 0.01, 2.64, 4, 2, 6),
            ", mean test accuracy: uncertain, as its interval ends near zero.**",
            False,
        ),
        (
            Comparison(1.3, -0.02, 2.62, 4, 2, 6),
            ", mean test accuracy: uncertain, as its interval ends near zero.**",
            False,
        ),
        (
            Comparison(0.3, -math.inf, math.inf, 3, 1, 4),
            ", mean test accuracy: no clear difference (n\xa0=\xa04)",
            False,
        ),
    ],
    ids=["better", "worse", "unclear", "just clear", "nearly clear", "few pairs"],
)
@pytest.mark.parametrize("arm", ["batchnorm", "l2"])
def test_what_page_one_says_of_an_arm_follows_its_numbers(arm, gain, said, is_explained):
    title = PARAMS.arms[arm].title
    found = finding(gain, arm)
    assert found.replace(f"**{title} ", "** ").replace(f"**{title}", "").startswith(said)
    assert ("A possible reason: " in found) == is_explained  # what does not help is not explained as if it did


def with_gaps(gaps):
    """Let each network with L2 have the gap of the baseline's network of its seed and so much more."""
    of_all = study().evaluations
    train = (
        of_all["l2"].accuracies["validation"] + torch.tensor(study().networks["gap"]["baseline"]) + torch.tensor(gaps)
    )
    of_arm = dataclasses.replace(of_all["l2"], accuracies=of_all["l2"].accuracies | {"train": train})
    return dataclasses.replace(study(), evaluations={**of_all, "l2": of_arm})


def test_a_difference_of_which_another_processor_may_say_otherwise_stays_off_page_one():
    (said,) = (each for each in findings(with_gaps([-1.0, -1, -1, -1, -1, -2])) if each.startswith("**L2"))
    assert "Train minus validation accuracy: smaller by 1.17 points [1.00, 2.00]." in said
    (said,) = (each for each in findings(with_gaps([-0.001, -0.1, -1, -1, -1, -2])) if each.startswith("**L2"))
    assert "Train minus validation" not in said


def with_norms(differences, of=None):
    """Let the norms of each network's weights with L2 differ by so much from those of the baseline's of its seed."""
    changed, layers = dataclasses.replace(of or study()), ["W1", "W2", "W3"]
    networks = changed.networks.copy()
    networks.loc["l2", layers] = networks.loc["baseline", layers].add(differences, axis=0).to_numpy()
    changed.__dict__["networks"] = networks  # where the cached property would be
    return changed


@pytest.mark.parametrize(
    ("norms", "gaps", "is_reason"),
    [
        ([-1.0, -1, -1, -1, -1, -2], [-1.0, -1, -1, -1, -1, -2], True),
        ([-0.001, -0.1, -1, -1, -1, -2], [-1.0, -1, -1, -1, -1, -2], False),  # too close to zero
        ([1.0, 1, 1, 1, 1, 2], [-1.0, -1, -1, -1, -1, -2], False),
        ([-1.0, -1, -1, -1, -1, -2], [0.0, 1, -1, 1, -1, 0], False),  # what does not help is not explained
    ],
)
def test_smaller_weights_are_a_reason_only_if_they_are_clearly_smaller_and_something_gains(norms, gaps, is_reason):
    changed = with_norms(norms, with_gaps(gaps))
    unclear = Comparison(0.3, -0.8, 1.4, 3, 3, 6)
    changed.__dict__["comparisons"] = {
        arm: compared | {"test_accuracy": unclear} for arm, compared in study().comparisons.items()
    }
    (said,) = (each for each in findings(changed) if each.startswith("**L2"))
    assert ("A possible reason: the penalty pulls every weight towards zero" in said) == is_reason
    assert ("A possible reason: small weights" in chapter(chapter_l2.write, changed)) == is_reason


def test_layers_whose_weights_do_not_differ_clearly_are_grey():
    for differences, colour in (([-1.0, -1, -1, -1, -1, -2], None), ([1.0, -1, 1, -1, 1, -1], GREY)):
        alone = Document("", "")
        with without_pictures():
            chapter_l2.write(alone, with_norms(differences))
        (table,) = (each for each in alone._docx.tables if each.cell(0, 0).text == "Layer")
        runs = [run for row in table.rows[1:] for cell in row.cells for run in cell.paragraphs[0].runs]
        assert {run.font.color.rgb for run in runs} == {colour}


def test_a_reason_that_the_run_does_not_support_is_called_possible():
    layer = gradient_factors(study().gradients["baseline"]).idxmax()
    late = torch.arange(6.0)  # at which check each network of the baseline comes to half the cost of guessing
    costs = torch.where(torch.arange(11.0)[:, None] < late, 2.3, 0.1).double()
    result = dataclasses.replace(study().results["baseline"], validation_costs=costs)
    for order, answer in (
        ([5, 4, 3, 2, 1, 0], f"they do, in {layer}"),
        ([0, 1, 2, 3, 4, 5], f"they take fewer, in {layer}"),
        ([0, 5, 1, 4, 2, 3], "this run does not show it"),
    ):
        norms = study().gradients["baseline"].copy()
        norms[layer] = np.sort(norms[layer])[order]
        changed = dataclasses.replace(
            study(),
            results={**study().results, "baseline": result},
            gradients={**study().gradients, "baseline": norms},
        )
        changed.__dict__["comparisons"] = {
            arm: compared | {"test_accuracy": Comparison(2.2, 0.65, 3.8, 5, 1, 6)}
            for arm, compared in study().comparisons.items()
        }
        (said,) = (each for each in findings(changed) if each.startswith("**Batch norm"))
        assert "A possible reason: the batch norm networks differ less in" in said
        assert ("(section [[reasons]], not proven)" in said) != answer.startswith("they do")
        section = chapter(chapter_batchnorm.write, changed)
        assert f": {answer}." in section


def test_what_is_shown_of_another_layer_proves_nothing_of_the_one_on_page_one():
    tests = DataFrame({"correlation": [-1.0, 0.2, 1.0], "p": [0.01, 1.0, 0.02]}, index=["W1", "W2", "W3"])
    gradients = DataFrame({"W1": [1.0] * 6, "W2": [1.0, 1, 1, 1, 1, 99], "W3": [1.0] * 6})
    changed = dataclasses.replace(study(), gradients=dict.fromkeys(study().gradients, gradients))
    changed = dataclasses.replace(changed, gradients=changed.gradients | {"batchnorm": gradients * 0 + 1})
    changed.__dict__["late_starts"] = tests
    changed.__dict__["comparisons"] = {
        arm: compared | {"test_accuracy": Comparison(2.2, 0.65, 3.8, 5, 1, 6)}
        for arm, compared in study().comparisons.items()
    }
    (said,) = (each for each in findings(changed) if each.startswith("**Batch norm"))
    assert said.endswith("differ less in the first gradient of W2 (section [[reasons]], not proven).")
    assert ": they do, in W1; they take fewer, in W3." in chapter(chapter_batchnorm.write, changed)


@pytest.mark.parametrize(("more", "is_said"), [(5.0, False), (-5.0, True)])
def test_batch_norm_keeps_activations_small_only_if_it_does(more, is_said):
    evaluation = study().evaluations["batchnorm"]
    (last,) = [*evaluation.activations][-1:]
    theirs = study().evaluations["baseline"].activations[last]
    activations = evaluation.activations | {last: theirs + more}
    changed = study().evaluations | {"batchnorm": dataclasses.replace(evaluation, activations=activations)}
    said = chapter(chapter_batchnorm.write, dataclasses.replace(study(), evaluations=changed))
    assert ("so what it hands on stays small" in said) == is_said


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        *((0.65, 3.8, True), (-3.8, -0.65, True), (-1, 1, True)),
        *((-0.02, 2.62, False), (0.01, 2.64, False), (-2.6, 0.1, False), (0.15, 2.84, False), (0.31, 2.97, False)),
    ],
)
def test_an_interval_that_ends_within_rounding_of_zero_is_not_settled(low, high, expected):
    assert is_settled(Comparison(1.0, low, high, 1, 1, 16)) is expected
    assert is_settled(Comparison(1.0, -math.inf, math.inf, 1, 1, 4))


@pytest.mark.parametrize("arm", ["batchnorm", "l2"])
def test_a_network_that_makes_more_than_a_third_of_a_difference_is_named_wherever_it_is_said(arm):
    alone, test = study(), study().evaluations["baseline"].accuracies["test"]
    ours = test + torch.tensor([2.0, 2, 2, 9, 2, 2])
    of_arm = dataclasses.replace(alone.evaluations[arm], accuracies=alone.evaluations[arm].accuracies | {"test": ours})
    changed = dataclasses.replace(alone, evaluations={**alone.evaluations, arm: of_arm})
    write = {"batchnorm": chapter_batchnorm.write, "l2": chapter_l2.write}[arm]
    on_page_one = r"by 3\.17 points \[2\.00, [\d.]+\] \(seed 3 alone makes 47\xa0%\)\."
    assert re.search(on_page_one, " ".join(findings(changed)))
    said = "Test accuracy: better by about 3.2 points, in 6 of 6 seeds (much of it in seed 3)."
    assert said in chapter(write, changed)
    header, *rows = cells_of(opened(changed), f"{PARAMS.arms[arm].title} and baseline")
    cells = {row[0]: row[header.index("Largest")] for row in rows}
    assert cells["Test accuracy (%)"] == "3: 47\xa0%"
    for title, (_, each) in levels(changed, arm).items():
        assert bool(cells[title]) == (each.alone is not None)


@pytest.mark.parametrize(
    ("topic", "titles"),
    [
        ("Performance", ["Test accuracy (%)", "Lowest validation cost (nats)"]),
        ("Number of iterations", ["Iterations to half the cost of guessing", "Iterations to the stop"]),
        ("Running time", ["One iteration (µs)", "Time to the stop (s)"]),
    ],
)
def test_section_5_says_in_words_what_its_table_shows(topic, titles):
    (said,) = (paragraph.text for paragraph in section(5) if paragraph.text.startswith(topic))
    assert re.search(r"\(Table \d", said)
    for title in titles:
        quantity, compared = levels(study(), "batchnorm")[title]
        name, _, unit = title.rstrip(")").partition(" (")
        means = f"{compared.mean:.{quantity.decimals}f} against {compared.reference:.{quantity.decimals}f} {unit}, "
        assert f"{name}: {means * (topic == 'Running time')}{roughly(compared, quantity)}." in said


@pytest.mark.parametrize(("number", "arm"), [(5, "batchnorm"), (6, "l2")])
def test_sections_5_and_6_give_the_results_of_their_headline_models(number, arm):
    (said,) = (paragraph.text for paragraph in section(number) if paragraph.text.startswith("The headline model"))
    best = study().headline(arm)
    final = listed([f"{name} {best[name]:.2f}\xa0%" for name in study().card.sizes])
    assert said.startswith(f"The headline model (seed {best.seed}), with the settings of section 4: {final}; ")
    assert f"; {best.steps:,} iterations, {best.epochs:.1f} epochs." in said


@pytest.mark.parametrize(("is_clear", "is_opposite"), [(True, False), (True, True), (False, True)])
def test_section_5_says_where_headline_models_point_in_another_direction_than_clear_means(is_clear, is_opposite):
    """A mean that does not clearly differ has no direction."""
    changed, rows, low = dataclasses.replace(study()), levels(study(), "batchnorm"), 1.0 if is_clear else -1.0
    clear = {
        title: (quantity, dataclasses.replace(each, low=low, high=2.0)) for title, (quantity, each) in rows.items()
    }
    headlines, sign = study().headlines.copy(), -1 if is_opposite else 1
    for name, title in OF_HEADLINE.items():
        difference = sign * np.sign(rows[title][1].difference)
        headlines[name] = headlines[name].astype(float)
        headlines.loc[["baseline", "batchnorm"], name] = [50.0, 50 + difference]
    changed.__dict__["headlines"] = headlines  # where the cached property would be
    said = "In test accuracy, lowest validation cost and iterations to the stop the headline models and the means "
    found = _opposite(changed, "batchnorm", clear, "batchnorm_levels")
    assert (f"{said}point in opposite directions (" in found) == (is_clear and is_opposite) == bool(found)


def test_networks_that_overfit_are_told_from_those_that_hardly_do():
    reason = " A possible reason: there are more {} than {}."
    few, many = (reason.format(*each) for each in itertools.permutations(["training examples", "weights and biases"]))

    def said(gap, test, examples):
        evaluations = {
            arm: dataclasses.replace(each, accuracies={
                "train": each.accuracies["validation"] + gap,
                "validation": each.accuracies["validation"],
                "test": torch.full_like(each.accuracies["test"], test),
            })
            for arm, each in study().evaluations.items()
        }  # fmt: skip
        card = dataclasses.replace(study().card, sizes=study().card.sizes | {"train": examples})
        return findings(dataclasses.replace(study(), evaluations=evaluations, card=card))[-1]

    hardly = "**The networks hardly overfit"
    gap = " The gap, train minus validation accuracy, is on average at most 2.50 points [2.50, 2.50] in an arm."
    assert said(2.5, 90.0, 2000) == f"{hardly}: what they learn generalises.**{gap}{few}"
    assert said(2.5, 90.0, 160) == f"{hardly}: what they learn generalises.**{gap}"  # more weights than examples
    assert said(2.5, 10.0, 2000) == f"{hardly}.**{gap}{few}"  # they have learnt nothing
    overfit = "**The networks overfit.**"
    assert said(3.5, 90.0, 160).startswith(overfit) and said(3.5, 90.0, 160).endswith(many)
    assert said(3.5, 90.0, 2000).startswith(overfit) and "reason" not in said(3.5, 90.0, 2000)


@pytest.mark.parametrize("titles", [("Step", "Pairs", "Largest"), ("Layer", "Step", "At the start")], ids="/".join)
def test_a_title_may_be_that_of_a_column(titles):
    changed = with_arms(dict(zip("abc", titles, strict=True)))
    tables = [[[cell.text for cell in row.cells] for row in table.rows] for table in opened(changed).tables]
    for arm, title in zip("bc", titles[1:], strict=True):
        (found,) = (table for table in tables if table[0][:3] == ["Mean over the networks", titles[0], title])
        of_arm = [compared for _, compared in levels(changed, arm).values()]
        assert found[1][1:3] == [f"{of_arm[0].reference:.2f}", f"{of_arm[0].mean:.2f}"]
        assert found[0][4] == "Pairs" and found[1][4] == str(of_arm[0].pairs)
        named = [f"{each.alone[0]}: {each.alone[1]:.0f}\N{NO-BREAK SPACE}%" if each.alone else "" for each in of_arm]
        assert any(named) and [row[5] for row in found] == ["Largest", *named]
    (weights,) = (table for table in tables if table[0][:2] == ["Layer", "At the start"])
    means = changed.networks.groupby("arm")["W1"].mean()
    assert weights[0][2:4] == [titles[0], titles[2]] and weights[1][0] == "W1"
    assert weights[1][2:4] == [f"{means['a']:.2f}", f"{means['c']:.2f}"]


@pytest.mark.parametrize(
    ("reached", "diverged", "is_said"), [(100, False, False), (None, False, True), (None, True, False)]
)
def test_what_counts_for_slow_networks_is_said_if_there_are_any(reached, diverged, is_said):
    said = chapter(build._method, fared(seed2={"half_cost_steps": reached, "diverged": diverged}))
    assert ("Networks that never come to half the cost of guessing count with the longest" in said) == is_said


def test_the_penalty_stands_beside_the_cost_however_many_arms_there_are():
    alone = Document("", "")
    build._cost_tables(alone, with_arms({f"arm{number}": f"Arm {number}" for number in range(16)}))
    headers = [[cell.text for cell in table.rows[0].cells] for table in alone._docx.tables]
    costs = [(header, place) for header in headers for place, title in enumerate(header) if title.endswith("data cost")]
    assert costs
    for header, place in costs:
        assert header[place + 1] == header[place].replace("data cost", "penalty")


def test_networks_of_the_grid_that_diverged_are_named():
    reasons = ["cap reached", "diverged", "cap reached", "diverged"]  # the second later than its best step
    path = dataclasses.replace(study().path, stop_reason=reasons, best_step=[*study().path.best_step[:3], 0])
    said = chapter(chapter_l2.write, dataclasses.replace(study(), path=path))
    assert f"from {len(PARAMS.l2_path.values)} values with" in said
    assert " Diverged before the first check, and not in the means: 1 of lambda = 0.01." in said
    assert "iverged" not in chapter(chapter_l2.write, study())


def test_the_first_gradient_of_one_network_is_largest_where_it_is():
    one = only(("baseline", "batchnorm"), seeds=(3,))
    for layer in one.gradients["baseline"]:
        norms = one.gradients["baseline"].copy()
        norms[layer] = 99.0
        drawn = dataclasses.replace(one, gradients=one.gradients | {"baseline": norms})
        assert f"The first gradient of the baseline network is largest in {layer}" in alt_texts(drawn)


def alt_texts(changed):
    """Return what the figures' texts for those who cannot see them say."""
    return " ".join(each.get("descr") for each in opened(changed).element.iter(f"{WP}docPr"))


def test_one_arm_alone_is_reported_without_comparisons():
    alone = with_arms({"plain": "Plain"})
    assert len(findings(alone)) == 2
    said = shown(alone)
    assert not re.search("no clear difference|of 6 seeds", " ".join(findings(alone)))
    assert "This run has no arm that adds batch norm to the reference." in said
    assert "This run has no arm that adds the L2 penalty to the reference." in said
    assert not re.search(r"\b(nan|inf)\b", said)


def only(arms, *, seeds=range(6)):
    """Return a study of some arms and networks."""
    taken = {arm: study().params.arms[arm] for arm in arms if arm in study().params.arms}
    if "both" in arms:
        taken["both"] = study().params.arms["batchnorm"].model_copy(update={"l2": 0.01, "title": "Both"})
    results = {name: trained(use_batchnorm=arm.use_batchnorm, l2=arm.l2, seeds=[*seeds]) for name, arm in taken.items()}
    params = with_params(study().params, training={"seeds": [*seeds]})
    return dataclasses.replace(
        study(),
        params=params.model_copy(update={"arms": taken, "reference": arms[0]}),
        results=results,
        evaluations={name: evaluate_arm(result, SETS) for name, result in results.items()},
        gradients={name: first_gradient_norms(*SETS["train"], result) for name, result in results.items()},
    )


def test_one_network_alone_is_compared_with_nothing():
    said = text_of(opened(only(("baseline", "batchnorm", "l2"), seeds=(3,))))
    assert "Batch norm, mean test accuracy: no clear difference (n\xa0=\xa01)." in said
    assert "one run cannot tell what the arm does" in said
    assert "Its standard deviation (points)\nunknown\nunknown\nunknown" in said
    assert "Standard deviation" not in said  # in the table of one arm it has a row
    assert not re.search(r"fold|alone makes|\b(nan|inf)\b", said)


def test_a_reference_with_batch_norm_leaves_section_5_to_no_arm():
    changed = only(("batchnorm", "l2", "baseline"))
    said = text_of(opened(changed))
    assert (changed.with_batchnorm, changed.with_l2, list(changed.in_brief)) == (None, "l2", ["baseline"])
    assert said.count("This run has no arm that adds batch norm to the reference.") == 1
    assert "no arm that adds the L2 penalty to the reference" not in said
    assert "batch norm on; learning rate" in said
    assert "section 6: page 5, costs: page 7, functions" in said  # section 5 is a page
    assert "Appendix G. The other arms" in said


def test_an_arm_with_both_is_that_of_batch_norm_and_of_no_other_section():
    changed = only(("baseline", "both"))
    said = text_of(opened(changed))
    assert (changed.with_batchnorm, changed.with_l2, list(changed.in_brief)) == ("both", None, [])
    assert said.count("This run has no other arm that adds the L2 penalty to the reference.") == 1
    assert said.count("differ in batch norm and in lambda, so this table cannot tell which of the two acts") == 1
    assert "Each step multiplies" not in said
    assert "Both: data cost" in said and "Both: penalty" in said
    with_all = dataclasses.replace(
        study(),
        params=study().params.model_copy(update={"arms": {"both": changed.params.arms["both"], **study().params.arms}}),
    )
    assert (with_all.with_batchnorm, with_all.with_l2) == ("batchnorm", "l2")  # those that differ in one thing
    assert list(with_all.in_brief) == ["both"]


def test_the_lines_of_code_shown_for_l2_are_those_of_the_functions():
    for name, line in chapter_l2.CODE.items():
        module, function = name.split(".")
        source = inspect.getsource(getattr(importlib.import_module(f"pipeline.network.{module}"), function))
        assert line in [each.strip() for each in source.splitlines()], name
        assert "l2" in line or "penalty" in line
    _, *rows = cells_of(document(), "The lines of code")
    assert dict(rows) == chapter_l2.CODE


def test_rows_without_a_clear_difference_are_grey_and_no_others():
    greys = set()
    for arm in ("batchnorm", "l2"):
        (table,) = (t for t in document().tables if _caption(t).startswith(f"{PARAMS.arms[arm].title} and baseline"))
        rows = levels(study(), arm)
        for (title, (_, compared)), row in zip(rows.items(), table.rows[1:], strict=True):
            cells = row.cells
            is_grey = not (compared.low > 0 or compared.high < 0)
            assert cells[0].text == title
            colours = {run.font.color.rgb for cell in cells for run in cell.paragraphs[0].runs}
            assert colours == {GREY if is_grey else None}
            greys.add(is_grey)
    assert greys == {True, False}


def test_ten_questions_are_answered_each_with_a_number_of_this_run():
    answers = questions(study())
    assert len(answers) == 10
    evaluation = study().evaluations["baseline"]
    k = evaluation.headline
    tests = [study().evaluations[arm].accuracies["test"].tolist() for arm in ("batchnorm", "baseline")]
    mean = np.mean([ours < theirs for ours, theirs in itertools.product(*tests)])
    rows = sum(len(levels(study(), arm)) for arm in ("batchnorm", "l2"))
    numbers = {  # by a word of the question
        "p - y": "0.1 ",
        "divide by m": f"{PARAMS.training.batch_size} examples",
        "guessing": f"{100 * math.exp(-evaluation.costs['validation'][k]):.0f}\xa0%",
        "stop": "no new low for 100 training steps (4b). That is only 4 checks",
        "chance": f"By chance at most one in twenty of all {rows} would be clear.",
        "limits": "5 numbers at the narrowest place",
        "overfit": f"{study().networks['gap']['baseline'][k]:.2f} points above its validation accuracy",
        "several": f" in {100 * mean:.0f}\xa0% of the draws",
        "pass through": f"the whole batch, {PARAMS.training.batch_size} examples",
        "lambda": f"half of it would be left after {math.log(0.5) / math.log(0.99991):,.0f} steps",
    }
    for (question, answer), (word, number) in zip(answers.items(), numbers.items(), strict=True):
        assert word in question and question.endswith("?")
        assert number in answer
        assert len(question) + len(answer) < 240, question
    listed = [p for p in section(7) if p.style.name == "List Number"]
    said = [re.sub(r"\[\[(batchnorm|l2)_levels\]\]", "Table", f"{each} {answers[each]}") for each in answers]
    assert [re.sub(r"Table \d+", "Table", paragraph.text) for paragraph in listed] == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no improvement", "the validation cost had no new low for 100 training steps"),
        ("cap reached", "it reached max_steps, 30,000 training steps"),
        ("diverged", "its cost was no longer finite"),
    ],
)
def test_why_training_stopped_is_said_as_it_was(reason, said):
    result = study().results["baseline"]
    changed = dataclasses.replace(
        study(), results={**study().results, "baseline": dataclasses.replace(result, stop_reason=[reason] * 6)}
    )
    assert f"It stopped because {said}. " in chapter(chapter_baseline.write, changed)
    answers = questions(changed)
    found = answers["Why did training stop when it did?"]
    assert found.startswith(f"Because {said} (4b).")
    assert ("noise of the validation cost" in found) == (reason == "no improvement")
    ends = {"no improvement": "early stop", "cap reached": "cap on steps", "diverged": "divergence"}
    assert f"and the {ends[reason]} (answer 4)." in answers["What limits the accuracy?"]


@pytest.mark.parametrize(
    ("gap", "said"), [(-0.3, "0.30 points below"), (2.9, "2.90 points above"), (3.1, "3.10 points above")]
)
def test_overfitting_is_a_limit_only_if_the_gap_is_large(gap, said):
    evaluation = study().evaluations["baseline"]
    accuracies = evaluation.accuracies | {"train": evaluation.accuracies["validation"] + gap}
    of_arm = dataclasses.replace(evaluation, accuracies=accuracies)
    changed = dataclasses.replace(study(), evaluations={**study().evaluations, "baseline": of_arm})
    answers = questions(changed)
    assert f"train accuracy is {said} its validation accuracy" in answers["Does the network overfit?"]
    train = f"{float(accuracies['train'][evaluation.headline]):.2f}\xa0%"
    rest = "the small network (5 numbers at the narrowest place) and the early stop (answer 4)."
    start = (
        f"Not overfitting: on the training set it is {train}. Probably"
        if gap < 3
        else "Overfitting (answer 7), and probably"
    )
    assert answers["What limits the accuracy?"] == f"{start} {rest}"
    numbers = {question: number for number, question in enumerate(answers, start=1)}
    assert (numbers["Why did training stop when it did?"], numbers["Does the network overfit?"]) == (4, 7)


def test_a_network_without_a_narrow_place_is_not_called_small():
    result = study().results["baseline"]
    parameters = result.parameters | {f"W{layer}": torch.zeros(6, 10, 16 if layer == 1 else 10) for layer in (1, 2, 3)}
    of_arm = dataclasses.replace(result, parameters=parameters)
    changed = dataclasses.replace(study(), results={**study().results, "baseline": of_arm})
    assert questions(changed)["What limits the accuracy?"].endswith(" probably the early stop (answer 4).")


def test_only_a_difference_that_the_report_calls_clear_is_named_as_one_that_could_be_chance(monkeypatch):
    rows = {
        "A (x)": (NORM, Comparison(1.0, 0.01, 2.0, 6, 0, 6)),  # grey: too close to zero to call
        "B (x)": (NORM, Comparison(1.0, 0.5, 2.0, 6, 0, 6)),
        "C (x)": (NORM, Comparison(1.0, 0.9, 2.0, 6, 0, 6)),
    }
    monkeypatch.setattr(chapter_questions, "levels", lambda study, arm: rows)
    said = questions(study())["Which result could be chance?"]
    assert said.startswith('Most likely "B" in [[batchnorm_levels]]: of 4 clear differences its interval ends ')
    del rows["B (x)"], rows["C (x)"]
    assert questions(study())["Which result could be chance?"] == "Of 2 differences none is clear."


@pytest.mark.parametrize("is_longer_elsewhere", [False, True])
def test_a_training_without_a_100th_step_has_no_cost_at_it(is_longer_elsewhere):
    result = study().results["baseline"]
    none = {"cost_steps": [], "costs": result.costs[:0], "penalties": result.penalties[:0]}
    if is_longer_elsewhere:  # another network of the arm went on
        none = {"costs": torch.full_like(result.costs, torch.nan)}
    short = dataclasses.replace(result, steps=[90] * 6, best_step=[60] * 6, **none)
    written = opened(dataclasses.replace(study(), results={**study().results, "baseline": short}))
    said = "\n".join([text_of(written), *(each.get("descr") for each in written.element.iter(f"{WP}docPr"))])
    assert not re.search(r"\b(nan|inf)\b", said)


def test_batch_norm_is_explained_by_the_first_gradients():
    norms = study().gradients
    folds = {name: norms["baseline"][name].max() / norms["baseline"][name].min() for name in norms["baseline"]}
    layer, theirs = max(folds, key=folds.get), max(folds.values())
    ours = norms["batchnorm"][layer].max() / norms["batchnorm"][layer].min()
    title = f"Gradients in {layer} differ {theirs:.2g}-fold (baseline), {ours:.2g}-fold (batch norm)"
    assert title in alternative("Left: the norm")
    for arm in ("baseline", "batchnorm"):
        of_first = norms[arm]["W1"].max() / norms[arm]["W1"].min()
        assert f"{of_first:.2g}-fold in W1" in text_of(document())


def test_weights_are_set_beside_their_start():
    header, *rows = cells_of(document(), "Norm of the weights by layer")
    arms = ("baseline", "l2")
    starts = initialize_ensemble(DIMS, [*range(6)])
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        flat = {arm: study().results[arm].parameters[row[0]].flatten(start_dim=1) for arm in arms}
        start = starts[row[0]].flatten(start_dim=1)
        assert cells["At the start"] == f"{start.norm(dim=1).mean():.2f}"
        for arm, W_l in flat.items():
            title, cosine = PARAMS.arms[arm].title, torch.cosine_similarity(W_l, start)
            assert cells[title] == f"{W_l.norm(dim=1).mean():.2f}"
            assert cells[f"Along the start, {title} (%)"] == f"{100 * (cosine**2).mean():.0f}"
        compared = compare(*(flat[arm].double().norm(dim=1) for arm in reversed(arms)))
        assert cells["Difference [95 % interval]"] == interval(compared, NORM)
    assert [row[0] for row in rows] == ["W1", "W2", "W3"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(0.22, 2.3, ["0.5", "1", "2"]), (0.012, 0.15, ["0.02", "0.05", "0.1"]), (0.31, 0.44, ["0.32", "0.34", "0.36"])],
)
def test_costs_of_any_size_have_labels_on_their_axis(low, high, labels):
    axis = figures.Figure().subplots()
    axis.plot([0, 1], [low, high])
    figures._count_decades(axis)
    axis.set_ylim(low, high)
    axis.figure.draw_without_rendering()
    shown = [text.get_text() for text in axis.get_yticklabels() if low <= text.get_position()[1] <= high]
    assert set(labels) <= set(shown)


@pytest.mark.parametrize("count", [4, 10])
def test_other_arms_are_summed_up_in_a_fifth_finding(count):
    many = with_arms({f"arm{number}": f"A long name of arm {number}" for number in range(count)})
    assert len(findings(many)) == 5
    said = findings(many)[3]
    others = "1 other arm" if count == 4 else "7 other arms"
    start = f"**{others}** ([[others]]). Test accuracy against the a long name of arm 0 arm: better in "
    assert said.startswith(start)
    gains = [many.comparisons[arm]["test_accuracy"] for arm in many.in_brief]
    settled = [gain for gain in gains if is_settled(gain)]
    better, worse = sum(gain.low > 0 for gain in settled), sum(gain.high < 0 for gain in settled)
    counts = [int(number) for number in re.findall(r"\d+", said.removeprefix(start).replace("(n\xa0=\xa06)", ""))]
    assert counts == [better, worse, len(gains) - better - worse]


def test_long_names_of_classes_and_few_seeds_do_not_stop_it():
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    few = only(("baseline", "batchnorm", "l2"), seeds=(0, 1))
    card = dataclasses.replace(few.card, name="fashion_mnist", title="Fashion-MNIST", classes=names)
    said = shown(dataclasses.replace(few, card=card))
    assert "no clear difference (n\xa0=\xa02)" in said
    assert "Fashion-MNIST" in said
    assert not re.search(r"\b(inf|nan)\b", said)


def fared(**changes):
    """A study in which all networks fared well but for those of the reference named ``seed<k>``."""
    well = {
        **{"test": 93.0, "collapsed": False, "diverged": False, "left_plateau": 30, "half_cost_steps": 100.0},
        **{"dead_A1": 0, "dead_A2": 0, "nearly_dead_A1": 0, "nearly_dead_A2": 0},
    }
    changed = dataclasses.replace(study())
    networks = study().networks.assign(**well)
    for seed, columns in changes.items():
        for column, value in columns.items():
            networks.loc[("baseline", int(seed.removeprefix("seed"))), column] = value
    changed.__dict__["networks"] = networks  # where the cached property would be
    return changed


def health_of(**changes):
    """Return the text of the appendix on health, and the rows of its tables, without no-break spaces."""
    alone = Document("", "")
    appendices.write_health(alone, fared(**changes))
    tables = [[[cell.text.replace("\xa0", " ") for cell in row.cells] for row in t.rows] for t in alone._docx.tables]
    return " ".join(paragraph.text for paragraph in alone._docx.paragraphs), *tables


def test_no_network_is_named_if_all_fared_well():
    said, counts = health_of()
    assert "below that of guessing, ln 10 = 2.30 nats" in said and "after the first check, step 30" in said
    share = "0 of 6 [0.0, 45.9 %]"
    assert counts[1] == ["Baseline", share, share, share, "none", "none"]


def test_networks_that_fared_ill_are_counted_and_named():
    said, counts, named = health_of(
        seed1={"left_plateau": 90},
        seed2={
            "test": 20.0,
            "collapsed": True,
            "dead_A1": 1,
            "dead_A2": 2,
            "weakest_class": 8,
            "recall": 8.1,
        },
        seed3={"left_plateau": None, "diverged": True},
        seed5={"nearly_dead_A2": 1},
    )
    assert "Of 2 networks with dead or nearly dead units 1 did not collapse." in said
    two, one = "2 of 6 [4.3, 77.7 %]", "1 of 6 [0.4, 64.1 %]"
    assert counts[1] == ["Baseline", two, one, one, "layer 1: 1, layer 2: 2", "layer 2: 1"]
    assert [row[:2] for row in named[1:]] == [["Baseline", "1"], ["Baseline", "2"], ["Baseline", "3"]]
    assert [row[3] for row in named[1:]] == ["left at step 90", "collapsed", "never left and diverged"]
    assert named[0][3] == "What happened"
    assert named[2][2:] == ["20.00", "collapsed", "layer 1: 1, layer 2: 2", "none", "8 (8.1 %)"]


@pytest.mark.parametrize(
    ("seeds", "said"), [(16, "all subsets of the 16"), (17, f"{SUBSETS:,} random subsets of the 17")]
)
def test_intervals_are_explained_for_the_number_of_networks(seeds, said):
    changed = with_params(study().params, training={"seeds": [*range(seeds)]})
    alone = Document("", "")
    appendices.write_intervals(alone, dataclasses.replace(study(), params=changed))
    assert said in " ".join(paragraph.text for paragraph in alone._docx.paragraphs)


def test_step_times_are_compared_round_by_round():
    assert study().step_times("l2").tolist() == pytest.approx([100, 300, 100])
    _, compared = levels(study(), "batchnorm")["One iteration (µs)"]
    assert (compared.difference, compared.above, compared.below) == (pytest.approx(100 / 3), 2, 1)
    assert verdict(compared, STEP_TIME) == "no clear difference (n\xa0=\xa03)"
    assert verdict(Comparison(80, 60, 90, 9, 0, 9), STEP_TIME) == "longer by 80 microseconds [60, 90]"
    assert verdict(Comparison(-2, -3, -1, 0, 9, 9), NORM) == "smaller by 2.00 [1.00, 3.00]"


@pytest.mark.parametrize("arm", ["batchnorm", "l2"])
def test_levels_subtract_to_the_difference_that_stands_beside_them(arm):
    _, *rows = cells_of(document(), f"{PARAMS.arms[arm].title} and baseline")
    assert len(rows) == len(levels(study(), arm)) == (12 if arm == "batchnorm" else 11)  # lambda costs no time
    for title, reference, of_arm, apart, pairs, *_ in rows:
        texts = [each.replace(",", "").replace("−", "-") for each in (of_arm, reference, apart.partition(" ")[0])]
        decimals = len(texts[2].partition(".")[2])
        ours, theirs, difference = map(float, texts)
        assert ours - theirs == pytest.approx(difference, abs=1.1 * 10.0**-decimals), title
        assert pairs == ("3" if title.startswith("One iteration") else "6")


def test_the_best_lambda_is_compared_with_none_by_seed_and_by_the_parameters_that_are_kept():
    """With a ``min_delta`` these are not always those of the lowest cost."""
    seeds = [*range(6)]
    path = trained(l2=[0.0] * 6 + [0.01] * 6, seeds=seeds * 2, min_delta=0.1)
    assert (path.at_best(path.validation_costs) > path.validation_costs.nan_to_num(math.inf).amin(dim=0)).any()
    gains, costs = torch.arange(1.0, 7.0) / 100, path.validation_costs.clone()
    costs[:, 6:] = costs[:, :6] - gains
    path = dataclasses.replace(path, validation_costs=costs, best_step=path.best_step[:6] * 2)
    changed = dataclasses.replace(study(), path=path, params=with_params(study().params, l2_path={"seeds": seeds}))
    said = chapter(lambda document, study: chapter_l2._path(document, study, 0.01), changed)
    expected = verdict(compare(-gains, torch.zeros(6), seeds), QUANTITIES["validation_cost"])
    assert f"Its validation cost against lambda = 0: {expected}." in said
    assert expected.startswith("better by 0.0350 nats")


def test_time_to_stop_is_that_of_the_steps_and_of_the_validation_checks():
    """A check comes every 30 steps."""
    expected = [steps * 1e-4 + steps // 30 * 3e-3 for steps in study().results["l2"].steps]
    assert study().networks["seconds"]["l2"].tolist() == pytest.approx(expected)


def test_the_levels_of_time_to_stop_are_means_over_the_networks():
    results = dict(study().results)
    results["l2"] = dataclasses.replace(results["l2"], steps=[60_000 * k for k in (1, 2, 3, 4, 5, 9)])
    _, level = levels(dataclasses.replace(study(), results=results), "l2")["Time to the stop (s)"]
    assert level.mean == pytest.approx(240_000 * 1e-4 + 240_000 / 30 * 3e-3)


def test_activations_are_compared_network_by_network():
    ours, theirs = (study().evaluations[arm].activations["A2"] for arm in ("batchnorm", "baseline"))
    medians = (np.median(each) for each in (theirs, ours))  # as the bars
    title = "Activations in layer 2, medians: {:.2g} (baseline), {:.2g} (batch norm).".format(*medians)
    assert title in alternative("Left: the norm")
    assert verdict(compare(ours, theirs), ACTIVATION) in text()


@pytest.mark.parametrize(("low", "high", "floor"), [(12.0, 93.0, 50), (70.0, 93.0, None), (12.0, 41.0, 31)])
def test_the_caption_of_the_accuracy_says_what_is_cut_off(low, high, floor):
    changed = with_arms({"plain": "Plain"})
    curves = changed.results["plain"].validation_accuracies.clamp(low, high)
    curves[0], curves[-1] = low, high
    changed.results["plain"] = dataclasses.replace(changed.results["plain"], validation_accuracies=curves)
    said = chapter(chapter_batchnorm._curves, changed)
    assert (f" Values below {floor}\xa0% are not shown." in said) == bool(floor)
    assert ("are not shown" in said) == bool(floor)


def test_every_parameter_is_listed():
    listed = {row.cells[0].text: row.cells[1].text for table in document().tables for row in table.rows}
    assert listed["training.learning_rate"] == str(PARAMS.training.learning_rate)
    assert listed["arms.l2.l2"] == str(PARAMS.arms["l2"].l2)
    assert listed["l2_path.values"] == ", ".join(map(str, PARAMS.l2_path.values))


def _caption(table, whole=False):
    paragraph = table._tbl.getprevious()
    caption = "".join(node.text or "" for node in paragraph.iter(f"{W}t"))
    return caption if whole else caption.split(". ", 1)[1]


@functools.cache
def drawn():
    """Every figure of the report, before it becomes a PNG file."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_png", lambda figure: caught.append(figure) or PIXEL)
        build_report(study())
        weights = {arm: torch.randn(30, 784) for arm in PARAMS.arms}
        figures.first_layer_weights(weights, study().titles, "The weights of many units")
    return caught


@functools.cache
def laid_out():
    """Draw the figures of three arms and of twelve: each with its texts and their boxes, and the box around all."""
    return [(figure, *boxes_of(figure)) for figure in (*drawn(), *crowded()[2])]


def boxes_of(figure):
    texts, draw = [], Text.draw
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context(figures.STYLE):  # of ticks that are made while drawing
        patch.setattr(Text, "draw", lambda text, renderer: texts.append(text) or draw(text, renderer))
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        extent = figure.get_tightbbox(renderer)
    texts = [text for text in texts if text.get_text() and text.get_visible()]
    return [(text, text.get_window_extent(renderer).padded(-3, -4.5)) for text in texts], extent  # nearly the ink


def test_no_text_of_a_figure_is_clipped_or_smaller_than_7_points():
    assert (len(drawn()), len(crowded()[2])) == (9, 8)
    for figure, texts, extent in laid_out():
        assert figure.dpi == 300
        assert texts and all(text.get_fontsize() >= 7 for text, _ in texts)
        assert extent.x0 >= 0 and extent.y0 >= 0, figure
        assert extent.x1 <= figure.get_figwidth() and extent.y1 <= figure.get_figheight(), figure


def test_no_two_texts_of_a_figure_overlap_and_each_fits_a_page():
    for figure, texts, _ in laid_out():
        for (ours, our_box), (theirs, their_box) in itertools.combinations(texts, 2):
            assert not our_box.overlaps(their_box), (ours, theirs)
        assert figure.get_figheight() <= figures.TALLEST


def test_figures_are_printed_as_large_as_they_are_drawn():
    shapes = list(document().inline_shapes)
    assert len(shapes) == len(drawn()) - 1  # the last is drawn for these tests alone
    for shape, figure in zip(shapes, drawn(), strict=False):
        assert shape.width.inches == pytest.approx(figure.get_figwidth(), rel=0.01)


def test_every_figure_has_a_title_in_words():
    for figure in drawn():
        titles = [figure.get_suptitle(), *(axis.get_title("left") for axis in figure.axes)]
        assert any(len(title.split()) >= 3 for title in titles), titles


def test_an_arm_without_a_cost_keeps_its_own_line_in_the_legend(monkeypatch):
    caught = []
    monkeypatch.setattr(figures, "_png", caught.append)
    costs = pd.DataFrame({"arm": "b", "step": [100, 200], "cost": [2.0, 1.0]})  # a's network diverged at once
    figures.headline_costs(costs, {"a": (0, 50), "b": (200, 250)}, {"a": "A", "b": "B"}, "Costs")
    (legend,) = caught[0].legends
    shown = {text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)}
    assert list(shown) == ["A", "B", "best step", "stop"]
    assert (shown["A"], shown["B"]) == figures.PALETTE[:2]


def test_a_best_step_shows_around_a_stop_at_the_next_recorded_step(monkeypatch):
    caught = []
    monkeypatch.setattr(figures, "_png", caught.append)
    costs = pd.DataFrame({"arm": "a", "step": range(100, 12_001, 100), "cost": 1.0})
    figures.headline_costs(costs, {"a": (11_900, 12_000)}, {"a": "A"}, "Costs")
    (axis,) = caught[0].axes
    caught[0].draw_without_rendering()
    _, circle, square = axis.lines
    apart = [axis.transData.transform((float(line.get_xdata()[0]), 1.0))[0] for line in (circle, square)]
    gap = (apart[1] - apart[0]) * 72 / caught[0].dpi  # in points
    assert circle.get_markersize() / 2 > square.get_markersize() / 2 * math.sqrt(2) + 1
    assert square.get_markersize() < gap + circle.get_markersize() / 2


@pytest.mark.parametrize("name", [figures.WEIGHT_MAP, figures.INK_MAP, figures.SHARE_MAP])
def test_colour_maps_run_one_way_in_grey(name):
    luminance = mpl.colormaps.get_cmap(name)(range(256))[:, :3] @ (0.2126, 0.7152, 0.0722)
    steps = luminance[1:] - luminance[:-1]
    assert (steps >= -2e-3).all() or (steps <= 2e-3).all()
    assert abs(luminance[-1] - luminance[0]) > 0.5


@pytest.mark.parametrize(("units", "arms"), [(6, 2), (14, 2), (30, 4)])
def test_each_arm_s_strongest_units_are_tiled_in_lines_of_ten_with_nothing_between_them(units, arms, monkeypatch):
    caught = []
    monkeypatch.setattr(figures, "_png", lambda figure: caught.append(figure) or PIXEL)
    parameters = {f"arm{k}": torch.randn(units, 784) * torch.rand(units, 1) for k in range(arms)}
    figures.first_layer_weights(parameters, {name: name.upper() for name in parameters}, "Weights")
    *panels, _ = caught[0].axes  # the last is the scale
    assert [axis.get_title("left") for axis in panels] == [name.upper() for name in parameters]
    assert len({axis.images[0].get_clim() for axis in panels}) == 1
    for axis, weights in zip(panels, parameters.values(), strict=True):
        tiles = axis.images[0].get_array().filled(np.nan)
        strongest = weights.norm(dim=1).argsort(descending=True)[: figures.UNITS_SHOWN]
        for place, unit in enumerate(strongest.tolist()):
            top, left = place // 10 * 32, place % 10 * 42
            tile = tiles[top : top + 28, left : left + 28]
            assert (tile == weights[unit].reshape(28, 28).numpy()).all()
            tile[:] = np.nan
        assert np.isnan(tiles).all()


def test_the_caption_says_which_units_are_shown():
    assert "all 6 units" in text()


TITLE = "{} with a title of just as many letters as params.yaml lets it have"


@functools.cache
def crowded():
    """Give twelve arms of eleven layers and of long titles, their open report, and its figures."""
    dims = [16, *[5] * 10, 10]
    sets = {name: blobs(60, dims=dims, seed=seed) for seed, name in enumerate(SETS)}
    settings = {"learning_rate": 0.1, "max_steps": 200, "batch_size": 10, "seeds": range(2), "evaluate_every": 20}
    results = {
        name: train(
            *sets["train"], dims, validation=sets["validation"], use_batchnorm=arm.use_batchnorm, l2=arm.l2, **settings
        )
        for name, arm in PARAMS.arms.items()
    }
    many = with_arms({f"arm{number}": TITLE.format(number)[:64] for number in range(12)})
    names = [list(PARAMS.arms)[number % 3] for number in range(12)]
    changed = dataclasses.replace(
        many,
        params=many.params.model_copy(update={"network": PARAMS.network.model_copy(update={"layers": dims[1:]})}),
        results={arm: results[name] for arm, name in zip(many.params.arms, names, strict=True)},
        evaluations={arm: evaluate_arm(results[name], sets) for arm, name in zip(many.params.arms, names, strict=True)},
        gradients={
            arm: first_gradient_norms(*sets["train"], results[name])
            for arm, name in zip(many.params.arms, names, strict=True)
        },
    )
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_png", lambda figure: caught.append(figure) or PIXEL)
        return changed, docx.Document(io.BytesIO(build_report(changed))), caught


@pytest.mark.slow
def test_of_twelve_arms_the_first_of_each_kind_has_a_section_and_every_other_a_row():
    changed, opened_report, _ = crowded()
    assert list(changed.in_full) == ["arm0", "arm1", "arm2"]
    sections = [f"{changed.titles[arm]} and {changed.names['arm0']}" for arm in ("arm1", "arm2")]
    captions = [_caption(table).partition(": means, and")[::2] for table in opened_report.tables]
    beside = [first for first, rest in captions if rest]
    assert beside == sections
    others = [
        [row.cells[0].text for row in table.rows[1:]]
        for table in opened_report.tables
        if _caption(table).startswith(("The headline models of the other", "The other arms in relation"))
    ]
    assert others == [list(changed.in_brief.values())] * 2
    assert changed.in_full == {arm: changed.titles[arm] for arm in ("arm0", "arm1", "arm2")}


def test_one_of_anything_is_singular():
    training = PARAMS.training.model_copy(update={"patience": 1, "max_steps": 1, "evaluate_every": 1, "batch_size": 1})
    said = shown(dataclasses.replace(study(), params=study().params.model_copy(update={"training": training})))
    assert "one batch of 1 example; " in said and "checked every 1 step; training stops after 1 step without" in said
    assert not re.search(r"(?<![\d.,])1 (steps|training steps|examples|units|seeds|networks|epochs|points)\b", said)
    one_fewer = Comparison(-1, -2, -1, 0, 9, 9)
    assert verdict(one_fewer, QUANTITIES["steps"]) == "fewer by 1 step [1, 2]"
    assert [numbered(count, "step") for count in (0, 1, 1234, "0.5", "1.0")] == [
        *("0 steps", "1 step", "1,234 steps", "0.5 steps", "1.0 steps")
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Let LibreOffice make pages of the report, and of the one beside the docs; return their folder."""
    tools = ("soffice", "pdfimages", "pdfinfo", "pdftotext", "pdftoppm")
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install libreoffice-writer libreoffice-math poppler-utils")
    folder = tmp_path_factory.mktemp("pages")
    (folder / "report.docx").write_bytes(report())
    shutil.copy("docs/report.docx", folder / "committed.docx")
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(folder)]
    written = [str(folder / name) for name in ("report.docx", "committed.docx")]
    subprocess.run([*command, *written], check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def pdf(pages):
    return pages / "report.pdf"


def poppler(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def test_libreoffice_makes_a4_pages_of_it_without_a_blank_one(pdf):
    told = poppler("pdfinfo", "-l", "-1", pdf)
    sizes = re.findall(r"Page +\d+ size: +(.*)", told)
    assert len(sizes) == int(re.search(r"Pages: +(\d+)", told)[1]) >= 9
    assert all(size.endswith("(A4)") for size in sizes)
    pages = poppler("pdftotext", pdf, "-").split("\f")[:-1]
    assert min(len(page.split()) for page in pages) > 20


def lines_of(pdf):
    """Return the lines of each page without its foot: text, and whether it is a heading."""
    html, titles, pages = "{http://www.w3.org/1999/xhtml}", headings(), []
    for page in ElementTree.fromstring(poppler("pdftotext", "-bbox-layout", pdf, "-")).iter(f"{html}page"):
        lines = [
            (float(line.get("yMin")), float(line.get("yMax")), " ".join(word.text for word in line.iter(f"{html}word")))
            for line in page.iter(f"{html}line")
        ]
        body = sorted(line for line in lines if line[1] < float(page.get("height")) - BOTTOM_MARGIN)
        pages.append([(text, text in titles and bottom - top > HEADING_HEIGHT) for top, bottom, text in body])
    return pages


def test_no_heading_is_the_last_line_of_its_page(pdf):
    pages = lines_of(pdf)
    assert not [lines[-1] for lines in pages if lines[-1][1]]
    assert [text for lines in pages for text, is_heading in lines if is_heading] == headings()


@pytest.mark.parametrize("name", ["report", "committed"])
def test_no_figure_is_torn_from_its_caption_nor_from_the_text_of_its_section(pages, name):
    written, section, captions, leading = docx.Document(pages / f"{name}.docx"), "", [], set()
    for number, lines in enumerate(lines_of(pages / f"{name}.pdf"), start=1):
        for text, is_heading in lines:
            section = text if is_heading else section
            if re.match(r"Figure \d+\. ", text):
                captions.append((number, section))
                assert captions[-1] in leading, text
            leading.add((number, section))
    pictures = re.findall(r"^ *(\d+) +\d+ image ", poppler("pdfimages", "-list", pages / f"{name}.pdf"), re.MULTILINE)
    assert [page for page, _ in captions] == list(map(int, pictures))
    expected = []
    for paragraph in written.paragraphs:
        if paragraph.style.name.startswith("Heading"):
            section = paragraph.text
        elif paragraph._p.findall(f".//{WP}inline"):
            expected.append(section)
    assert len(expected) == 8
    assert all(found.endswith(title) for (_, found), title in zip(captions, expected, strict=True))


def test_nothing_runs_off_the_text_s_width_and_height(pdf):
    poppler("pdftoppm", "-gray", "-r", DOTS_PER_INCH, pdf, pdf.with_suffix(""))
    pages = sorted(pdf.parent.glob("report-*.pgm"))
    assert len(pages) >= 9
    for page in pages:
        ink = np.asarray(Image.open(page)) < 250
        margin, foot = (slice(round(cm * DOTS_PER_INCH / 2.54), -round(cm * DOTS_PER_INCH / 2.54)) for cm in (2, 6))
        ink[margin.stop :, foot] = False
        side = slice(margin.start + 8, margin.stop - 8)  # 2.4 of the 2.5 cm
        assert ink.sum() == ink[margin, side].sum(), page.name


def test_the_contents_have_the_page_of_every_section(pdf):
    laid_out = poppler("pdftotext", "-layout", pdf, "-")
    entries = re.findall(r"^[ \f]*(\S.*?)\.{3,} *(\d+)$", laid_out, re.MULTILINE)
    assert [" ".join(heading.split()) for heading, _ in entries] == listed_headings()
    lines = [[" ".join(line.split()) for line in page.splitlines()] for page in laid_out.split("\f")]
    for heading, page in entries:
        assert " ".join(heading.split()) in lines[int(page) - 1]
    (appendices,) = (int(page) for heading, page in entries if heading.startswith("Appendix A"))
    assert appendices <= 13  # at most twelve pages before


def test_page_one_of_the_report_beside_the_docs_tells_the_right_pages(pages):
    """In Word, too, which shows the numbers in the file until the fields are updated; LibreOffice counts anew."""
    written = docx.Document("docs/report.docx").paragraphs
    (line,) = (p.text for p in written if p.text.startswith("Section 4: page"))
    told = re.search(
        r"4: page (\d+), section 5: page (\d+), section 6: page (\d+), costs: page (\d+), .* page (\d+)\.", line
    )
    laid_out = poppler("pdftotext", "-layout", pages / "committed.pdf", "-")
    assert told[0] in " ".join(laid_out.split())
    for heading, page in zip(("4 ", "5 ", "6 ", "8 ", "Functions and"), map(int, told.groups()), strict=True):
        assert re.search(rf"(?m)^{heading}", laid_out.split("\f")[page - 1])
    entries = [p.text.rpartition("\t") for p in written if p.style.name.startswith("toc") and p.text[-1].isdigit()]
    assert len(entries) == 7
    for heading, _, page in entries:
        assert heading in " ".join(laid_out.split("\f")[int(page) - 1].split())


def test_no_page_of_the_report_beside_the_docs_but_the_last_is_white_for_more_than_a_quarter(pages):
    poppler("pdftoppm", "-gray", "-r", DOTS_PER_INCH, pages / "committed.pdf", pages / "committed")
    margin, pictures = round(2.2 * DOTS_PER_INCH / 2.54), sorted(pages.glob("committed-*.pgm"))
    assert 10 <= len(pictures) <= 16
    for page in pictures[:-1]:
        ink = np.asarray(Image.open(page))[margin:-margin] < 250
        filled = np.flatnonzero(ink.any(axis=1))
        assert 1 - (filled[-1] + 1) / len(ink) <= WHITE, page.name


def test_torch_is_left_as_it_was_found():
    before = torch.get_num_threads()
    report()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("arm", ["batchnorm", "l2"])
def test_the_caption_of_two_arms_says_which_is_subtracted(arm):
    captions = [_caption(table) for table in document().tables]
    (said,) = (each for each in captions if each.startswith(f"{PARAMS.arms[arm].title} and baseline: "))
    assert f"({lower(PARAMS.arms[arm].title)} minus baseline)" in said


def test_levels_are_those_of_their_titles():
    ours, theirs = (study().networks.loc[arm].mean(numeric_only=True) for arm in ("batchnorm", "baseline"))
    of_arms = study().comparisons["batchnorm"]
    expected = {
        **{f"{name.capitalize()} accuracy (%)": ours[name] - theirs[name] for name in ("test", "validation", "train")},
        "Train minus validation (points)": ours["gap"] - theirs["gap"],
        "Lowest validation cost (nats)": ours["validation_cost"] - theirs["validation_cost"],
        "Distance from median test accuracy (points)": of_arms["spread"].difference,
        "Validation accuracy at equal iterations (%)": of_arms["equal_steps_accuracy"].difference,
        "Iterations to half the cost of guessing": of_arms["half_cost_steps"].difference,
        "Iterations to the stop": ours["steps"] - theirs["steps"],
        "Epochs to the stop": ours["epochs"] - theirs["epochs"],
    }
    rows = levels(study(), "batchnorm")
    assert {title: rows[title][1].difference for title in expected} == pytest.approx(expected)


def test_section_4_says_where_the_test_set_is_from():
    assert "4a. Data. MNIST, with its predefined test set. A random" in chapter(chapter_baseline.write, study())
    digits = dataclasses.replace(study(), card=dataclasses.replace(study().card, name="digits", title="the digits"))
    assert "pixels; a fifth of them is the test set. A random" in chapter(chapter_baseline.write, digits)


def test_section_4_gives_the_best_step_of_the_headline_model():
    k = study().evaluations["baseline"].headline
    assert f"Its best step is {study().results['baseline'].best_step[k]:,} (" in text()


def given_to(picture, write, changed):
    """Return what a chapter gives to a picture."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        for each in PICTURES:
            patch.setattr(figures, each, lambda *data, each=each: caught.append((each, data)) or PIXEL)
        write(Document("", ""), changed)
    (found,) = (data for each, data in caught if each == picture)
    return found


@pytest.mark.parametrize(("sign", "said"), [(-1, "learn faster at first"), (1, "learn more slowly at first")])
def test_the_title_of_the_curves_says_who_learns_faster(sign, said):
    half = Comparison(sign * 9.0, min(sign * 5.0, sign * 12.0), max(sign * 5.0, sign * 12.0), 6, 0, 6)
    changed = dataclasses.replace(study())
    changed.__dict__["comparisons"] = {
        arm: compared | {"half_cost_steps": half} for arm, compared in study().comparisons.items()
    }
    *_, title = given_to("accuracy_curves", chapter_batchnorm._curves, changed)
    assert title == f"The batch norm networks {said} than the baseline ones"


@pytest.mark.parametrize(("device", "said"), [("cpu", "one thread"), ("cuda", "a GPU")])
def test_running_time_is_said_to_be_that_of_the_device(device, said):
    timing = dataclasses.replace(study().timing, device=device)
    assert f"Running time on {said} (" in chapter(chapter_batchnorm.write, dataclasses.replace(study(), timing=timing))


def test_how_often_training_goes_well_is_counted_from_the_best_network():
    changed = fared(seed1={"test": 90.1}, seed2={"test": 89.9}, seed4={"test": 20.0})
    said = chapter(lambda document, study: chapter_batchnorm._why(document, study, "batchnorm"), changed)
    assert "within 3 points of this run's best network, 93.00\xa0%. It went well for 4 of 6 [" in said
    assert "of the baseline networks and 6 of 6 [" in said


def test_the_title_of_all_networks_has_the_narrowest_and_the_widest_arm():
    *_, title = given_to("seed_distribution", chapter_batchnorm._every_network, fared(seed1={"test": 90.0}))
    assert title == "Test accuracy spans 0.0 (batch norm) to 3.0 points (baseline)"


def test_what_a_step_with_l2_does_to_a_weight_is_said_in_numbers():
    best = study().results["l2"].best_step[study().evaluations["l2"].headline]
    said = chapter(chapter_l2.write, study())
    assert (
        "Each step multiplies every weight by 1 − 0.009 \N{MULTIPLICATION SIGN} 0.01, then subtracts the data gradient"
        in said
    )
    assert f"decays to {100 * (1 - 0.009 * 0.01) ** best:.1f}\xa0% of its start over the {best:,} steps" in said


def test_what_is_left_of_the_start_is_said_as_it_is():
    changed = with_norms([-1.0, -1, -1, -1, -1, -2])
    networks = changed.networks
    networks["along_W1"] = 30.0
    networks.loc["baseline", "along_W1"] = np.array([90.0, 91, 92, 93, 94, 95])
    *_, title = given_to("first_layer_weights", lambda d, s: chapter_l2._weights(d, s, "l2"), changed)
    assert title.endswith("means: 92 % (baseline), 30 % (batch norm) and 30 % (L2)")
    said = chapter(lambda document, study: chapter_l2._weights(document, study, "l2"), changed)
    assert ": smaller by 62 points [60, 65], because each step shrinks the start. Most of W1 is" in said
    assert "Most of W1 is still its random start in the baseline networks. " in said


def test_pictures_are_of_the_headline_models():
    evaluations = {arm: dataclasses.replace(each, headline=4) for arm, each in study().evaluations.items()}
    changed = dataclasses.replace(study(), evaluations=evaluations)
    weights, *_ = given_to("first_layer_weights", lambda d, s: chapter_l2._weight_images(d, s, ""), changed)
    assert all(torch.equal(W, study().results[arm].parameters["W1"][4]) for arm, W in weights.items())
    assert given_to("training", chapter_baseline.write, changed)[1] == 4


@pytest.mark.parametrize(("chosen", "said"), [(0.01, "the value in"), (0.1, "while 0.1 is the value in")])
def test_the_lambda_that_is_chosen_and_the_best_one_are_told_apart(chosen, said):
    costs = study().path.validation_costs.clone()
    costs[:, 2:] = costs[:, :2] - 0.1  # of lambda = 0.01
    path = dataclasses.replace(study().path, validation_costs=costs, best_step=study().path.best_step[:2] * 2)
    alone, changed = Document("", ""), dataclasses.replace(study(), path=path)
    chapter_l2._path(alone, changed, chosen)
    assert f"belongs to lambda = 0.01, {said} " in " ".join(each.text for each in alone._docx.paragraphs)
    (table,) = alone._docx.tables
    for row, (_, each) in zip(table.rows[1:], l2_path_table(path).iterrows(), strict=True):
        numbers = [each.l2, each.validation_cost, each.validation_accuracy, each.weight_norm, each.steps]
        written = [float(cell.text.replace(",", "")) for cell in row.cells]
        assert written == pytest.approx(numbers, abs=0.51)
        assert written[1:4] == pytest.approx(numbers[1:4], abs=0.0051)


def test_the_title_of_the_confusion_matrices_names_the_most_frequent_mistake():
    evaluation = study().evaluations["baseline"]
    confusion = evaluation.confusion.clone()
    confusion[evaluation.headline, 7, 2] = 99
    changed = {**study().evaluations, "baseline": dataclasses.replace(evaluation, confusion=confusion)}
    wrong = dataclasses.replace(study(), evaluations=changed)
    *_, title = given_to("confusion_matrices", appendices.write_confusions, wrong)
    assert title == "The baseline headline model takes a true 7 most often for 2"


def test_the_method_has_the_numbers_of_the_training_set():
    said = chapter(build._method, study())
    assert "standardised by the training pixels' mean, 33.00, and deviation, 78.00." in said
    assert f"an epoch is {round(160 / PARAMS.training.batch_size, 2):g} steps" in said


def test_the_title_of_page_one_s_figure_has_the_last_steps():
    steps = [study().results[arm].steps[study().evaluations[arm].headline] for arm in PARAMS.arms]
    *_, title = given_to("headline_costs", chapter_summary._headline_costs, study())
    assert title.startswith("The headline models stop at step")
    assert [int(each) for each in re.findall(r"\d+", title)] == steps


def test_the_gradients_at_equal_probabilities_have_their_signs():
    (answer,) = (answer for question, answer in questions(study()).items() if "p - y" in question)
    assert answer.endswith("0.1 for a wrong class and -0.9 for the true one.")


def test_what_lambda_would_do_is_said_in_a_run_without_l2():
    answer = questions(only(("baseline", "batchnorm")))["What does lambda do to a weight in one step?"]
    assert answer.startswith("Lambda would multiply the weight by 1 - 0.009 \N{MULTIPLICATION SIGN} lambda;")


def test_each_row_of_the_other_arms_is_of_its_own_arm():
    many = with_arms({f"arm{number}": f"Arm {number}" for number in range(6)})
    alone = Document("", "")
    appendices.write_others(alone, many)
    _, *rows = [[cell.text for cell in row.cells] for row in alone._docx.tables[-1].rows]
    assert [row[0] for row in rows] == ["Arm 3", "Arm 4", "Arm 5"]
    for arm, row in zip(("arm3", "arm4", "arm5"), rows, strict=True):
        compared = many.comparisons[arm]
        assert row[1:] == [verdict(compared[name], QUANTITIES[name]) for name in appendices.OTHERS_COMPARED]


def drawn_by(draw, *data):
    """Return the figure that a function draws."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_png", lambda figure: caught.append(figure) or PIXEL)
        draw(*data)
    return caught[0]


def test_the_confusion_matrix_has_a_row_for_each_true_class():
    counts = np.array([[6, 3, 0], [1, 8, 1], [0, 0, 5]])
    axis, *_ = drawn_by(figures.confusion_matrices, {"a": counts}, ["x", "y", "z"], {"a": "A"}, "Title").axes
    assert np.allclose(axis.images[0].get_array(), 100 * counts / counts.sum(axis=1, keepdims=True))
    assert {each.get_position(): each.get_text() for each in axis.texts} == {
        (j, i): str(counts[i, j]) for i, j in np.argwhere(counts)
    }
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["x", "y", "z"]


def test_a_mistake_is_titled_true_as_predicted():
    evaluation = study().evaluations["baseline"]
    first, *_ = drawn_by(figures.confident_mistakes, evaluation, [*"abcdefghij"], "Title").axes
    true, predicted = ("abcdefghij"[evaluation.mistakes[each][0]] for each in ("true", "predicted"))
    assert first.get_title("center").startswith(f"{true} as {predicted}\n")


def test_each_arm_s_row_of_networks_has_its_own_name_and_median():
    accuracies = {"a": [90.0, 91, 99], "b": [80.0, 81, 89], "c": [70.0, 71, 79]}
    (axis,) = drawn_by(figures.seed_distribution, accuracies, {"a": "A", "b": "B", "c": "C"}, "Title").axes
    rows = {label.get_text(): place for label, place in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)}
    found = {}
    for each in axis.collections:
        if hasattr(each, "get_segments") and len(each.get_segments()) == 1:
            (low, _) = each.get_segments()[0]
            found[round(low[1] + 0.3)] = low[0]
    assert {arm: found[rows[arm]] for arm in rows} == {"A": 91.0, "B": 81.0, "C": 71.0}


def test_the_bar_of_a_layer_is_the_median():
    values = pd.DataFrame({"A1": [1.0, 2, 9]})
    (axis,) = drawn_by(figures.by_layer, {("Some title here", "y"): {"a": values}}, {"a": "A"}).axes
    (bar,) = (each for each in axis.collections if hasattr(each, "get_segments"))
    assert bar.get_segments()[0][0][1] == 2.0


def test_the_figure_of_a_training_is_of_the_network_asked_for():
    result = study().results["baseline"]
    (axis,) = drawn_by(figures.training, result, 3, "Title").axes
    lines = {line.get_label(): line for line in axis.lines}
    assert np.allclose(lines["validation set"].get_ydata(), result.validation_costs[:, 3], equal_nan=True)
    assert np.allclose(lines["training batch"].get_ydata(), result.costs[:, 3], equal_nan=True)
    assert lines["best step"].get_xdata()[0] == result.best_step[3]
    assert lines["stop"].get_xdata()[0] == result.steps[3]


def test_the_band_of_the_curves_lies_between_its_ends():
    band = pd.DataFrame({"arm": "a", "step": [1, 2], "low": [60.0, 70], "median": [65.0, 75], "high": [80.0, 90]})
    (axis,) = drawn_by(figures.accuracy_curves, band, {"a": "A"}, "Title").axes
    assert set(axis.collections[0].get_paths()[0].vertices[:, 1]) == {60.0, 70, 80, 90}
    assert axis.lines[0].get_ydata().tolist() == [65.0, 75.0]
