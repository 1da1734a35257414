"""Page one: the arms side by side, what was found and why, and where each section of the assignment is answered."""

from __future__ import annotations

from pandas import DataFrame

from pipeline.analysis import tables
from pipeline.analysis.beginnings import start_norms
from pipeline.analysis.comparison import GAP, NORM, QUANTITIES, Quantity
from pipeline.analysis.evaluation import weight_statistics
from pipeline.analysis.statistics import Comparison, compare, summarise
from pipeline.data.sources import source_of
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, is_settled, listed, made_by_one, numbered, percent, verdict

HARDLY = 3.0  # points of train minus validation accuracy up to which networks hardly overfit


def write(document: Document, study: Study) -> None:
    """Write the page."""
    data, wanted = study.card.name, study.params.data.dataset
    if data != wanted:
        title = source_of(data).title
        document.paragraph(f"**The data set {wanted} could not be fetched: everything below is about {title}.**")
    networks = numbered(len(study.params.training.seeds), "network")
    caption = (
        f"The headline model of each arm: the best of its {networks} by validation cost. Last row: all, ± the "
        "standard deviation."
    )
    parts = {4: "baseline", 5: "batchnorm", 6: "l2"}
    places = ", ".join(f"{part} on page [[{name}:page]]" for part, name in parts.items())
    document.paragraph(
        f"**The assignment's sections**: 1 to 3 on page [[functions:page]], {places}. [[summary]] sets the runs side "
        "by side, [[headlines]] draws their costs. Brackets hold 95 % intervals over pairs of networks with the same "
        "start ([[interval]]).",
        keep_with_next=True,
    )
    table, count = _side_by_side(study), len(study.in_full)
    document.table(table, caption, name="summary", widths=[6.4, *[9.6 / count] * count])
    document.heading("Findings", label="")
    for finding in findings(study):
        document.paragraph(finding, style="List Bullet")
    _headline_costs(document, study)


def _side_by_side(study: Study) -> DataFrame:
    """Return the table of the arms, an arm a column."""
    rows = {}
    for arm, title in study.in_full.items():
        result, evaluation, k = study.results[arm], study.evaluations[arm], study.headline(arm)
        test = summarise(evaluation.accuracies["test"])
        alone = next(iter(study.step_times(arm)))
        rows[title] = {
            **{f"{name.capitalize()} accuracy (%)": f"{evaluation.accuracies[name][k]:.2f}" for name in tables.SETS},
            "Train minus validation (points)": f"{study.gaps(arm)[k]:.2f}",
            "Batch size": f"{study.params.training.batch_size}",
            "Iterations (training steps) to the stop": f"{result.steps[k]:,}",
            "Epochs to the stop": f"{result.epochs[k]:.1f}",
            "Lowest validation cost (nats)": f"{evaluation.costs['validation'][k]:.4f}",
            "Seconds to train it alone": f"{study.seconds_to_stop(arm, alone)[k]:.1f}",
            "Mean test accuracy, all networks (%)": f"{test.mean:.2f} ± {test.sd:.2f}",
        }
    return DataFrame(rows).reset_index(names="")


def findings(study: Study) -> list[str]:
    """Say in three to five sentences what was found, by how much, and why."""
    said = [_of_the_reference(study)]
    if study.with_batchnorm:
        said.append(_of_batchnorm(study, study.with_batchnorm))
    if study.with_l2:
        said.append(_of_l2(study, study.with_l2))
    if study.in_brief:
        said.append(_of_all_others(study))
    said.append(_of_overfitting(study))
    return said


def _of_the_reference(study: Study) -> str:
    result, evaluation = study.results[study.reference], study.evaluations[study.reference]
    k, test = evaluation.headline, evaluation.accuracies["test"]
    over = summarise(test)
    said = (
        f"**{study.titles[study.reference]}: {percent(float(test[k]))} of the test set**, after "
        f"{numbered(result.steps[k], 'iteration')}."
    )
    if len(test) == 1:
        return said
    return (
        f"{said} Over {counted(len(test), 'network')} the mean is {percent(over.mean)}, from {percent(over.lowest)} to "
        f"{percent(over.highest)}. Why: their random starts differ; data, batches and settings are "
        "the same."
    )


def _gain(study: Study, arm: str) -> str:
    """Say what an arm does to test accuracy; nothing if another processor's rounding could change the answer."""
    gain = study.comparisons[arm]["test_accuracy"]
    if not is_settled(gain):
        return f"**{study.titles[arm]}: the effect on test accuracy is too close to zero to call.**"
    if not gain.excludes_zero:
        return f"**{study.titles[arm]}: no clear difference in mean test accuracy (n = {gain.pairs}).**"
    said = verdict(gain, QUANTITIES["test_accuracy"]).removeprefix("better ").removeprefix("worse ")
    alone = made_by_one(study.test_gains(arm), study.results[arm].seeds)
    return f"**{study.titles[arm]} {'raises' if gain.low > 0 else 'lowers'} mean test accuracy** {said}.{alone}"


