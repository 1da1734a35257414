"""What the README shows is true: its table is that of the committed metrics, its Python runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tools import readme

README = Path("README.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_committed_metrics():
    show = ["git", "show", "HEAD:metrics/evaluation.json"]  # a run on another machine may differ in the last digits
    committed = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert readme.table(json.loads(committed)) in README


def test_its_python_runs_as_written():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *costs, last = done.stdout.splitlines()
    assert len(costs) == 20 and costs[0].startswith("step    100  cost ")
    assert float(last.split()[0]) > 80


def test_files_it_names_exist():
    for path in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert Path(path).is_file(), path
