"""The Word report: its order, its findings, and how to make it again.

Every number is read from the results, and every comparison follows from its interval.
"""

from __future__ import annotations

import hashlib
import math

import pandas as pd

from pipeline.analysis.comparison import QUANTITIES
from pipeline.analysis.statistics import summarise
from pipeline.data.sources import source_of
from pipeline.report import chapter_all_arms, chapter_arm, chapter_functions, chapter_other_arms
from pipeline.report.chapter_all_arms import batchnorm_sentences, collapse_sentences
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, numbered, percent, verdict

PROJECT = "mnist-from-scratch"
DIGEST = 16  # hexadecimal digits of the parameters' checksum
FINDINGS = {"test_accuracy": "test accuracy", "equal_steps_accuracy": "validation accuracy at equal steps"}
ARMS_IN_FINDINGS = 2  # others than the reference; of more, the best alone has a sentence
COST_COLUMNS = 8  # of a table: steps, and the costs of as many arms as there is room for


def build_report(study: Study) -> bytes:
    """Write the report and return the bytes of a .docx file; the same study gives the same bytes."""
    data, seeds = source_of(study.card.name).title, len(study.params.training.seeds)
    arms = study.arms.values()
    methods = _methods(any(arm.use_batchnorm for arm in arms), any(arm.l2 > 0 for arm in arms))
    document = Document(
        "A neural network from scratch",
        f"{methods[:1].upper()}{methods[1:] or 'Training'} on {data}, {counted(seeds, 'network')} an arm",
        footer=data,
        author=PROJECT,
        keywords=f"{data}, backpropagation, batch normalisation, L2, PyTorch, DVC",
    )
    digest = hashlib.sha256(study.params.model_dump_json().encode()).hexdigest()[:DIGEST]
    layers = [study.results[study.reference].parameters["W1"].shape[-1], *study.params.network.layers]
    sizes, names = "-".join(map(str, layers)), listed(list(study.names.values()))
    lines = {
        "Data": f"{data}: {listed([f'{size:,} {name}' for name, size in study.card.sizes.items()])}",
        "Network": f"{sizes}, {counted(seeds, 'seed')} an arm: {names}",
        "Parameters": f"SHA-256 `{digest}`, [[parameters]]",
        "Made with": ", ".join(f"{package} {version}" for package, version in study.versions.items()),
    }
    document.title_block(lines)
    document.signature(["Name", "Date", "Signature"])
    _findings(document, study)
    document.heading("The experiment")
    _experiment(document, study, layers)
    for arm, title in study.in_full.items():
        parts = _methods(study.arms[arm].use_batchnorm, study.arms[arm].l2 > 0)
        document.heading(f"{title}: the {f'network with {parts}' if parts else 'plain network'}")
        chapter_arm.write(document, study, arm)
    if study.in_brief:
        document.heading("The other arms", name="others")
        chapter_other_arms.write(document, study)
    document.heading("All arms over all seeds", name="all_seeds")
    chapter_all_arms.write(document, study)
    document.heading("The code, function by function", name="code")
    chapter_functions.write(document)
    document.heading("How to reproduce this report", name="reproduction")
    _reproduction(document, study)
    document.heading("Appendix: the cost at every 100th training step", name="costs")
    _cost_tables(document, study)
    return document.to_bytes()


def _methods(has_batchnorm: bool, has_l2: bool) -> str:
    return listed(["batch normalisation"] * has_batchnorm + ["the L2 norm"] * has_l2)


def _findings(document: Document, study: Study) -> None:
    data, wanted = study.card.name, study.params.data.dataset
    document.label("Findings")
    for finding in findings(study):
        document.paragraph(finding, style="List Bullet")
    differences = f"Differences are means over pairs of one seed, against {study.names[study.reference]}. "
    document.paragraph(
        f"{differences if study.others else ''}Brackets hold 95 % intervals (section [[interval]]); they are not "
        "corrected for their number. An arm is judged by its test accuracy; all other quantities explain it. Costs are "
        "in nats. At equal steps means at the last validation check that both networks of a pair reached, on the "
        f"validation set, which also decides when a network stops{' and chose lambda' * bool(study.first_with_l2)}."
    )
    if data != wanted:
        title = source_of(data).title
        document.paragraph(f"**The data set {wanted} could not be fetched: everything below is about {title}.**")
    document.label("Contents")
    document.contents()


def findings(study: Study) -> list[str]:
    """Sum the study up in at most five sentences."""
    evaluation, reference = study.evaluations[study.reference], study.names[study.reference]
    test = summarise(evaluation.accuracies["test"])
    median = "" if math.isinf(test.median_low) else f" [{test.median_low:.2f}, {test.median_high:.2f}]"
    sentences = [
        f"Mean test accuracy of {reference} over {counted(len(evaluation.accuracies['test']), 'seed')} is "
        f"{percent(test.mean)}: median {percent(test.median)}{median}, standard deviation {test.sd:.2f} points, "
        f"headline model {percent(float(evaluation.accuracies['test'][evaluation.headline]))}."
    ]
    shown = study.others
    if len(shown) > ARMS_IN_FINDINGS:
        gains = {arm: study.comparisons[arm]["test_accuracy"] for arm in study.others}
        better, worse = sum(gain.low > 0 for gain in gains.values()), sum(gain.high < 0 for gain in gains.values())
        sentences.append(
            f"Test accuracy of the {len(gains)} other arms against {reference}: better in {better}, worse in {worse}, "
            f"no clear difference (n = {gains[shown[0]].pairs}) in {len(gains) - better - worse}."
        )
        shown = [max(gains, key=lambda arm: gains[arm].difference)]
    for arm in shown:
        said = {title: verdict(study.comparisons[arm][name], QUANTITIES[name]) for name, title in FINDINGS.items()}
        parts = "; ".join(f"in {title} {text}" for title, text in said.items())
        sentences.append(f"{study.titles[arm]} against {reference}: {parts}.")
    return [*sentences, *batchnorm_sentences(study)[:1], collapse_sentences(study)[0]]


