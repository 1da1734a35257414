"""Write the Word report from the results."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

from pipeline import artifacts
from pipeline.evaluation import Evaluation
from pipeline.params import Params
from pipeline.preprocessing import DatasetCard
from pipeline.report import Study, build_report
from pipeline.training import TrainingResult
from stages import MODELS, RESULTS, SPLIT, run

REPORT = Path("report.docx")


def main(params: Params) -> None:
    study = Study(
        params=params,
        card=artifacts.read_record(DatasetCard, SPLIT / "card"),
        results={arm: artifacts.read_record(TrainingResult, MODELS / arm) for arm in params.arms},
        evaluations={arm: artifacts.read_record(Evaluation, RESULTS / "evaluation" / arm) for arm in params.arms},
        path=artifacts.read_record(TrainingResult, RESULTS / "l2_path"),
        timing=artifacts.read_json(RESULTS / "timing.json"),
        versions={"Python": platform.python_version(), "torch": version("torch"), "NumPy": version("numpy")},
    )
    artifacts.write_bytes(REPORT, build_report(study))
    print(f"report: {REPORT}")


if __name__ == "__main__":
    run(main, "report")
