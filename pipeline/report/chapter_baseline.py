"""Section 4 of the assignment: the reference arm, answered in the order of 4a, 4b and 4c."""

from __future__ import annotations

from typing import Any

from pandas import DataFrame

from pipeline.analysis import tables
from pipeline.analysis.statistics import summarise
from pipeline.data.sources import source_of
from pipeline.report import figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, numbered, percent

WHY = {
    "no improvement": "the validation cost had no new low for {patience}",
    "cap reached": "it reached max_steps, {max_steps}",
    "diverged": "its cost was no longer finite",
}
# Lines of the table of results, and fields of a summary.
SUMMARIES = {"Mean": "mean", "Standard deviation": "sd", "Median": "median", "Lowest": "lowest", "Highest": "highest"}


def write(document: Document, study: Study) -> None:
    """Write the section."""
    arm, card, training = study.reference, study.card, study.params.training
    result, k = study.results[arm], study.headline(arm)
    source = f"{source_of(card.name).title}, with its predefined test set"
    if card.name == "digits":
        source = "scikit-learn's digits, enlarged to 28x28 pixels; a fifth of them is the test set"
    sizes = listed([f"{size:,} {name}" for name, size in card.sizes.items()])
    document.paragraph(
        f"**4a. Data.** {source}. A random {100 * study.params.data.validation_fraction:g} % of the training set is "
        f"the validation set: {sizes} examples."
    )
    layers = [*result.layers_dims]
    batchnorm = "on" if study.arms[arm].use_batchnorm else "off"
    document.paragraph(
        f"**4b. Configuration.** Layers of {', '.join(map(str, layers[1:]))} units after an input of "
        f"{numbered(layers[0], 'pixel')}; batch norm {batchnorm}; learning rate {training.learning_rate:g}; batch size "
        f"{training.batch_size}."
    )
    by = f" by more than {training.min_delta:g} nats" if training.min_delta else ""
    document.paragraph(
        f"**4b. Stopping criterion.** Validation cost is checked every {numbered(training.evaluate_every, 'step')}; "
        f"training stops after {numbered(training.patience, 'step')} without a new low{by}, or at "
        f"{numbered(training.max_steps, 'step')}. The parameters of the best step are kept."
    )
    document.paragraph(
        f"**4b. Iterations and epochs.** The headline model (seed {result.seeds[k]}) trained for "
        f"**{numbered(result.steps[k], 'iteration')}, {result.epochs[k]:.1f} epochs**. It stopped because "
        f"{why_it_stopped(study, arm)}. Its best step is {result.best_step[k]:,} ([[training]])."
    )
    document.paragraph(
        f"**4c. Final accuracies.** {final_accuracies(study, arm).capitalize()}. [[results]] sets them beside the "
        "other networks of this arm. "
        f"{commonest_mistake(study, arm)}"
    )
    document.paragraph(
        "**4c. Costs.** Section [[costs]] lists the cost and the index of every 100th training step. The training "
        "prints them too, and so does `L_layer_model`, which takes the same steps."
    )
    _results_table(document, study, arm)
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds diverged: {', '.join(diverged)}.**")
    best, said = result.best_step[k], ""
    if result.cost_steps and result.cost_steps[0] <= result.steps[k]:
        said = f"The batch cost at step {result.cost_steps[0]:,} is {float(result.costs[0, k]):.2f}."
    title = f"{study.titles[arm]}: the validation cost falls until step {best:,}"
    caption = "The headline model's cost on the batch of every 100th step, and its validation cost."
    document.figure(figures.training(result, k, title), caption, said, name="training")


def _results_table(document: Document, study: Study, arm: str) -> None:
    result, evaluation = study.results[arm], study.evaluations[arm]
    columns: dict[str, tuple[Any, int]] = {  # values of all networks, and decimals
        **{f"{name.capitalize()} (%)": (evaluation.accuracies[name], 2) for name in tables.SETS[::-1]},
        "Validation cost": (evaluation.costs["validation"], 4),
        "Iterations": (result.steps, 0),
        "Epochs": (result.epochs, 1),
    }
    table = DataFrame({"": ["Headline model", *SUMMARIES]})
    for column, (values, decimals) in columns.items():
        summary = summarise(values)
        numbers = [float(values[evaluation.headline]), *(getattr(summary, field) for field in SUMMARIES.values())]
        table[column] = [f"{number:,.{decimals}f}" for number in numbers]
    seeds = counted(len(result.seeds), "network")
    caption = f"{study.titles[arm]}: accuracy, validation cost (nats) and length of training of the arm's {seeds}."
    document.table(table, caption, name="results", widths=[3.6, 1.8, 2.6, 1.8, 2.6, 1.9, 1.7])


def why_it_stopped(study: Study, arm: str) -> str:
    """Say why the training of the headline model stopped."""
    training = study.params.training
    limits = {each: numbered(getattr(training, each), "training step") for each in ("patience", "max_steps")}
    return WHY[study.results[arm].stop_reason[study.headline(arm)]].format(**limits)


def final_accuracies(study: Study, arm: str) -> str:
    """List the headline model's accuracy on each set."""
    accuracies, k = study.evaluations[arm].accuracies, study.headline(arm)
    return listed([f"{name} {percent(float(accuracies[name][k]))}" for name in study.card.sizes])


def commonest_mistake(study: Study, arm: str) -> str:
    """Say which class the headline model takes most often for which."""
    if not (found := commonest_confusion(study, arm)):
        return "It makes no mistake on the test set."
    true, predicted, count, mistakes = found
    return (
        f"Its commonest mistake is that a true {true} is called {predicted}: {count} of its "
        f"{numbered(mistakes, 'mistake')} on the test set."
    )


def commonest_confusion(study: Study, arm: str) -> tuple[str, str, int, int] | None:
    """Return the true and the predicted class of the headline model's commonest mistake, its count and that of all."""
    evaluation, classes = study.evaluations[arm], study.card.classes
    wrong = evaluation.confusion[evaluation.headline].clone().fill_diagonal_(0)
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    return (classes[true], classes[predicted], int(wrong.max()), int(wrong.sum())) if wrong.any() else None
