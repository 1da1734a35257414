"""Write the README's table and picture from the results of the last run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from pipeline import artifacts, figures
from pipeline.params import load_params

README = Path("README.md")
PICTURE = Path("docs/seeds.png")
HEADER = ["", "Test (%)", "Validation (%)", "Train (%)", "Test, all seeds (%)", "Median (%)", "Steps", "Epochs"]


def table(metrics: dict[str, Any]) -> str:
    """Return the table of all arms as Markdown."""
    rows = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)]]
    for name, arm in load_params(Path("params.yaml")).arms.items():
        ours = metrics[name]
        rows.append(
            [
                arm.title,
                *(f"{ours[f'{split}_accuracy']:.2f}" for split in ("test", "validation", "train")),
                f"{ours['test_accuracy_mean']:.2f} ± {ours['test_accuracy_sd']:.2f}",
                f"{ours['test_accuracy_median']:.2f}",
                f"{ours['steps']:,}",
                f"{ours['epochs']:.1f}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def picture() -> bytes:
    """Return the distribution of test accuracy over the seeds as a PNG file."""
    titles = {name: arm.title for name, arm in load_params(Path("params.yaml")).arms.items()}
    rows = artifacts.read_rows(Path("plots/seeds.csv"))
    accuracies = {
        arm: torch.tensor([float(row["test_accuracy"]) for row in rows if row["arm"] == arm]) for arm in titles
    }
    return figures.seed_distribution(accuracies, titles)


def main() -> None:
    """Put the table between its two marks and the picture beside the docs."""
    metrics = artifacts.read_json(Path("metrics/evaluation.json"))
    text = README.read_text(encoding="utf-8")
    marked = re.sub(
        r"(?s)(<!-- results -->\n).*?(\n<!-- end -->)", lambda mark: mark[1] + table(metrics) + mark[2], text
    )
    README.write_text(marked, encoding="utf-8")
    artifacts.write_bytes(PICTURE, picture())


if __name__ == "__main__":
    main()
