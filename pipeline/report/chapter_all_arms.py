"""The report's section on all arms over all seeds: curves, distribution, time, and how each network fared."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.analysis import tables
from pipeline.analysis.comparison import ACTIVATION, QUANTITIES
from pipeline.analysis.diagnosis import COLLAPSED, PLATEAU_MARGIN, SILENT, Diagnosis, guessing_cost
from pipeline.analysis.statistics import compare, summarise
from pipeline.analysis.tables import Rows
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study, Values
from pipeline.report.wording import counted, listed, lower, number_word, numbers, percent, share, verdict


def write(document: Document, study: Study) -> None:
    """Write the section."""
    titles, costs, accuracies = study.titles, tables.curve_rows(study.results), tables.accuracy_rows(study.results)
    test_accuracies = {arm: study.evaluations[arm].accuracies["test"] for arm in titles}
    times = {arm: study.step_times(arm) for arm in titles}
    document.paragraph(
        "[[curves]] shows how the costs fall and [[accuracy]] how accuracy rises; [[seeds]] has a mark for every "
        "network, and [[times]] the time of a step."
    )
    document.figure(
        figures.cost_curves(costs, titles),
        "Cost without penalty against training steps: median over the seeds and the band between the quartiles. "
        "A network that has stopped keeps its last value.",
        f"Curves of training and validation cost for each arm. {_last_medians(study, costs, 'validation cost', 2)}",
        name="curves",
    )
    document.figure(
        figures.accuracy_curves(accuracies, titles),
        "Validation accuracy against training steps: median over the seeds and the band between the quartiles."
        f"{_cut(accuracies)}",
        "Curves of validation accuracy for each arm, in per cent. "
        f"{_last_medians(study, accuracies, 'validation accuracy', 1)}",
        name="accuracy",
    )
    document.figure(
        figures.seed_distribution(test_accuracies, titles),
        "Test accuracy of every network; grey lines join networks of one seed, black bars mark the medians.",
        "Test accuracy of every seed in each arm, in per cent, from the lowest to the highest: "
        f"{_of_each(study, {arm: f'{a.min():.1f} to {a.max():.1f}' for arm, a in test_accuracies.items()})}.",
        name="seeds",
    )
    document.figure(
        figures.step_times(times, titles),
        f"Time of a training step of one network, batch {study.params.training.batch_size}, "
        f"{study.timed_on}: mean of {counted(study.params.timing.rounds, 'round')} in which the arms take turns, "
        "whiskers from the fastest to the slowest round.",
        "Bars of the mean microseconds of a training step of one network: "
        f"{_of_each(study, {arm: _mean_times(by_size) for arm, by_size in times.items()})}.",
        name="times",
    )
    _mistakes(document, study)
    _health(document, study)
    _interval(document)


def _of_each(study: Study, said: Mapping[str, str]) -> str:
    """Join what is said of each arm, after its title."""
    return "; ".join(f"{study.titles[arm]} {each}" for arm, each in said.items())


def _last_medians(study: Study, rows: Rows, series: str, decimals: int) -> str:
    """Say where the curves of a series end; nothing if there are none."""
    last = {row["arm"]: f"{row['median']:.{decimals}f}" for row in rows if row["series"] == series}
    return f"The median {series} ends at: {_of_each(study, last)}." if last else ""


def _mean_times(by_size: Mapping[int, Values]) -> str:
    """Write an arm's mean time for each size of a stack."""
    where = {size: f"in a stack of {size}" if size > 1 else "alone" for size in by_size}
    return listed([f"{times.mean():,.0f} {where[size]}" for size, times in by_size.items()])


def _cut(accuracies: Rows) -> str:
    """Say what the figure of the accuracy curves leaves out, if anything."""
    floor = figures.accuracy_floor(accuracies)
    is_cut = any(row["low"] < floor for row in accuracies)
    return f" What lies below {percent(floor, 0)} is not shown." if is_cut else ""


def _mistakes(document: Document, study: Study) -> None:
    headline_costs = {
        arm: evaluation.costs["validation"][evaluation.headline].item() for arm, evaluation in study.evaluations.items()
    }
    best = min(headline_costs, key=lambda arm: headline_costs[arm])
    document.heading("What one model gets wrong", level=2)
    document.paragraph(
        "[[mistakes]] has the test images about which one headline model is most surely wrong: that of "
        f"{lower(study.titles[best])}, which validation cost picks from the headline models. A pick of one network is "
        "no comparison of arms.",
        keep_with_next=True,
    )
    document.figure(
        figures.confident_mistakes(study.evaluations[best], study.card.classes),
        f"The test images that the {lower(study.titles[best])} headline model misclassifies with the greatest "
        "confidence: true class, predicted class, and the probability it gave to the latter.",
        f"The surest mistakes on the test set: {listed(_misclassified(study, best)) or 'none'}.",
        name="mistakes",
    )


