"""What is edited while a stage runs is not recorded as what the stage ran with."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from clones import ROOT, left_out
from dvc.utils.serialize import loads_yaml
from runs import copy_of
from wrong_params import COSTLY

import stages

# A line that a stage of the clone runs first: the edit comes while it runs, at the same moment every time.
EDITS = [
    pytest.param(
        'PARAMS.write_text(PARAMS.read_text().replace("split_seed: 0", "split_seed: 1"))',
        "data.split_seed",
        id="a parameter of its own",
    ),
    pytest.param(
        'import stages.lifetime as file; open(file.__file__, "a").write("# a comment\\n")',
        "stages/lifetime.py",
        id="its code",
        marks=pytest.mark.long,
    ),
]
UNREADABLE = {
    "half-written": "data: [",
    "a section that became a list": "data: [1]",
    "an alias": "data: &a 1\ntraining: *a",
}
OF_ANOTHER_STAGE = 'PARAMS.write_text(PARAMS.read_text().replace("max_steps: 100", "max_steps: 101"))'


@pytest.fixture
def edited_by(clone, tmp_path):
    """Give a clone whose split stage makes an edit while it runs."""

    def edited_by(line):
        here = copy_of(clone, tmp_path)
        stage = here.folder / "stages" / "split.py"
        text = stage.read_text().replace("import SOURCE, SPLIT, run", "import PARAMS, SOURCE, SPLIT, run")
        stage.write_text(text.replace("    dataset = ", f"    {line}\n    dataset = ", 1))
        return here

    return edited_by


def locked(clone):
    return loads_yaml((clone.folder / "dvc.lock").read_text())["stages"]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "named"), EDITS)
def test_a_stage_whose_inputs_were_edited_meanwhile_fails_in_one_line_and_runs_again(edited_by, line, named):
    clone = edited_by(line)
    before = locked(clone)["split"]
    with pytest.raises(
        AssertionError, match=rf"\nsplit: {named} changed while it ran, so its results are not kept: run dvc"
    ):
        clone.repro("split")
    assert locked(clone)["split"] == before
    stage = clone.folder / "stages" / "split.py"
    stage.write_text(stage.read_text().replace(f"    {line}\n", ""))
    assert "split" in clone.repro("split")
    assert clone.repro("split") == []


@pytest.mark.long
def test_an_edit_that_concerns_another_stage_alone_does_no_harm(edited_by):
    clone = edited_by(OF_ANOTHER_STAGE)
    assert "split" in clone.repro("split")
    assert loads_yaml((clone.folder / "params.yaml").read_text())["training"]["max_steps"] == 101
    assert locked(clone)["split"]["params"]["params.yaml"]["data.split_seed"] == 0


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_cannot_be_read_at_the_end_is_one_line_too(tmp_path, monkeypatch, text):
    shutil.copytree(ROOT, tmp_path, ignore=left_out, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "split")
    monkeypatch.setattr(stages.lifetime, "end_at_once", lambda: pytest.fail("the stage came to its end"))
    with pytest.raises(SystemExit) as caught:
        stages.run(lambda params: (tmp_path / "params.yaml").write_text(text), "split")
    assert re.match(r"(params\.yaml is not YAML as it should be: |split: data\.\w+, )", caught.value.code)
    assert caught.value.code.isprintable()


def test_a_file_that_cannot_be_read_at_the_start_is_named_under_dvc_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "split")
    monkeypatch.setattr(stages.lifetime, "end_at_once", lambda: pytest.fail("the stage came to its end"))
    for text, said in COSTLY.values():
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(SystemExit, match=f"params.yaml.*{re.escape(said)}") as caught:
            stages.run(lambda params: None, "split")
        assert caught.value.code.isprintable()


ENDS = """
import atexit, stages
atexit.register(print, "Python's own end")
stages.run(lambda params: print("done"), "split")
"""


@pytest.mark.parametrize(("env", "said"), [({"DVC_STAGE": "split"}, ["done"]), ({}, ["done", "Python's own end"])])
def test_a_stage_under_dvc_says_all_and_then_ends_at_once(tmp_path, env, said):
    shutil.copytree(ROOT, tmp_path, ignore=left_out, dirs_exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | env
    ended = subprocess.run(
        [sys.executable, "-c", ENDS], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert (ended.stdout.splitlines(), ended.stderr) == (said, "")
