"""Section 5 of the assignment: what batch normalisation changes, how it compares, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pandas import DataFrame

from pipeline.analysis import tables
from pipeline.analysis.comparison import ACTIVATION, QUANTITIES, STEP_TIME
from pipeline.analysis.diagnosis import first_step_below, guessing_cost
from pipeline.analysis.statistics import CONFIDENCE, compare, rank_correlation, summarise
from pipeline.report import figures
from pipeline.report.chapter_baseline import final_accuracies
from pipeline.report.chapter_summary import widest_gradients
from pipeline.report.document import Document
from pipeline.report.levels import Level, levels, levels_table
from pipeline.report.study import Study
from pipeline.report.wording import listed, made_by_one, numbered, percent, share, signed, verdict

WENT_WELL = 3.0  # points below the best network of all arms, up to which a training went well


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm = study.with_batchnorm
    document.paragraph(
        "**What changed.** Batch normalisation follows the activation of each hidden layer: each unit is shifted and "
        "scaled to mean 0 and variance 1 over the batch. As the assignment has it, there is no scale and no shift to "
        "learn. The gradient passes through mean and variance too. For a prediction running averages take their place, "
        "so an image is classified alike in any batch."
    )
    if arm is None:
        document.paragraph("This run has no arm that differs from the reference by batch norm.")
        return
    rows = levels(study, arm)
    _compare(document, study, arm, rows)
    levels_table(document, study, arm, rows, name="batchnorm_levels")
    _curves(document, study)
    document.heading("Why", level=2, new_page=True)
    _why(document, study, arm)


def _compare(document: Document, study: Study, arm: str, rows: Mapping[str, Level]) -> None:
    headline = study.headline(arm)
    result = study.results[arm]
    iteration = next(title for title in rows if title.startswith("An iteration"))
    alone = made_by_one(study.test_gains(arm), result.seeds)
    said = {title: verdict(level.comparison, level.quantity) for title, level in rows.items()}
    document.paragraph(
        f"**Performance.** Test accuracy: {said['Test accuracy (%)']}.{alone} Validation cost: "
        f"{said['Lowest validation cost (nats)']}. The headline model has {final_accuracies(study, arm)}; section "
        "[[costs]] lists its costs."
    )
    document.paragraph(
        f"**Number of iterations.** To the stop: {said['Iterations to the stop']}. To half the cost of guessing: "
        f"{said['Iterations to half the cost of guessing']}. The headline model stopped at step "
        f"{result.steps[headline]:,}, after {result.epochs[headline]:.1f} epochs; its best step is "
        f"{result.best_step[headline]:,}. [[accuracy]] shows the course."
    )
    document.paragraph(
        f"**Running time.** An iteration of one network: {said[iteration]}, on {study.timed_on}. Time to the stop: "
        f"{said[list(rows)[-1]]}. [[batchnorm_levels]] has the levels."
    )
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds of {study.names[arm]} diverged: {', '.join(diverged)}.**")


def _curves(document: Document, study: Study) -> None:
    accuracies = tables.accuracy_table({arm: study.results[arm] for arm in study.in_full})
    medians = accuracies.groupby("arm", sort=False)["median"].last()
    floor = figures.accuracy_floor(accuracies)
    cut = f" Values below {percent(floor, 0)} are not shown." if (accuracies["low"] < floor).any() else ""
    arm, title = study.with_batchnorm, "Validation accuracy while training"
    if arm and (faster := study.comparisons[arm]["half_cost_steps"]).excludes_zero:
        speed = "faster" if faster.high < 0 else "more slowly"
        title = f"{study.titles[arm]} learns {speed} at first than {study.names[study.reference]}"
    caption = f"Validation accuracy, median and quartiles. A network that has stopped keeps its last value.{cut}"
    ends = {arm: f"{medians[arm]:.1f}" for arm in study.in_full if arm in medians}
    said = f"The medians end at: {study.by_arm(ends)}." if ends else ""
    picture = figures.accuracy_curves(accuracies, study.in_full, title)
    document.figure(picture, caption, said, name="accuracy")


def _why(document: Document, study: Study, arm: str) -> None:
    ours, theirs = study.names[arm], study.names[study.reference]
    gradients, differs, found = widest_gradients(study, arm), "", "The first gradients by layer"
    if gradients:
        layer, of_arm, of_reference = gradients
        differs = (
            f" In {layer} it differs {of_reference:.2g}-fold between the networks of {theirs} and {of_arm:.2g}-fold "
            f"between those of {ours}.{_small_gradients(study, layer)}"
        )
        found = f"Gradients in {layer} differ {of_reference:.2g}-fold in {theirs}, {of_arm:.2g}-fold in {ours}"
    document.paragraph(
        "**The first gradients.** [[why]] shows the norm of the gradient of each W before the first step, on a sample "
        f"of the training set.{differs}"
    )
    activations = _activations(study)
    last = str(activations[arm].columns[-1]) if len(activations[arm].columns) else ""
    if last:
        high = [activations[each][last] for each in (arm, study.reference)]
        document.paragraph(
            f"**Activations.** At the best step the 99th percentile of layer {last[1:]} is on average "
            f"{high[0].mean():.1f} for {ours} and {high[1].mean():.1f} for {theirs}: "
            f"{verdict(compare(*high), ACTIVATION)}. With batch norm these are the normalised outputs, which the next "
            "layer gets."
        )
    best = max(float(each.accuracies["test"].max()) for each in study.evaluations.values())
    counts = {
        each: int((study.evaluations[each].accuracies["test"] >= best - WENT_WELL).sum())
        for each in (study.reference, arm)
    }
    pairs = len(study.results[arm].seeds)
    shares = [f"{share(n, pairs)} of {study.names[each]}" for each, n in counts.items()]
    spreads = [summarise(study.evaluations[each].accuracies["test"]).sd for each in (arm, study.reference)]
    spread = verdict(study.comparisons[arm]["spread"], QUANTITIES["spread"])
    document.paragraph(
        f"**How often training goes well.** It went well if the network is within {WENT_WELL:g} points of this run's "
        f"best ({percent(best)}): {listed(shares)}. "
        f"The standard deviation of test accuracy is {spreads[0]:.2f} points for {ours} and {spreads[1]:.2f} for "
        f"{theirs}; the distance from an arm's median: {spread}. [[networks]] shows every network; [[health]] names "
        "those that collapsed."
    )
    sizes = list(study.step_times(arm))
    alone = study.compare_step_times(arm, sizes[0])
    document.paragraph(
        f"**What it costs.** Time of an iteration: {verdict(alone, STEP_TIME)}. Each hidden unit also needs a mean, a "
        "variance and the gradient through both."
    )
    panels = {
        (found, "norm of dW at step 0"): {each: study.gradients[each] for each in (study.reference, arm)},
    }
    if last:
        theirs_high, ours_high = (activations[each][last].mean() for each in (study.reference, arm))
        title = f"Activations in layer {last[1:]}: {theirs_high:.2g} in {theirs}, {ours_high:.2g} in {ours}"
        panels[title, "99th percentile after training"] = activations
    titles = {each: study.titles[each] for each in (study.reference, arm)}
    caption = (
        "Left: the norm of each layer's gradient before the first step. Right: the 99th percentile of each hidden "
        "layer's output at the best step. A mark is a network, a bar the median."
    )
    document.figure(figures.by_layer(panels, titles), caption, differs.strip(), name="why")
    _every_network(document, study)


def _small_gradients(study: Study, layer: str) -> str:
    """Say whether the reference's networks with a small first gradient learn late."""
    result, half = study.results[study.reference], guessing_cost(study.evaluations[study.reference]) / 2
    correlation, p = rank_correlation(study.gradients[study.reference][layer], first_step_below(result, half))
    if math.isnan(correlation) or math.isnan(p):  # of too few networks
        return ""
    proven = "so this is part of the reason" if p < 1 - CONFIDENCE else "not clear, so this is a possible reason only"
    return (
        f" In {study.names[study.reference]} the rank correlation of that norm with the steps to half the cost of "
        f"guessing is {signed(correlation, 2)} (p = {p:.2g}): {proven}."
    )