def _misclassified(study: Study, arm: str) -> list[str]:
    """Name the true and the predicted class of each image that is shown, the surest mistake first."""
    mistakes, classes = study.evaluations[arm].mistakes, study.card.classes
    pairs = zip(mistakes["true"].tolist(), mistakes["predicted"].tolist(), strict=True)
    return [f"{classes[true]} as {classes[predicted]}" for true, predicted in pairs]


def _health(document: Document, study: Study) -> None:
    document.heading("Plateaus, dead units, collapse", level=2, name="health")
    document.paragraph(f"{plateau_sentence(study)} {divergence_sentence(study)}")
    document.paragraph(
        "A unit is dead if it is active for no training example, and all but dead if it is active for fewer than "
        f"{percent(100 * SILENT, 0)} of them ([[health_table]]). {' '.join(collapse_sentences(study))}"
    )
    if sentences := batchnorm_sentences(study):
        document.paragraph(f"**What batch norm does to all this.** {' '.join(sentences)}")
    if study.evaluations[study.reference].activations:
        _activations(document, study)
    _health_table(document, study)
    _networks_table(document, study)


def _activations(document: Document, study: Study) -> None:
    said = _activation_sentence(study)
    document.paragraph(f"[[activations]] shows what the hidden layers pass on.{said}", keep_with_next=True)
    percentiles = {
        arm: {layer: each.mean(dim=1) for layer, each in study.evaluations[arm].activations.items()}
        for arm in study.arms
    }
    document.figure(
        figures.activations(percentiles, study.titles),
        "What each hidden layer passes on, before the first step and at the best one, on a sample of the validation "
        "set: the box spans the quartiles, the whiskers the 1st to the 99th percentile, each averaged over the seeds.",
        f"Box plots of the activations of each hidden layer, at the start and at the end.{said}",
        name="activations",
    )


def _health_table(document: Document, study: Study) -> None:
    layers = list(study.evaluations[study.reference].activity)
    rows = []
    for arm, diagnoses in study.diagnoses.items():
        cells = [
            f"{sum(len(each.dead[layer]) for each in diagnoses)} + {sum(len(each.silent[layer]) for each in diagnoses)}"
            for layer in layers
        ]
        at_first = len(_on_plateau(diagnoses, study.results[arm].evaluation_steps[0]))
        counts = (sum(each.collapsed for each in diagnoses), sum(each.diverged for each in diagnoses), at_first)
        rows.append([study.titles[arm], *map(str, counts), *cells])
    units = {layer: activity.numel() for layer, activity in study.evaluations[study.reference].activity.items()}
    document.table(
        [
            *("Arm", "Collapsed", "Diverged", "On the plateau at first"),
            *(f"Layer {layer[1:]}, of {units[layer]}" for layer in layers),
        ],
        rows,
        f"How the {counted(len(study.params.training.seeds), 'network')} of each arm fared: how many collapsed, "
        "diverged, or cost as much as guessing at the first evaluation; and in each hidden layer how many of their "
        "units are dead + all but dead.",
        name="health_table",
    )


def _networks_table(document: Document, study: Study) -> None:
    rows = [
        [
            study.titles[arm],
            str(each.seed),
            f"{each.accuracy:.2f}",
            listed(_places(each.dead)) or "none",
            listed(_places(each.silent)) or "none",
            f"{study.card.classes[each.weakest_class]} ({percent(each.recall, 1)})",
        ]
        for arm, diagnoses in study.diagnoses.items()
        for each in diagnoses
        if each.collapsed or any(each.dead.values())
    ]
    if rows:
        document.paragraph("[[networks]] lists the networks that collapsed or lost a unit.", keep_with_next=True)
        document.table(
            ["Arm", "Seed", "Test (%)", "Dead units", "All but dead", "Weakest class"],
            rows,
            "The networks that collapsed or lost a unit: their test accuracy, their units that are dead or all but "
            "dead, and the class of which they recognise the smallest share, with that share.",
            name="networks",
            widths=[2.2, 1.2, 1.6, 4.1, 4.1, 2.8],
        )


