"""Page one: the arms side by side, what was found and why, and where each section of the assignment is answered."""

from __future__ import annotations

from collections.abc import Iterable

from pandas import DataFrame, Series

from pipeline.analysis import tables
from pipeline.analysis.beginnings import weight_norms
from pipeline.analysis.comparison import GAP, NORM, QUANTITIES
from pipeline.analysis.diagnosis import first_step_below, guessing_cost
from pipeline.analysis.statistics import CONFIDENCE, rank_correlation
from pipeline.data.sources import source_of
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import is_settled, listed, named, numbered, percent, verdict

HARDLY = 3.0  # points of train minus validation accuracy up to which networks hardly overfit


def write(document: Document, study: Study) -> None:
    """Write the page."""
    data, wanted = study.card.name, study.params.data.dataset
    if data != wanted:
        title = source_of(data).title
        document.paragraph(f"**The data set {wanted} could not be fetched: everything below is about {title}.**")
    document.paragraph(
        "**Brief 4: page [[baseline:page]], 5: page [[batchnorm:page]], 6: page [[l2:page]]**; its functions: page "
        "[[functions:page]]. [[summary]] sets the runs side by side, [[headlines]] draws their costs. Brackets hold "
        "95 % intervals ([[interval]]).",
        keep_with_next=True,
    )
    caption = (
        "The headline model of each arm: its best network by validation cost. Last row: all its networks, ± the "
        "standard deviation."
    )
    table = side_by_side(study, study.in_full).T.reset_index(names="")
    document.table(table, caption, name="summary", widths=[6.4, *[9.6 / len(study.in_full)] * len(study.in_full)])
    document.heading("Findings", label="")
    for finding in [*findings(study), *diverged(study)]:
        document.paragraph(finding, style="List Bullet")
    _headline_costs(document, study)


def side_by_side(study: Study, arms: Iterable[str]) -> DataFrame:
    """Return the results of arms, one a row, by their titles."""
    rows = {}
    for arm in arms:
        result, evaluation, k = study.results[arm], study.evaluations[arm], study.headline(arm)
        test = DataFrame(evaluation.accuracies["test"])[0]
        rows[study.titles[arm]] = {
            **{f"{name.capitalize()} accuracy (%)": f"{evaluation.accuracies[name][k]:.2f}" for name in tables.SETS},
            "Train minus validation (points)": f"{study.gaps[arm][k]:.2f}",
            "Batch size": f"{study.params.training.batch_size}",
            "Iterations (training steps) to the stop": f"{result.steps[k]:,}",
            "Epochs to the stop": f"{result.epochs[k]:.1f}",
            "Lowest validation cost (nats)": f"{evaluation.costs['validation'][k]:.4f}",
            "Seconds to train it alone": f"{study.seconds_to_stop(arm, min(study.step_times(arm)))[k]:.1f}",
            "Mean test accuracy, all networks (%)": f"{test.mean():.2f} ± {test.std() if len(test) > 1 else 0:.2f}",
        }
    return DataFrame(rows).T


def findings(study: Study) -> list[str]:
    """Say in two to five sentences what was found, by how much, and why."""
    said = [_of_the_reference(study)]
    if study.with_batchnorm:
        said.append(_of_batchnorm(study, study.with_batchnorm))
    if study.with_l2:
        said.append(_of_l2(study, study.with_l2))
    if study.in_brief:
        said.append(_of_all_others(study))
    return [*said, _of_overfitting(study)]


def diverged(study: Study) -> list[str]:
    """Name the seeds whose cost stopped being finite, if there are any."""
    seeds = {arm: [each.seed for each in fared if each.diverged] for arm, fared in study.diagnoses.items()}
    parts = [f"{named('seed', of_arm)} of {study.names[arm]}" for arm, of_arm in seeds.items() if of_arm]
    return [f"**Training diverged for {listed(parts)}.**"] if parts else []


def _of_the_reference(study: Study) -> str:
    test, title = study.evaluations[study.reference].accuracies["test"], study.titles[study.reference]
    if len(test) == 1:
        return f"**{title}: {percent(float(test[0]))} of the test set.**"
    return (
        f"**{title}: {percent(float(test.min()))} to {percent(float(test.max()))} of the test set**, because the "
        f"random starts of its {numbered(len(test), 'network')} differ; data, batches and settings are the same."
    )


def _gain(study: Study, arm: str) -> tuple[str, bool]:
    """Say what an arm does to test accuracy, and whether it helps, unless another processor might say otherwise."""
    gain = study.comparisons[arm]["test_accuracy"]
    if not is_settled(gain):
        return f"**{study.titles[arm]}: the effect on test accuracy is too close to zero to call.**", False
    if not gain.excludes_zero:
        return f"**{study.titles[arm]}: no clear difference in mean test accuracy (n = {gain.pairs}).**", False
    said = verdict(gain, QUANTITIES["test_accuracy"]).removeprefix("better ").removeprefix("worse ")
    does = "raises" if gain.low > 0 else "lowers"
    return f"**{study.titles[arm]} {does} mean test accuracy** {said}.", gain.low > 0