def _activations(study: Study) -> dict[str, DataFrame]:
    """Return the 99th percentile of each hidden layer at the best step, a row a network, by arm."""
    return {
        arm: DataFrame({layer: each[1, :, 99].numpy() for layer, each in study.evaluations[arm].activations.items()})
        for arm in (study.reference, study.with_batchnorm)
        if arm is not None
    }


def _every_network(document: Document, study: Study) -> None:
    accuracies = {arm: study.evaluations[arm].accuracies["test"] for arm in study.arms}
    spans = {arm: float(values.max() - values.min()) for arm, values in accuracies.items()}
    widest, narrowest = max(spans, key=spans.__getitem__), min(spans, key=spans.__getitem__)
    title = (
        f"Test accuracy of every network: {study.names[widest]} spans {numbered(f'{spans[widest]:.1f}', 'point')}, "
        f"{study.names[narrowest]} {spans[narrowest]:.1f}"
    )
    ranges = {arm: f"{values.min():.1f} to {values.max():.1f}" for arm, values in accuracies.items()}
    caption = "Test accuracy of every network. Grey lines join networks with the same start; black bars are medians."
    picture = figures.seed_distribution(accuracies, study.titles, title)
    document.figure(picture, caption, f"Lowest to highest in per cent: {study.by_arm(ranges)}.", name="networks")
