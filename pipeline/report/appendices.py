"""Appendices: mistakes, confusion matrices, how each network fared, intervals, how to make it again, other arms."""

import numpy as np
import pandas as pd

from pipeline.analysis.comparison import QUANTITIES
from pipeline.analysis.diagnosis import COLLAPSED, NEARLY_DEAD, PLATEAU_MARGIN, guessing_cost
from pipeline.analysis.statistics import SUBSETS
from pipeline.report import figures
from pipeline.report.chapter_summary import side_by_side
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import listed, numbered, percent, share, verdict

HAPPENED = ["late", "collapsed", "diverged"]  # what can have happened to a network
UNITS = {"Dead units": "^dead_A", "Nearly dead": "^nearly_dead_A"}  # by title, which columns of the networks
OTHERS_COMPARED = ("test_accuracy", "validation_cost", "equal_steps_accuracy", "steps")


def write_mistakes(document: Document, study: Study) -> None:
    """Show the mistakes about which the best model is most confident."""
    best, classes = str(study.headlines["validation_cost"].idxmin()), study.card.classes
    evaluation = study.evaluations[best]
    pairs = zip(*(evaluation.mistakes[each].tolist() for each in ("true", "predicted")), strict=True)
    shown = [f"{classes[true]} as {classes[predicted]}" for true, predicted in pairs]
    said = f"[[mistakes]] is about the {study.names[best]} headline model, which has the lowest validation cost of all."
    document.paragraph(said, keep_with_next=True)
    model = f"the {study.names[best]} headline model"
    caption = f"The most confident mistakes of {model}: true class, predicted class and its probability."
    title = f"The most confident mistake takes {shown[0]}" if shown else "It makes no mistake"
    picture = figures.confident_mistakes(evaluation, classes, title)
    document.figure(picture, caption, f"The mistakes: {listed(shown) or 'none'}.", name="mistakes")


def write_confusions(document: Document, study: Study) -> None:
    """Show which classes the headline models take for which."""
    document.paragraph("[[confusion]] counts the test examples of the headline models.", keep_with_next=True)
    classes = study.card.classes
    evaluations = {arm: study.evaluations[arm] for arm in study.in_full}
    counts = {arm: each.confusion[each.headline].numpy() for arm, each in evaluations.items()}
    mistakes = {arm: each - np.diag(each.diagonal()) for arm, each in counts.items()}
    model, of_reference = f"The {study.names[study.reference]} headline model", mistakes[study.reference]
    found = f"{model} makes no mistake"
    if of_reference.any():
        true, predicted = divmod(int(of_reference.argmax()), len(classes))
        found = f"{model} takes a true {classes[true]} most often for {classes[predicted]}"
    picture = figures.confusion_matrices(counts, classes, study.in_full, found)
    caption = "Confusion matrices of the headline models on the test set; colours by per cent of the true class."
    wrong = study.by_arm({arm: f"{each.sum():,}" for arm, each in mistakes.items()})
    document.figure(picture, caption, f"{found}. Mistakes: {wrong}.", name="confusion")


def write_health(document: Document, study: Study) -> None:
    """Say which networks stayed on the plateau, collapsed or diverged, and which units died."""
    evaluation, first = study.evaluations[study.reference], study.results[study.reference].evaluation_steps[0]
    left = study.networks["left_plateau"]
    when = left.map("left at step {:,.0f}".format).where(left.notna(), "never left")
    networks = study.networks.assign(late=~(left <= first), when=when)
    document.paragraph(
        f"A network leaves the plateau when its validation cost is {PLATEAU_MARGIN:g} nats below that of guessing, "
        f"ln {evaluation.confusion.shape[-1]} = {guessing_cost(evaluation):.2f} nats; it is late if that is after the "
        f"first check, step {first:,}. It has collapsed below {percent(COLLAPSED, 0)} test accuracy. A unit is dead if "
        f"no training example activates it, nearly dead below {percent(100 * NEARLY_DEAD, 0)} of them "
        "([[health_table]])."
    )
    said = [
        f"Collapsed {study.names[arm]} networks: {verdict(each['collapsed'], QUANTITIES['collapsed'])}. Dead units: "
        f"{verdict(each['dead_units'], QUANTITIES['dead_units'])}."
        for arm, each in study.comparisons.items()
        if arm in study.in_full
    ]
    is_impaired = networks.filter(regex="^(nearly_)?dead_A").any(axis=1)
    fine = (is_impaired & ~networks["collapsed"]).sum()
    said.append(
        f"Of {numbered(int(is_impaired.sum()), 'network')} with dead or nearly dead units {fine} did not collapse."
    )
    document.paragraph(" ".join(said))
    table = pd.DataFrame(
        {
            "Arm": study.titles[str(arm)],
            **{each.capitalize(): share(of_arm[each]) for each in HAPPENED},
            **{title: _places(of_arm.filter(regex=columns).sum()) for title, columns in UNITS.items()},
        }
        for arm, of_arm in networks.groupby("arm", sort=False)
    )
    caption = (
        "How many networks of each arm were late, collapsed or diverged, with the interval of the share; the dead and "
        "nearly dead units of all its networks."
    )
    document.table(table, caption, name="health_table", widths=[2.0, 3.2, 3.2, 3.2, 2.2, 2.2])
    is_ill = networks[HAPPENED].any(axis=1) | networks.filter(regex="^dead_A").any(axis=1)
    if not is_ill.any():
        return
    document.paragraph("[[ill]] names the networks that were late, collapsed, diverged or have a dead unit.")
    table = pd.DataFrame(
        {
            **{"Arm": study.titles[each["arm"]], "Seed": str(each["seed"]), "Test (%)": f"{each['test']:.2f}"},
            "What happened": listed([each["when"] if what == "late" else what for what in HAPPENED if each[what]]),
            **{title: _places(each.filter(regex=columns)) for title, columns in UNITS.items()},
            "Weakest class": f"{study.card.classes[each['weakest_class']]} ({percent(each['recall'], 1)})",
        }
        for _, each in networks[is_ill].reset_index("arm").iterrows()
    )
    caption = "These networks: when they left the plateau if late, their units, and the class with the lowest recall."
    document.table(table, caption, name="ill", widths=[2.2, 1.2, 1.5, 3.2, 2.8, 2.8, 2.3])


