"""Small trained and hand-made results that several test modules look at."""

import contextlib
import dataclasses
import functools
import shutil
from pathlib import Path

import torch
from reference import DIMS, blobs, random_parameters

from pipeline import TrainingResult, artifacts, train
from pipeline.analysis.evaluation import Evaluation, evaluate_arm
from pipeline.data import download, preprocessing
from stages import examples

SETS = {
    "train": blobs(120, noise=1.5),
    "validation": blobs(90, noise=1.5, seed=1),
    "test": blobs(150, noise=1.5, seed=2),
}
ARMS = {"baseline": {}, "batchnorm": {"use_batchnorm": True}, "l2": {"l2": 0.01}}
DIVERGES = 1e6  # with this lambda a network is no longer finite when it is first evaluated


@functools.cache
def trained(use_batchnorm=False, l2=(0.0, 0.0, 0.0), learning_rate=0.1, max_steps=200):
    """Train one network for each lambda."""
    X, Y = SETS["train"]
    return train(
        X,
        Y,
        DIMS,
        learning_rate=learning_rate,
        max_steps=max_steps,
        batch_size=20,
        seeds=list(range(len(l2))),
        use_batchnorm=use_batchnorm,
        l2=l2,
        validation=SETS["validation"],
        evaluate_every=20,
    )


def evaluated(result):
    return evaluate_arm(result, SETS)


def recorded(steps, *, diverged=(), every=50, seed=0):
    """Make up a result whose network k stopped at ``steps[k]``; the diverged ones have no finite cost there."""
    generator = torch.Generator().manual_seed(seed)

    def curve(at, low, high):
        values = low + (high - low) * torch.rand(len(at), len(steps), generator=generator, dtype=torch.float64)
        return values.where(torch.tensor(at).reshape(-1, 1) <= torch.tensor(steps), torch.nan)

    evaluation_steps = list(range(every, max(steps) + 1, every))
    cost_steps = list(range(100, max(steps) + 1, 100))
    costs, validation_costs = curve(cost_steps, 0, 2), curve(evaluation_steps, 0, 2)
    best_step = list(steps)
    for k in diverged:
        validation_costs[evaluation_steps.index(steps[k]), k] = torch.nan
        best_step[k] -= every
    return TrainingResult(
        parameters=random_parameters(DIMS, axes=(len(steps),)),
        seeds=list(range(10, 10 + len(steps))),
        l2=[0.0] * len(steps),
        cost_steps=cost_steps,
        costs=costs,
        penalties=torch.zeros_like(costs),
        evaluation_steps=evaluation_steps,
        validation_costs=validation_costs,
        validation_accuracies=curve(evaluation_steps, 0, 100),
        steps=list(steps),
        best_step=best_step,
        epochs=[step / 8 for step in steps],
        stop_reason=["diverged" if k in diverged else "no improvement" for k in range(len(steps))],
    )


def measured(accuracies, headline=0):
    """Make up an evaluation with the given test accuracies; the other sets' are one and two points higher."""
    test = torch.tensor(accuracies, dtype=torch.float64)
    return Evaluation(
        accuracies={"train": test + 2, "validation": test + 1, "test": test},
        costs=dict.fromkeys(("train", "validation", "test"), 1 / (1 + test)),
        headline=headline,
        confusion=torch.tensor([[3, 1], [0, 0]]).repeat(len(test), 1, 1),
        mistakes={"images": torch.rand(1, 6), "true": torch.tensor([0])},
        activity={"A1": torch.linspace(0.1, 1, len(test) * 8).view(-1, 8)},
        activations={"A1": torch.rand(len(test))},
    )


def is_same(ours, theirs):
    """Compare two values of any nest of dataclasses, dictionaries and tensors: types, dtypes and contents."""
    if type(ours) is not type(theirs):
        return False
    if dataclasses.is_dataclass(ours):
        return is_same(vars(ours), vars(theirs))
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(is_same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours.nan_to_num(), theirs.nan_to_num())
    return ours == theirs


def trained_folder(folder):
    """Make a folder look as after `dvc repro evaluate`, with small networks trained on the bundled digits."""
    shutil.copy(Path(__file__).parents[2] / "params.yaml", folder)
    with contextlib.chdir(folder):
        sets, card = preprocessing.split(download.load("digits"), 0.2, seed=0)
        for name, columns in sets.items():
            artifacts.write_record(Path("data/split") / name, columns)
        artifacts.write_record(Path("data/split/card"), card)
        (X, Y), validation, test = (examples(name) for name in ("train", "validation", "test"))
        for arm, settings in ARMS.items():
            result = train(
                X, Y, [784, 20, 7, 5, 10], seeds=[0, 1, 2], learning_rate=0.1, max_steps=300, batch_size=50,
                validation=validation, **settings,
            )  # fmt: skip
            evaluation = evaluate_arm(result, {"train": (X, Y), "validation": validation, "test": test})
            artifacts.write_record(Path("models") / arm, result)
            artifacts.write_record(Path("results/evaluation") / arm, evaluation)
    return folder


def text_of(report):
    """Give the text of a Word document, paragraphs and cells of tables, a line each."""
    w = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    paragraphs = report.element.body.iter(f"{w}p")
    return "\n".join("".join(node.text or "" for node in paragraph.iter(f"{w}t")) for paragraph in paragraphs)


def write_split(folder, sets):
    for name, (X, Y) in sets.items():
        images = (X.T * 20 + 100).clamp(0, 255).to(torch.uint8)
        images = torch.nn.functional.pad(images, (0, 784 - len(X)), value=100)  # the card's mean
        examples = preprocessing.Examples(images, Y.argmax(0).to(torch.uint8), torch.arange(len(images)))
        artifacts.write_record(folder / name, examples)
    sizes = {name: X.shape[1] for name, (X, _) in sets.items()}
    classes = [str(k) for k in range(10)]
    card = preprocessing.DatasetCard("digits", "the digits", classes, 100.0, 20.0, sizes)
    artifacts.write_record(folder / "card", card)


CURVES = ("costs", "penalties", "validation_costs", "validation_accuracies")


def assert_same_training(ours, theirs, tolerance):
    """Two results have the same starts, stops and metrics, and tensors equal to rounding."""
    for field in dataclasses.fields(TrainingResult):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name == "parameters":
            assert mine.keys() == other.keys()
            for name in other:
                torch.testing.assert_close(mine[name], other[name], rtol=tolerance, atol=tolerance)
        elif field.name in CURVES:
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            assert mine == other, field.name