def _of_batchnorm(study: Study, arm: str) -> str:
    (said, helps), gradients = _gain(study, arm), widest_gradients(study, arm)
    if not gradients:
        return said
    layer, ours, theirs = gradients
    why = "Part of the reason: before" if late_start(study, layer)[-1] else "A possible reason: before"
    why = why if helps and ours < theirs else "Before"
    return (
        f"{said} {why} the first step the norm of the gradient of {layer} differs {theirs:.2g}-fold between the "
        "networks of "
        f"{study.names[study.reference]}, and {ours:.2g}-fold between those of {study.names[arm]}."
    )


def widest_gradients(study: Study, arm: str) -> tuple[str, float, float] | None:
    """Return the layer whose first gradients differ most in the reference, and by what factor in both arms.

    None with one network, which differs from none. A dead start, whose gradient is zero, does not count.
    """
    if len(study.gradients[arm]) == 1:
        return None
    ours, theirs = (gradient_factors(study, each) for each in (arm, study.reference))
    layer = str(theirs.idxmax())
    return layer, float(ours[layer]), float(theirs[layer])


def gradient_factors(study: Study, arm: str) -> Series[float]:
    """Return, layer by layer, the largest of the networks' first gradients over the smallest."""
    norms = study.gradients[arm]
    return (norms.max() / norms[norms > 0].min()).fillna(1.0)


def late_start(study: Study, layer: str) -> tuple[float, float, bool]:
    """Return the rank correlation of the reference's first gradients with the steps to half the cost of guessing.

    Its p follows, and whether the networks with a small gradient clearly learn late.
    """
    result, half = study.results[study.reference], guessing_cost(study.evaluations[study.reference]) / 2
    correlation, p = rank_correlation(study.gradients[study.reference][layer], first_step_below(result, half))
    return correlation, p, correlation < 0 and p < 1 - CONFIDENCE


def _of_l2(study: Study, arm: str) -> str:
    (said, helps), gap = _gain(study, arm), study.compare(arm, study.gaps)
    norm = study.compare(arm, {each: weight_norms(result.parameters)["W1"] for each, result in study.results.items()})
    if is_settled(gap):
        said += f" Train minus validation accuracy: {verdict(gap, GAP)}."
        helps |= gap.high < 0
    shrinks = f"{verdict(norm, NORM)}, because each iteration shrinks every weight"
    if helps and norm.high < 0:
        return f"{said} A possible reason: the norm of W1 is {shrinks}."
    return f"{said} The norm of W1: {shrinks if norm.high < 0 else verdict(norm, NORM)}."


def _of_overfitting(study: Study) -> str:
    largest = max(study.gaps[arm].mean().item() for arm in study.in_full)
    reference = study.results[study.reference]
    weights = sum(each[0].numel() for name, each in reference.parameters.items() if name[0] in "Wb")
    finding = "hardly overfit: what they learn generalises" if largest < HARDLY else "overfit"
    return (
        f"**The networks {finding}.** The measure of overfitting is train minus validation accuracy, on average at "
        f"most {largest:.2f} points in an arm. A possible reason: {weights:,} weights and biases learn from "
        f"{numbered(study.card.sizes['train'], 'example')}."
    )


def _of_all_others(study: Study) -> str:
    gains = [study.comparisons[arm]["test_accuracy"] for arm in study.in_brief]
    better, worse = sum(gain.low > 0 for gain in gains), sum(gain.high < 0 for gain in gains)
    return (
        f"**{numbered(len(gains), 'other arm')}** ([[others]]). Test accuracy against "
        f"{study.names[study.reference]}: better in {better}, worse in {worse}, no clear difference "
        f"(n = {gains[0].pairs}) in {len(gains) - better - worse}."
    )


def _headline_costs(document: Document, study: Study) -> None:
    headlines = {arm: (study.results[arm], study.headline(arm)) for arm in study.in_full}
    ends = {arm: (result.best_step[k], result.steps[k]) for arm, (result, k) in headlines.items()}
    costs = tables.cost_table({arm: result for arm, (result, _) in headlines.items()}, study.evaluations)
    longest = max(ends, key=lambda arm: ends[arm][1])
    title = f"The headline model of {study.names[longest]} trains longest"
    caption = "Data cost of each headline model on the batch of every 100th step. Circle: best step; square: its stop."
    said = study.by_arm({arm: f"best step {best:,}, stop {stop:,}" for arm, (best, stop) in ends.items()})
    document.figure(figures.headline_costs(costs, ends, study.in_full, title), caption, said, name="headlines")