def _places(counts: "pd.Series[int]") -> str:
    """Write units by layer: "layer 2: 1, layer 3: 4"."""
    places = [f"layer {str(name).rpartition('A')[2]}: {count}" for name, count in counts.items() if count]
    return ", ".join(place.replace(" ", "\N{NO-BREAK SPACE}") for place in places) or "none"


def write_intervals(document: Document, study: Study) -> None:
    """Explain the intervals."""
    pairs = len(study.params.training.seeds)
    subsets = "all" if 2**pairs <= SUBSETS else f"{SUBSETS:,} random"
    document.paragraph(
        "**Differences.** If two arms do not differ, exchanging them changes nothing, so the paired differences are "
        f"symmetric about zero. The interval runs from the 2.5th to the 97.5th percentile of the means of {subsets} "
        f"subsets of the {numbered(pairs, 'pair')} (Hartigan, 1969). It holds the shifts that a sign-flip permutation "
        "test does not reject. That is right whatever the tails; a t interval is not, and the bootstrap covers too "
        "seldom with few pairs. If two arms do differ, their differences may be skewed: whether zero lies outside "
        "keeps its meaning, and the ends are a guide. Collapse is yes or no, so McNemar's exact test takes the "
        "interval's place there. Below six pairs there is no interval. Intervals are not corrected for their number."
    )
    document.paragraph(
        "**Others.** The gap of train and validation accuracy is a paired difference, too. An arm's mean accuracy has "
        "the same kind of interval, over its networks; a few bad networks make it skewed, so its ends are a guide. A "
        "share has the interval of the exact binomial test (Clopper and Pearson, 1934)."
    )


def write_reproduction(document: Document, study: Study) -> None:
    """Say how to make the report again, and list what it was made from."""
    document.paragraph(
        "One command, `make`, makes everything again: it installs the locked packages and runs `dvc repro`, which "
        "reruns what is out of date. `make plots` draws the results on one page, `dvc metrics diff` compares them with "
        "an earlier commit's, `make test` and `make test-slow` run the tests. Another kind of processor rounds sums in "
        "another order; after thousands of steps this shows in the results, the accuracies included. Times are those "
        "of the machine. "
        "The data files are used only if they have the checksums in `pipeline/data/sources.py`. "
        "[[parameters]] lists every parameter of `params.yaml`; the foot of each page has the start of their SHA-256. "
        f"Made with {', '.join(f'{package} {number}' for package, number in study.versions.items())}."
    )
    parameters = pd.json_normalize(study.params.model_dump()).T[0]
    texts = parameters.map(lambda each: ", ".join(map(str, each)) if isinstance(each, list) else str(each))
    table = texts.rename_axis("Parameter").reset_index(name="Value")
    document.table(table, "The parameters of this run.", name="parameters", widths=[6, 10])


def write_others(document: Document, study: Study) -> None:
    """Report the arms without a section: a row each in two tables."""
    arms, reference = list(study.in_brief), study.names[study.reference]
    document.paragraph(
        "[[other_results]] gives the results of the arms without a section, [[other_comparisons]] sets them in "
        f"relation to the {reference} arm. The page of `make plots` draws their curves."
    )
    table = side_by_side(study, arms).drop(columns=["Batch size", "Lowest validation cost (nats)"])
    caption = "The headline models of the other arms, and the mean test accuracy over all networks."
    widths = [2.5, *[1.5] * len(table.columns)]
    document.table(table.reset_index(names="Arm"), caption, name="other_results", widths=widths)
    verdicts = {
        QUANTITIES[name].title.capitalize(): [verdict(study.comparisons[arm][name], QUANTITIES[name]) for arm in arms]
        for name in OTHERS_COMPARED
    }
    table = pd.DataFrame({"Arm": [study.titles[arm] for arm in arms], **verdicts})
    caption = f"The other arms in relation to the {reference} arm; [[interval]] explains intervals."
    document.table(table, caption, name="other_comparisons", widths=[2.8, *[3.3] * len(OTHERS_COMPARED)])
