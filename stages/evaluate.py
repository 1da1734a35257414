"""Measure every arm on all three sets, compare the arms, and write metrics, plots and results."""

from collections.abc import Mapping

import torch

from pipeline import artifacts
from pipeline.analysis import evaluation, tables
from pipeline.analysis.comparison import compare_arms
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.devices import take_device
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Params
from pipeline.text import in_lines
from stages import METRICS, MODELS, PLOTS, RESULTS, SPLIT, examples, run
from stages.progress import each, working


def main(params: Params) -> None:
    torch.set_num_threads(params.training.usable_threads)
    device = take_device(params.training.device)
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    sets = {name: examples(name, device) for name in card.sizes}
    results = {arm: artifacts.read_record(TrainingResult, MODELS / arm) for arm in params.arms}
    evaluation.require_same_networks(results, {})
    path = artifacts.read_record(TrainingResult, RESULTS / "l2_path")
    evaluations = {arm: evaluation.evaluate_arm(results[arm], sets) for arm in each("evaluate", results, "arms")}
    with working("evaluate: comparing and writing"):
        write(params, card, results, evaluations, path)


def write(
    params: Params,
    card: DatasetCard,
    results: Mapping[str, TrainingResult],
    evaluations: Mapping[str, evaluation.Evaluation],
    path: TrainingResult,
) -> None:
    """Compare the arms, and write all that is known of them."""
    titles = {name: arm.title for name, arm in params.arms.items()}
    reference = results[params.reference], evaluations[params.reference]
    comparisons = {
        arm: compare_arms(results[arm], evaluations[arm], *reference) for arm in results if arm != params.reference
    }
    data = tables.data_name(card.name, params.data.dataset)
    stand_in = {} if card.name == params.data.dataset else {"dataset": data}
    for arm, measured in evaluations.items():
        artifacts.write_record(RESULTS / "evaluation" / arm, measured)
        metrics = tables.arm_metrics(results[arm], measured)
        for folder, values in metrics.items():
            artifacts.write_json(METRICS / folder / f"{arm}.json", stand_in | values)
        print(in_lines(f"{arm}: {metrics['headline']['test']:.2f} % of the test set of {data}"))
    artifacts.write_json(METRICS / "study.json", tables.study(card.name, titles, results, evaluations, comparisons))
    for name, table in {
        "results": tables.results_table(results, evaluations, comparisons),
        "costs": tables.cost_table(results, evaluations),
        "accuracy": tables.curve_table(results, "validation accuracy"),
        "curves": tables.curve_table(results, "training cost", "validation cost"),
        "seeds": tables.network_table(results, evaluations),
        "weights": tables.weight_table(results),
        "confusion": tables.confusion_table(evaluations, card.classes),
        "l2_path": tables.l2_path_table(path),
    }.items():
        artifacts.write_table(PLOTS / f"{name}.csv", tables.for_plots(table, card.name, titles))


if __name__ == "__main__":
    run(main, "evaluate")
