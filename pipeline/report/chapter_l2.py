"""Section 6 of the assignment: what changed in the code for L2, the weights with and without it, lambda."""

import math
from collections import Counter

from pandas import DataFrame, Series

from pipeline.analysis import tables
from pipeline.analysis.beginnings import start, weight_norms
from pipeline.analysis.comparison import ALONG_START, NORM, QUANTITIES
from pipeline.analysis.statistics import compare
from pipeline.report import figures
from pipeline.report.chapter_functions import COMMA, L2_COST, L2_GRADIENT, W
from pipeline.report.chapter_summary import smaller_weights_help
from pipeline.report.document import Document
from pipeline.report.levels import compared_table, in_words, levels, levels_table, write_headline
from pipeline.report.study import Study
from pipeline.report.wording import clear_side, interval, listed, named, numbered, percent, roughly, verdict

CODE = {  # by module and function, the line that computes what L2 adds
    "forward.l2_penalty": "return l2 / 2 * torch.stack([(W**2).sum(dim=(-2, -1)) for W in weights]).sum(dim=0)",
    "training.L_layer_model": "costs.append((cost + penalty).item())",
    "backward.L_model_backward": "dW = dW + l2 * W",
}


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm = study.with_l2
    _changes(document, study, arm)
    if arm is None:
        arms, other = study.params.arms, study.with_batchnorm
        adds_too = other is not None and arms[other].l2 > arms[study.reference].l2
        document.paragraph(f"This run has no {'other ' * adds_too}arm that adds the L2 penalty to the reference.")
        return
    rows = levels(study, arm)
    write_headline(document, study, arm, rows, name="l2_levels")
    why = " A possible reason: small weights ([[weights]]) fit the noise of the training images less."
    document.paragraph(
        f"**Who gains** ([[l2_levels]]). {in_words(rows, 'Test accuracy (%)', 'Train minus validation (points)')}"
        f"{why * smaller_weights_help(study, arm)} "
        f"{in_words(rows, 'Lowest validation cost (nats)', 'Iterations to the stop')}"
    )
    levels_table(document, study, arm, rows, name="l2_levels")
    _weights(document, study, arm)
    _path(document, study, study.params.arms[arm].l2)


def _changes(document: Document, study: Study, arm: str | None) -> None:
    document.paragraph(
        f"**What changed in the code.** The {numbered(len(CODE), 'line')} of [[code]] compute what is new in the cost "
        "J and its gradient; `L_layer_model` and `training_step` hand the argument `l2` to them. With "
        "\N{GREEK SMALL LETTER LAMDA} for lambda:",
        keep_with_next=True,
    )
    document.equation(f"{L2_COST}{COMMA}dJ/d{W} = {L2_GRADIENT}")
    table = DataFrame({"Function": CODE.keys(), "Line": CODE.values()}).map("`{}`".format)
    caption = "The lines of code at the heart of L2, by module of `pipeline/network` and function."
    document.table(table, caption, name="code", widths=[4.6, 11.4])
    decay = ""
    if arm is not None:
        rate, l2 = study.params.training.learning_rate, study.params.arms[arm].l2
        steps = int(study.headline(arm)["best_step"])
        decay = (
            f" Each step multiplies every weight by 1 \N{MINUS SIGN} {rate:g} \N{MULTIPLICATION SIGN} {l2:g}, then "
            "subtracts the data gradient times the learning rate. A weight whose data gradient is zero decays to "
            f"{percent(100 * (1 - rate * l2) ** steps, 1)} of its start over the {numbered(steps, 'step')} to the "
            "headline model's best."
        )
    document.paragraph(
        "`l2_penalty` takes all weights, without the biases. `L_layer_model` adds it to the cost that it returns; "
        "`compute_cost` does so if it gets `l2`. `L_model_backward` adds its gradient to that of each W. The factor "
        "one half makes the gradient lambda times W, as PyTorch's `weight_decay` has it. Biases are not penalised, "
        "because they move the boundary between classes and do not make it steep. The pipeline records data cost and "
        "penalty apart. It hands lambda on as an array, a value for each network. So the same code runs if lambda is "
        f"0, and an iteration takes the same time.{decay}"
    )


