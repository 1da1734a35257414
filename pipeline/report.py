"""The Word report: every number in it is read from the results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import explanations, figures, tables
from pipeline.document import Document
from pipeline.evaluation import NEAR_ZERO, Evaluation, compare_arms, weight_statistics
from pipeline.params import Arm, Params
from pipeline.preprocessing import DatasetCard
from pipeline.statistics import Comparison, Summary, summarise
from pipeline.timing import kind_of
from pipeline.training import TrainingResult

COLLAPSED = 85.0  # per cent of test accuracy below which a seed counts as collapsed
DATASET_TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "Kuzushiji-MNIST",
    "digits": "the bundled 8x8 digits",
}
WHY = {
    "no improvement": "no improvement of the validation cost for {patience} training steps",
    "cap reached": "the cap of {max_steps:,} training steps",
    "diverged": "a cost that was no longer finite",
}


@dataclass(frozen=True)
class Study:
    """All that the report is made from.

    Attributes
    ----------
    params : Params
    card : DatasetCard
    results : dict of TrainingResult
        By arm.
    evaluations : dict of Evaluation
        By arm.
    path : TrainingResult
        The networks of the lambda path.
    timing : dict
        ``threads`` and ``seconds_per_step`` by kind of arm and stack size.
    versions : dict
        Of the packages that computed the results.
    """

    params: Params
    card: DatasetCard
    results: Mapping[str, TrainingResult]
    evaluations: Mapping[str, Evaluation]
    path: TrainingResult
    timing: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def arms(self) -> Mapping[str, Arm]:
        """The arms, the reference first."""
        return self.params.arms

    @property
    def titles(self) -> dict[str, str]:
        """What each arm is called."""
        return {name: arm.title for name, arm in self.arms.items()}

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the reference."""
        return list(self.arms)[1:]

    @property
    def first_with_l2(self) -> str | None:
        """The arm in whose section the L2 norm is explained."""
        return next((name for name, arm in self.arms.items() if arm.l2 > 0), None)

    def comparisons(self, arm: str) -> dict[str, Comparison]:
        """Compare an arm with the reference."""
        return compare_arms(
            self.results[arm],
            self.evaluations[arm],
            self.results[self.reference],
            self.evaluations[self.reference],
        )

    def seconds(self, arm: str) -> Mapping[str, float]:
        """Seconds a step of the whole stack, by the stack's size."""
        settings = self.arms[arm]
        seconds: Mapping[str, float] = self.timing["seconds_per_step"][kind_of(settings.use_batchnorm, settings.l2)]
        return seconds

    def collapsed(self, arm: str) -> list[int]:
        """Return the replicas whose test accuracy is below 85 %."""
        return (self.evaluations[arm].accuracies["test"] < COLLAPSED).nonzero().flatten().tolist()


def build_report(study: Study) -> bytes:
    """Write the report.

    Parameters
    ----------
    study : Study

    Returns
    -------
    bytes
        A .docx file; the same study gives the same bytes.
    """
    data = DATASET_TITLES[study.card.name]
    document = Document(
        "A neural network from scratch",
        f"Batch normalisation and L2 on {data}, {len(study.params.training.seeds)} seeds an arm",
    )
    _findings(document, study)
    document.heading("The experiment")
    _experiment(document, study)
    for arm in study.arms:
        document.heading(_section_title(study, arm))
        _arm(document, study, arm)
    document.heading("All arms over all seeds")
    _all_seeds(document, study)
    document.heading("The code, function by function")
    explanations.write(document)
    document.heading("How to reproduce this report")
    _reproduction(document, study)
    document.heading("The cost at every 100th training step")
    _cost_tables(document, study)
    return document.to_bytes()


