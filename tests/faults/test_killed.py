"""Whatever is killed and whenever: the next `dvc repro` ends in the bytes of a run that nobody disturbed."""

import functools
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from clones import RUNNING
from dvc.utils.serialize import loads_yaml
from runs import PATIENCE, Repro, committed, copy_of, files_of, git, git_clone_of, has_ended, outs_of, until

from pipeline import artifacts

ROOT = Path(__file__).resolve().parents[2]
KINDS = [
    ("group", signal.SIGINT),
    ("stage", signal.SIGKILL),
    ("dvc", signal.SIGKILL),
    ("stage", signal.SIGTERM),
    ("dvc", signal.SIGTERM),
]
TARGET = "train@baseline"  # of the runs that each end another way
SECONDS = {"results/timing/record.json", "results/timing/SHA256SUMS"}  # what no other run repeats
MOMENTS = 20
SERIES = 2  # of runs, to which the moments are dealt in turn


def outputs_of(clone):
    """Read every output by its path in the clone, but those that hold seconds."""
    contents = {path.relative_to(clone.folder).as_posix(): content for path, content in clone.contents().items()}
    return {name: content for name, content in contents.items() if name not in SECONDS}


def temporary_files(clone):
    return [path for path in clone.folder.rglob(".*.tmp") if ".dvc" not in path.parts]


@pytest.fixture(scope="module")
def origin(clone, tmp_path_factory):
    return committed(clone, tmp_path_factory.mktemp("origin"))


@pytest.mark.slow
def test_a_first_run_ended_in_every_way_comes_to_the_bytes_of_an_undisturbed_one(clone, origin, tmp_path):
    """A fresh clone without a cache, whose run is ended in each way, one stage after the other, then let go."""
    twin = git_clone_of(origin, tmp_path)
    first, *others = list(clone.begins)[: len(KINDS) - 1]
    for k, ((target, number), stage) in enumerate(zip(KINDS, [first, first, *others], strict=True)):
        with Repro(twin, k, arguments=[TARGET]) as repro:
            assert until(functools.partial(repro.runs, stage)), repro.output()
            assert repro.send(target, number), repro.output()
            status, said = repro.finish()
        assert status != 0, said
        if target == "group":
            assert_is_one_line_each(said)
    with Repro(twin, len(KINDS), arguments=[TARGET]) as repro:
        status, said = repro.finish()
    assert status == 0, said
    made, undisturbed = outputs_of(twin), outputs_of(clone)
    assert {"models/baseline/record.json", "models/baseline/parameters.safetensors"} <= set(made)
    assert {path for path in made if made[path] != undisturbed[path]} == set()
    assert temporary_files(twin) == []
    assert git(twin, "status", "--porcelain") == ""


def assert_is_one_line_each(said):
    """At Ctrl-C the stage has said one line, and dvc another."""
    assert "Traceback" not in said
    lines = said.splitlines()
    assert len([line for line in lines if line == "interrupted" or line.endswith(": interrupted")]) == 1
    assert len([line for line in lines if line.startswith("ERROR: ")]) == 1


def lock_of(text):
    """Read a ``dvc.lock``, but for the seconds that the timing has written."""
    stages = loads_yaml(text)["stages"]
    del stages["timing"]["outs"]
    return stages


def assert_is_as_undisturbed(twin, clone, last):
    """Up to a stage every output has an undisturbed run's bytes, but for new seconds; git sees no other change."""
    names = list(clone.begins)
    outs = outs_of(clone.folder, *names[: names.index(last) + 1])
    made, expected = files_of(twin.folder, outs), files_of(clone.folder, outs)
    assert set(made) == set(expected)  # no temporary file among them
    timed = SECONDS if last == "timing" else set()
    assert {path for path in made if made[path] != expected[path]} <= timed
    assert git(twin, "status", "--porcelain").splitlines() in ([], [" M dvc.lock"] if timed else [])
    assert lock_of((twin.folder / "dvc.lock").read_text()) == lock_of(git(twin, "show", "HEAD:dvc.lock"))