def _raises(study: Study, arm: str) -> bool:
    gain = study.comparisons[arm]["test_accuracy"]
    return is_settled(gain) and gain.low > 0


def _also(what: str, comparison: Comparison, quantity: Quantity) -> str:
    """Say one more difference; nothing if another processor's rounding could change the answer."""
    return f" {what}: {verdict(comparison, quantity)}." if is_settled(comparison) else ""


def _of_batchnorm(study: Study, arm: str) -> str:
    said, gradients = _gain(study, arm), widest_gradients(study, arm)
    if gradients:
        layer, ours, theirs = gradients
        why = "A possible reason: before" if _raises(study, arm) and ours < theirs else "Before"
        said += (
            f" {why} the first step the gradient of {layer} differs {theirs:.2g}-fold between the networks of "
            f"{study.names[study.reference]}, and {ours:.2g}-fold between those of {study.names[arm]}."
        )
    compared = study.comparisons[arm]["half_cost_steps"]
    return said + _also("Steps to half the cost of guessing", compared, QUANTITIES["half_cost_steps"])


def widest_gradients(study: Study, arm: str) -> tuple[str, float, float] | None:
    """Return the layer whose first gradients differ most in the reference, and by what factor in both arms.

    None with one network, which differs from none. A dead start, whose gradient is zero, does not count.
    """
    norms = [study.gradients[each] for each in (arm, study.reference)]
    if len(norms[0]) == 1:
        return None
    ours, theirs = ((each.max() / each[each > 0].min()).fillna(1.0) for each in norms)
    layer = str(theirs.idxmax())
    return layer, float(ours[layer]), float(theirs[layer])


def _of_l2(study: Study, arm: str) -> str:
    factor = study.params.training.learning_rate * study.arms[arm].l2
    ours, theirs = (weight_statistics(study.results[each].parameters)["W1"]["norm"] for each in (arm, study.reference))
    start = start_norms(study.results[arm])["W1"].mean()
    norm, gap = compare(ours, theirs), compare(study.gaps(arm), study.gaps(study.reference))
    why = "A possible reason: each" if _raises(study, arm) and norm.high < 0 else "Each"
    return (
        f"{_gain(study, arm)} {why} iteration shrinks every weight by {percent(100 * factor, 3)} (learning rate times "
        f"lambda). The norm of W1 is {start:.2f} at the start; it ends at {ours.mean():.2f}, without L2 at "
        f"{theirs.mean():.2f}, "
        f"{verdict(norm, NORM)}.{_also('Train minus validation accuracy', gap, GAP)}"
    )


def _of_overfitting(study: Study) -> str:
    gaps = {arm: study.gaps(arm).mean().item() for arm in study.in_full}
    spans = listed([f"{gap:.2f} ({study.names[arm]})" for arm, gap in gaps.items()])
    reference = study.results[study.reference]
    weights = sum(each[0].numel() for name, each in reference.parameters.items() if name[0] in "Wb")
    hardly = "hardly " if max(gaps.values()) < HARDLY else ""
    return (
        f"**The networks {hardly}overfit.** Train minus validation accuracy is on average {spans} points. Why: "
        f"{weights:,} weights and biases learn from {numbered(study.card.sizes['train'], 'example')}."
    )


def _of_all_others(study: Study) -> str:
    gains = [study.comparisons[arm]["test_accuracy"] for arm in study.in_brief]
    better, worse = sum(gain.low > 0 for gain in gains), sum(gain.high < 0 for gain in gains)
    return (
        f"**{counted(len(gains), 'other arm').capitalize()}** ([[others]]). Test accuracy against "
        f"{study.names[study.reference]}: better in {better}, worse in {worse}, no clear difference "
        f"(n = {gains[0].pairs}) in {len(gains) - better - worse}."
    )


def _headline_costs(document: Document, study: Study) -> None:
    ends = {}
    for arm in study.in_full:
        result, k = study.results[arm], study.headline(arm)
        ends[arm] = result.best_step[k], result.steps[k]
    costs = tables.cost_table(
        {arm: study.results[arm] for arm in study.in_full}, {arm: study.evaluations[arm] for arm in study.in_full}
    )
    longest = max(ends, key=lambda arm: ends[arm][1])
    title = f"The headline model of {study.names[longest]} trains longest: {ends[longest][1]:,} iterations"
    caption = (
        "Data cost of each headline model on the batch of every 100th iteration. Circle: its best step; square: its "
        "stop."
    )
    said = study.by_arm({arm: f"best step {best:,}, stop {stop:,}" for arm, (best, stop) in ends.items()})
    document.figure(figures.headline_costs(costs, ends, study.in_full, title), caption, said, name="headlines")