def _weights(document: Document, study: Study, arm: str) -> None:
    arms, means = (study.reference, arm), study.networks.groupby("arm").mean(numeric_only=True)
    starts = weight_norms(start(study.results[arm])).mean()  # by layer; all arms start alike
    compared = {layer: study.compare(arm, layer) for layer in starts.index}
    titles = [study.titles[each] for each in arms]
    along_titles = [f"Along the start, {title} (%)" for title in titles]
    rows = [
        [
            layer,
            f"{starts[layer]:.2f}",
            *(f"{means[layer][each]:.2f}" for each in arms),
            interval(compared[layer], NORM),
            *(f"{means[f'along_{layer}'][each]:.0f}" for each in arms),
        ]
        for layer in compared
    ]
    table = DataFrame(rows, columns=["Layer", "At the start", *titles, "Difference [95 % interval]", *along_titles])
    share, along = study.compare(arm, "along_W1"), means["along_W1"]
    kept = [study.names[each] for each in study.in_full if along[each] > 50]
    document.heading("The weights with and without L2", level=2, label="6.1", new_page=True)
    document.paragraph(
        f"Norm of W1: {roughly(compared['W1'], NORM)}; [[weights]] has every layer. Share of its squared norm along "
        f"the random start: {verdict(share, ALONG_START)}"
        f"{', because each step shrinks the start' * (clear_side(share) < 0)}. "
        f"{f'Most of W1 is still its random start in the {listed(kept)} networks. ' if kept else ''}"
        "What is left of the start looks like noise in [[images]]."
    )
    caption = (
        "Norm of the weights by layer: at the random start, at the best step of both arms, and their difference. "
        "Along the start: the share of the squared norm that lies along the random start."
    )
    widths = [1.3, 1.6, 1.8, 1.8, 4.0, 2.0, 2.0, 1.5]
    compared_table(document, table, [*compared.values()], caption, name="weights", widths=widths)
    shares = [f"{along[each]:.0f} % ({study.names[each]})" for each in study.in_full]
    _weight_images(document, study, f"Share of W1's squared norm along its random start, means: {listed(shares)}")


def _weight_images(document: Document, study: Study, title: str) -> None:
    first = {arm: study.results[arm].parameters["W1"][study.evaluations[arm].headline] for arm in study.in_full}
    units = study.params.network.layers[0]
    shown = min(units, figures.UNITS_SHOWN)
    seeds = named("seed", [int(study.headline(arm)["seed"]) for arm in first])
    which = f"all {numbered(units, 'unit')}" if shown == units else f"the {shown} of {units} units of largest norm"
    caption = (
        f"The first layer's weights of the headline models ({seeds}) as images: {which}, by norm. Dark is negative, "
        "bright is positive; one scale for all, at most 0.5 % of a model's weights lie beyond it."
    )
    picture = figures.first_layer_weights(first, study.in_full, title)
    document.figure(picture, caption, f"{title}.", name="images")


def _path(document: Document, study: Study, chosen: float) -> None:
    path = tables.l2_path_table(study.path)
    document.heading("The choice of lambda", level=2, label="6.2")
    if path.empty:
        document.paragraph("No network stayed finite, whatever lambda.")
        return
    best, grid, against = path["l2"].iloc[path["validation_cost"].argmin()], study.params.l2_path, ""
    costs = Series(study.path.at_best(study.path.validation_costs).numpy(), index=study.path.l2)
    if best and 0.0 in costs:
        compared = compare(costs.loc[[best]], costs.loc[[0.0]], grid.seeds)
        against = f" Its validation cost against lambda = 0: {verdict(compared, QUANTITIES['validation_cost'])}."
    choice = "the value" if math.isclose(best, chosen) else f"while {chosen:g} is the value"
    whose = "other seeds than" if set(grid.seeds).isdisjoint(study.params.training.seeds) else "some of the seeds of"
    lost = [f"{count} of lambda = {l2:g}" for l2, count in Counter(costs[costs.isna()].index).items()]
    document.paragraph(
        f"Lambda is chosen on the validation set, from {numbered(len(grid.values), 'value')} with "
        f"{numbered(len(grid.seeds), 'network')} each, with {whose} the arms. The lowest mean validation cost belongs "
        f"to lambda = {best:g}, {choice} in `params.yaml` ([[path]]).{against}"
        f"{f' Diverged before the first check, and not in the means: {listed(lost)}.' if lost else ''}"
    )
    table = DataFrame(
        {
            "Lambda": path["l2"].map("{:g}".format),
            "Validation cost": path["validation_cost"].map("{:.4f}".format),
            "Validation accuracy (%)": path["validation_accuracy"].map("{:.2f}".format),
            "Norm of all weights": path["weight_norm"].map("{:.2f}".format),
            "Iterations": path["steps"].map("{:,.0f}".format),
        }
    )
    caption = "Validation cost and accuracy, norm of all weights and iterations by lambda: means over the networks."
    document.table(table, caption, name="path")