def _findings(document: Document, study: Study) -> None:
    headline = study.evaluations[study.reference]
    accuracies = summarise(headline.accuracies["test"])
    sentences = [
        f"The {_lower(study.titles[study.reference])} network classifies {_percent(accuracies.mean)} of the test set "
        f"on average over {len(study.results[study.reference].seeds)} seeds (median {_percent(accuracies.median)}, "
        f"standard deviation {accuracies.sd:.1f} points); the one with the lowest validation cost reaches "
        f"{_percent(headline.accuracies['test'][headline.headline].item())}."
    ]
    for arm in study.others:
        compared = study.comparisons(arm)
        equal = compared["equal_steps_accuracy"]
        sentences.append(
            f"{study.titles[arm]}: test accuracy is {_verdict(compared['test_accuracy'])}; "
            f"at equal numbers of steps the validation accuracy is {_verdict(equal)}."
        )
    sentences.append(_collapse_sentence(study))
    document.paragraph("**Findings**")
    document.bullets(sentences)
    document.paragraph(
        f"Differences are means of paired differences, seed by seed, against {_lower(study.titles[study.reference])}; "
        "in brackets stands the 95 % interval (section "
        f"{len(study.arms) + 2} says which). All accuracies are percentages of the examples, all costs are in nats."
    )
    if study.card.name != study.params.data.dataset:
        document.paragraph(
            f"**The data set {study.params.data.dataset} could not be fetched: everything below is about "
            f"{DATASET_TITLES[study.card.name]}.**"
        )
    document.paragraph("**Contents**")
    document.contents()


def _experiment(document: Document, study: Study) -> None:
    card, training = study.card, study.params.training
    pixels = study.results[study.reference].parameters["W1"].shape[-1]
    layers = [pixels, *study.params.network.layers]
    source = (
        "scikit-learn's digits, enlarged to 28x28 pixels; a fifth of them is the test set"
        if card.name == "digits"
        else f"{DATASET_TITLES[card.name]} with its predefined test set"
    )
    document.paragraph(
        f"The data are {source}. {100 * study.params.data.validation_fraction:g} % of the training set, drawn at "
        "random and not stratified, as the brief has it, are the validation set: "
        f"{card.sizes['train']:,} examples to train on, "
        f"{card.sizes['validation']:,} to validate, {card.sizes['test']:,} to test. An image is flattened to "
        f"{pixels} pixels and standardised by the mean ({card.mean:.2f}) and the standard deviation "
        f"({card.std:.2f}) of the training pixels."
    )
    document.paragraph(
        f"The network has {len(layers) - 1} layers besides the input, of sizes "
        f"{', '.join(map(str, layers[1:]))}: ReLU after each but the last, softmax after the last. Weights start at "
        "He's normal distribution, biases at zero. Plain mini-batch gradient descent takes steps at a learning rate of "
        f"{training.learning_rate:g} on batches of {training.batch_size} examples. One training step is one batch; "
        f"an epoch is {card.sizes['train'] / training.batch_size:.2f} steps."
    )
    document.paragraph(
        f"Every {training.evaluate_every} steps the cost on the validation set is computed. A network stops when its "
        f"lowest has not improved by more than {training.min_delta:g} for {training.patience} training steps, or at "
        f"{training.max_steps:,} steps, and the parameters of its best step are kept. The test set is read once, when "
        "all training is over."
    )
    document.paragraph(
        f"Each arm trains {len(training.seeds)} networks that differ in their start alone. Network k of one arm has "
        "the start and the batches of network k of every other, so that arms are compared pair by pair. The networks "
        "of an arm share the split and the order of the batches: the spread over seeds is that of the start, not of "
        "the data. The **headline model** of an arm is the network with the lowest validation cost."
    )
    rows = [
        [arm.title, "on" if arm.use_batchnorm else "off", f"{arm.l2:g}", f"{training.batch_size}"]
        for arm in study.arms.values()
    ]
    document.table(["Arm", "Batch norm", "L2 lambda", "Batch size"], rows, "The arms of the experiment.")