def give_seconds(clone, twin):
    """Put the undisturbed run's seconds in the place of others, so that the report can be compared to the byte."""
    committed = git(twin, "show", "HEAD:dvc.lock")
    assert lock_of((twin.folder / "dvc.lock").read_text()) == lock_of(committed)
    git(twin, "checkout", "dvc.lock")
    (out,) = loads_yaml(committed)["stages"]["timing"]["outs"]
    shutil.rmtree(twin.folder / out["path"], ignore_errors=True)
    shutil.copytree(clone.folder / out["path"], twin.folder / out["path"])
    cached = [Path(".dvc/cache/files/md5", out["md5"][:2], out["md5"][2:])]  # the list of the folder's files, and these
    files = json.loads((clone.folder / cached[0]).read_text())
    cached += [Path(".dvc/cache/files/md5", each["md5"][:2], each["md5"][2:]) for each in files]
    for path in cached:
        (twin.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (twin.folder / path).unlink(missing_ok=True)
        shutil.copyfile(clone.folder / path, twin.folder / path)


def stage_at(moment, clone):
    """Tell which stage runs at a moment of an undisturbed run; the first while dvc itself starts."""
    first, *others = clone.begins
    return [first, *(name for name in others if clone.begins[name] <= moment)][-1]


def end_at(moment, clone, twin, k):
    """End a run at a moment of an undisturbed one's time; return the stage that this hit, or None."""
    stage = stage_at(moment, clone)
    begin = clone.begins[stage]
    with Repro(twin, k) as repro:
        if begin <= moment:
            assert until(lambda: f"Running stage '{stage}'" in repro.output()), repro.output()
        repro.wait(moment - begin if begin <= moment else moment)
        hit = repro.send(*KINDS[k % len(KINDS)])
        status, said = repro.finish()
    *_, ended = [stage, *re.findall(RUNNING, said)]
    print(f"{KINDS[k % len(KINDS)]} {moment:.2f} s into {clone.seconds:.2f} s, while {ended} ran: {hit=}, {status=}")
    return ended if hit and status else None


@pytest.mark.long
@pytest.mark.parametrize("series", range(SERIES))
def test_at_random_moments(clone, origin, tmp_path, series):
    """A fresh clone without a cache, whose run is ended again and again; each time the next one recovers.

    There is a moment in each twentieth of an undisturbed run's time; if it comes too late, one of its stage before it.
    Behind each the next `dvc repro`, of the stage that was hit, must come to its end. What that has made is what the
    run of the next moment finds, or, if that is another moment of the same stage, what the signal had left.
    """
    names = list(clone.begins)
    recovered = left = git_clone_of(origin, tmp_path / "fresh")
    reached = None
    for k in range(series, MOMENTS, SERIES):
        chance = random.Random(k)
        earliest, moment = (clone.seconds * each / MOMENTS for each in (k, k + 1))
        for draw in range(5):
            moment = chance.uniform(earliest, moment)
            stage = stage_at(moment, clone)
            is_new = reached is None or names.index(stage) > names.index(reached)
            twin = copy_of(recovered if is_new else left, tmp_path / f"{k}.{draw}")
            if ended := end_at(moment, clone, twin, k):
                break
            earliest = clone.begins[stage]
        assert ended, "no signal hit a run"
        reached = ended
        if reached == names[-1]:
            give_seconds(clone, twin)
        left, recovered = copy_of(twin, tmp_path / f"{k}.left"), twin
        with Repro(recovered, k + 1, arguments=[reached]) as repro:
            status, said = repro.finish()
        assert status == 0, said
        assert_is_as_undisturbed(recovered, clone, reached)
    assert reached == names[-1], "there is no moment of the last stage"


# Who stands for dvc notes itself, starts the stage as dvc does, through a shell or not, and waits for it; who stands
# for the stage waits for a line, does what a stage does first, and then nothing.
DVC = """
import json, os, subprocess, sys
from pathlib import Path
Path(".dvc/tmp").mkdir(parents=True)
Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"out": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}))
os.environ["DVC_STAGE"] = "x"
subprocess.Popen(sys.argv[1:]).wait()
"""
BY_HAND = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
ADOPTER = """
import ctypes, os, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
subprocess.Popen(sys.argv[1:])
os.wait(), os.wait()  # for its child, and for that child's, which it has adopted
"""
STAGE = (
    f"import runpy, sys; sys.stdin.readline(); runpy.run_path({str(ROOT / 'stages' / 'lifetime.py')!r});"
    "print('up', flush=True); sys.stdin.read()"
)
IN_SHELL = ["/bin/sh", "-c", '"$0" "$@"; exit $?']  # as more is to follow, the shell stays


def started(folder, *commands):
    """Start processes that each start the next, the last of them the stage."""
    each = [[sys.executable, "-c", command] if isinstance(command, str) else command for command in commands]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*itertools.chain(*each)], cwd=folder, start_new_session=True, **pipes)


