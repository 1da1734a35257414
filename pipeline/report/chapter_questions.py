"""Ten questions that one might be asked about this run, answered from its numbers."""

import math

import numpy as np

from pipeline.analysis.diagnosis import guessing_cost
from pipeline.report.chapter_baseline import why_it_stopped
from pipeline.report.chapter_summary import HARDLY
from pipeline.report.document import Document
from pipeline.report.levels import levels
from pipeline.report.study import Study
from pipeline.report.wording import clear_side, nearness, numbered, percent

ENDS = {"no improvement": "the early stop", "cap reached": "the cap on steps", "diverged": "the divergence"}


def write(document: Document, study: Study) -> None:
    """Write each question with its answer."""
    for question, answer in questions(study).items():
        document.paragraph(f"**{question}** {answer}", style="List Number")


def questions(study: Study) -> dict[str, str]:
    """Return the answers by question, of at most two lines each."""
    reference, training = study.reference, study.params.training
    name, best, layers = study.names[reference], study.headline(reference), study.results[reference].layers_dims
    checks = math.ceil(training.patience / training.evaluate_every)
    patience = f" That is only {numbered(checks, 'check')}, so noise of the validation cost can stop a training early."
    return {
        "Why does the backward pass of the output layer give p - y?": (
            "dA = -y / p goes through softmax's Jacobian: p (-y / p + 1) = p - y. With equal probabilities it is "
            f"{1 / layers[-1]:g} for a wrong class and {1 / layers[-1] - 1:g} for the true one."
        ),
        "Why does linear_backward divide by m?": (
            f"Because the cost is a mean over the batch, here of {numbered(training.batch_size, 'example')}, and dZ is "
            "not divided by m. Otherwise the size of a step would grow with the batch."
        ),
        "What does guessing cost?": (
            f"ln {layers[-1]} = {guessing_cost(study.evaluations[reference]):.2f} nats. The cost of the {name} "
            f"headline model means {percent(100 * math.exp(-best.validation_cost), 0)} for the true class "
            "(geometric mean over the validation set)."
        ),
        "Why did training stop when it did?": (
            f"Because {why_it_stopped(study)} (4b).{patience if best.stop_reason == 'no improvement' else ''}"
        ),
        "Which result could be chance?": _chance(study),
        "What limits the accuracy?": _limits(study),
        "Does the network overfit?": (
            f"{'Hardly' if best.gap < HARDLY else 'Yes'}: the {name} headline model's train accuracy is "
            f"{abs(best.gap):.2f} points {'below' if best.gap < 0 else 'above'} its validation accuracy (4c has both)."
        ),
        "Why several networks, and not one run?": _one_run(study),
        "Why must the gradient pass through batch norm's mean and variance?": (
            f"Because both depend on the whole batch, {numbered(training.batch_size, 'example')}. As constants, they "
            "would leave out two of the gradient's three terms."
        ),
        "What does lambda do to a weight in one step?": _lambda(study, training.learning_rate),
    }


def _limits(study: Study) -> str:
    layers, best = study.results[study.reference].layers_dims, study.headline(study.reference)
    narrowest, end = min(layers[1:-1], default=layers[-1]), f"{ENDS[best.stop_reason]} (answer 4)."
    if narrowest < layers[-1]:
        end = f"the small network ({numbered(narrowest, 'number')} at the narrowest place) and {end}"
    if best.gap < HARDLY:
        return f"Not overfitting: on the training set it is {percent(best.train)}. Probably {end}"
    return f"Overfitting (answer 7), and probably {end}"


def _chance(study: Study) -> str:
    tables = {"batchnorm_levels": study.with_batchnorm, "l2_levels": study.with_l2}
    compared = {
        (table, title): each
        for table, arm in tables.items()
        if arm is not None
        for title, (_, each) in levels(study, arm).items()
    }
    clear = {row: found for row, found in compared.items() if clear_side(found)}
    if not clear:
        return f"Of {numbered(len(compared), 'difference')} none is clear."
    table, title = min(clear, key=lambda row: nearness(clear[row]))
    return (
        f'Most likely "{title.partition(" (")[0]}" in [[{table}]]: of {len(clear)} clear differences its interval ends '
        "nearest to zero, relative to its length. By chance at most one in twenty of all "
        f"{len(compared)} would be clear."
    )


def _one_run(study: Study) -> str:
    arm = study.with_batchnorm or study.with_l2
    if arm is None or len(study.results[arm].seeds) == 1:
        return "Because one run cannot tell what the arm does from what its random start does."
    test = study.networks["test"]
    lower = percent(100 * np.less.outer(test[arm].to_numpy(), test[study.reference].to_numpy()).mean(), 0)
    return (
        f"Because single networks differ. If one network of each arm is drawn at random, the {study.names[arm]} "
        f"network has the lower test accuracy in {lower} of the draws."
    )


def _lambda(study: Study, rate: float) -> str:
    if study.with_l2 is None:
        shrunk = f"1 - {rate:g} \N{MULTIPLICATION SIGN} lambda"
        return f"Lambda would multiply the weight by {shrunk}; the data gradient comes on top."
    factor = 1 - rate * study.params.arms[study.with_l2].l2
    said = f"Lambda multiplies the weight by {factor:g}; the data gradient comes on top."
    if not 0 < factor < 1:
        return said
    steps = max(1, round(math.log(0.5, factor)))
    return f"{said} By this alone, half of it would be left after {numbered(steps, 'step')}."
