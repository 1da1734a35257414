"""The section on all arms over all seeds: curves, distribution, time, mistakes, and how each network fared."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.analysis import tables
from pipeline.analysis.comparison import ACTIVATION, QUANTITIES
from pipeline.analysis.diagnosis import COLLAPSED, NEARLY_DEAD, PLATEAU_MARGIN, Diagnosis, guessing_cost
from pipeline.analysis.statistics import compare, summarise
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, named, percent, share, verdict, where

LAYER_COLUMNS = 5  # of a table; of more layers it has the sum


def write(document: Document, study: Study) -> None:
    """Write the section."""
    said = "[[curves]] and [[accuracy]] show the training, [[seeds]] every network, and [[times]] the time of a step."
    if study.in_brief:
        drawn = listed([study.names[arm] for arm in study.in_full])
        said += f" Curves and times are of {drawn}, the first arm of each kind; section [[others]] has the rest."
    document.paragraph(said)
    _curves(document, study)
    accuracies = {arm: study.evaluations[arm].accuracies["test"] for arm in study.arms}
    ranges = {arm: f"{values.min():.1f} to {values.max():.1f}" for arm, values in accuracies.items()}
    caption = "Test accuracy of every network; grey lines join networks of one seed, black bars mark the medians."
    shown = f"Lowest to highest in per cent: {study.by_arm(ranges)}."
    document.figure(figures.seed_distribution(accuracies, study.titles), caption, shown, name="seeds")
    times = {arm: study.step_times(arm) for arm in study.in_full}
    means = {a: listed([f"{each.mean():,.0f} {where(size)}" for size, each in of.items()]) for a, of in times.items()}
    caption = (
        f"Time of a training step of one network, batch {study.params.training.batch_size}, {study.timed_on}: mean and "
        f"range over {counted(study.params.timing.rounds, 'round')} in which the arms take turns."
    )
    shown = f"Mean microseconds: {study.by_arm(means)}."
    document.figure(figures.step_times(times, study.in_full), caption, shown, name="times")
    _mistakes(document, study)
    _health(document, study)
    _intervals(document)


def _curves(document: Document, study: Study) -> None:
    results = {arm: study.results[arm] for arm in study.in_full}
    costs, accuracies = tables.curve_table(results), tables.accuracy_table(results)
    band = "against training steps: median over the seeds and the band between the quartiles."
    caption = f"Cost without penalty {band} A network that has stopped keeps its last value."
    shown = _last_medians(study, costs, "validation cost", 2)
    document.figure(figures.cost_curves(costs, study.in_full), caption, shown, name="curves")
    floor = figures.accuracy_floor(accuracies)
    cut = f" Values below {percent(floor, 0)} are not shown." if (accuracies["low"] < floor).any() else ""
    caption, shown = f"Validation accuracy {band}{cut}", _last_medians(study, accuracies, "validation accuracy", 1)
    document.figure(figures.accuracy_curves(accuracies, study.in_full), caption, shown, name="accuracy")


def _last_medians(study: Study, curves: pd.DataFrame, series: str, decimals: int) -> str:
    last = curves[curves["series"] == series].groupby("arm", sort=False)["median"].last()
    ends = {str(arm): f"{median:.{decimals}f}" for arm, median in last.items()}
    return f"The median {series} ends at: {study.by_arm(ends)}." if ends else ""


def _mistakes(document: Document, study: Study) -> None:
    best, evaluation = min(study.evaluations.items(), key=lambda pair: pair[1].costs["validation"][pair[1].headline])
    classes = study.card.classes
    pairs = zip(*(evaluation.mistakes[each].tolist() for each in ("true", "predicted")), strict=True)
    shown = listed([f"{classes[true]} as {classes[predicted]}" for true, predicted in pairs]) or "none"
    document.heading("Mistakes of the best model", level=2)
    said = f"[[mistakes]] is about the headline model with the lowest validation cost, here of {study.names[best]}."
    document.paragraph(f"{said} One network is no comparison of arms.", keep_with_next=True)
    caption = f"The most confident mistakes of the {study.names[best]} headline model on the test set."
    picture = figures.confident_mistakes(evaluation, classes)
    document.figure(picture, caption, f"The mistakes: {shown}.", name="mistakes")


def _health(document: Document, study: Study) -> None:
    networks = _networks_table(study)
    table = "" if networks.empty else " [[networks]] lists the networks that collapsed or have a dead unit."
    document.heading("Plateaus, dead units, collapse", level=2, name="health")
    document.paragraph(f"{plateau_sentence(study)} {divergence_sentence(study)}")
    document.paragraph(
        "A unit is dead if it is active for no training example, and nearly dead if it is active for fewer than "
        f"{percent(100 * NEARLY_DEAD, 0)} of them ([[health_table]]).{table} {' '.join(collapse_sentences(study))}"
    )
    if sentences := batchnorm_sentences(study):
        document.paragraph(f"**The effect of batch norm.** {' '.join(sentences)}")
    if study.evaluations[study.reference].activations:
        _activations(document, study)
    caption = (
        f"Of the {counted(len(study.params.training.seeds), 'network')} of each arm: how many collapsed, diverged, or "
        "were on the plateau at the first validation check; by hidden layer, their dead + nearly dead units."
    )
    document.table(_health_table(study), caption, name="health_table")
    if not networks.empty:
        caption = "The networks that collapsed or have a dead unit; the weakest class has the lowest recall (given)."
        document.table(networks, caption, name="networks", widths=[2.2, 1.2, 1.6, 4.1, 4.1, 2.8])


def _activations(document: Document, study: Study) -> None:
    evaluations, arm, said = study.evaluations, study.first_with_batchnorm, ""
    if arm is not None:
        layer = list(evaluations[arm].activations)[-1]
        ours, theirs = (evaluations[each].activations[layer][1, :, 99] for each in (arm, study.reference))
        said = (
            f"The 99th percentile of layer {layer[1:]} at the best step, averaged over the seeds, is {ours.mean():.1f} "
            f"for {study.names[arm]} and {theirs.mean():.1f} for {study.names[study.reference]}: "
            f"{verdict(compare(ours, theirs), ACTIVATION)}."
        )
    document.paragraph(f"[[activations]] shows the outputs of the hidden layers. {said}".strip(), keep_with_next=True)
    outputs = {name: evaluations[name].activations for name in study.in_full}
    percentiles = {name: {layer: each.mean(dim=1) for layer, each in of.items()} for name, of in outputs.items()}
    caption = (
        "Outputs of each hidden layer, before the first step and at the best one, on a sample of the validation set: "
        "quartiles (boxes), 1st and 99th percentile (whiskers), each averaged over the seeds."
    )
    document.figure(figures.activations(percentiles, study.in_full), caption, said, name="activations")


def _health_table(study: Study) -> pd.DataFrame:
    rows = []
    for arm, diagnoses in study.diagnoses.items():
        row = {"Arm": study.titles[arm]}
        row |= {each.capitalize(): str(sum(getattr(d, each) for d in diagnoses)) for each in ("collapsed", "diverged")}
        row["On the plateau at first"] = str(len(_on_plateau(study, arm)))
        dead, nearly_dead = (study.count_units(arm, each) for each in ("dead", "nearly_dead"))
        units = {layer: activity.numel() for layer, activity in study.evaluations[arm].activity.items()}
        if len(units) > LAYER_COLUMNS:
            dead, nearly_dead, units = ({"All": sum(each.values())} for each in (dead, nearly_dead, units))
        for layer, count in units.items():
            title = f"Layer {layer[1:]}" if layer != "All" else "All layers"
            row[f"{title}, of {count}"] = f"{dead[layer]} + {nearly_dead[layer]}"
        rows.append(row)
    return pd.DataFrame(rows)


def _networks_table(study: Study) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{"Arm": study.titles[arm], "Seed": str(each.seed), "Test (%)": f"{each.accuracy:.2f}"},
            **{"Dead units": _places(each.dead), "Nearly dead": _places(each.nearly_dead)},
            "Weakest class": f"{study.card.classes[each.weakest_class]} ({percent(each.recall, 1)})",
        }
        for arm, diagnoses in study.diagnoses.items()
        for each in diagnoses
        if each.collapsed or any(each.dead.values())
    )


def plateau_sentence(study: Study) -> str:
    """Name the networks that were still guessing at the first validation check, and when they left the plateau."""
    evaluation, parts = study.evaluations[study.reference], []
    for arm, diagnoses in study.diagnoses.items():
        on_plateau = _on_plateau(study, arm)
        left = [each.left_plateau for each in on_plateau if each.left_plateau is not None]
        never = [each.seed for each in on_plateau if each.left_plateau is None]
        but = f"all but {named('seed', never)} " if never else ""
        end = f"{but}left by step {max(left):,}" if left else "never left"
        if on_plateau:
            seeds = named("seed", [each.seed for each in on_plateau])
            parts.append(f"{share(len(on_plateau), len(diagnoses))} of {study.names[arm]} ({seeds}; {end})")
    level = f"the cost of guessing, ln {evaluation.confusion.shape[-1]} = {guessing_cost(evaluation):.2f} nats"
    first = f"the first validation check, step {study.results[study.reference].evaluation_steps[0]:,}"
    if not parts:
        return f"No network stayed at {level}: at {first}, each was more than {PLATEAU_MARGIN:g} nats below it."
    return f"At {first}, these networks were still within {PLATEAU_MARGIN:g} nats of {level}: {'; '.join(parts)}."


def divergence_sentence(study: Study) -> str:
    """Name the seeds whose cost stopped being finite, or say that there is none."""
    diverged = {arm: [each.seed for each in diagnoses if each.diverged] for arm, diagnoses in study.diagnoses.items()}
    parts = [f"{named('seed', seeds)} of {study.names[arm]}" for arm, seeds in diverged.items() if seeds]
    return f"Training diverged for {listed(parts)}." if parts else "No training diverged."


def collapse_sentences(study: Study) -> list[str]:
    """Count the networks that collapsed, and describe the worst of them and its dead units."""
    networks = [(arm, each) for arm, diagnoses in study.diagnoses.items() for each in diagnoses]
    collapsed = [(arm, each) for arm, each in networks if each.collapsed]
    limit, pairs = f"below {percent(COLLAPSED, 0)} test accuracy", len(study.diagnoses[study.reference])
    if not collapsed:
        return [f"No network collapsed ({limit}): {share(0, pairs)} in each arm."]
    counts = {arm: sum(each.collapsed for each in diagnoses) for arm, diagnoses in study.diagnoses.items()}
    shares = [f"{share(count, pairs)} of {study.names[arm]}" for arm, count in counts.items() if count]
    shares += [f"{share(0, pairs)} of each other arm"] * (0 in counts.values())
    compared = {arm: each["collapsed"] for arm, each in study.comparisons.items() if each["collapsed"].excludes_zero}
    said = [f"{study.names[arm]} {verdict(each, QUANTITIES['collapsed'])}" for arm, each in compared.items()]
    differences = listed(said) or f"no clear difference (n = {pairs})"
    against = f"; against {study.names[study.reference]} {differences}" if study.others else ""
    arm, worst = min(collapsed, key=lambda pair: pair[1].accuracy)
    classes = study.card.classes
    never = " or ".join(classes[label] for label in worst.never_predicted)
    recall = f"recognises {percent(worst.recall, 1)} of class {classes[worst.weakest_class]}"
    impaired = [each for _, each in networks if any(each.dead.values()) or any(each.nearly_dead.values())]
    fine, some = sum(not each.collapsed for each in impaired), counted(len(impaired), "network")
    alone = f"Such units alone do not mean collapse: {fine} of the {some} with some did not collapse."
    return [
        f"Collapsed networks ({limit}): {listed(shares)}{against}.",
        f"The worst is seed {worst.seed} of {study.names[arm]} with {percent(worst.accuracy)}.",
        f"Dead in it: {_places(worst.dead)}; nearly dead: {_places(worst.nearly_dead)}.",
        f"It {f'never predicts {never}' if never else recall}.",
        *([alone] if worst in impaired and fine else []),
    ]


def batchnorm_sentences(study: Study) -> list[str]:
    """Describe the effect of batch norm on the start of training and on dead units; nothing without such an arm."""
    arm = study.first_with_batchnorm
    if arm is None:
        return []
    pair, half_cost = (arm, study.reference), guessing_cost(study.evaluations[arm]) / 2
    ours, theirs = (study.names[each] for each in pair)
    said = {name: verdict(each, QUANTITIES[name]) for name, each in study.comparisons[arm].items()}
    dead = [sum(study.count_units(each, "dead").values()) for each in pair]
    spreads = [summarise(study.evaluations[each].accuracies["test"]).sd for each in pair]
    return [
        f"{study.titles[arm]} against {theirs}, steps to half the cost of guessing ({half_cost:.2f} nats, on the "
        f"validation set): {said['half_cost_steps']}; dead units, {dead[0]} against {dead[1]} in all networks: "
        f"{said['dead_units']}.",
        f"The standard deviation of test accuracy over the seeds is {spreads[0]:.2f} points for {ours} and "
        f"{spreads[1]:.2f} for {theirs}; a network's distance from the median of its arm: {said['spread']}.",
    ]


def _intervals(document: Document) -> None:
    document.heading("Which intervals, and why", level=2, name="interval")
    document.paragraph(
        "**Differences.** If two arms do not differ, the paired differences are symmetric about zero: exchanging the "
        "arms changes nothing. The interval runs from the 2.5th to the 97.5th percentile of the means of all subsets "
        "of the pairs (Hartigan, 1969). It holds the centre in 95 % of all samples, whatever the tails, and is the set "
        "of shifts that a sign-flip permutation test does not reject. A t interval has no such guarantee, and the "
        "bootstrap covers too seldom at sixteen seeds. If two arms do differ, their differences may be skewed, and at "
        "sixteen seeds none of the three bounds the mean as often as it says: whether zero lies outside keeps its "
        "meaning, and the ends are a guide. Differences of collapsed networks have three values, so only the decision "
        "of McNemar's exact test is used. Below six pairs there is no interval."
    )
    medians = "**Medians** have the interval of the exact sign test, which assumes nothing about the distribution. "
    document.paragraph(f"{medians}**Shares** have that of the exact binomial test (Clopper and Pearson, 1934).")


def _on_plateau(study: Study, arm: str) -> list[Diagnosis]:
    first = study.results[arm].evaluation_steps[0]
    return [each for each in study.diagnoses[arm] if each.left_plateau is None or each.left_plateau > first]


def _places(units: Mapping[str, list[int]]) -> str:
    """Name units by layer; "none" if there are none."""
    return listed([f"{named('unit', which)} of layer {layer[1:]}" for layer, which in units.items() if which]) or "none"
