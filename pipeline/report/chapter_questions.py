"""Ten questions that one might be asked about this run, answered from its numbers."""

from __future__ import annotations

import numpy as np

from pipeline.analysis.comparison import GAP
from pipeline.analysis.diagnosis import guessing_cost
from pipeline.analysis.statistics import compare
from pipeline.report.chapter_baseline import commonest_mistake, why_it_stopped
from pipeline.report.chapter_summary import HARDLY
from pipeline.report.document import Document
from pipeline.report.levels import levels
from pipeline.report.study import Study
from pipeline.report.wording import nearness, numbered, percent, verdict


def write(document: Document, study: Study) -> None:
    """Write each question with its answer."""
    for question, answer in questions(study).items():
        document.paragraph(f"**{question}** {answer}", style="List Number")


def questions(study: Study) -> dict[str, str]:
    """Return the answers by question."""
    reference, training = study.reference, study.params.training
    result, evaluation, k = study.results[reference], study.evaluations[reference], study.headline(reference)
    layers, guessing = result.layers_dims, guessing_cost(evaluation)
    at_first = ""
    if result.cost_steps and result.cost_steps[0] <= result.steps[k]:
        at_first = f" {float(result.costs[0, k]):.2f} at step {result.cost_steps[0]:,} and"
    gap = float(study.gaps(reference)[k])
    rate, test = training.learning_rate, evaluation.accuracies["test"]
    return {
        "Why does the backward pass of the output layer give p - y?": (
            "dA = -y / p goes through softmax's Jacobian: p (-y / p + 1) = p - y. With equal probabilities for all "
            f"classes dZ is {1 / layers[-1]:g} for a wrong class and {1 / layers[-1] - 1:g} for the true one."
        ),
        "Why does linear_backward divide by m?": (
            f"The cost is a mean over the batch, here of {numbered(training.batch_size, 'example')}. dZ is "
            "not divided by m, so dW and db must be. Else the size of a step would grow with the batch."
        ),
        "What does guessing cost?": (
            f"Guessing gives ln {layers[-1]} = {guessing:.2f} nats. The headline model of {study.names[reference]} "
            f"had{at_first} {float(evaluation.costs['validation'][k]):.2f} on the validation set at its best step."
        ),
        "Why did training stop when it did?": (
            f"Because {why_it_stopped(study, reference)}. The lowest came at step {result.best_step[k]:,}, and the "
            f"last step is {result.steps[k]:,}; checks come every {numbered(training.evaluate_every, 'step')}."
        ),
        "Which result could be chance?": _chance(study),
        "Why is the accuracy not 98 %?": (
            f"Probably because the layers {'-'.join(map(str, layers))} leave {min(layers[1:-1], default=layers[-1])} "
            f"numbers at the narrowest place to tell {layers[-1]} classes apart. {commonest_mistake(study, reference)}"
        ),
        "Does the network overfit?": (
            f"{'Hardly' if gap < HARDLY else 'Yes'}: train minus validation accuracy of the headline model is "
            f"{gap:.2f} points. On the test set it has {percent(float(test[k]))}, on the validation set "
            f"{percent(float(evaluation.accuracies['validation'][k]))}."
        ),
        "Why several networks, and not one run?": _one_run(study),
        "Why must the gradient pass through batch norm's mean and variance?": (
            "Both depend on every example of the batch. Taken as constants, they would leave out two of the "
            f"three terms of the gradient, and the test beside autograd would fail. {_running(study)}"
        ),
        "What does lambda do to a weight in one step?": _lambda(study, rate),
    }


def _chance(study: Study) -> str:
    arms = [arm for arm in (study.with_batchnorm, study.with_l2) if arm is not None]
    compared = {(arm, title): level.comparison for arm in arms for title, level in levels(study, arm).items()}
    clear = {key: found for key, found in compared.items() if found.excludes_zero}
    count = f"{numbered(len(compared), 'difference')} in the tables of sections 5 and 6"
    if not clear:
        return f"Of {count} none is clear." if compared else "This run compares no arms."
    arm, title = min(clear, key=lambda key: nearness(clear[key]))
    return (
        f"Of {count} {len(clear)} are clear, each at 95 %: of twenty differences that are only chance one would look "
        f"clear. The weakest is {title.partition(' (')[0].lower()} of {study.names[arm]}: of its length, its interval "
        "ends nearest to zero."
    )


def _one_run(study: Study) -> str:
    ours = study.evaluations[study.reference].accuracies["test"].numpy()
    if len(ours) == 1:
        return "This run has one network an arm, so it cannot tell what the arm does from what the random start does."
    said = (
        f"Single networks of {study.names[study.reference]} have {percent(ours.min(), 1)} to {percent(ours.max(), 1)}."
    )
    arm = study.with_batchnorm or study.with_l2
    if arm is None:
        return said
    theirs = study.evaluations[arm].accuracies["test"].numpy()
    lower = percent(100 * float(np.mean(theirs[:, None] < ours[None, :])), 0)
    return (
        f"{said} Of all pairs of one network of {study.names[arm]} and one of {study.names[study.reference]}, the "
        f"first has the lower test accuracy in {lower}. So one run can mislead."
    )


def _running(study: Study) -> str:
    arm = study.with_batchnorm
    if arm is None:
        return "At a prediction there may be one image only, so running averages replace the batch's statistics."
    accuracy = float(study.evaluations[arm].accuracies["test"][study.headline(arm)])
    return f"At a prediction running averages replace them: the {percent(accuracy)} hold for images one by one too."


def _lambda(study: Study, rate: float) -> str:
    arm = study.with_l2
    if arm is None:
        return f"It would multiply it by 1 - {rate:g} \N{MULTIPLICATION SIGN} lambda, before the data move it."
    l2, gap = study.arms[arm].l2, verdict(compare(study.gaps(arm), study.gaps(study.reference)), GAP)
    return (
        f"It multiplies it by 1 - {rate:g} \N{MULTIPLICATION SIGN} {l2:g} = {1 - rate * l2:g}, before the data move "
        f"it. The effect on overfitting, as train minus validation accuracy: {gap}."
    )
