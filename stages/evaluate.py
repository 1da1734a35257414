"""Measure every arm on all three sets, compare the arms, and write metrics, plots and results."""

from __future__ import annotations

import torch

from pipeline import artifacts
from pipeline.analysis import evaluation, tables
from pipeline.analysis.comparison import compare_arms
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.devices import take_device
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Params
from stages import METRICS, MODELS, PLOTS, RESULTS, SPLIT, examples, run


def main(params: Params) -> None:
    torch.set_num_threads(params.training.threads)
    device = take_device(params.training.device)
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    sets = {name: examples(name, device) for name in card.sizes}
    results = {arm: artifacts.read_record(TrainingResult, MODELS / arm) for arm in params.arms}
    evaluations = {arm: evaluation.evaluate_arm(result, sets) for arm, result in results.items()}
    for arm, measured in evaluations.items():
        artifacts.write_record(RESULTS / "evaluation" / arm, measured)
    reference, *others = results
    comparisons = {
        arm: compare_arms(results[arm], evaluations[arm], results[reference], evaluations[reference]) for arm in others
    }
    data = tables.data_name(card, params.data.dataset)
    stand_in = "" if card.name == params.data.dataset else data
    for arm in params.arms:
        gain = comparisons.get(arm, {}).get("test_accuracy")
        metrics = tables.arm_metrics(evaluations[arm], gain, stand_in=stand_in)
        artifacts.write_json(METRICS / "arms" / f"{arm}.json", metrics)
    artifacts.write_json(METRICS / "study.json", tables.study(card.name, results, evaluations, comparisons))
    path = artifacts.read_record(TrainingResult, RESULTS / "l2_path")
    for name, rows in {
        "curves": tables.curve_rows(results),
        "accuracy": tables.accuracy_rows(results),
        "seeds": tables.seed_rows(results, evaluations),
        "confusion": tables.confusion_rows(evaluations, card.classes),
        "weights": tables.weight_rows(results),
        "l2_path": tables.l2_path_rows(path),
    }.items():
        artifacts.write_rows(PLOTS / f"{name}.csv", [{"dataset": card.name, **row} for row in rows])
    for arm, measured in evaluations.items():
        accuracy = measured.accuracies["test"][measured.headline].item()
        print(f"{arm}: {accuracy:.2f} % of the test set of {data}, headline model")


if __name__ == "__main__":
    run(main, "evaluate")