def let_look(first):
    first.stdin.write("\n")
    first.stdin.flush()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("shell", [[], [IN_SHELL]], ids=["at once", "through a shell"])
def test_a_stage_ends_by_itself_when_its_dvc_was_killed(tmp_path, shell, number):
    with started(tmp_path, DVC, *shell, STAGE) as dvc:
        let_look(dvc)
        assert dvc.stdout.readline() == "up\n"
        below = psutil.Process(dvc.pid).children(recursive=True)
        assert len(below) == 1 + len(shell)
        dvc.send_signal(number)
        assert until(lambda: all(map(has_ended, below)))
        assert dvc.stdout.read() == "dvc has ended, and this stage with it\n"


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "not noted"])
def test_a_stage_whose_dvc_was_gone_before_it_could_look_ends_too(tmp_path, noted):
    with started(tmp_path, DVC, STAGE) as dvc:
        (stage,) = until(psutil.Process(dvc.pid).children)
        dvc.kill()
        dvc.wait()
        if not noted:
            (tmp_path / ".dvc/tmp/rwlock").unlink()
        let_look(dvc)
        assert until(lambda: has_ended(stage))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only on Linux may any process adopt orphans")
def test_a_new_parent_in_the_session_of_a_stage_is_not_taken_for_its_dvc(tmp_path):
    with started(tmp_path, ADOPTER, DVC, STAGE) as adopter:
        family = until(lambda: len(found := psutil.Process(adopter.pid).children(recursive=True)) == 2 and found)
        dvc, stage = family
        dvc.kill()
        assert until(lambda: stage.ppid() == adopter.pid)
        assert os.getsid(stage.pid) == adopter.pid
        let_look(adopter)
        assert until(lambda: has_ended(stage))


def test_a_stage_run_by_hand_goes_on_when_its_parent_was_killed(tmp_path):
    with started(tmp_path, BY_HAND, STAGE) as parent:
        let_look(parent)
        assert parent.stdout.readline() == "up\n"
        (stage,) = psutil.Process(parent.pid).children()
        parent.kill()
        assert until(lambda: stage.ppid() != parent.pid)
        assert stage.num_threads() == 1  # nobody in it watches
        assert not has_ended(stage)
        stage.kill()
        assert parent.stdout.read() == ""


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what a process has loaded")
def test_ctrl_c_while_a_stage_still_imports_is_one_line(tmp_path):
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.split"],
        cwd=tmp_path,  # where there is nothing to harm, should the signal come late
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with stage:
        assert until(lambda: any("libtorch" in each.path for each in psutil.Process(stage.pid).memory_maps()))
        stage.send_signal(signal.SIGINT)
        said, _ = stage.communicate(timeout=PATIENCE)
    assert said == "interrupted\n"
    assert stage.returncode == -signal.SIGINT
