"""Measure every arm on all three sets, compare the arms, and write metrics, plots and results."""

from __future__ import annotations

import torch

from pipeline import artifacts
from pipeline.analysis import evaluation, tables
from pipeline.analysis.comparison import compare_arms
from pipeline.data.preprocessing import DatasetCard
from pipeline.data.sources import require_classes
from pipeline.network.devices import take_device
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Params
from stages import METRICS, MODELS, PLOTS, RESULTS, SPLIT, examples, run


def main(params: Params) -> None:
    torch.set_num_threads(params.training.usable_threads)
    device = take_device(params.training.device)
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    with artifacts.damage_named(SPLIT / "card"):
        require_classes(card.name, card.classes)
    sets = {name: examples(name, device) for name in card.sizes}
    sizes = {"pixels": len(sets["train"][0]), "classes": len(card.classes)}
    results = {arm: artifacts.read_record(TrainingResult, MODELS / arm, **sizes) for arm in params.arms}
    evaluations = {arm: evaluation.evaluate_arm(result, sets) for arm, result in results.items()}
    reference = results[params.reference], evaluations[params.reference]
    comparisons = {
        arm: compare_arms(results[arm], evaluations[arm], *reference) for arm in results if arm != params.reference
    }
    data = tables.data_name(card.name, params.data.dataset)
    stand_in = "" if card.name == params.data.dataset else data
    for arm, measured in evaluations.items():
        artifacts.write_record(RESULTS / "evaluation" / arm, measured)
        gain = comparisons.get(arm, {}).get("test_accuracy")
        metrics = tables.arm_metrics(measured, gain, stand_in=stand_in)
        artifacts.write_json(METRICS / "arms" / f"{arm}.json", metrics)
        print(f"{arm}: {metrics['test']:.2f} % of the test set of {data}, headline model")
    artifacts.write_json(METRICS / "study.json", tables.study(card.name, results, evaluations, comparisons))
    path = artifacts.read_record(TrainingResult, RESULTS / "l2_path", **sizes)
    for name, table in {
        "curves": tables.curve_table(results),
        "accuracy": tables.accuracy_table(results),
        "seeds": tables.network_table(results, evaluations),
        "confusion": tables.confusion_table(evaluations, card.classes),
        "weights": tables.weight_table(results),
        "l2_path": tables.l2_path_table(path),
    }.items():
        table.insert(0, "dataset", card.name)
        artifacts.write_table(PLOTS / f"{name}.csv", table)


if __name__ == "__main__":
    run(main, "evaluate")
