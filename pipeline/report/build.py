"""The Word report: its order, its findings, and what it takes to make it again.

Every number in it is read from the results, and every comparison is put into words by its interval.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from pipeline.analysis.comparison import QUANTITIES
from pipeline.analysis.statistics import summarise
from pipeline.data.sources import origin_of
from pipeline.report import chapter_all_arms, chapter_arm, chapter_functions
from pipeline.report.chapter_all_arms import collapse_sentences
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import capitalised, counted, listed, lower, median_interval, percent, verdict

PROJECT = "mnist-from-scratch"
DIGEST = 16  # hexadecimal digits of the parameters' checksum
ARMS_IN_FINDINGS = 2  # others than the reference; of more, the best alone has a sentence


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
    data, networks = origin_of(study.card.name).title, counted(len(study.params.training.seeds), "network")
    what = " and ".join(
        ["batch normalisation"] * any(arm.use_batchnorm for arm in study.arms.values())
        + ["the L2 norm"] * any(arm.l2 > 0 for arm in study.arms.values())
    )
    document = Document(
        "A neural network from scratch",
        f"{capitalised(what) or 'Training'} on {data}, {networks} an arm",
        footer=data,
        author=PROJECT,
        keywords=f"{data}, backpropagation, batch normalisation, L2, PyTorch, DVC",
    )
    document.title_block(_title_block(study))
    document.signature(["Name", "Date", "Signature"])
    _findings(document, study)
    document.heading("The experiment")
    _experiment(document, study)
    for arm in study.arms:
        document.heading(_section_title(study, arm))
        chapter_arm.write(document, study, arm)
    document.heading("All arms over all seeds", name="all_seeds")
    chapter_all_arms.write(document, study)
    document.heading("The code, function by function", name="code")
    chapter_functions.write(document)
    document.heading("How to reproduce this report", name="reproduction")
    _reproduction(document, study)
    document.heading("Appendix: the cost at every 100th training step", name="costs")
    _cost_tables(document, study)
    return document.to_bytes()


def _title_block(study: Study) -> dict[str, str]:
    """Say what the report is about, and by what it can be told from another."""
    sizes = [study.results[study.reference].parameters["W1"].shape[-1], *study.params.network.layers]
    titles = listed([lower(title) for title in study.titles.values()])
    digest = hashlib.sha256(study.params.model_dump_json().encode()).hexdigest()[:DIGEST]
    return {
        "Data": f"{origin_of(study.card.name).title}: "
        + listed([f"{size:,} {name}" for name, size in study.card.sizes.items()]),
        "Network": f"{'-'.join(map(str, sizes))}, {counted(len(study.params.training.seeds), 'seed')} an arm: {titles}",
        "Parameters": f"SHA-256 `{digest}`, [[parameters]]",
        "Made with": ", ".join(f"{package} {version}" for package, version in study.versions.items()),
    }


def _findings(document: Document, study: Study) -> None:
    document.label("Findings")
    document.bullets(findings(study))
    intervals = (
        f"Differences are means of paired differences, seed by seed, against {lower(study.titles[study.reference])}; "
        "in brackets stand 95 % intervals (section [[interval]] says which)."
        if study.others
        else "In brackets stands a 95 % interval (section [[interval]] says which)."
    )
    document.paragraph(
        f"{intervals} They are not corrected for their number: an arm is judged by its test accuracy, and all other "
        "quantities are there to explain it. All accuracies are percentages of the examples, all "
        "costs are in nats. At equal steps means at the last evaluation that both networks of a pair reached; that is "
        "on the validation set, which decides when a network stops"
        f"{' and chose lambda' if study.first_with_l2 else ''}."
    )
    if study.card.name != study.params.data.dataset:
        document.paragraph(
            f"**The data set {study.params.data.dataset} could not be fetched: everything below is about "
            f"{origin_of(study.card.name).title}.**"
        )
    document.label("Contents")
    document.contents()


def findings(study: Study) -> list[str]:
    """Put the study into at most five sentences."""
    evaluation = study.evaluations[study.reference]
    test = summarise(evaluation.accuracies["test"])
    sentences = [
        f"The {lower(study.titles[study.reference])} network classifies {percent(test.mean)} of the test set on "
        f"average over {counted(len(study.results[study.reference].seeds), 'seed')}: median "
        f"{percent(test.median)}{median_interval(test)}, standard deviation {test.sd:.2f} points; the one with the "
        f"lowest validation cost reaches {percent(evaluation.accuracies['test'][evaluation.headline].item())}."
    ]
    if len(study.others) <= ARMS_IN_FINDINGS:
        sentences += [_finding(study, arm) for arm in study.others]
    else:
        gains = {arm: compared["test_accuracy"] for arm, compared in study.comparisons.items()}
        better = [arm for arm in study.others if gains[arm].low > 0]
        worse = [arm for arm in study.others if gains[arm].high < 0]
        sentences += [
            f"In test accuracy {counted(len(better), 'arm')} of the {len(study.others)} others do better than "
            f"{lower(study.titles[study.reference])}, {len(worse)} do worse, and for the rest there is no difference "
            f"that {counted(gains[study.others[0]].pairs, 'seed')} can show.",
            _finding(study, max(study.others, key=lambda arm: gains[arm].difference)),
        ]
    sentences += chapter_all_arms.batchnorm_sentences(study)[:1]
    return [*sentences, collapse_sentences(study)[0]]


def _finding(study: Study, arm: str) -> str:
    compared = study.comparisons[arm]
    test, equal = (verdict(compared[name], QUANTITIES[name]) for name in ("test_accuracy", "equal_steps_accuracy"))
    return (
        f"{study.titles[arm]} against {lower(study.titles[study.reference])}: in test accuracy {test}; in validation "
        f"accuracy at equal steps {equal}."
    )


def _section_title(study: Study, arm: str) -> str:
    settings = study.arms[arm]
    parts = ["batch normalisation"] * settings.use_batchnorm + ["the L2 norm"] * (settings.l2 > 0)
    return f"{study.titles[arm]}: the {'network with ' + listed(parts) if parts else 'plain network'}"


def _experiment(document: Document, study: Study) -> None:
    card, training = study.card, study.params.training
    pixels = study.results[study.reference].parameters["W1"].shape[-1]
    layers = [pixels, *study.params.network.layers]
    source = (
        "scikit-learn's digits, enlarged to 28x28 pixels; a fifth of them is the test set"
        if card.name == "digits"
        else f"{origin_of(card.name).title} with its predefined test set"
    )
    document.paragraph(
        f"The data are {source}. {100 * study.params.data.validation_fraction:g} % of the training set, drawn at "
        "random and not stratified, as the assignment has it, are the validation set: "
        f"{card.sizes['train']:,} examples to train on, "
        f"{card.sizes['validation']:,} to validate, {card.sizes['test']:,} to test. An image is flattened to "
        f"{pixels} pixels and standardised by the mean ({card.mean:.2f}) and the standard deviation "
        f"({card.std:.2f}) of the training pixels."
    )
    document.paragraph(
        f"The network has {counted(len(layers) - 1, 'layer')} besides the input, of sizes "
        f"{', '.join(map(str, layers[1:]))}: ReLU after each but the last, softmax after the last. Weights start at "
        "He's normal distribution, biases at zero. Plain mini-batch gradient descent takes steps at a learning rate of "
        f"{training.learning_rate:g} on batches of {training.batch_size} examples. One training step is one batch; "
        f"an epoch is {round(card.sizes['train'] / training.batch_size, 2):g} steps."
    )
    document.paragraph(
        f"Every {training.evaluate_every} steps the cost on the validation set is computed. A network stops when its "
        f"lowest has not improved by more than {training.min_delta:g} for {training.patience} training steps, or at "
        f"{training.max_steps:,} steps, and the parameters of its best step are kept. The test set is read once, when "
        "all training is over."
    )
    document.paragraph(
        f"Each arm trains {counted(len(training.seeds), 'network')}, one a seed, which decides its start alone. "
        "Network k of one arm has the start and the batches of network k of every other, so that arms are compared "
        "pair by pair. The networks of an arm share the split and the order of the batches: the spread over seeds is "
        "that of the start, not of the data. The **headline model** of an arm is the network with the lowest "
        "validation cost."
    )
    document.paragraph("[[arms]] lists the arms and what differs between them.", keep_with_next=True)
    rows = [
        [arm.title, "on" if arm.use_batchnorm else "off", f"{arm.l2:g}", f"{training.batch_size}"]
        for arm in study.arms.values()
    ]
    document.table(["Arm", "Batch norm", "L2 lambda", "Batch size"], rows, "The arms of the experiment.", name="arms")


def _reproduction(document: Document, study: Study) -> None:
    name = study.card.name
    document.paragraph(
        "One command makes everything again: `make` installs the locked packages and runs `dvc repro`, which runs "
        "what is not up to date. `make plots` draws the results on one page, `dvc metrics diff` compares them with an "
        "earlier commit's, and `make test` runs the tests. The first page names the versions that this report was made "
        "with. On another kind of processor sums are rounded in another order, which after thousands of steps shows in "
        "the results, a network's accuracy included; times are those of the machine. [[parameters]] lists every "
        "parameter of `params.yaml`."
    )
    if name == "digits":
        document.paragraph("The data come with scikit-learn, so that its version stands for their checksum.")
    else:
        document.paragraph(
            f"The files of {origin_of(name).title} are used only if they have the checksums of [[checksums]]."
        )
        document.table(
            ["File", "SHA-256"],
            [[file, digest] for file, digest in origin_of(name).sha256.items()],
            "The files of the data set and their checksums.",
            name="checksums",
            size=7.5,
            widths=[4.8, 11.2],
        )
    document.table(
        ["Parameter", "Value"],
        [[key, value] for key, value in _leaves(study.params.model_dump())],
        "The parameters of this run.",
        name="parameters",
        size=8,
        widths=[6, 10],
    )


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _leaves(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{prefix}{key}", text))
    return rows


def _cost_tables(document: Document, study: Study) -> None:
    document.paragraph(
        "Training cost of each headline model on the batch of the step, in nats, L2 penalty included where there is "
        f"one; columns are read from top to bottom: {listed([f'[[costs_{arm}]]' for arm in study.arms])}."
    )
    for arm, result in study.results.items():
        k = study.evaluations[arm].headline
        costs = (result.costs + result.penalties)[:, k]
        pairs = [
            (f"{step:,}", f"{cost:.4f}")
            for step, cost in zip(result.cost_steps, costs.tolist(), strict=True)
            if not math.isnan(cost)
        ]
        blocks = 6
        height = max(1, -(-len(pairs) // blocks))
        padded = pairs + [("", "")] * (height * blocks - len(pairs))
        rows = [[cell for block in range(blocks) for cell in padded[block * height + line]] for line in range(height)]
        document.table(
            ["Step", "Cost"] * blocks,
            rows,
            f"{study.titles[arm]}: cost of the headline model at every 100th training step.",
            name=f"costs_{arm}",
            size=8,
        )
