"""Measure every arm on all three sets, compare the arms, and write metrics, plots and results."""

from __future__ import annotations

import torch

from pipeline import artifacts, evaluation, tables
from pipeline.params import Params
from pipeline.preprocessing import DatasetCard
from pipeline.training import TrainingResult
from stages import METRICS, MODELS, PLOTS, RESULTS, SPLIT, examples, run


def main(params: Params) -> None:
    torch.set_num_threads(params.training.threads)
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    sets = {name: examples(name) for name in card.sizes}
    results = {arm: artifacts.read_record(TrainingResult, MODELS / arm) for arm in params.arms}
    evaluations = {arm: evaluation.evaluate_arm(result, sets) for arm, result in results.items()}
    for arm, measured in evaluations.items():
        artifacts.write_record(RESULTS / "evaluation" / arm, measured)
    figures = {arm: tables.arm_metrics(results[arm], evaluations[arm]) for arm in results}
    artifacts.write_json(METRICS / "evaluation.json", {"dataset": card.name, **figures})
    reference, *others = results
    study = {
        arm: {
            quantity: tables.comparison_metrics(comparison)
            for quantity, comparison in evaluation.compare_arms(
                results[arm], evaluations[arm], results[reference], evaluations[reference]
            ).items()
        }
        for arm in others
    }
    artifacts.write_json(METRICS / "study.json", {"dataset": card.name, **study})
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
    for arm, metrics in figures.items():
        print(f"{arm:12s} test accuracy {metrics['test_accuracy']:.2f} % after {metrics['steps']:,} steps")


if __name__ == "__main__":
    run(main, "evaluate")
