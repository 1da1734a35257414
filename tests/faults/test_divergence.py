"""Trainings that go wrong: what diverges is named, the rest goes on, and the report is written."""

import re

import docx
import pytest
import torch
from clones import PARAMS, small_params
from runs import run_stage
from samples import text_of, write_split

from pipeline import artifacts, train
from pipeline.data import preprocessing
from pipeline.network.ensemble import TrainingResult

ARMS = ["baseline", "batchnorm", "l2"]


def split(count, *, seed, classes=10, constant=False):
    """Draw examples about a centre for each class."""
    centres = torch.randn(784, 10, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed + 1)
    labels = torch.randint(10, (count,), generator=generator) if classes > 1 else torch.full((count,), 3)
    X = centres[:, labels] + 1.5 * torch.randn(784, count, generator=generator)
    return torch.zeros_like(X) if constant else X, preprocessing.one_hot(labels, 10)


def prepared(folder, *, classes=10, constant=False, arms=None, l2_path=None, **training):
    """Write a split and parameters for a training of a few steps."""
    sets = {
        name: split(count, seed=seed, classes=classes, constant=constant)
        for seed, (name, count) in enumerate((("train", 120), ("validation", 90), ("test", 60)))
    }
    write_split(folder / "data" / "split", sets)
    card = artifacts.read_record(preprocessing.DatasetCard, folder / "data" / "split" / "card")
    artifacts.write_record(folder / "data" / "split" / "card", card.__class__(**vars(card) | {"name": "digits"}))
    if constant:
        assert len(artifacts.read_record(preprocessing.Examples, folder / "data/split/train").images.unique()) == 1
    settings = {"batch_size": 20, "max_steps": 200, "evaluate_every": 20, "patience": 1000} | training
    (folder / "params.yaml").write_text(small_params(training=settings, arms=arms or {}, l2_path=l2_path or {}))


def run_to_the_evaluation(folder):
    """Run the stages behind the split and return what each said."""
    said = {}
    for stage in [*(f"train@{arm}" for arm in ARMS), "l2_path", "evaluate"]:
        status, said[stage] = run_stage(folder, stage)
        assert status == 0, f"{stage}: {said[stage]}"
    return said


def run_to_the_report(folder):
    """Run every stage behind the split; return what those before the report said, and the report's text."""
    said = run_to_the_evaluation(folder)
    for stage in ("timing", "report"):
        status, words = run_stage(folder, stage)
        assert status == 0, f"{stage}: {words}"
    return said, text_of(docx.Document(str(folder / "report.docx")))


def results(folder):
    return {arm: artifacts.read_record(TrainingResult, folder / "models" / arm) for arm in ARMS}


def test_all_of_an_arm_diverge_and_the_others_go_on(tmp_path):
    huge = {"title": "L2", "use_batchnorm": False, "l2": 1e6}
    prepared(tmp_path, arms={"l2": huge}, l2_path={"values": [0.0, 1e6, 0.01]})
    said, report = run_to_the_report(tmp_path)
    named = re.findall(r"^train@l2: seed (\d) diverged: .* not finite at step \d+$", said["train@l2"], re.MULTILINE)
    assert named == ["0", "1", "2"]
    assert "diverged" not in said["train@baseline"] + said["train@batchnorm"]
    reasons = {arm: set(result.stop_reason) for arm, result in results(tmp_path).items()}
    assert reasons == {"baseline": {"cap reached"}, "batchnorm": {"cap reached"}, "l2": {"diverged"}}
    path = artifacts.read_record(TrainingResult, tmp_path / "results/l2_path")
    assert path.stop_reason == ["cap reached", "diverged", "cap reached"]  # one network of an ensemble
    assert len(re.findall(r"^l2_path: seed 0 diverged: .* not finite at step \d+$", said["l2_path"], re.MULTILINE)) == 1
    assert report.count("raining diverged") == report.count("Training diverged: L2 seeds 0, 1 and 2.") == 1


def test_a_huge_learning_rate_is_reported_by_arm_seed_and_step(tmp_path):
    prepared(tmp_path, learning_rate=1e6)
    said, report = run_to_the_report(tmp_path)
    for arm, result in results(tmp_path).items():
        for seed, reason, step in zip(result.seeds, result.stop_reason, result.steps, strict=True):
            line = rf"^train@{arm}: seed {seed} diverged: .* not finite at step {step}$"
            assert (reason == "diverged") == bool(re.search(line, said[f"train@{arm}"], re.MULTILINE))
    assert set(results(tmp_path)["baseline"].stop_reason) == {"diverged"}
    assert "because its cost was no longer finite" in report


def test_all_networks_of_all_arms_diverge_and_the_report_says_so(tmp_path):
    prepared(tmp_path, learning_rate=1e6, arms={arm: PARAMS["arms"][arm] | {"l2": 1e6} for arm in ARMS})
    _, report = run_to_the_report(tmp_path)
    assert all(set(result.stop_reason) == {"diverged"} for result in results(tmp_path).values())
    parts = [f"{title} seeds 0, 1 and 2" for title in ("Baseline", "Batch norm", "L2")]
    assert f"Training diverged: {'; '.join(parts)}." in report


def test_one_class_of_constant_pixels_is_learnt_and_evaluated(tmp_path):
    prepared(tmp_path, classes=1, constant=True, batch_size=2)
    said = run_to_the_evaluation(tmp_path)
    for result in results(tmp_path).values():
        assert set(result.stop_reason) == {"cap reached"}  # whose patience is longer than the run
        assert result.validation_accuracies[-1].tolist() == [100.0] * 3
        assert all(tensor.isfinite().all() for tensor in result.parameters.values())
    assert said["evaluate"].count("100.00 %") == len(ARMS)


@pytest.mark.parametrize(
    ("learning_rate", "l2", "steps"),
    [(0.1, [30.0], 200), (0.1, [30.0, 0.0], 100), (1e20, [0.0, 1e-30], 200)],
    ids=["until it diverges", "capped before", "without lambda"],
)
def test_a_penalty_too_large_for_float32_is_recorded_and_read_as_it_is(tmp_path, learning_rate, l2, steps):
    X, Y = split(120, seed=0)
    settings = {"learning_rate": learning_rate, "max_steps": steps, "batch_size": 20, "seeds": list(range(len(l2)))}
    result = train(X, Y, [784, 10], l2=l2, validation=split(90, seed=1), patience=1000, **settings)
    artifacts.write_record(tmp_path, result)
    read = artifacts.read_record(TrainingResult, tmp_path)
    assert read.penalties.equal(result.penalties) and read.penalties[0].isfinite().all()
    assert l2[0] == 0 or not read.penalties.float().isfinite().all()


@pytest.mark.parametrize("classes", [1, 10])
def test_small_batches_with_batchnorm_stay_finite(tmp_path, classes):
    prepared(tmp_path, classes=classes, batch_size=2)
    status, said = run_stage(tmp_path, "train@batchnorm")
    assert status == 0, said
    result = artifacts.read_record(TrainingResult, tmp_path / "models/batchnorm")
    assert set(result.stop_reason) == {"cap reached"}
    assert all(tensor.isfinite().all() for tensor in result.parameters.values())
