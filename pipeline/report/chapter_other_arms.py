"""The section of the arms whose kind has a section already: a row each in two tables, a panel each in a figure."""

from __future__ import annotations

import pandas as pd

from pipeline.analysis import tables
from pipeline.analysis.comparison import QUANTITIES
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import listed, verdict

COMPARED = ("test_accuracy", "equal_steps_accuracy", "steps")


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arms, reference = list(study.in_brief), study.names[study.reference]
    pages = [arms[first : first + figures.PANELS] for first in range(0, len(arms), figures.PANELS)]
    drawn = listed([f"[[other_curves_{page}]]" for page in range(len(pages))])
    document.paragraph(
        "Within a kind, that is with or without batch norm and with or without L2, arms have another lambda and "
        f"nothing else. [[other_results]] gives the results of those without a section, [[other_comparisons]] sets "
        f"them in relation to {reference}, and {drawn} shows their validation cost."
    )
    for arm, title in study.in_brief.items():
        if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
            document.paragraph(f"**The training of these seeds of {title} diverged: {', '.join(diverged)}.**")
    _results_table(document, study)
    _comparison_table(document, study)
    for page, on_page in enumerate(pages):
        curves = tables.curve_table({arm: study.results[arm] for arm in [study.reference, *on_page]})
        picture = figures.other_curves(curves, study.reference, {arm: study.titles[arm] for arm in on_page})
        caption = f"Validation cost of each arm (orange, dashed) and of {reference} (blue): median and quartiles."
        document.figure(picture, caption, f"Arms: {listed(on_page)}.", name=f"other_curves_{page}")


def _results_table(document: Document, study: Study) -> None:
    rows = []
    for arm, title in study.in_brief.items():
        result, evaluation = study.results[arm], study.evaluations[arm]
        k = evaluation.headline
        final = {f"{name.capitalize()} (%)": f"{evaluation.accuracies[name][k]:.2f}" for name in study.card.sizes}
        length = {"Steps": f"{result.steps[k]:,}", "Epochs": f"{result.epochs[k]:.1f}"}
        mean = {"Mean test (%)": f"{evaluation.accuracies['test'].mean():.2f}"}
        rows.append({"Arm": title} | final | length | mean)
    caption = "The headline models of the other arms, and the mean test accuracy over all seeds."
    document.table(pd.DataFrame(rows), caption, name="other_results", widths=[5.2, 1.8, 2.4, 1.8, 1.5, 1.5, 1.8])


def _comparison_table(document: Document, study: Study) -> None:
    rows = []
    for arm, title in study.in_brief.items():
        compared = [(QUANTITIES[name], study.comparisons[arm][name]) for name in COMPARED]
        rows.append({"Arm": title} | {each.title.capitalize(): verdict(found, each) for each, found in compared})
    caption = f"The other arms in relation to {study.names[study.reference]}; section [[interval]] explains intervals."
    document.table(pd.DataFrame(rows), caption, name="other_comparisons", size=8.5, widths=[3.4, 4.2, 4.2, 4.2])
