"""Section 6 of the assignment: what changed in the code for the L2 norm, the weights with and without it, lambda."""

from __future__ import annotations

import math

from pandas import DataFrame, concat

from pipeline.analysis import tables
from pipeline.analysis.beginnings import along_start, start_norms
from pipeline.analysis.comparison import ALONG_START, NORM, QUANTITIES
from pipeline.analysis.evaluation import weight_statistics
from pipeline.analysis.statistics import compare
from pipeline.report import chapter_functions, figures
from pipeline.report.document import Document
from pipeline.report.levels import levels, levels_table
from pipeline.report.study import Study
from pipeline.report.wording import counted, interval, listed, made_by_one, named, numbered, percent, verdict

CODE = {  # by function, the line that L2 added
    "l2_penalty": "return l2 / 2 * torch.stack([(W**2).sum(dim=(-2, -1)) for W in weights]).sum(dim=0)",
    "compute_cost": "return cost if parameters is None else cost + l2_penalty(parameters, l2)",
    "L_model_backward": "dW = dW + l2 * W",
}
DOES = {
    "l2_penalty": "the penalty of all weights, without the biases",
    "compute_cost": "adds it to the cost",
    "L_model_backward": "adds its gradient to that of each W",
}


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm = study.with_l2
    _changes(document, study, arm)
    if arm is None:
        document.paragraph("This run has no arm that differs from the reference by the L2 norm.")
        return
    rows = levels(study, arm)
    said = {title: verdict(level.comparison, level.quantity) for title, level in rows.items()}
    alone = made_by_one(study.test_gains(arm), study.results[arm].seeds)
    document.paragraph(
        f"**Who gains.** Test accuracy: {said['Test accuracy (%)']}.{alone} Lowest validation cost: "
        f"{said['Lowest validation cost (nats)']}. Train minus validation accuracy: "
        f"{said['Train minus validation (points)']}. Iterations to the stop: {said['Iterations to the stop']}. "
        "[[l2_levels]] has the levels."
    )
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds of {study.names[arm]} diverged: {', '.join(diverged)}.**")
    levels_table(document, study, arm, rows, name="l2_levels")
    _weights(document, study, arm)
    _path(document, study, study.arms[arm].l2)


def _changes(document: Document, study: Study, arm: str | None) -> None:
    document.paragraph(
        "**What changed in the code.** Three lines ([[code]]), for the cost J and its gradient, with "
        "\N{GREEK SMALL LETTER LAMDA} for lambda:",
        keep_with_next=True,
    )
    document.equation(
        f"{chapter_functions.L2_COST}{chapter_functions.COMMA}dJ/d{chapter_functions.W} = "
        f"{chapter_functions.L2_GRADIENT}"
    )
    table = DataFrame({"Function": [f"`{name}`" for name in CODE], "Line": [f"`{line}`" for line in CODE.values()]})
    table["What it does"] = list(DOES.values())
    document.table(table, "The lines of code that L2 added.", name="code", size=8, widths=[3.1, 9.0, 3.9])
    decay = ""
    if arm is not None:
        rate, l2 = study.params.training.learning_rate, study.arms[arm].l2
        steps = study.results[arm].best_step[study.headline(arm)]
        decay = (
            f" Each step multiplies every weight by 1 \N{MINUS SIGN} {rate:g} \N{MULTIPLICATION SIGN} {l2:g}. A weight "
            f"whose data gradient is zero decays to {percent(100 * (1 - rate * l2) ** steps, 1)} of its start over the "
            f"{numbered(steps, 'step')} to the headline model's best."
        )
    document.paragraph(
        "The factor one half makes the gradient lambda times W, as PyTorch's `weight_decay` has it. Biases are not "
        "penalised: they move the boundary between classes and do not make it steep. Training records data cost and "
        f"penalty apart, and arms are compared by the data cost.{decay}"
    )


def _weights(document: Document, study: Study, arm: str) -> None:
    table, shrunk = _weight_table(study, arm)
    ours, theirs = (along_start(study.results[each])["W1"] for each in (arm, study.reference))
    document.heading("The weights with and without L2", level=2)
    document.paragraph(
        f"The norm of each layer's weights: {shrunk} ([[weights]]). In the W1 of {study.names[arm]}, "
        f"{percent(ours.mean(), 0)} of the squared norm lie along the random start, in that of "
        f"{study.names[study.reference]} {percent(theirs.mean(), 0)}: {verdict(compare(ours, theirs), ALONG_START)}. "
        "What is left of the start looks like noise in [[images]]."
    )
    caption = (
        "Norm of the weights by layer: at the random start, at the best step of both arms, and their difference. "
        "Along the start: the share of the squared norm that lies along the random start."
    )
    document.table(table, caption, name="weights", size=8.5, widths=[1.5, 1.9, 2.1, 2.1, 4.0, 2.2, 2.2])
    _weight_images(document, study)