def _arm(document: Document, study: Study, arm: str) -> None:
    settings = study.arms[arm]
    if arm == study.first_with_l2:
        _l2_changes(document, study, arm)
    if settings.use_batchnorm:
        document.paragraph(
            "Batch normalisation follows the activation of each hidden layer and has no scale and no shift to learn. "
            "In training a batch is normalised by its own mean and variance, and the gradient passes through both of "
            "them; at prediction the running statistics take their place, so that an image is classified alike alone "
            "and in any batch."
        )
    _outcome(document, study, arm)
    if arm != study.reference:
        _comparison(document, study, arm)
    if settings.l2 > 0:
        _weights(document, study, arm)
    if arm == study.first_with_l2:
        _path(document, study, settings.l2)


def _outcome(document: Document, study: Study, arm: str) -> None:
    result, evaluation = study.results[arm], study.evaluations[arm]
    training, k = study.params.training, evaluation.headline
    why = WHY[result.stop_reason[k]].format(patience=training.patience, max_steps=training.max_steps)
    number = document.next_number("Table")
    document.paragraph(
        f"The headline model (seed {result.seeds[k]}) trained for {result.steps[k]:,} steps, which are "
        f"{result.epochs[k]:.1f} epochs of batches of {training.batch_size}, and stopped by {why}; its best step was "
        f"{result.best_step[k]:,}. Table {number} gives its final accuracies and those of all "
        f"{len(result.seeds)} networks. Its cost at every 100th step stands in section {len(study.arms) + 5}; "
        f"Figure {document.next_number('Figure')} draws it beside its confusion matrix."
    )
    rows = []
    for name, accuracies in evaluation.accuracies.items():
        over = summarise(accuracies)
        rows.append(
            [f"{name} accuracy (%)", f"{accuracies[k].item():.2f}", *(f"{value:.2f}" for value in _fields(over))]
        )
    for label, values in (("training steps", result.steps), ("epochs", result.epochs)):
        decimals = 1 if label == "epochs" else 0
        over = summarise(values)
        rows.append([label, *(f"{value:,.{decimals}f}" for value in (values[k], *_fields(over)))])
    document.table(
        ["", "Headline model", "Mean", "SD", "Median", "Lowest", "Highest"],
        rows,
        f"{study.titles[arm]}: accuracy and length of training, headline model and all seeds.",
        widths=[4, 3, 1.8, 1.8, 1.8, 1.8, 1.8],
    )
    document.figure(
        figures.headline_model(result, evaluation, study.card.classes),
        f"{study.titles[arm]}: the headline model's cost at every 100th training step, and its confusion matrix "
        "on the test set.",
        f"Falling cost curve, and confusion matrix of test examples. {_commonest_confusion(study, arm)}",
    )
    document.paragraph(f"{_commonest_confusion(study, arm)} {_diagnosis(study, arm)}")
    diverged = [seed for seed, reason in zip(result.seeds, result.stop_reason, strict=True) if reason == "diverged"]
    if diverged:
        document.paragraph(f"**The training of these seeds diverged: {', '.join(map(str, diverged))}.**")


def _comparison(document: Document, study: Study, arm: str) -> None:
    compared = study.comparisons(arm)
    title, reference = study.titles[arm], _lower(study.titles[study.reference])
    alone = study.seconds(arm)["1"], study.seconds(study.reference)["1"]
    document.heading(f"{title} beside {reference}", level=2)
    steps = compared["steps"]
    document.paragraph(
        f"**Performance.** Test accuracy is {_verdict(compared['test_accuracy'])}. The lowest validation cost is "
        f"{_verdict(compared['validation_cost'], unit='nats', decimals=3, lower_is_better=True)}."
    )
    document.paragraph(
        f"**Number of training steps.** {title} takes {_count_verdict(steps)}. Comparing where each network happened "
        "to stop mixes what it learns with how long it is let learn; at the last step that both networks of a pair "
        f"reached, validation accuracy is {_verdict(compared['equal_steps_accuracy'])}."
    )
    ratio = alone[0] / alone[1]
    stop = [
        summarise(study.results[name].steps).mean * seconds
        for name, seconds in zip((arm, study.reference), alone, strict=True)
    ]
    document.paragraph(
        f"**Running time.** A training step takes {ratio:.2f} times as long as one of {reference} "
        f"({1e6 * alone[0]:,.0f} against {1e6 * alone[1]:,.0f} microseconds, one network alone on "
        f"{study.timing['threads']} threads), and a network {stop[0]:.1f} seconds of steps until it stops, "
        f"against {stop[1]:.1f}."
    )
    rows = [
        [label, *_comparison_cells(compared[name], decimals)]
        for label, name, decimals in (
            ("test accuracy (points)", "test_accuracy", 2),
            ("validation cost (nats)", "validation_cost", 4),
            ("training steps", "steps", 0),
            ("validation accuracy at equal steps (points)", "equal_steps_accuracy", 2),
            ("validation cost at equal steps (nats)", "equal_steps_cost", 4),
        )
    ]
    document.table(
        [f"{title} minus {reference}", "Difference", "95 % interval", "Seeds above", "Seeds below"],
        rows,
        f"{title} against {reference}, paired by seed.",
        widths=[6.5, 2.5, 3.5, 1.75, 1.75],
    )


