"""Section 5 of the assignment: what batch normalisation changes, how it compares, and why."""

from pandas import DataFrame

from pipeline.analysis import tables
from pipeline.analysis.beginnings import gradient_factors
from pipeline.analysis.comparison import ACTIVATION
from pipeline.analysis.statistics import CONFIDENCE
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.levels import in_words, levels, levels_table, write_headline
from pipeline.report.study import Study
from pipeline.report.wording import clear_side, listed, numbered, percent, share, signed, verdict

WENT_WELL = 3.0  # points below the best network of all arms, up to which a training went well


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm = study.with_batchnorm
    document.paragraph(
        "**What changed.** Batch normalisation follows the activation of each hidden layer: each unit is shifted and "
        "scaled to mean 0 and variance 1 over the batch. As the assignment has it, there is no scale and no shift to "
        "learn. For a prediction running averages take the place of mean and variance, so an image is classified alike "
        "in any batch."
    )
    if arm is None:
        document.paragraph("This run has no arm that adds batch norm to the reference.")
        return
    rows = levels(study, arm)
    write_headline(document, study, arm, rows, name="batchnorm_levels")
    document.paragraph(
        f"**Performance** ([[batchnorm_levels]]). "
        f"{in_words(rows, 'Test accuracy (%)', 'Lowest validation cost (nats)')} Section [[reasons]] asks why."
    )
    document.paragraph(
        "**Number of iterations** ([[batchnorm_levels]], [[accuracy]]). "
        f"{in_words(rows, 'Iterations to half the cost of guessing', 'Iterations to the stop')}"
    )
    document.paragraph(
        f"**Running time** on {'a GPU' if study.timing.device == 'cuda' else 'one thread'} ([[batchnorm_levels]]). "
        f"{in_words(rows, 'One iteration (µs)', 'Time to the stop (s)', with_means=True)} Batch norm adds a mean, a "
        "variance and the gradient through both to each iteration. The time to the stop is calculated: iterations and "
        "validation checks, each times the median that was measured."
    )
    levels_table(document, study, arm, rows, name="batchnorm_levels")
    _curves(document, study)
    document.heading("Why", level=2, label="5.1", name="reasons", new_page=True)
    _why(document, study, arm)
    _every_network(document, study)


def _curves(document: Document, study: Study) -> None:
    accuracies = tables.curve_table({arm: study.results[arm] for arm in study.in_full}, "validation accuracy")
    medians = accuracies.groupby("arm", sort=False)["median"].last()
    floor = figures.accuracy_floor(accuracies)
    cut = f" Values below {percent(floor, 0)} are not shown." if (accuracies["low"] < floor).any() else ""
    ends = study.by_arm({arm: f"{medians[arm]:.1f}" for arm in study.in_full if arm in medians}) or "none is finite"
    arm, title = study.with_batchnorm, f"Median validation accuracy at the end: {ends}"
    if arm and (side := clear_side(study.comparisons[arm]["half_cost_steps"])):
        speed = "faster" if side < 0 else "more slowly"
        title = f"The {study.names[arm]} networks learn {speed} at first than the {study.names[study.reference]} ones"
    caption = f"Validation accuracy, median and quartiles. A network that has stopped keeps its last value.{cut}"
    picture = figures.accuracy_curves(accuracies, study.in_full, title)
    document.figure(picture, caption, f"The medians end at: {ends}.", name="accuracy")


