"""Appendices: confusion matrices, mistakes, how each network fared, intervals, and how to make the report again."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.analysis.comparison import QUANTITIES
from pipeline.analysis.diagnosis import COLLAPSED, NEARLY_DEAD, PLATEAU_MARGIN, Diagnosis, guessing_cost
from pipeline.data.sources import source_of
from pipeline.report import figures
from pipeline.report.chapter_baseline import commonest_confusion
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, named, percent, share, verdict

LAYER_COLUMNS = 5  # of a table; of more layers it has the sum


def write_confusions(document: Document, study: Study) -> None:
    """Show which classes the headline models take for which."""
    document.paragraph("[[confusion]] counts the test examples of the headline models.", keep_with_next=True)
    counts = {arm: study.evaluations[arm].confusion[study.headline(arm)].numpy() for arm in study.in_full}
    wrong = {arm: f"{int(each.sum() - each.trace()):,}" for arm, each in counts.items()}
    caption = "Confusion matrices of the headline models on the test set; colours by per cent of the true class."
    title = "Test examples by true and predicted class"
    if found := commonest_confusion(study, study.reference):
        title = f"{study.titles[study.reference]} takes a true {found[0]} most often for {found[1]}"
    picture = figures.confusion_matrices(counts, study.card.classes, study.in_full, title)
    document.figure(picture, caption, f"Mistakes: {study.by_arm(wrong)}.", name="confusion")


def write_mistakes(document: Document, study: Study) -> None:
    """Show the mistakes about which the best model is most confident."""
    best, evaluation = min(study.evaluations.items(), key=lambda pair: pair[1].costs["validation"][pair[1].headline])
    classes = study.card.classes
    pairs = zip(*(evaluation.mistakes[each].tolist() for each in ("true", "predicted")), strict=True)
    shown = listed([f"{classes[true]} as {classes[predicted]}" for true, predicted in pairs]) or "none"
    said = f"[[mistakes]] is about the headline model with the lowest validation cost, here of {study.names[best]}."
    document.paragraph(said, keep_with_next=True)
    caption = f"The most confident mistakes of the {study.names[best]} headline model on the test set."
    title = "True as predicted class, and probability"
    if len(evaluation.mistakes["true"]):
        true, predicted = (classes[int(evaluation.mistakes[each][0])] for each in ("true", "predicted"))
        title = f"The most confident mistake takes {true} for {predicted}: true as predicted class, probability"
    picture = figures.confident_mistakes(evaluation, classes, title)
    document.figure(picture, caption, f"The mistakes: {shown}.", name="mistakes")


def write_health(document: Document, study: Study) -> None:
    """Say which networks stayed on the plateau, diverged or collapsed, and which units died."""
    networks = _networks_table(study)
    table = "" if networks.empty else " [[ill]] lists the networks that collapsed or have a dead unit."
    document.paragraph(f"{plateau_sentence(study)} {divergence_sentence(study)}")
    document.paragraph(
        "A unit is dead if it is active for no training example, and nearly dead if it is active for fewer than "
        f"{percent(100 * NEARLY_DEAD, 0)} of them ([[health_table]]).{table} {' '.join(collapse_sentences(study))}"
        f"{_dead_units(study)}"
    )
    caption = (
        f"Of the {counted(len(study.params.training.seeds), 'network')} of each arm: how many collapsed, diverged, or "
        "were on the plateau at the first validation check; by hidden layer, their dead + nearly dead units."
    )
    document.table(_health_table(study), caption, name="health_table")
    if not networks.empty:
        caption = "The networks that collapsed or have a dead unit; the weakest class has the lowest recall (given)."
        document.table(networks, caption, name="ill", widths=[2.2, 1.2, 1.6, 4.1, 4.1, 2.8])


def _dead_units(study: Study) -> str:
    arm = study.with_batchnorm
    if arm is None:
        return ""
    dead = [sum(study.count_units(each, "dead").values()) for each in (arm, study.reference)]
    said = verdict(study.comparisons[arm]["dead_units"], QUANTITIES["dead_units"])
    return (
        f" Dead units in all networks: {dead[0]} of {study.names[arm]} and {dead[1]} of "
        f"{study.names[study.reference]}, {said}."
    )


def _health_table(study: Study) -> pd.DataFrame:
    columns: dict[str, dict[str, str]] = {"Collapsed": {}, "Diverged": {}, "On the plateau at first": {}}
    for arm, diagnoses in study.diagnoses.items():
        title = study.titles[arm]
        columns["Collapsed"][title] = str(sum(each.collapsed for each in diagnoses))
        columns["Diverged"][title] = str(sum(each.diverged for each in diagnoses))
        columns["On the plateau at first"][title] = str(len(_on_plateau(study, arm)))
        for layer, text in _units(study, arm).items():
            columns.setdefault(layer, {})[title] = text
    return pd.DataFrame(columns).reset_index(names="Arm")


def _units(study: Study, arm: str) -> dict[str, str]:
    """Write an arm's dead + nearly dead units, by layer or of all."""
    dead, nearly_dead = (study.count_units(arm, each) for each in ("dead", "nearly_dead"))
    units = {layer: activity.numel() for layer, activity in study.evaluations[arm].activity.items()}
    if len(units) > LAYER_COLUMNS:
        return {f"All layers, of {sum(units.values())}": f"{sum(dead.values())} + {sum(nearly_dead.values())}"}
    return {f"Layer {layer[1:]}, of {n}": f"{dead[layer]} + {nearly_dead[layer]}" for layer, n in units.items()}