def _l2_changes(document: Document, study: Study, arm: str) -> None:
    rate, decay = study.params.training.learning_rate, study.arms[arm].l2
    steps = study.results[arm].steps[study.evaluations[arm].headline]
    document.heading("What changed in the code", level=2)
    document.paragraph(
        "The L2 norm enters in two places. `l2_penalty` computes the penalty from the weights, and `compute_cost` adds "
        "it if it is given the parameters; the trainer records cost and penalty apart, so that arms are compared by "
        "the cost alone. `L_model_backward` adds the penalty's gradient to each weight's:"
    )
    document.equation(explanations.L2_COST)
    document.equation(explanations.L2_GRADIENT)
    document.paragraph(
        "The factor one half makes the gradient lambda times W, so that lambda means what `weight_decay` means in "
        "PyTorch. Biases are not penalised: they move the boundary between classes without making it steeper. Each "
        f"step now shrinks every weight by the factor 1 - {rate:g} x {decay:g} before the data move it: over the "
        f"{steps:,} steps of the headline model a weight that the data do not hold up shrinks to "
        f"{_percent(100 * (1 - rate * decay) ** steps)} of what it was."
    )


def _weights(document: Document, study: Study, arm: str) -> None:
    reference = study.reference
    document.heading("The weights with and without L2", level=2)
    with_l2, without = (weight_statistics(study.results[name].parameters) for name in (arm, reference))
    rows = []
    for layer, values in with_l2.items():
        for title, row in ((study.titles[reference], without[layer]), (study.titles[arm], values)):
            rows.append(
                [
                    layer,
                    title,
                    f"{row['norm']:.3f}",
                    f"{row['mean_magnitude']:.4f}",
                    f"{row['maximum']:.3f}",
                    f"{row['near_zero']:.1f}",
                ]
            )
    changes = [
        f"{layer} by {100 * (1 - values['norm'] / without[layer]['norm']):.0f} %"
        for layer, values in with_l2.items()
        if values["norm"] < without[layer]["norm"]
    ]
    shrunk = f"L2 lowers the norm of {_listed(changes)}" if changes else "L2 lowers the norm of no layer"
    document.paragraph(
        f"{shrunk}. Table {document.next_number('Table')} compares the weights layer by layer, "
        f"Figure {document.next_number('Figure')} their distribution, and "
        f"Figure {document.next_number('Figure') + 1} shows what the first layer has learnt to look for."
    )
    document.table(
        ["Layer", "Arm", "Norm", "Mean magnitude", "Largest magnitude", f"Below {NEAR_ZERO:g} (%)"],
        rows,
        "The weights layer by layer, averaged over the seeds: Euclidean norm, mean and largest magnitude, "
        f"and the share of magnitudes below {NEAR_ZERO:g}.",
    )
    pair = {name: study.titles[name] for name in (reference, arm)}
    document.figure(
        figures.weight_histograms(tables.weight_rows({name: study.results[name] for name in pair}), pair),
        "Distribution of the weights of all seeds, layer by layer; the outermost bins hold what lies beyond.",
        f"Histograms of the weights of each layer for {_listed(list(pair.values()))}. {shrunk}.",
    )
    headlines = {
        name: {key: stack[study.evaluations[name].headline] for key, stack in study.results[name].parameters.items()}
        for name in pair
    }
    document.figure(
        figures.first_layer_weights(headlines, pair),
        "The first layer's weights of the headline models as images, the ten units with the largest norm.",
        "Images of the first layer's weights, with and without L2.",
    )