def _why(document: Document, study: Study, arm: str) -> None:
    arms = (study.reference, arm)
    factors = {each: gradient_factors(study.gradients[each]) for each in arms}
    norms = study.gradients[study.reference]
    layer = str((factors[study.reference] if len(norms) > 1 else norms.iloc[0]).idxmax())
    found, several = f"The first gradient of the {study.names[study.reference]} network is largest in {layer}", ""
    if len(study.gradients[arm]) > 1:
        folds = {study.names[each]: factors[each].map("{:.2g}-fold".format) for each in arms}
        found = f"Gradients in {layer} differ {', '.join(f'{fold[layer]} ({name})' for name, fold in folds.items())}"
        shown = dict.fromkeys(["W1", layer])
        in_layers = {name: listed([f"{fold[W]} in {W}" for W in shown]) for name, fold in folds.items()}
        differ = ", ".join(f"{said} between the {name} networks" for name, said in in_layers.items())
        several = f" The norm differs {differ}.{_late_start(study)}"
    document.paragraph(
        "**The first gradients.** [[why]] shows the norm of the gradient of each W before the first step, on a sample "
        "of the training set. All networks have the same learning rate, so one with a small gradient may begin slowly."
        f"{several}"
    )
    panels = {(found, "norm of dW at step 0"): {each: study.gradients[each] for each in arms}}
    activations = {each: DataFrame(study.evaluations[each].activations) for each in arms}
    for last in map(str, activations[arm].columns[-1:]):  # a network without a hidden layer has none
        compared = study.compare(arm, last)
        why = " Batch norm gives each unit variance 1, so what it hands on stays small."
        document.paragraph(
            f"**Activations.** The 99th percentile of what layer {last[1:]} hands on, at the best step: "
            f"{verdict(compared, ACTIVATION)}.{why * (clear_side(compared) < 0)}"
        )
        medians = ", ".join(f"{activations[each][last].median():.2g} ({study.names[each]})" for each in arms)
        title = f"Activations in layer {last[1:]}, medians: {medians}"
        panels[title, "99th percentile after training"] = activations
    best = study.networks["test"].max()
    went_well = study.networks["test"] >= best - WENT_WELL
    shares = [f"{share(went_well[each])} of the {study.names[each]} networks" for each in arms]
    document.paragraph(
        f"**How often training goes well.** Here that means within {WENT_WELL:g} points of this run's best network, "
        f"{percent(best)}. It went well for {listed(shares)}. [[networks]] shows every network; [[health]] names those "
        "that collapsed."
    )
    caption = (
        "Left: the norm of each layer's gradient before the first step. Right: the 99th percentile of what each hidden "
        "layer hands on, at the best step. A mark is a network, a bar the median."
    )
    picture = figures.by_layer(panels, {each: study.titles[each] for each in arms})
    document.figure(picture, caption, f"{'. '.join(title for title, _ in panels)}.", name="why")


def _late_start(study: Study) -> str:
    """Say whether the reference's networks with a small first gradient learn late, as that reason predicts."""
    tests = study.late_starts
    if tests.empty:  # too few networks
        return ""
    correlations = tests["correlation"][tests["p"] < 1 - CONFIDENCE]
    sides = {"they do": correlations.index[correlations < 0], "they take fewer": correlations.index[correlations > 0]}
    found = "; ".join(f"{said}, in {listed([*layers])}" for said, layers in sides.items() if len(layers))
    each = listed([f"{signed(value, 2)} ({name})" for name, value in tests["correlation"].items()])
    return (
        f" Do {study.names[study.reference]} networks with a small first gradient take more steps to half the cost of "
        f"guessing? Rank correlations, by layer: {each}. The smallest p, corrected for {numbered(len(tests), 'test')}, "
        f"is {tests['p'].min():.2g}: {found or 'this run does not show it'}."
    )


def _every_network(document: Document, study: Study) -> None:
    test = study.networks["test"]
    ends = test.groupby("arm", sort=False).agg(["min", "max"])
    spans = ends["max"] - ends["min"]
    title = (
        f"Test accuracy spans {spans.min():.1f} ({study.names[str(spans.idxmin())]}) to "
        f"{numbered(f'{spans.max():.1f}', 'point')} ({study.names[str(spans.idxmax())]})"
    )
    ranges = {arm: f"{low:.1f} to {high:.1f}" for arm, low, high in ends.itertuples()}
    caption = "Test accuracy of every network. Grey lines join networks with the same start; black bars are medians."
    picture = figures.seed_distribution({arm: test[arm] for arm in study.titles}, study.titles, title)
    document.figure(picture, caption, f"Lowest to highest in per cent: {study.by_arm(ranges)}.", name="networks")