def _weight_table(study: Study, arm: str) -> tuple[DataFrame, str]:
    arms = (study.reference, arm)
    norms = [
        DataFrame({layer: each["norm"] for layer, each in weight_statistics(study.results[name].parameters).items()})
        for name in arms
    ]
    compared = {layer: compare(norms[1][layer], norms[0][layer]) for layer in norms[0]}
    titles = [study.titles[name] for name in arms]
    columns = {
        "At the start": start_norms(study.results[arm]).mean().map("{:.2f}".format),
        **{title: norm.mean().map("{:.2f}".format) for title, norm in zip(titles, norms, strict=True)},
        "Difference [95 % interval]": {layer: interval(each, NORM) for layer, each in compared.items()},
        **{
            f"Along the start, {title} (%)": along_start(study.results[name]).mean().map("{:.0f}".format)
            for title, name in zip(titles, arms, strict=True)
        },
    }
    said = "; ".join(f"{layer} {verdict(each, NORM)}" for layer, each in compared.items())
    return DataFrame(columns).reset_index(names="Layer"), said


def _weight_images(document: Document, study: Study) -> None:
    first = {name: study.results[name].parameters["W1"][study.headline(name)] for name in study.in_full}
    units = study.params.network.layers[0]
    shown = min(units, figures.UNITS_SHOWN)
    which = (
        f"all {numbered(units, 'unit')}" if shown == units else f"the {shown} of {units} units with the largest norm"
    )
    norms = {name: W.norm(dim=1).topk(shown).values for name, W in first.items()}
    spans = {name: f"from {strongest[0]:.1f} down to {strongest[-1]:.1f}" for name, strongest in norms.items()}
    along = {arm: f"{along_start(study.results[arm])['W1'].mean():.0f} % ({study.names[arm]})" for arm in study.in_full}
    title = f"Of W1's squared norm lies along its random start: {listed(list(along.values()))}"
    caption = (
        f"The first layer's weights of the headline models as images: {which}, by norm. Dark is negative, bright is "
        "positive; one scale for all, at most 0.5 % of a model's weights lie beyond it."
    )
    picture = figures.first_layer_weights({name: {"W1": W} for name, W in first.items()}, study.in_full, title)
    document.figure(picture, caption, f"The norms of these units: {study.by_arm(spans)}.", name="images")


def _path(document: Document, study: Study, chosen: float) -> None:
    path = tables.l2_path_table(study.path)
    document.heading("The choice of lambda", level=2)
    if path.empty:
        document.paragraph("No network stayed finite, whatever lambda.")
        return
    best, costs, against = float(path.nsmallest(1, "validation_cost")["l2"].iloc[0]), study.path_costs, ""
    if best and 0.0 in costs:
        compared = verdict(compare(costs[best], costs[0.0]), QUANTITIES["validation_cost"])
        against = f" Its validation cost against lambda = 0: {compared}."
    choice = "the value" if math.isclose(best, chosen) else f"while {chosen:g} is the value"
    shared = sorted({*study.params.l2_path.seeds} & {*study.params.training.seeds})
    seeds = f"share {named('seed', shared)} with the arms" if shared else "have other seeds than the arms"
    document.paragraph(
        f"Lambda is chosen on the validation set, from {counted(len(path), 'value')} with "
        f"{counted(len(study.params.l2_path.seeds), 'network')} each. They {seeds}. The lowest mean validation cost "
        f"belongs to lambda = {best:g}, {choice} in `params.yaml` ([[path]]).{against}"
    )
    formats = {
        **{"l2": ("Lambda", "{:g}"), "validation_cost": ("Validation cost", "{:.4f}")},
        "validation_accuracy": ("Validation accuracy (%)", "{:.2f}"),
        **{"weight_norm": ("Norm of all weights", "{:.2f}"), "steps": ("Iterations", "{:,.0f}")},
    }
    table = concat({title: path[column].map(text.format) for column, (title, text) in formats.items()}, axis=1)
    caption = "Validation cost and accuracy, norm of all weights and iterations by lambda: means over the networks."
    document.table(table, caption, name="path")
