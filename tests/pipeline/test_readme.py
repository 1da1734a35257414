"""What the README shows is true: its table is that of the committed metrics, its Python runs."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import docx
import pandas as pd
import pytest
from pandas import DataFrame

from pipeline.params import load_params
from tools import readme

README = Path("README.md").read_text(encoding="utf-8")


def committed(path):
    """Read a file as committed: a run on another machine may differ in the last digits."""
    return subprocess.run(["git", "show", f"HEAD:{path}"], capture_output=True, text=True, check=True).stdout


def test_the_table_is_that_of_the_committed_metrics():
    networks = pd.read_csv(io.StringIO(committed("plots/seeds.csv")))
    table = readme.table(networks, json.loads(committed("metrics/study.json"))["arms"])
    assert table in README
    assert all(arm.title in table for arm in load_params(Path("params.yaml")).arms.values())


def test_a_difference_without_an_interval_is_written_alone():
    study = {
        "baseline": {"mean": 90.0, "sd": 1.0},
        "l2": {"mean": 91.0, "sd": 0.5, "test_accuracy": {"difference": -1.0}},
    }
    networks = DataFrame({"arm": ["baseline", "l2"], "headline": 1, "steps": 9650, "epochs": 102.93})
    networks[["test_accuracy", "validation_accuracy", "train_accuracy"]] = 90.0
    *_, first, second = readme.table(networks, study).splitlines()
    assert first == "| Baseline | 90.00 | 90.00 | 90.00 | 9,650 | 102.9 | 90.00 ± 1.00 |  |"
    assert second.endswith("| 91.00 ± 0.50 | -1.00 |")


def test_a_picture_that_fails_leaves_the_readme_and_the_other_pictures_as_they_were(tmp_path, monkeypatch):
    for path in ("README.md", "params.yaml", "plots/seeds.csv", "metrics/study.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(committed(path), encoding="utf-8")
    (tmp_path / "README.md").write_text("<!-- results -->\nold\n<!-- end -->", encoding="utf-8")
    (tmp_path / "report.docx").write_bytes(b"report")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme.shutil, "which", lambda program: None if program == "chromium" else program)
    monkeypatch.setattr(readme, "distribution", lambda seeds: b"new")
    monkeypatch.setattr(readme, "report_page", lambda report, number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        readme.main()
    assert "old" in Path("README.md").read_text(encoding="utf-8")
    assert not Path("docs").exists()
    monkeypatch.setattr(readme, "report_page", lambda report, number: b"page")
    readme.main()
    assert "| Baseline |" in Path("README.md").read_text(encoding="utf-8")
    made = {path.name: path.read_bytes() for path in Path("docs").iterdir()}
    assert made == {"seeds.png": b"new", "report.png": b"page", "report.docx": b"report"}


@pytest.mark.xfail(reason="docs/report.docx is the old report until the pipeline has run", strict=True)
def test_the_report_beside_the_docs_has_the_committed_results():
    networks = pd.read_csv(io.StringIO(committed("plots/seeds.csv")))
    header, *rows = [[cell.text for cell in row.cells] for row in docx.Document("docs/report.docx").tables[0].rows]
    for arm, settings in load_params(Path("params.yaml")).arms.items():
        values = {row[0]: row[header.index(settings.title)] for row in rows}
        of_arm = networks[networks["arm"] == arm]
        headline = of_arm[of_arm["headline"] == 1].squeeze()
        assert values["Test accuracy (%)"] == f"{headline['test_accuracy']:.2f}"
        assert values["Iterations (training steps) to the stop"] == f"{headline['steps']:,}"
        mean, _, deviation = values["Mean test accuracy, all networks (%)"].split()
        assert float(mean) == pytest.approx(of_arm["test_accuracy"].mean(), abs=0.011)
        assert float(deviation) == pytest.approx(of_arm["test_accuracy"].std(), abs=0.011)
    assert Path("docs/report.docx").stat().st_size < 2**20


def test_its_python_runs_as_written():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *costs, last = done.stdout.splitlines()
    assert len(costs) == 20 and costs[0].startswith("step    100  cost ")
    assert float(last.split()[0]) > 80


def test_pictures_it_shows_exist_and_are_small():
    for path in re.findall(r"\]\((docs/[^)]+\.png)\)", README):
        assert Path(path).stat().st_size < 200e3, path
