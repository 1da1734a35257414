"""Print the results of the last run and their place; `make` ends with it, even if nothing had to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pandas import DataFrame
from ruamel.yaml import YAML

METRICS = Path("metrics")


def table(titles: dict[str, str], arms: dict[str, dict[str, Any]], study: dict[str, dict[str, Any]]) -> str:
    """Set the test accuracies of all arms, and their mean steps, in columns."""
    shown = DataFrame(study).T[["mean", "sd", "lowest", "highest"]].astype(float)
    shown.insert(0, "headline", DataFrame(arms).T["test"].astype(float))
    shown["steps"] = [f"{study[arm]['mean_steps']:,.0f}" for arm in shown.index]
    return shown.loc[list(titles)].rename(index=titles).to_string(float_format="{:.2f}".format)


def main() -> None:
    """Print the table and the paths."""
    study = json.loads((METRICS / "study.json").read_text(encoding="utf-8"))
    params = YAML(typ="safe").load(Path("params.yaml"))
    titles = {arm: params["arms"][arm]["title"] for arm in study["arms"]}
    arms = {arm: json.loads((METRICS / "arms" / f"{arm}.json").read_text(encoding="utf-8")) for arm in titles}
    if study["dataset"] != params["data"]["dataset"]:
        print(f"\nSTAND-IN DATA: no source gave {params['data']['dataset']}. The next make or dvc repro tries again.")
    print(f"\nTest accuracy on {study['dataset']}, %: headline model, and over all seeds; mean steps\n")
    print(table(titles, arms, study["arms"]))
    print("\nreport  report.docx\nplots   make plots writes dvc_plots/index.html")


if __name__ == "__main__":
    main()