def _path(document: Document, study: Study, chosen: float) -> None:
    rows = tables.l2_path_rows(study.path)
    seeds = len(study.params.l2_path.seeds)
    document.heading("The choice of lambda", level=2)
    if not rows:
        document.paragraph("Every network of the path diverged: it chooses no lambda.")
        return
    best = min(rows, key=lambda row: float(row["validation_cost"]))
    verdict = (
        f"which is the one that `params.yaml` uses, lambda = {chosen:g}"
        if math.isclose(float(best["l2"]), chosen)
        else f"while `params.yaml` sets lambda = {chosen:g}"
    )
    document.paragraph(
        f"Lambda is chosen on the validation set, among {len(rows)} values with {seeds} seeds each, all trained as one "
        f"stack of {len(study.path.seeds)} networks without batch norm. The lowest mean validation cost belongs to "
        f"lambda = {best['l2']:g}, {verdict}."
    )
    document.table(
        ["Lambda", "Validation cost", "Validation accuracy (%)", "Norm of all weights", "Training steps"],
        [
            [
                f"{row['l2']:g}",
                f"{row['validation_cost']:.4f}",
                f"{row['validation_accuracy']:.2f}",
                f"{row['weight_norm']:.2f}",
                f"{row['steps']:,.0f}",
            ]
            for row in rows
        ],
        "Each lambda's validation cost, accuracy, weights and training steps, averaged over its seeds.",
    )
    document.figure(
        figures.l2_path(rows, chosen),
        "Validation accuracy and norm of the weights against lambda; the dotted line marks the arm's lambda.",
        f"Validation accuracy and weight norm against lambda. Lowest validation cost at lambda = {best['l2']:g}.",
    )


def _all_seeds(document: Document, study: Study) -> None:
    titles = study.titles
    first = document.next_number("Figure")
    document.paragraph(
        f"Figure {first} shows how the costs fall and Figure {first + 1} how accuracy rises; Figure {first + 2} has a "
        f"dot for every network. {_collapse_sentence(study)}"
    )
    document.figure(
        figures.cost_curves(tables.curve_rows(study.results), titles),
        "Cost without penalty against training steps: median over the seeds and the band between the quartiles. "
        "A network that has stopped keeps its last value.",
        "Curves of training and validation cost for each arm.",
    )
    document.figure(
        figures.accuracy_curves(tables.accuracy_rows(study.results), titles),
        "Validation accuracy against training steps: median over the seeds and the band between the quartiles.",
        "Curves of validation accuracy for each arm.",
    )
    document.figure(
        figures.seed_distribution({arm: study.evaluations[arm].accuracies["test"] for arm in titles}, titles),
        "Test accuracy of every network; grey lines join networks of one seed, black bars mark the medians.",
        "Test accuracy of every seed in each arm.",
    )
    _collapsed_table(document, study)
    document.figure(
        figures.step_times({arm: study.seconds(arm) for arm in titles}, titles),
        f"Time of a training step of one network, batch {study.params.training.batch_size}, "
        f"{study.timing['threads']} threads, medians of turns taken by the arms one after the other.",
        "Bars of the time that a training step takes, alone and in a stack.",
    )
    best = max(
        study.arms,
        key=lambda arm: -study.evaluations[arm].costs["validation"][study.evaluations[arm].headline].item(),
    )
    document.figure(
        figures.confident_mistakes(study.evaluations[best], study.card.classes),
        f"The test images that the {_lower(titles[best])} headline model misclassifies with the greatest confidence: "
        "true class, predicted class, and the probability it gave to the latter.",
        "The most confidently misclassified test images.",
    )
    document.heading("Why this interval", level=2)
    document.paragraph(
        "If two arms do not differ, exchanging them changes nothing, and the paired differences are symmetric about "
        "zero. For a sample from a symmetric distribution the means of all its subsets bound the centre with "
        "probabilities that can be counted (Hartigan, 1969): the interval from the 2.5th to the 97.5th percentile of "
        "these subset means holds it in 95 % of all samples, however heavy the tails. A bare t interval has no such "
        "warrant at sixteen seeds, where one collapsed network is enough to upset it. Where two arms do differ, their "
        "differences may be skewed; whether the interval leaves out zero keeps its meaning then, while its ends are "
        "a guide."
    )


