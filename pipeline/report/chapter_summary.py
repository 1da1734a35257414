"""Page one: the arms side by side, what was found and why, and where each section of the assignment is answered."""

from collections.abc import Iterable

from pandas import DataFrame, Series

from pipeline.analysis import tables
from pipeline.analysis.beginnings import gradient_factors
from pipeline.analysis.comparison import GAP, QUANTITIES
from pipeline.analysis.diagnosis import COLLAPSED
from pipeline.analysis.statistics import CONFIDENCE, typical_interval
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import between, clear_side, is_settled, named, numbered, percent, sample, unclear, verdict

HARDLY = 3.0  # points of train minus validation accuracy below which networks hardly overfit


def write(document: Document, study: Study) -> None:
    """Write the page."""
    data, wanted = study.card.name, study.params.data.dataset
    if data != wanted:
        document.paragraph(
            f"**The data set {wanted} could not be fetched: everything below is about {study.card.title}.**"
        )
    document.paragraph(
        "**Section [[baseline]]: page [[baseline:page]], section [[batchnorm]]: page [[batchnorm:page]], section "
        "[[l2]]: page [[l2:page]], costs: page [[costs:page]], functions: page [[functions:page]].** [[summary]] and "
        "[[headlines]] set the arms side by side. Brackets hold 95 % intervals ([[interval]]).",
        keep_with_next=True,
    )
    caption = "The headline model of each arm: its best network by validation cost. Last two rows: all its networks."
    table = side_by_side(study, study.in_full).T.reset_index(names="")
    document.table(table, caption, name="summary", widths=[6.4, *[9.6 / len(study.in_full)] * len(study.in_full)])
    document.heading("Findings", name="findings")
    for finding in findings(study):
        document.paragraph(finding, style="List Bullet")
    _headline_costs(document, study)


def side_by_side(study: Study, arms: Iterable[str]) -> DataFrame:
    """Return the results of arms, one per row, by their titles."""
    test = study.networks["test"].groupby("arm")
    mean, sd = test.agg(Series.mean), test.std()  # as in the text below
    best = study.headlines.assign(mean=mean, sd=sd).loc[[*arms]]
    table = DataFrame(
        {
            **{f"{name.capitalize()} accuracy (%)": best[name].map("{:.2f}".format) for name in tables.SETS},
            "Train minus validation (points)": best["gap"].map("{:.2f}".format),
            "Batch size": str(study.params.training.batch_size),
            "Iterations (training steps) to the stop": best["steps"].map("{:,}".format),
            "Epochs to the stop": best["epochs"].map("{:.1f}".format),
            "Lowest validation cost (nats)": best["validation_cost"].map("{:.4f}".format),
            "Seconds to train it (calculated)": best["seconds"].map("{:.1f}".format),
            "Mean test accuracy, all networks (%)": best["mean"].map("{:.2f}".format),
            "Its standard deviation (points)": best["sd"].map("{:.2f}".format).where(best["sd"].notna(), "unknown"),
        }
    )
    return table.rename(index=study.titles)


def findings(study: Study) -> list[str]:
    """Say in two to five sentences what was found, by how much, and why; and which trainings diverged, if any."""
    said = [_of_the_reference(study)]
    if study.with_batchnorm:
        said.append(_of_batchnorm(study, study.with_batchnorm))
    if study.with_l2:
        said.append(_of_l2(study, study.with_l2))
    if study.in_brief:
        gains = [study.comparisons[arm]["test_accuracy"] for arm in study.in_brief]
        sides = [clear_side(gain) for gain in gains]
        better, worse = sides.count(1), sides.count(-1)
        said.append(
            f"**{numbered(len(gains), 'other arm')}** ([[others]]). Test accuracy against the "
            f"{study.names[study.reference]} arm: better in {better}, worse in {worse}, no clear difference or too "
            f"close to call {sample(gains[0].pairs)} in {len(gains) - better - worse}."
        )
    seeds = study.networks["seed"][study.networks["diverged"]].groupby("arm", sort=False)
    diverged = study.by_arm({str(arm): named("seed", of_arm.to_list()) for arm, of_arm in seeds})
    return [*said, _of_overfitting(study), *([f"**Training diverged: {diverged}.**"] if diverged else [])]


