"""Write the Word report from the results."""

import platform
from importlib.metadata import version
from pathlib import Path

from pipeline import artifacts
from pipeline.analysis.beginnings import first_gradient_norms
from pipeline.analysis.evaluation import Evaluation, require_same_networks
from pipeline.analysis.tables import data_name
from pipeline.analysis.timing import Timing
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Params
from pipeline.report.build import build_report
from pipeline.report.study import Study
from stages import MODELS, RESULTS, SPLIT, examples, run
from stages.progress import working

REPORT = Path("report.docx")
GRADIENT_SAMPLE = 1000  # training examples for the gradients of the first step
PACKAGES = {"torch": "torch", "NumPy": "numpy", "SciPy": "scipy", "Matplotlib": "matplotlib", "DVC": "dvc"}


def main(params: Params) -> None:
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    results = {arm: artifacts.read_record(TrainingResult, MODELS / arm) for arm in params.arms}
    evaluations = {arm: artifacts.read_record(Evaluation, RESULTS / "evaluation" / arm) for arm in results}
    require_same_networks(results, evaluations)
    X, Y = (columns[:, :GRADIENT_SAMPLE] for columns in examples("train"))
    study = Study(
        params=params,
        card=card,
        results=results,
        evaluations=evaluations,
        path=artifacts.read_record(TrainingResult, RESULTS / "l2_path"),
        gradients={arm: first_gradient_norms(X, Y, result) for arm, result in results.items()},
        timing=artifacts.read_record(Timing, RESULTS / "timing"),
        versions={"Python": platform.python_version(), **{title: version(name) for title, name in PACKAGES.items()}},
    )
    with working("report: drawing and writing"):
        artifacts.write_bytes(REPORT, build_report(study))
    print(f"{REPORT} is about {data_name(study.card.name, params.data.dataset)}")


if __name__ == "__main__":
    run(main, "report")
