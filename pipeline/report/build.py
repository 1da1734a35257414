"""The Word report: its order, which is the assignment's, and the cost of every 100th training step.

Every number is read from the results, and every comparison follows from its interval.
"""

import hashlib

import pandas as pd

from pipeline.analysis import tables
from pipeline.report import (
    appendices,
    chapter_baseline,
    chapter_batchnorm,
    chapter_functions,
    chapter_l2,
    chapter_questions,
    chapter_summary,
)
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import ROUNDING, listed, numbered, percent

COST_COLUMNS = 10  # of a table: as many blocks of steps and costs as there is room for
ARMS_TOGETHER = 4  # in one of these tables, with their penalties


def build_report(study: Study) -> bytes:
    """Write the report and return the bytes of a .docx file; the same study gives the same bytes."""
    data, networks = study.card.title, len(study.params.training.seeds)
    others = [numbered(len(study.in_brief), "other arm")] if study.in_brief else []
    arms = [*(study.names[arm] for arm in study.in_full), *others]
    digest = hashlib.sha256(study.params.model_dump_json().encode()).hexdigest()
    document = Document(
        "A neural network from scratch",
        f"{data}: {listed(arms)}; {numbered(networks, 'network')} per arm",
        footer=f"{data} \N{MIDDLE DOT} parameters {digest[:16]}",
    )
    document.paragraph(f"Name {'_' * 27}   Date {'_' * 13}   Signature {'_' * 24}")
    chapter_summary.write(document, study)
    document.heading("Functions and method: sections 1 to 3", name="functions", new_page=True)
    chapter_functions.write_table(document)
    _method(document, study)
    document.heading("Contents", level=2)
    document.contents()
    sections = [
        ("4", f"{study.titles[study.reference]} on {data}", "baseline", chapter_baseline.write),
        ("5", "Batch normalisation", "batchnorm", chapter_batchnorm.write),
        ("6", "The L2 norm", "l2", chapter_l2.write),
        ("7", "Questions one might be asked", "questions", chapter_questions.write),
        ("8", "The cost at every 100th iteration", "costs", _cost_tables),
        ("Appendix A", "Formulas", "formulas", lambda document, _: chapter_functions.write_formulas(document)),
        ("Appendix B", "Mistakes of the best model", "best_mistakes", appendices.write_mistakes),
        ("Appendix C", "Confusion matrices", "confusions", appendices.write_confusions),
        ("Appendix D", "Plateaus, collapse and dead units", "health", appendices.write_health),
        ("Appendix E", "Which intervals, and why", "interval", appendices.write_intervals),
        ("Appendix F", "How to make this report again", "reproduction", appendices.write_reproduction),
    ]
    if study.in_brief:
        sections.append(("Appendix G", "The other arms", "others", appendices.write_others))
    for label, title, name, write in sections:
        document.heading(title, label=label, name=name, new_page=label in ("4", "5", "6", "7"))
        write(document, study)
    return document.to_bytes()


def _method(document: Document, study: Study) -> None:
    card, training = study.card, study.params.training
    epoch = f"{round(card.sizes['train'] / training.batch_size, 2):g}"
    document.paragraph(
        "**Network and data.** ReLU follows each hidden layer, softmax the last. Weights start by He's rule, biases at "
        f"zero. Images are flattened and standardised by the training pixels' mean, {card.mean:.2f}, and deviation, "
        f"{card.std:.2f}."
    )
    document.paragraph(
        "**Training** is plain mini-batch gradient descent. One iteration, or training step, is one batch of "
        f"{numbered(training.batch_size, 'example')}; an epoch is {numbered(epoch, 'step')}. The test set is "
        "read once, after all training."
    )
    document.paragraph(
        f"**Arms and networks.** An arm is a variant of the network. Each arm trains "
        f"{numbered(len(training.seeds), 'network')}, one per seed. The seed decides only the start; split and batches "
        "are the same for all. So arms are compared in pairs of networks with the same start. An arm's "
        "**headline model** is its network with the lowest validation cost."
    )
    document.paragraph(
        "**Reading the numbers.** Costs are in nats, without the L2 penalty. A difference is clear if zero lies "
        f"outside its interval, and no end is nearer to zero than {percent(100 * ROUNDING, 0)} of its length. "
        "If an end is nearer, the difference is uncertain: another processor rounds differently and could give "
        f"another verdict. 'At equal iterations' is the last check that both networks of a pair reached.{_never(study)}"
    )


def _never(study: Study) -> str:
    """Explain what counts for networks that did not come to half the cost of guessing, if there are any."""
    is_slow = study.networks["half_cost_steps"].isna() & ~study.networks["diverged"]
    return " Networks that never come to half the cost of guessing count with the longest training." * bool(
        is_slow.any()
    )


def _cost_tables(document: Document, study: Study) -> None:
    table = tables.cost_table(study.results, study.evaluations).set_index("step")
    of_arms: list[pd.DataFrame] = []
    for arm, title in study.titles.items():
        costs = table[table["arm"] == arm]
        shown = {"cost": ": data cost", "penalty": ": penalty"} if study.params.arms[arm].l2 > 0 else {"cost": ""}
        of_arms.append(costs[[*shown]].set_axis([f"{title}{part}" for part in shown.values()], axis="columns"))
    groups = [of_arms[first : first + ARMS_TOGETHER] for first in range(0, len(of_arms), ARMS_TOGETHER)]
    document.paragraph(
        "Cost of each headline model on the batch of the step, in nats; the L2 penalty stands beside it. The rows "
        f"of {listed([f'[[costs_{part}]]' for part in range(len(groups))])} are read from left to right."
    )
    for part, group in enumerate(groups):
        costs = pd.concat(group, axis=1).sort_index()
        texts = costs.map("{:.4f}".format).replace("nan", "").astype(object)
        texts.insert(0, "Step", costs.index.map("{:,}".format), allow_duplicates=True)
        blocks = max(1, COST_COLUMNS // len(texts.columns))
        parts = [texts[k::blocks].reset_index(drop=True) for k in range(blocks)]  # a page break leaves their order
        caption = "Cost of the headline models at every 100th training step."
        document.table(pd.concat(parts, axis=1).fillna(""), caption, name=f"costs_{part}")
    document.stop_counting()  # only a word processor knows how many pages these tables take
