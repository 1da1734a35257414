"""Print what the last run came to and where it lies; `make` ends with it, also where nothing had to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

METRICS = Path("metrics")
COLUMNS = ("headline", "mean", "sd", "lowest", "highest", "steps")


def table(titles: dict[str, str], arms: dict[str, dict[str, Any]], study: dict[str, dict[str, Any]]) -> str:
    """Set the test accuracies of all arms, and their mean steps, in columns."""
    rows = [["", *COLUMNS]]
    for arm, title in titles.items():
        accuracies = [arms[arm]["test"], *(study[arm][name] for name in COLUMNS[1:-1])]
        rows.append([title, *(f"{value:.2f}" for value in accuracies), f"{study[arm]['mean_steps']:,.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def main() -> None:
    """Print the table and the paths."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    titles = {arm: settings["title"] for arm, settings in params["arms"].items()}
    arms = {arm: json.loads((METRICS / "arms" / f"{arm}.json").read_text(encoding="utf-8")) for arm in titles}
    study = json.loads((METRICS / "study.json").read_text(encoding="utf-8"))
    print(f"\nTest accuracy on {study['dataset']}, %: headline model, and over all seeds; mean steps\n")
    print(table(titles, arms, study["arms"]))
    print("\nreport  report.docx\nplots   make plots writes dvc_plots/index.html")


if __name__ == "__main__":
    main()
