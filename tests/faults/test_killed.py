"""Whatever is killed and whenever: the next `dvc repro` ends in the bytes of a run that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from runs import PATIENCE, Repro, git, git_clone_of, until

from pipeline import artifacts

ROOT = Path(__file__).resolve().parents[2]
KINDS = [
    ("group", signal.SIGINT),
    ("stage", signal.SIGKILL),
    ("dvc", signal.SIGKILL),
    ("stage", signal.SIGTERM),
    ("dvc", signal.SIGTERM),
]
TIMED = {"timing", "report"}  # the stages whose outputs hold seconds


def outputs_of(clone):
    """Read every output but the timing, and the report that shows it, by their paths in the clone."""
    contents = {path.relative_to(clone.folder).as_posix(): content for path, content in clone.contents().items()}
    contents.pop("results/timing.json", None)
    return contents


def temporary_files(clone):
    return [path for path in clone.folder.rglob(".*.tmp") if ".dvc" not in path.parts]


def disturb(clone, k, target, number, delay, *arguments):
    """Start a `dvc repro`, send a signal after a while and return the exit status and what was said."""
    with Repro(clone, k, arguments=arguments) as repro:
        time.sleep(delay)
        repro.send(target, number)
        return repro.finish()


@pytest.fixture(
    scope="module",
    params=["train@baseline", pytest.param("report", marks=pytest.mark.long)],
    ids=["to a trained arm", "to the report"],
)
def disturbed(clone, tmp_path_factory, request):
    """A fresh clone without a cache whose first run was ended once in each way, and then went through."""
    twin = git_clone_of(clone, tmp_path_factory.mktemp("disturbed"))
    moments = random.Random(0)
    ended = {
        (target, number): disturb(twin, k, target, number, moments.uniform(1.2, 3.5), request.param)
        for k, (target, number) in enumerate(KINDS)
    }
    with Repro(twin, len(KINDS), arguments=[request.param]) as repro:
        status, said = repro.finish()
    assert status == 0, said
    return twin, ended


def test_each_signal_ends_the_run_and_all_that_belongs_to_it(disturbed):
    _, ended = disturbed
    assert all(status != 0 for status, _ in ended.values()), ended


def test_after_all_that_the_outputs_are_those_of_an_undisturbed_run(clone, disturbed):
    twin, _ = disturbed
    made, undisturbed = outputs_of(twin), outputs_of(clone)
    assert {"models/baseline/record.json", "models/baseline/parameters.safetensors"} <= set(made)
    assert {path for path in made if made[path] != undisturbed[path]} == set()
    assert not (twin.folder / "report.docx").exists() or set(made) == set(undisturbed)


def test_no_temporary_file_is_left(disturbed):
    twin, _ = disturbed
    assert temporary_files(twin) == []


def test_ctrl_c_prints_one_line_and_no_traceback(disturbed):
    _, ended = disturbed
    _, said = ended["group", signal.SIGINT]
    assert "Traceback" not in said
    lines = said.splitlines()
    assert len([line for line in lines if line == "interrupted" or line.endswith(": interrupted")]) <= 1  # the stage's
    assert len([line for line in lines if line.startswith("ERROR: ")]) == 1  # and dvc's


def test_a_fresh_clone_is_clean_after_its_run_but_for_the_timing(disturbed):
    twin, _ = disturbed
    changed = git(twin, "status", "--porcelain").splitlines()
    assert changed == ([" M dvc.lock"] if (twin.folder / "report.docx").exists() else [])
    committed = yaml.safe_load(git(twin, "show", "HEAD:dvc.lock"))["stages"]
    now = yaml.safe_load((twin.folder / "dvc.lock").read_text())["stages"]
    assert [name for name in committed if now[name] != committed[name] and name not in TIMED] == []
    for name in TIMED:
        assert {**now[name], "outs": 0, "deps": 0} == {**committed[name], "outs": 0, "deps": 0}
    assert now["timing"]["deps"] == committed["timing"]["deps"]


@pytest.mark.long
@pytest.mark.parametrize("moment", range(20))
def test_at_a_random_moment(clone, tmp_path, moment):
    """Each time from a fresh clone without a cache; the moments are spread over an undisturbed run's length."""
    target, number = KINDS[moment % len(KINDS)]
    length = float(os.environ.get("UNDISTURBED_SECONDS", "40"))
    delay = length * (moment + random.Random(moment).random()) / 20
    twin = git_clone_of(clone, tmp_path)
    _, said = disturb(twin, moment, target, number, delay)
    assert "Traceback" not in said or delay < 2, said  # dvc itself is still importing then
    with Repro(twin, moment + 1) as repro:
        status, said = repro.finish()
    assert status == 0, said
    assert outputs_of(twin) == outputs_of(clone)
    assert temporary_files(twin) == []