def _networks_table(study: Study) -> pd.DataFrame:
    fared = pd.concat({study.titles[arm]: pd.DataFrame(each) for arm, each in study.diagnoses.items()}, names=["Arm"])
    ill = fared[fared["collapsed"] | fared["dead"].map(lambda units: any(units.values()))].reset_index("Arm")
    classes = ill["weakest_class"].map(lambda label: study.card.classes[label])
    table = {
        **{"Arm": ill["Arm"], "Seed": ill["seed"].map(str), "Test (%)": ill["accuracy"].map("{:.2f}".format)},
        **{"Dead units": ill["dead"].map(_places), "Nearly dead": ill["nearly_dead"].map(_places)},
        "Weakest class": classes + ill["recall"].map(lambda recall: f" ({percent(recall, 1)})"),
    }
    return pd.DataFrame(table)


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


def write_intervals(document: Document) -> None:
    """Explain the intervals."""
    document.paragraph(
        "**Differences.** If two arms do not differ, exchanging them changes nothing, so the paired differences are "
        "symmetric about zero. The interval runs from the 2.5th to the 97.5th percentile of the means of all subsets "
        "of the pairs (Hartigan, 1969). It holds the shifts that a sign-flip permutation test does not reject. That is "
        "right whatever the tails; a t interval is not, and the bootstrap covers too seldom at sixteen pairs. If two "
        "arms do differ, their differences may be skewed: whether zero lies outside keeps its meaning, and the ends "
        "are a guide. A network collapsed or not, so McNemar's exact test decides. Below six pairs there is no "
        "interval. Intervals are not corrected for their number."
    )
    medians = "**Medians** have the interval of the exact sign test, which assumes nothing about the distribution. "
    document.paragraph(f"{medians}**Shares** have that of the exact binomial test (Clopper and Pearson, 1934).")


def write_reproduction(document: Document, study: Study) -> None:
    """Say how to make the report again, and list what it was made from."""
    source = source_of(study.card.name)
    document.paragraph(
        "One command, `make`, makes everything again: it installs the locked packages and runs `dvc repro`, which "
        "reruns what is out of date. `make plots` draws the results on one page, `dvc metrics diff` compares them with "
        "an earlier commit's, and `make test` runs the tests. Another kind of processor rounds sums in another order; "
        "after thousands of steps this shows in the results, the accuracies included. Times are those of the machine. "
        "[[parameters]] lists every parameter of `params.yaml`; the foot of each page has the start of their SHA-256. "
        f"Made with {', '.join(f'{package} {number}' for package, number in study.versions.items())}."
    )
    if study.card.name == "digits":
        document.paragraph("The data come with scikit-learn, so that its version stands for their checksum.")
    else:
        document.paragraph(f"The files of {source.title} are used only if they have the checksums of [[checksums]].")
        checksums = pd.DataFrame({"File": source.sha256.keys(), "SHA-256": source.sha256.values()})
        caption = "The files of the data set and their checksums."
        document.table(checksums, caption, name="checksums", size=7.5, widths=[4.8, 11.2])
    (parameters,) = pd.json_normalize(study.params.model_dump()).to_dict("records")
    texts = [", ".join(map(str, each)) if isinstance(each, list) else str(each) for each in parameters.values()]
    table = pd.DataFrame({"Parameter": parameters.keys(), "Value": texts})
    document.table(table, "The parameters of this run.", name="parameters", size=8, widths=[6, 10])


def _on_plateau(study: Study, arm: str) -> list[Diagnosis]:
    first = study.results[arm].evaluation_steps[0]
    return [each for each in study.diagnoses[arm] if each.left_plateau is None or each.left_plateau > first]


def _places(units: Mapping[str, list[int]]) -> str:
    """Name units by layer; "none" if there are none."""
    return listed([f"{named('unit', which)} of layer {layer[1:]}" for layer, which in units.items() if which]) or "none"