def plateau_sentence(study: Study) -> str:
    """Say which networks were still guessing when they were first looked at, and when the last of them left off."""
    evaluation = study.evaluations[study.reference]
    cost = guessing_cost(evaluation)
    classes = evaluation.confusion.shape[-1]
    level = f"the cost of guessing, ln {classes} = {cost:.2f} nats"
    parts = []
    for arm, diagnoses in study.diagnoses.items():
        first = study.results[arm].evaluation_steps[0]
        on_it = _on_plateau(diagnoses, first)
        if not on_it:
            continue
        left = [each.left_plateau for each in on_it if each.left_plateau is not None]
        never = [each.seed for each in on_it if each.left_plateau is None]
        if not left:
            end = "which never left it"
        elif never:
            end = f"of which all but seed{'s' * (len(never) > 1)} {numbers(never)} had left it by step {max(left):,}"
        else:
            end = f"{'the last of ' * (len(left) > 1)}which left it by step {max(left):,}"
        parts.append(
            f"{share(len(on_it), len(diagnoses))} of {lower(study.titles[arm])} (seed{'s' * (len(on_it) > 1)} "
            f"{numbers([each.seed for each in on_it])}), {end}"
        )
    first = study.results[study.reference].evaluation_steps[0]
    if not parts:
        return (
            f"No network stayed at {level}: at the first evaluation, step {first:,}, each was more than "
            f"{PLATEAU_MARGIN:g} nats below it."
        )
    return (
        f"At the first evaluation, step {first:,}, these networks were still within {PLATEAU_MARGIN:g} nats of "
        f"{level}: {'; '.join(parts)}."
    )


def divergence_sentence(study: Study) -> str:
    """Name the seeds whose cost stopped being finite, or say that there is none."""
    diverged = {arm: [each.seed for each in diagnoses if each.diverged] for arm, diagnoses in study.diagnoses.items()}
    parts = [
        f"seed{'s' * (len(seeds) > 1)} {numbers(seeds)} of {lower(study.titles[arm])}"
        for arm, seeds in diverged.items()
        if seeds
    ]
    return f"Training diverged for {listed(parts)}." if parts else "No training diverged."


def collapse_sentences(study: Study) -> list[str]:
    """Count the networks that collapsed, and name the worst of them and its units that died."""
    collapsed = [(arm, each) for arm, diagnoses in study.diagnoses.items() for each in diagnoses if each.collapsed]
    if not collapsed:
        networks = share(0, len(study.diagnoses[study.reference]))
        return [
            f"No network collapsed, which means below {percent(COLLAPSED, 0)} test accuracy: {networks} in each arm."
        ]
    per_arm = {arm: sum(each.collapsed for each in diagnoses) for arm, diagnoses in study.diagnoses.items()}
    places = listed(
        [f"{share(count, len(study.diagnoses[arm]))} of {lower(study.titles[arm])}" for arm, count in per_arm.items()]
    )
    apart = [
        f"{lower(study.titles[arm])} {verdict(compared['collapsed'], QUANTITIES['collapsed'])}"
        for arm, compared in study.comparisons.items()
        if compared["collapsed"].decided
    ] or [f"no difference that {counted(len(study.diagnoses[study.reference]), 'seed')} can show"]
    against = f"; against {lower(study.titles[study.reference])} {listed(apart)}" if study.others else ""
    arm, worst = min(collapsed, key=lambda pair: pair[1].accuracy)
    dead, silent = listed(_places(worst.dead)), listed(_places(worst.silent))
    died = f"{dead} died" if dead else "no unit of it died"
    rest = f"; {silent} {'is' if sum(map(len, worst.silent.values())) == 1 else 'are'} all but dead" if silent else ""
    never = [study.card.classes[label] for label in worst.never_predicted]
    weakest = (
        f"never predicts {' or '.join(never)}"
        if never
        else f"recognises {percent(worst.recall, 1)} of class {study.card.classes[worst.weakest_class]}"
    )
    return [
        f"Collapsed networks, those below {percent(COLLAPSED, 0)} test accuracy: {places}{against}.",
        f"The worst is seed {worst.seed} of {lower(study.titles[arm])} with {percent(worst.accuracy)}: {died}{rest}, "
        f"and the network {weakest}.{_not_the_cause(study) if dead or silent else ''}",
    ]


