"""The appendix of the arms without a section: a row each in two tables, a panel each in a figure."""

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
    """Write the appendix."""
    arms, reference = list(study.in_brief), study.names[study.reference]
    pages = [arms[first : first + figures.PANELS] for first in range(0, len(arms), figures.PANELS)]
    drawn = listed([f"[[other_curves_{page}]]" for page in range(len(pages))])
    document.paragraph(
        f"[[other_results]] gives the results of the arms without a section, [[other_comparisons]] sets them in "
        f"relation to {reference}, and {drawn} shows their validation cost."
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
    networks = tables.network_table(study.results, study.evaluations)
    headlines = networks[networks["headline"] == 1].set_index("arm").loc[list(study.in_brief)]
    formats = {
        **{f"{name}_accuracy": (f"{name.capitalize()} (%)", "{:.2f}") for name in study.card.sizes},
        **{"steps": ("Steps", "{:,}"), "epochs": ("Epochs", "{:.1f}")},
    }
    table = pd.DataFrame({title: headlines[name].map(text.format) for name, (title, text) in formats.items()})
    means = networks.groupby("arm")["test_accuracy"].mean()
    table["Mean test (%)"] = means.map("{:.2f}".format)
    table = table.rename(index=study.titles).reset_index(names="Arm")
    caption = "The headline models of the other arms, and the mean test accuracy over all networks."
    document.table(table, caption, name="other_results", widths=[5.2, 1.8, 2.4, 1.8, 1.5, 1.5, 1.8])


def _comparison_table(document: Document, study: Study) -> None:
    columns = {
        QUANTITIES[name].title.capitalize(): {
            title: verdict(study.comparisons[arm][name], QUANTITIES[name]) for arm, title in study.in_brief.items()
        }
        for name in COMPARED
    }
    table = pd.DataFrame(columns).reset_index(names="Arm")
    caption = f"The other arms in relation to {study.names[study.reference]}; [[interval]] explains intervals."
    document.table(table, caption, name="other_comparisons", size=8.5, widths=[3.4, 4.2, 4.2, 4.2])