def _collapsed_table(document: Document, study: Study) -> None:
    rows = [
        [
            study.titles[arm],
            f"{study.results[arm].seeds[k]}",
            f"{study.evaluations[arm].accuracies['test'][k]:.2f}",
            _listed(_dead_units(study.evaluations[arm], k)) or "none",
        ]
        for arm in study.arms
        for k in study.collapsed(arm)
    ]
    if rows:
        document.table(
            ["Arm", "Seed", "Test accuracy (%)", "Dead units: active for no training example"],
            rows,
            f"The collapsed networks, below {COLLAPSED:g} % of the test set.",
            widths=[3, 1.5, 3.5, 8],
        )


def _reproduction(document: Document, study: Study) -> None:
    training = study.params.training
    document.paragraph(
        "Two commands make everything again: `make` installs the locked packages and runs `dvc repro`; `make test` "
        "runs the tests. `dvc metrics diff` and `dvc plots show` compare and draw the results."
    )
    document.paragraph(
        f"This report was made with {_listed([f'{name} {version}' for name, version in study.versions.items()])}, on "
        f"{training.threads} threads. Seeds of the networks: {', '.join(map(str, training.seeds))}; of the split: "
        f"{study.params.data.split_seed}; of the order of the batches: {training.shuffle_seed}. On another kind of "
        "processor sums are rounded in another order, and after thousands of steps results differ in their last digits."
    )


