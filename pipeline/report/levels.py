"""Two arms side by side: the levels of each, and the paired difference with its interval."""

import pandas as pd
from pandas import DataFrame

from pipeline.analysis.comparison import EPOCHS, GAP, QUANTITIES, SECONDS, STEP_TIME, Quantity
from pipeline.analysis.statistics import Comparison, compare
from pipeline.analysis.tables import SETS
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import clear_side, interval, listed, numbered, percent, roughly

Levels = dict[str, tuple[Quantity, Comparison]]
COMPARED = {
    "validation_cost": "Lowest validation cost (nats)",
    "spread": "Distance from median test accuracy (points)",
    "equal_steps_accuracy": "Validation accuracy at equal iterations (%)",
    "half_cost_steps": "Iterations to half the cost of guessing",
    "steps": "Iterations to the stop",
}
# By column of the headline models' results, the row of the levels.
OF_HEADLINE = {"test": "Test accuracy (%)", **{name: COMPARED[name] for name in ("validation_cost", "steps")}}


def levels(study: Study, arm: str) -> Levels:
    """Return what an arm is compared in: performance, length of training, running time."""
    accuracy, of_arms = QUANTITIES["test_accuracy"], study.params.arms
    found = {
        **{f"{name.capitalize()} accuracy (%)": (accuracy, study.compare(arm, name)) for name in SETS},
        "Train minus validation (points)": (GAP, study.compare(arm, "gap")),
        **{title: (QUANTITIES[name], study.comparisons[arm][name]) for name, title in COMPARED.items()},
        "Epochs to the stop": (EPOCHS, study.compare(arm, "epochs")),
    }
    if of_arms[arm].use_batchnorm != of_arms[study.reference].use_batchnorm:  # else an iteration takes the same time
        times = compare(study.step_times(arm), study.step_times(study.reference))
        found["One iteration (µs)"] = STEP_TIME, times
    return {**found, "Time to the stop (s)": (SECONDS, study.compare(arm, "seconds"))}


def write_headline(document: Document, study: Study, arm: str, rows: Levels, *, name: str) -> None:
    """Write the results of an arm's headline model, which the table of two arms does not show."""
    best = study.headline(arm)
    final = listed([f"{each} {percent(best[each])}" for each in study.card.sizes])
    document.paragraph(
        f"**The headline model** (seed {best.seed}), with the settings of section [[baseline]]: {final}; "
        f"{numbered(best.steps, 'iteration')}, {best.epochs:.1f} epochs. Section [[costs]] lists its costs. "
        f"It is one network; this section compares the means of all networks.{_opposite(study, arm, rows, name)}"
    )


def _opposite(study: Study, arm: str, rows: Levels, name: str) -> str:
    """Name the levels in which the means clearly differ, and the two headline models in the other direction."""
    apart = study.headline(arm)[[*OF_HEADLINE]] - study.headline(study.reference)[[*OF_HEADLINE]]
    means = {each: rows[title][1] for each, title in OF_HEADLINE.items()}
    opposite = [each for each, mean in means.items() if clear_side(mean) and apart[each] * mean.difference < 0]
    if not opposite:
        return ""
    named = listed([OF_HEADLINE[each].partition(" (")[0].lower() for each in opposite])
    return f" In {named} the headline models and the means point in opposite directions ([[summary]], [[{name}]])."


def in_words(rows: Levels, *titles: str, with_means: bool = False) -> str:
    """Say what rows of the table of two arms show, perhaps after the means: "4.1 against 3.0 s, longer …"."""
    said = []
    for title in titles:
        (quantity, compared), (name, _, unit) = rows[title], title.rstrip(")").partition(" (")
        ours, theirs = (f"{each:,.{quantity.decimals}f}" for each in (compared.mean, compared.reference))
        means = f"{ours} against {theirs} {unit}, " if with_means and compared.pairs else ""
        said.append(f"{name}: {means}{roughly(compared, quantity)}.")
    return " ".join(said)


def levels_table(document: Document, study: Study, arm: str, rows: Levels, *, name: str) -> None:
    """Write the table of two arms."""
    reference = study.reference
    columns = ["Mean over the networks", study.titles[reference], study.titles[arm], "Difference [95 % interval]"]
    cells = [
        [title, *(f"{mean:,.{quantity.decimals}f}" for mean in (each.reference, each.mean)), interval(each, quantity)]
        for title, (quantity, each) in rows.items()
    ]
    table = DataFrame(cells, columns=columns).replace("nan", "")
    compared = [each for _, each in rows.values()]
    table.insert(len(columns), "Pairs", [str(each.pairs) for each in compared], allow_duplicates=True)
    caption = (
        f"{study.titles[arm]} and {study.names[reference]}: means, and the mean of the paired differences "
        f"({study.names[arm]} minus {study.names[reference]}). Grey: not clear, or uncertain."
    )
    ours, theirs = (study.params.arms[each] for each in (arm, reference))
    if ours.use_batchnorm != theirs.use_batchnorm and ours.l2 != theirs.l2:
        caption += " The arms differ in batch norm and in lambda, so this table cannot tell which of the two acts."
    compared_table(document, table, compared, caption, name=name, widths=[6.0, 1.7, 1.8, 4.1, 1.0, 1.4])


def compared_table(
    document: Document, table: DataFrame, compared: list[Comparison], caption: str, *, name: str, widths: list[float]
) -> None:
    """Write a table of comparisons, grey where none is clear; its last column names who makes most of one, if any."""
    if any(each.alone for each in compared):
        most = [f"{each.alone[0]}: {percent(each.alone[1], 0)}" if each.alone else "" for each in compared]
        table = pd.concat([table, pd.Series(most, name="Largest")], axis=1)
        caption += " Largest: the seed or round that makes more than a third of a difference."
    unclear = [row for row, each in enumerate(compared) if not clear_side(each)]
    document.table(table, caption, name=name, widths=widths[: len(table.columns)], grey=unclear)