# Who stands for dvc starts the stage as dvc does, through a shell or not, and waits for it; what stands for the stage
# does what a stage does first, and then nothing.
DVC = "import os, subprocess, sys; os.environ |= {}; subprocess.Popen(sys.argv[1:]).wait()"
STAGE = (
    "import runpy, sys, time; time.sleep(float(sys.argv[1]));"
    f"runpy.run_path({str(ROOT / 'stages' / 'lifetime.py')!r});"
    "print('up', flush=True); time.sleep(2 * 60)"
)


def started(*, shell=False, given=None, wait=0.0):
    stage = [sys.executable, "-c", STAGE, str(wait)]
    in_shell = ["/bin/sh", "-c", '"$0" "$@"; exit $?', *stage]  # as more is to follow, the shell stays
    return subprocess.Popen(
        [sys.executable, "-c", DVC.format(given or {}), *(in_shell if shell else stage)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("shell", [False, True], ids=["at once", "through a shell"])
def test_a_stage_ends_by_itself_when_its_dvc_was_killed(shell, number):
    with started(shell=shell, given={"DVC_STAGE": "x"}) as dvc:
        assert dvc.stdout.readline() == "up\n"
        below = psutil.Process(dvc.pid).children(recursive=True)
        assert len(below) == 1 + shell
        dvc.send_signal(number)
        assert until(lambda: not any(map(is_alive, below)))
        assert dvc.stdout.read() == "dvc has ended, and this stage with it\n"


def test_a_stage_whose_dvc_was_gone_before_it_could_look_ends_too():
    with started(given={"DVC_STAGE": "x"}, wait=0.5) as dvc:
        (stage,) = until(psutil.Process(dvc.pid).children)
        dvc.kill()
        assert until(lambda: not is_alive(stage))


def test_a_stage_run_by_hand_outlives_who_started_it():
    with started() as parent:
        assert parent.stdout.readline() == "up\n"
        (stage,) = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait(PATIENCE)
        assert until(lambda: stage.ppid() != parent.pid)
        time.sleep(0.5)  # five looks
        assert is_alive(stage)
        stage.kill()


def killed_while(step, path):
    """Let a process write a file and be killed when it takes a step of it."""
    child = os.fork()
    if not child:
        setattr(Path, step, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
        artifacts.write_json(path, {"new": 1})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path):
    path = tmp_path / "a[1].json"
    artifacts.write_json(path, {"old": 1})
    artifacts.write_json(tmp_path / "b.json", {})
    for _ in range(2):
        killed_while("replace", path)
        assert artifacts.read_json(path) == {"old": 1}
    left = [each.name for each in tmp_path.glob(".*")]
    assert left
    assert all(name.startswith(".a[1].json.") and name.endswith(".tmp") for name in left)
    artifacts.write_json(path, {"new": 1})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a[1].json", "b.json"]


def test_ctrl_c_while_a_stage_still_imports_is_one_line():
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.split"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with stage:
        assert until(lambda: any("torch" in each.path for each in psutil.Process(stage.pid).memory_maps()))
        stage.send_signal(signal.SIGINT)
        said, _ = stage.communicate(timeout=PATIENCE)
    assert said == "interrupted\n"
    assert stage.returncode == -signal.SIGINT