def _not_the_cause(study: Study) -> str:
    """Count the networks of all arms that did not collapse although units of theirs are dead or all but dead."""
    afflicted = [
        each
        for diagnoses in study.diagnoses.values()
        for each in diagnoses
        if any(each.dead.values()) or any(each.silent.values())
    ]
    fine = sum(not each.collapsed for each in afflicted)
    if not fine:
        return ""
    return (
        f" Such units do not by themselves mean collapse: of the {counted(len(afflicted), 'network')} that have some, "
        f"{number_word(fine)} did not collapse."
    )


def batchnorm_sentences(study: Study) -> list[str]:
    """Say what batch norm does for the start of training and the health of the units; nothing without such an arm."""
    arm = study.first_with_batchnorm
    if arm is None:
        return []
    title, reference = study.titles[arm], lower(study.titles[study.reference])
    half, dead = study.comparisons[arm]["half_cost_steps"], study.comparisons[arm]["dead_units"]
    totals = {
        name: sum(len(units) for each in study.diagnoses[name] for units in each.dead.values())
        for name in (arm, study.reference)
    }
    spreads = {name: summarise(study.evaluations[name].accuracies["test"]).sd for name in (arm, study.reference)}
    return [
        f"{title} against {reference}, steps until the validation cost is half that of guessing "
        f"({guessing_cost(study.evaluations[arm]) / 2:.2f} nats): {verdict(half, QUANTITIES['half_cost_steps'])}; dead "
        f"units, {totals[arm]} against {totals[study.reference]} in all networks: "
        f"{verdict(dead, QUANTITIES['dead_units'])}.",
        f"The standard deviation of test accuracy over the seeds is {spreads[arm]:.2f} points for {lower(title)} and "
        f"{spreads[study.reference]:.2f} for {reference}; a network's distance from the median of its arm: "
        f"{verdict(study.comparisons[arm]['spread'], QUANTITIES['spread'])}.",
    ]


def _activation_sentence(study: Study) -> str:
    """Compare how far the last hidden layer reaches with batch norm and without; nothing without such an arm."""
    arm = study.first_with_batchnorm
    if arm is None:
        return ""
    layer = list(study.evaluations[arm].activations)[-1]
    ours, theirs = (study.evaluations[each].activations[layer][1, :, 99] for each in (arm, study.reference))
    return (
        f" The 99th percentile of layer {layer[1:]} at the best step, averaged over the seeds, is "
        f"{ours.mean().item():.1f} for {lower(study.titles[arm])} and {theirs.mean().item():.1f} for "
        f"{lower(study.titles[study.reference])}: {verdict(compare(ours, theirs), ACTIVATION)}."
    )


def _interval(document: Document) -> None:
    document.heading("Which intervals, and why", level=2, name="interval")
    document.paragraph(
        "**Of differences.** If two arms do not differ, exchanging them changes nothing, and the paired differences "
        "are symmetric about zero. For a sample from a symmetric distribution the means of all its subsets bound the "
        "centre with probabilities that can be counted (Hartigan, 1969): the interval from the 2.5th to the 97.5th "
        "percentile of these subset means holds it in 95 % of all samples, however heavy the tails. It is the set of "
        "shifts that a sign-flip permutation test does not reject. A t interval has no such warrant, and the bootstrap "
        "covers too seldom at sixteen seeds. Where two arms do differ, their differences may be skewed, and then at "
        "sixteen seeds none of the three bounds the mean as often as it says; whether ours leaves out zero keeps its "
        "meaning, while its ends are a guide. For collapsed networks, whose differences have three values, they would "
        "not even be that, and only the decision, McNemar's exact test, is used. Below six pairs there is no interval. "
        "Intervals hold one by one; they are not corrected for their number. An arm is judged by its test accuracy; "
        "the other comparisons are there to explain it."
    )
    document.paragraph(
        "**Of medians** from one order statistic to another, by the exact sign test, which asks nothing of the "
        "distribution; **of shares** by the exact binomial test (Clopper and Pearson, 1934)."
    )


def _on_plateau(diagnoses: list[Diagnosis], first: int) -> list[Diagnosis]:
    return [each for each in diagnoses if each.left_plateau is None or each.left_plateau > first]


def _places(units: dict[str, list[int]]) -> list[str]:
    return [
        f"unit{'s' * (len(which) > 1)} {numbers(which)} of layer {layer[1:]}" for layer, which in units.items() if which
    ]
