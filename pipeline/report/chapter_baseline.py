"""Section 4 of the assignment: the reference arm, answered in the order of 4a, 4b and 4c."""

import math

from pandas import DataFrame

from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import listed, numbered, percent

SUMMARIES = {"mean": "Mean", "std": "Standard deviation", "median": "Median", "min": "Lowest", "max": "Highest"}
COLUMNS = {  # of the networks: title and decimals
    **{"train": ("Train (%)", 2), "validation": ("Validation (%)", 2), "test": ("Test (%)", 2)},
    **{"validation_cost": ("Validation cost", 4), "steps": ("Iterations", 0), "epochs": ("Epochs", 1)},
}


def why_it_stopped(study: Study) -> str:
    """Say why the headline model of the reference stopped: "the validation cost had no new low for 100 …"."""
    training = study.params.training
    return {
        "no improvement": f"the validation cost had no new low for {numbered(training.patience, 'training step')}",
        "cap reached": f"it reached max_steps, {numbered(training.max_steps, 'training step')}",
        "diverged": "its cost was no longer finite",
    }[study.headline(study.reference)["stop_reason"]]


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm, card, training = study.reference, study.card, study.params.training
    result, evaluation, best = study.results[arm], study.evaluations[arm], study.headline(arm)
    source = f"{card.title}, with its predefined test set"
    if card.name == "digits":
        source = "scikit-learn's digits, enlarged to 28x28 pixels; a fifth of them is the test set"
    sizes = listed([f"{size:,} {name}" for name, size in card.sizes.items()])
    document.paragraph(
        f"**4a. Data.** {source}. A random {100 * study.params.data.validation_fraction:g} % of the training set is "
        f"the validation set: {sizes} examples."
    )
    document.paragraph(
        f"**4b. Configuration.** Layers of {', '.join(map(str, result.layers_dims[1:]))} units after an input of "
        f"{numbered(result.layers_dims[0], 'pixel')}; batch norm "
        f"{'on' if study.params.arms[arm].use_batchnorm else 'off'}; learning rate {training.learning_rate:g}; batch "
        f"size {training.batch_size}."
    )
    by = f" by more than {training.min_delta:g} nats" if training.min_delta else ""
    document.paragraph(
        f"**4b. Stopping criterion.** Validation cost is checked every {numbered(training.evaluate_every, 'step')}; "
        f"training stops after {numbered(training.patience, 'step')} without a new low{by}, or at "
        f"{numbered(training.max_steps, 'step')}. The parameters of the best step are kept."
    )
    document.paragraph(
        f"**4b. Iterations and epochs.** The headline model (seed {best.seed}) trained for "
        f"**{numbered(best.steps, 'iteration')}, {best.epochs:.1f} epochs**. It stopped because "
        f"{why_it_stopped(study)}. Its best step is {best.best_step:,} ([[training]])."
    )
    final = [f"{name} {percent(best[name])}" for name in card.sizes]
    document.paragraph(
        f"**4c. Final accuracies.** {listed(final).capitalize()}. [[results]] sums up all networks of this arm, "
        "[[confusion]] shows which classes the headline model confuses."
    )
    document.paragraph(
        "**4c. Costs.** Section [[costs]], page [[costs:page]], lists the cost and the index of every 100th training "
        "step. The training prints them too. All networks take the steps of `L_layer_model`, together."
    )
    summaries = study.networks.loc[arm, [*COLUMNS]].agg([*SUMMARIES])
    summaries = summaries.dropna(how="all")  # one network has no deviation
    columns = {title: summaries[name].map(f"{{:,.{places}f}}".format) for name, (title, places) in COLUMNS.items()}
    table = DataFrame(columns).rename(index=SUMMARIES).reset_index(names="")
    seeds = numbered(len(result.seeds), "network")
    caption = (
        f"{study.titles[arm]}: accuracy, validation cost (nats) and length of training of the arm's {seeds}. Each "
        "column of a row may be of another network."
    )
    document.table(table, caption, name="results", widths=[3.6, 1.8, 2.6, 1.8, 2.6, 1.9, 1.7])
    half = best.half_cost_steps
    when = "at no step" if math.isnan(half) else f"by step {half:,.0f} of {best.steps:,}"
    title = f"{study.titles[arm]}: {when} the validation cost is half that of guessing"
    caption = "The headline model's cost on the batch of every 100th step, and its validation cost."
    document.figure(figures.training(result, evaluation.headline, title), caption, f"{title}.", name="training")