def _of_the_reference(study: Study) -> str:
    test, title = study.networks["test"][study.reference], study.titles[study.reference]
    if len(test) == 1:
        return f"**{title}: {percent(test.mean())} of the test set.**"
    return (
        f"**{title}: mean test accuracy {percent(test.mean())}**{between(*typical_interval(test), 2)}. Its "
        "networks differ, because their random starts do; data, batches and settings are the same."
    )


def _gain(study: Study, arm: str) -> str:
    """Say what an arm does to test accuracy, unless another processor might say otherwise."""
    title, gain = study.titles[arm], study.comparisons[arm]["test_accuracy"]
    if said := unclear(gain, QUANTITIES["test_accuracy"]):
        return f"**{title}, mean test accuracy: {said}.**"
    _, by_how_much = verdict(gain, QUANTITIES["test_accuracy"]).split(" ", maxsplit=1)  # without "better" or "worse"
    return f"**{title} {'raises' if gain.low > 0 else 'lowers'} mean test accuracy** {by_how_much}."


def _of_batchnorm(study: Study, arm: str) -> str:
    said, gain = _gain(study, arm), study.comparisons[arm]["test_accuracy"]
    ours, theirs = (gradient_factors(study.gradients[each]) for each in (arm, study.reference))
    layer, tests = str(theirs.idxmax()), study.late_starts
    if clear_side(gain) < 1 or ours[layer] >= theirs[layer]:
        return said
    is_shown = layer in tests.index[(tests["correlation"] < 0) & (tests["p"] < 1 - CONFIDENCE)]
    return (
        f"{said} A possible reason: the {study.names[arm]} networks differ less in the first gradient of {layer} "
        f"(section [[reasons]]{'' if is_shown else ', not proven'})."
    )


def _of_l2(study: Study, arm: str) -> str:
    said, gap = _gain(study, arm), study.compare(arm, "gap")
    if is_settled(gap):
        said += f" Train minus validation accuracy: {verdict(gap, GAP)}."
    why = " A possible reason: the penalty pulls every weight towards zero ([[weights]])."
    return said + why * smaller_weights_help(study, arm)


def smaller_weights_help(study: Study, arm: str) -> bool:
    """Whether an arm clearly has smaller weights, and a better test accuracy or a smaller gap to that of training."""
    norm, gap, gain = study.compare(arm, "W1"), study.compare(arm, "gap"), study.comparisons[arm]["test_accuracy"]
    return clear_side(norm) < 0 and (clear_side(gap) < 0 or clear_side(gain) > 0)


def _of_overfitting(study: Study) -> str:
    networks = study.networks.groupby("arm", sort=False)
    gaps = networks["gap"].mean()
    low, high = typical_interval(study.networks["gap"][str(gaps.idxmax())])
    parameters = study.results[study.reference].parameters
    weights = sum(each[0].numel() for name, each in parameters.items() if name[0] in "Wb")
    hardly, examples = gaps.max() < HARDLY, study.card.sizes["train"]
    have_learnt = bool((networks["test"].median() >= COLLAPSED).all())
    finding = "hardly overfit" + ": what they learn generalises" * have_learnt if hardly else "overfit"
    said = (
        f"**The networks {finding}.** The gap, train minus validation accuracy, is on average at most "
        f"{gaps.max():.2f} points{between(low, high, 2)} in an arm."
    )
    if hardly != (weights < examples):  # few weights keep a network from overfitting, many let it
        return said
    more, fewer = ("training examples", "weights and biases")[:: 1 if hardly else -1]
    return f"{said} A possible reason: there are more {more} than {fewer}."


def _headline_costs(document: Document, study: Study) -> None:
    steps = study.headlines.loc[[*study.in_full], ["best_step", "steps"]]
    ends = {arm: (best, stop) for arm, best, stop in steps.itertuples()}
    costs = tables.cost_table({arm: study.results[arm] for arm in study.in_full}, study.evaluations)
    title = f"The headline models stop at {named('step', steps['steps'].to_list())}"
    caption = "Data cost of each headline model on the batch of every 100th step. Circle: best step; square: its stop."
    said = study.by_arm({arm: f"best step {best:,}, stop {stop:,}" for arm, (best, stop) in ends.items()})
    document.figure(figures.headline_costs(costs, ends, study.in_full, title), caption, said, name="headlines")
