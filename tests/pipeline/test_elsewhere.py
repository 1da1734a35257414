"""What docs/elsewhere.md says is true: its Python runs, and torch.nn predicts what the engine predicts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks import PATIENCE
from reference import assert_close
from samples import ARMS

from pipeline import L_model_forward, TrainingResult, artifacts
from stages import examples

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
NOTEBOOK, SEQUENTIAL = SNIPPETS[:3], SNIPPETS[3:]


def run(snippets):
    """Run snippets one after the other, as the cells of a notebook; what they define."""
    names = {}
    for snippet in snippets:
        exec(compile(snippet, "docs/elsewhere.md", "exec"), names)
    return names


def test_the_notebook_s_cells_run_and_learn(capsys):
    names = run(NOTEBOOK)
    assert names["dW"].shape == (2, 3) and str(names["dW"].numpy()) in capsys.readouterr().out
    assert names["accuracy"] > 90
    assert_close(names["probabilities"].sum(0), torch.ones(200, dtype=torch.float64))
    assert names["accuracies"].shape == (4,) and names["accuracies"].max() > 90


WORKER = """import multiprocessing
import torch
from pipeline import linear_forward

def compute(seed):
    random = torch.Generator().manual_seed(seed)
    A, W = torch.randn(400, 400, generator=random), torch.randn(400, 400, generator=random)
    return linear_forward(A, W, torch.zeros(400, 1))[0].sum().item()

if __name__ == "__main__":
    torch.set_num_threads(2)
    here = compute(0)
    with {context}.Pool(1) as pool:
        print(abs(pool.apply(compute, (0,)) - here) < 1)
"""


@pytest.mark.long
def test_a_worker_started_as_the_page_says_computes_after_torch_has_used_several_threads(tmp_path):
    (context,) = re.findall(r"Start worker processes with `([^`]+)`", PAGE)
    (tmp_path / "work.py").write_text(WORKER.format(context=context))
    command, env = [sys.executable, tmp_path / "work.py"], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("arm", ARMS)
def test_a_sequential_of_the_headline_model_predicts_as_the_engine_does(trained, monkeypatch, arm):
    monkeypatch.chdir(trained)
    load, predict = SEQUENTIAL
    names = run([load.replace('arm = "batchnorm"', f'arm = "{arm}"'), predict])
    result = artifacts.read_record(TrainingResult, Path("models") / arm)
    X, Y = examples("test")
    best = {name: of_all[names["headline"]] for name, of_all in result.parameters.items()}
    AL, _ = L_model_forward(X, best, arm == "batchnorm", inference=True)
    assert_close(names["probabilities"].mT, AL, 2e-6)  # single precision
    assert (AL.argmax(0) == Y.argmax(0)).double().mean() > 0.5  # it has learnt to tell digits apart
    assert sum(type(module).__name__ == "BatchNorm1d" for module in names["modules"]) == 3 * (arm == "batchnorm")


def test_links_and_tests_that_it_names_exist():
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert re.findall(r"\]\(#([^)]+)\)", PAGE) == anchors
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert named and all(f"def {name}(" in tests for name in named)