def _experiment(document: Document, study: Study, layers: list[int]) -> None:
    card, training = study.card, study.params.training
    source = f"{source_of(card.name).title} with its predefined test set"
    if card.name == "digits":
        source = "scikit-learn's digits, enlarged to 28x28 pixels; a fifth of them is the test set"
    sizes = listed([f"{size:,} {name}" for name, size in card.sizes.items()])
    document.paragraph(
        f"The data are {source}. A random {100 * study.params.data.validation_fraction:g} % of the training set is the "
        f"validation set, not stratified, as the assignment has it: {sizes} examples. An image is flattened to "
        f"{numbered(layers[0], 'pixel')} and standardised by the training pixels' mean ({card.mean:.2f}) and standard "
        f"deviation ({card.std:.2f})."
    )
    epoch = f"{round(card.sizes['train'] / training.batch_size, 2):g}"
    document.paragraph(
        f"Layers after the input have {', '.join(map(str, layers[1:]))} units: ReLU after each but the last, softmax "
        "after the last. Weights start from He's normal distribution, biases from zero. Training is plain mini-batch "
        f"gradient descent at a learning rate of {training.learning_rate:g}. One training step is one batch of "
        f"{numbered(training.batch_size, 'example')}; an epoch is {numbered(epoch, 'step')}."
    )
    by = f" by more than {training.min_delta:g} nats" if training.min_delta else ""
    document.paragraph(
        f"Validation cost is checked every {numbered(training.evaluate_every, 'step')}; training stops after "
        f"{numbered(training.patience, 'step')} without a new low{by}, or at {numbered(training.max_steps, 'step')}. "
        "The parameters of the best step are kept. The test set is read once, when all training is over."
    )
    document.paragraph(
        f"Each arm trains {counted(len(training.seeds), 'network')}, one a seed. All share the split and the order of "
        "the batches; the seed decides only the start. So the spread over seeds comes from the start alone, and arms "
        "are compared pair by pair. An arm's **headline model** is its network with the lowest validation cost."
    )
    document.paragraph("[[arms]] lists the arms and what differs between them.", keep_with_next=True)
    rows = [(each.title, "on" if each.use_batchnorm else "off", f"{each.l2:g}") for each in study.arms.values()]
    arms = pd.DataFrame(rows, columns=["Arm", "Batch norm", "L2 lambda"])
    document.table(arms.assign(**{"Batch size": f"{training.batch_size}"}), "The arms of the experiment.", name="arms")


def _reproduction(document: Document, study: Study) -> None:
    source = source_of(study.card.name)
    document.paragraph(
        "One command, `make`, makes everything again: it installs the locked packages and runs `dvc repro`, which "
        "reruns all that is out of date. `make plots` draws the results on one page, `dvc metrics diff` compares them "
        "with an earlier commit's, and `make test` runs the tests. Another kind of processor rounds sums in another "
        "order; after thousands of steps this shows in the results, the accuracies included. Times are those of the "
        "machine. [[parameters]] lists every parameter of `params.yaml`."
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


def _cost_tables(document: Document, study: Study) -> None:
    count = math.ceil(len(study.arms) / (COST_COLUMNS - 1))
    groups = [list(study.arms)[part::count] for part in range(count)]
    document.paragraph(
        "Training cost of each headline model on the batch of the step, in nats, with the L2 penalty if there is one. "
        f"Columns are read from top to bottom: {listed([f'[[costs_{part}]]' for part in range(count)])}."
    )
    for part, arms in enumerate(groups):
        costs = pd.DataFrame({arm: _headline_costs(study, arm) for arm in arms})
        texts = costs.astype(object).map("{:.4f}".format, na_action="ignore").fillna("").rename(columns=study.titles)
        texts.insert(0, "Step", costs.index.map("{:,}".format))
        blocks = COST_COLUMNS // len(texts.columns)
        height = math.ceil(len(texts) / blocks)
        parts = [texts[k * height : (k + 1) * height].reset_index(drop=True) for k in range(blocks)]
        caption = "Cost of the headline models at every 100th training step."
        document.table(pd.concat(parts, axis=1).fillna(""), caption, name=f"costs_{part}", size=8)


def _headline_costs(study: Study, arm: str) -> pd.Series:
    result, k = study.results[arm], study.evaluations[arm].headline
    return pd.Series((result.costs + result.penalties)[:, k], index=pd.Index(result.cost_steps, dtype=int)).dropna()