def _cost_tables(document: Document, study: Study) -> None:
    document.paragraph(
        "Training cost of each headline model on the batch of the step, in nats, L2 penalty included where there is "
        "one. Columns are read from top to bottom."
    )
    for arm, result in study.results.items():
        k = study.evaluations[arm].headline
        costs = (result.costs + result.penalties)[:, k]
        pairs = [
            (f"{step:,}", f"{cost:.4f}")
            for step, cost in zip(result.cost_steps, costs.tolist(), strict=True)
            if not math.isnan(cost)
        ]
        blocks = 5
        height = max(1, -(-len(pairs) // blocks))
        padded = pairs + [("", "")] * (height * blocks - len(pairs))
        rows = [[cell for block in range(blocks) for cell in padded[block * height + line]] for line in range(height)]
        document.table(
            ["Step", "Cost"] * blocks,
            rows,
            f"{study.titles[arm]}: cost of the headline model at every 100th training step.",
            size=8,
        )


def _section_title(study: Study, arm: str) -> str:
    settings = study.arms[arm]
    parts = ["batch normalisation"] * settings.use_batchnorm + ["the L2 norm"] * (settings.l2 > 0)
    return f"{study.titles[arm]}: {'with ' + _listed(parts) if parts else 'the network as it is'}"


def _fields(summary: Summary) -> tuple[float, ...]:
    return summary.mean, summary.sd, summary.median, summary.low, summary.high


def _verdict(comparison: Comparison, *, unit: str = "points", decimals: int = 2, lower_is_better: bool = False) -> str:
    """Say whether an arm is better or worse, by how much, and in how many pairs; or that nothing shows."""
    if not comparison.pairs:
        return "not to be compared, since in no pair both networks stayed finite"
    difference, interval = f"{abs(comparison.difference):.{decimals}f}", _interval(comparison, decimals)
    if not comparison.decided:
        seeds = f"{comparison.pairs} seeds"
        return f"no different as far as {seeds} can show ({comparison.difference:+.{decimals}f} {unit} {interval})"
    word = "better" if (comparison.difference > 0) != lower_is_better else "worse"
    share = comparison.wins if comparison.difference > 0 else comparison.losses
    if comparison.difference < 0:
        interval = f"[{-comparison.high:.{decimals}f}, {-comparison.low:.{decimals}f}]"
    return f"{word} by {difference} {unit} {interval}, in {share} of {comparison.pairs} seeds"


def _count_verdict(steps: Comparison) -> str:
    if not steps.decided:
        apart = f"({steps.difference:+,.0f} {_interval(steps, 0)})"
        return f"no more and no fewer steps than {steps.pairs} seeds can tell apart {apart}"
    word = "more" if steps.difference > 0 else "fewer"
    low, high = sorted((abs(steps.low), abs(steps.high)))
    share = steps.wins if steps.difference > 0 else steps.losses
    return f"{abs(steps.difference):,.0f} [{low:,.0f}, {high:,.0f}] {word} steps, in {share} of {steps.pairs} seeds"


def _comparison_cells(comparison: Comparison, decimals: int) -> list[str]:
    return [
        f"{comparison.difference:+,.{decimals}f}",
        _interval(comparison, decimals),
        f"{comparison.wins}",
        f"{comparison.losses}",
    ]


def _interval(comparison: Comparison, decimals: int) -> str:
    if math.isinf(comparison.low):
        return "[too few seeds]"
    return f"[{comparison.low:,.{decimals}f}, {comparison.high:,.{decimals}f}]"


def _commonest_confusion(study: Study, arm: str) -> str:
    wrong = study.evaluations[arm].confusion.clone()
    wrong.fill_diagonal_(0)
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    classes = study.card.classes
    return (
        f"The commonest mistake is to take {classes[true]} for {classes[predicted]}, "
        f"{int(wrong[true, predicted])} of {int(wrong.sum()):,} mistakes."
    )


def _diagnosis(study: Study, arm: str) -> str:
    dead = {layer: int((activity == 0).sum()) for layer, activity in study.evaluations[arm].activity.items()}
    units = sum(activity.numel() for activity in study.evaluations[arm].activity.values())
    if not any(dead.values()):
        return f"Of the {units:,} hidden units of all networks none is dead: each is active for some training example."
    places = _listed([f"{count} in layer {layer[1:]}" for layer, count in dead.items() if count])
    return (
        f"Of the {units:,} hidden units of all networks {sum(dead.values())} died, "
        f"active for no training example: {places}."
    )


def _collapse_sentence(study: Study) -> str:
    """Count the networks that collapsed, and say of the worst which units died."""
    counts = {title: len(study.collapsed(arm)) for arm, title in study.titles.items()}
    if not any(counts.values()):
        return f"No network collapsed: every one classifies at least {COLLAPSED:g} % of the test set."
    places = _listed([f"{count} of {_lower(title)}" for title, count in counts.items()])
    worst = min(study.arms, key=lambda arm: study.evaluations[arm].accuracies["test"].min().item())
    evaluation = study.evaluations[worst]
    k = int(evaluation.accuracies["test"].argmin())
    dead = _listed(_dead_units(evaluation, k)) or "no unit"
    return (
        f"Networks that collapsed, below {COLLAPSED:g} % of the test set: {places}. The worst is seed "
        f"{study.results[worst].seeds[k]} of {_lower(study.titles[worst])} with "
        f"{_percent(evaluation.accuracies['test'][k].item())}, in which {dead} died."
    )


def _dead_units(evaluation: Evaluation, k: int) -> list[str]:
    return [
        f"{int((activity[k] == 0).sum())} of {activity.shape[1]} units of layer {layer[1:]}"
        for layer, activity in evaluation.activity.items()
        if (activity[k] == 0).any()
    ]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _lower(title: str) -> str:
    return title if title[1:2].isupper() or title[1:2].isdigit() else title[0].lower() + title[1:]


def _percent(value: float) -> str:
    return f"{value:.1f} %"
