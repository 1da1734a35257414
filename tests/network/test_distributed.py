"""Networks divided among processes are those of one process; a rank that dies is named, and nobody waits for it."""

import contextlib
import ctypes
import functools
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch
from clones import PARAMS, ROOT, ran, small_params
from pages import Page
from ranks import INTERFACE, PATIENCE, Fork, forks, free_port, run_ranks, two_hosts
from reference import DIMS, blobs
from runs import has_ended
from samples import SETS, assert_same_training, is_same, recorded, write_split
from torch.distributed.run import main as torchrun

import stages
from benchmarks import scaling
from pipeline import TrainingResult, artifacts, train
from pipeline.network import distributed
from pipeline.network.distributed import Group, _merge, _share
from pipeline.params import load_params
from stages import l2_path, launch
from stages import train as train_stage

X, Y = blobs(40, noise=1.5)
SETTINGS = {
    "learning_rate": 0.1,
    "max_steps": 400,
    "batch_size": 10,
    "validation": blobs(300, noise=1.5, seed=1),
    "evaluate_every": 10,
}
SEEDS = [0, 1, 2, 3, 4]
STEADY = [1, 2, 6, 8, 12]  # with batch norm; in other networks a rounding error of float32 grows to 1e-2
SCALING_PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
CLONE_NEWNET = 0x40000000
SKIPPED = 77
TORCHRUN = Path(sys.executable).with_name("torchrun")


# what needs no second process


@pytest.mark.parametrize(("count", "size"), [(1, 1), (5, 2), (16, 4), (7, 7), (1000, 64)])
def test_every_network_has_one_rank_and_the_shares_differ_by_one_at_most(count, size):
    parts = [range(count)[_share(rank, size, count)] for rank in range(size)]
    assert [network for part in parts for network in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert len(parts) == size
    assert 1 <= min(sizes) <= max(sizes) <= min(sizes) + 1


def test_the_measurements_on_the_page_are_those_that_are_kept():
    assert f"<!-- scaling -->\n{scaling.as_text(artifacts.read_json(scaling.RESULTS))}\n<!-- end -->" in SCALING_PAGE


def test_fewer_networks_than_processes_is_an_error():
    with pytest.raises(ValueError, match=r"^3 networks cannot be shared by 4 processes: each needs one at least$"):
        _share(0, 4, 3)


def test_parts_merged_are_the_whole_also_where_one_stops_long_before_the_other():
    whole = train(X, Y, DIMS, seeds=SEEDS, **SETTINGS)
    order = sorted(range(len(SEEDS)), key=lambda k: whole.steps[k])
    assert whole.steps[order[1]] < whole.steps[order[2]] - 10
    seeds = [SEEDS[k] for k in order]
    parts = [train(X, Y, DIMS, seeds=part, **SETTINGS) for part in (seeds[:2], seeds[2:])]
    assert len(parts[0].evaluation_steps) < len(parts[1].evaluation_steps)
    in_that_order = train(X, Y, DIMS, seeds=seeds, **SETTINGS)
    assert_same_training(_merge(parts), in_that_order, 1e-9)
    backwards = train(X, Y, DIMS, seeds=seeds[2:] + seeds[:2], **SETTINGS)
    assert_same_training(_merge(parts[::-1]), backwards, 1e-9)


@pytest.mark.parametrize("result", [recorded([150, 100, 300], diverged=[1]), recorded([50])], ids=["three", "no cost"])
def test_a_result_survives_the_wire_bit_by_bit(monkeypatch, result):
    wire = []
    monkeypatch.setattr(torch.distributed, "send", lambda content, rank: wire.append(content))
    monkeypatch.setattr(torch.distributed, "recv", lambda content, rank: content.copy_(wire.pop(0)))
    assert Group(1, ["a", "b"])._gather(result) is None
    assert is_same(Group(0, ["a", "b"])._receive(1), result)
    assert wire == []


@pytest.mark.parametrize(("of_the_host", "ranks", "each"), [(2, 1, 2), (2, 2, 1), (8, 3, 2), (1, 4, 1)])
def test_ranks_divide_the_threads_of_their_host(monkeypatch, of_the_host, ranks, each):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert Group(1, ["a"] * ranks).threads(of_the_host) == each


def test_without_torchrun_a_process_has_all_threads_and_all_networks():
    with distributed.group() as alone:
        assert alone.threads(8) == 8
        result = alone.train(X, Y, DIMS, seeds=SEEDS, l2=0.0, progress=lambda snapshot: None, **SETTINGS)
    assert is_same(result, train(X, Y, DIMS, seeds=SEEDS, **SETTINGS))


# 2 and 4 processes


def settings_in(dtype):
    return SETTINGS | {"validation": tuple(each.to(dtype) for each in SETTINGS["validation"])}


def train_together(folder, seeds=SEEDS, l2=0.0, dtype=torch.float64, **settings):
    """Train on all ranks; rank 0 leaves the result and what the progress callback saw."""
    snapshots = []
    with distributed.group() as ranks:
        settings = settings_in(dtype) | settings
        result = ranks.train(X.to(dtype), Y, DIMS, seeds=seeds, l2=l2, progress=snapshots.append, **settings)
        if ranks.rank == 0:
            artifacts.write_record(folder / "result", result)
            seen = [(each.step, each.training, each.best_validation_cost) for each in snapshots]
            (folder / "seen.json").write_text(json.dumps(seen))
        else:
            assert result is None


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    "settings",
    [{"use_batchnorm": True, "seeds": STEADY}, {"seeds": [1, 1, 1, 0, 0], "l2": [0.0, 0.3, 0.01, 0.1, 0.0]}],
    ids=["seeds", "lambdas"],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_processes_train_the_networks_of_one(tmp_path, size, settings, dtype, tolerance):
    alone = train(X.to(dtype), Y, DIMS, **({"seeds": SEEDS, "l2": 0.0} | settings_in(dtype) | settings))
    assert len(set(alone.steps)) >= 3
    statuses, said = run_ranks(size, lambda: train_together(tmp_path, dtype=dtype, **settings), tmp_path)
    assert (statuses, said) == ([0] * size, [""] * size)
    assert_same_training(artifacts.read_record(TrainingResult, tmp_path / "result"), alone, tolerance)


def test_rank_0_shows_how_the_networks_of_all_stand(tmp_path):
    # The last seed's network reaches the lowest validation cost, and it is not rank 0's.
    alone = train(X, Y, DIMS, seeds=SEEDS, patience=400, **SETTINGS)
    lowest = alone.validation_costs.nan_to_num(math.inf).amin(dim=0)
    seeds = [SEEDS[k] for k in lowest.argsort(descending=True)]
    statuses, said = run_ranks(2, lambda: train_together(tmp_path, seeds=seeds, patience=400), tmp_path)
    assert statuses == [0, 0], said
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen[0][:2] == [100, len(SEEDS)]
    assert [step for step, *_ in seen] == sorted(step for step, *_ in seen)
    assert seen[-1] == [400, 0, pytest.approx(lowest.min().item(), rel=1e-9)]


# stages


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder in which the training stages can run on a small split."""
    for name in ("pipeline", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text(small_params(training={"processes": 2, "threads": 2}))
    write_split(tmp_path / "data" / "split", SETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params_of_one_process(workspace):
    """Load small parameters; this process must keep its one thread, since OpenMP's others do not survive a fork."""
    (workspace / "alone.yaml").write_text(small_params(training={"threads": 1}))
    return load_params(workspace / "alone.yaml")


# two hosts


@pytest.fixture(scope="module")
def hosts():
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    try:
        with two_hosts() as both:
            yield both
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", error)
        pytest.skip(f"two hosts need ip and the right to make network namespaces (root): {said}")


def start_on(hosts, started, workspace, run_torchrun):
    """Start on each host the torchrun that the page has for it, on the baseline."""
    page = Page("scaling.md", "On several machines")
    for rank, host in enumerate(hosts):
        exported = dict(each.split("=") for each in page.take("export").split()[1:])
        assert exported["GLOO_SOCKET_IFNAME"] == INTERFACE
        command = page.take("torchrun --nnodes 2", l2="baseline").split()[1:]
        assert command[3] == str(rank) and hosts[0].address in command
        function = functools.partial(run_torchrun, command)
        started.append(Fork(function, workspace / f"host{rank}.log", exported, host))


def test_torchrun_trains_an_arm_on_two_hosts_as_one_process_does(hosts, workspace):
    train_stage.main(params_of_one_process(workspace), "baseline")
    alone = artifacts.read_record(TrainingResult, workspace / "models" / "baseline")
    shutil.rmtree(workspace / "models")
    with forks() as started:
        start_on(hosts, started, workspace, torchrun)
        assert [fork.wait() for fork in started] == [0, 0], [fork.said() for fork in started]
        assert "train@baseline: mean 100 steps; 3 of 3 reached max_steps" in started[0].said().splitlines()
    together = artifacts.read_record(TrainingResult, workspace / "models" / "baseline")
    assert_same_training(together, alone, 1e-4)


@pytest.mark.long
@pytest.mark.parametrize("dead", [0, 1])
def test_torchrun_fails_on_both_hosts_and_names_the_rank_that_was_killed_on_one(hosts, workspace, dead):
    (workspace / "params.yaml").write_text(small_params(training={"max_steps": 10**7, "patience": 10**7}))
    with forks() as started:
        start_on(hosts, started, workspace, lambda command: os.execv(TORCHRUN, [TORCHRUN, *command]))
        # Both ranks train. So large a cap leaves no room for the whole label.
        wait_until(lambda: re.search(r"train@ba\S*: [1-9]\d*/", started[0].said()), started[0].said)
        ranks = [rank for fork in started for rank in children_of(fork, 1)]
        ranks[dead].kill()
        assert [fork.wait() for fork in started] == [1, 1]
        said = [fork.said() for fork in started]
    named = f"train@baseline: rank {1 - dead} on host-{1 - dead}: rank {dead} on host-{dead} died or cannot be reached"
    assert any(each.startswith(named) for each in said[1 - dead].splitlines()), said
    assert "SIGKILL" in said[dead] and "Traceback (most recent call last)" not in said[1 - dead].partition(named)[0]
    assert all(map(has_ended, ranks))
    assert not (workspace / "models").exists()


def torchrun_on_one_machine():
    command = Page("scaling.md", "On one machine").take("OMP_NUM_THREADS=1 torchrun", l2="baseline")
    torchrun(command.split()[2:])


def stage_with_two_ranks():
    launch.run_training(train_baseline, lambda params: 2, "train@baseline")


@pytest.mark.parametrize("start", [torchrun_on_one_machine, stage_with_two_ranks])
def test_ranks_on_one_machine_meet_even_if_its_name_does_not_resolve(hosts, workspace, start):
    def start_without_a_name():
        del os.environ["GLOO_SOCKET_IFNAME"]
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo(socket.gethostname(), None)
        start()

    with forks() as started:
        started.append(Fork(start_without_a_name, workspace / "start.log", {"OMP_NUM_THREADS": "1"}, hosts[0]))
        assert started[0].wait() == 0, started[0].said()
        said = started[0].said()
    assert "\ntrain@baseline: mean 100 steps; 3 of 3 reached max_steps\n" in said
    assert ("GLOO_SOCKET_IFNAME" in said) == (start is torchrun_on_one_machine)  # gloo warns where nobody has set it
    assert (workspace / "models" / "baseline").exists()


def test_a_rank_that_dies_on_another_host_is_named_with_its_host(hosts, tmp_path, endless):
    statuses, said = run_ranks(2, as_stage(on_rank(1, die), endless), tmp_path, hosts)
    assert statuses == [1, -signal.SIGKILL]
    assert said[0].endswith(line(0, lost(1, "host-1"), "host-0"))


TWO = " -S training.threads=2"  # so that two ranks start


@pytest.mark.long
def test_an_experiment_starts_ranks_and_dvc_takes_what_torchrun_made_as_the_result_of_a_stage(clone, tmp_path):
    here = clone.copied(tmp_path / "here")
    here.shell(Page("scaling.md", "A thousand seeds").take("dvc exp run", **{"100 1099": "0 4"}) + f"{TWO} train@l2")
    assert len(artifacts.read_record(TrainingResult, here.folder / "models" / "l2").seeds) == 5
    here.shell("git checkout . && dvc checkout")
    few = {"16 31": "0 1", "1.0e-4,1.0e-3,3.0e-3,1.0e-2,": ""}
    here.shell(Page("scaling.md", "A grid of lambdas").take("dvc exp run", **few, **{" l2_path": f"{TWO} l2_path"}))
    grid = artifacts.read_record(TrainingResult, here.folder / "results" / "l2_path")
    assert (grid.l2, grid.seeds) == ([0.0, 0.0, 0.03, 0.03], [0, 1, 0, 1])
    here.shell("git checkout . && dvc checkout")
    page = Page("scaling.md", "On several machines")
    assert ran(here.shell(page.take("dvc repro split"))) == []  # it is there
    with here.edited("params.yaml", small_params(arms={"l2": PARAMS["arms"]["l2"] | {"l2": 0.3}})):
        here.shell(Page("scaling.md", "On one machine").take("OMP_NUM_THREADS=1 torchrun"))
        here.shell(page.take("dvc commit"))
        assert ran(here.shell(page.take("dvc repro"))) == ["check", "evaluate", "report"]
    assert {command.split()[0] for command in page.left} == {"export", "torchrun"}  # above, on two hosts


@pytest.mark.long
def test_machines_train_all_arms_and_the_first_takes_the_results_and_goes_on(clone, tmp_path):
    page, here = Page("scaling.md", "A thousand seeds"), clone.copied(tmp_path / "here")
    assert "training.seeds=" in page.take("dvc exp run")  # on one machine: as in any run
    split = page.take("dvc exp run", **{"100 1099": "0 5", "threads=16": "threads=2"})
    assert ran(here.shell(split)) == ["check"]  # the split is there
    export_machine, export_others = page.take("export"), page.take("export", eth0="lo")
    on_loopback = {"--nnodes 4": "--nnodes 2", "--nproc-per-node 16": "--nproc-per-node 1", "192.0.2.1": "127.0.0.1"}
    loop = [page.take("for arm"), page.take("    torchrun", **on_loopback, **{"29500": free_port()}), page.take("done")]
    first, second = (
        "\n".join([export_machine.replace("=0", f"={machine}"), export_others, *loop]) for machine in range(2)
    )
    printed = here.shell(f"({second}) & ({first}); wait $!")
    assert re.findall(r"train@(\w+): mean 100 steps; 6 of 6 reached max_steps", printed) == list(PARAMS["arms"])
    here.shell(page.take("dvc commit"))
    assert ran(here.shell(page.take("dvc repro"))) == ["evaluate", "l2_path", "report"]
    assert page.left == []


# the stage starts its ranks itself


ENDLESS = {"processes": 2, "threads": 2, "max_steps": 10**7, "patience": 10**7}


def start_stage(workspace):
    """Start an arm's stage, whose processes this one does not have to wait for."""
    return Fork(stage_with_two_ranks, workspace / "stage.log")


def start_endless_stage(workspace):
    (workspace / "params.yaml").write_text(small_params(training=ENDLESS))
    return start_stage(workspace)


def ends_of(fork):
    """Give the lines of a fork that do not show progress."""
    return [line for line in fork.said().splitlines() if "training, " not in line]


def children_of(fork, count):
    """Wait until a fork has started its children."""
    children = []

    def has_started():
        children[:] = psutil.Process(fork.pid).children()
        return len(children) >= count

    wait_until(has_started, fork.said)
    return children


def wait_until(condition, said):
    """Wait for what processes are to do; if they do not, show what they said."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("device", "gpus", "threads", "processes", "networks", "started"),
    [
        ("cpu", 0, 4, 2, 16, 2),
        ("cpu", 0, 2, 4, 16, 2),
        ("cpu", 3, 4, 4, 3, 3),
        ("cpu", 0, 1, 2, 16, 1),
        ("auto", 0, 4, 4, 16, 4),
        ("auto", 3, 4, 4, 16, 3),
        ("cuda", 1, 4, 4, 16, 1),
        ("cuda", 8, 4, 4, 16, 4),
    ],
)
def test_each_process_has_a_thread_a_network_and_a_gpu(
    monkeypatch, device, gpus, threads, processes, networks, started
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    changes = {"device": device, "threads": threads, "processes": processes}
    training = load_params(ROOT / "params.yaml").training.model_copy(update=changes)
    assert launch.processes_for(training, networks) == started


@pytest.mark.slow
def test_two_ranks_write_the_same_bytes_each_time(workspace):
    written = []
    for _ in range(2):
        with forks() as started:
            started.append(start_stage(workspace))
            assert started[0].wait() == 0, started[0].said()
        written.append({each.name: each.read_bytes() for each in (workspace / "models" / "baseline").iterdir()})
        shutil.rmtree(workspace / "models")
    assert {"record.json", "parameters.safetensors"} <= set(written[0])
    assert written[0] == written[1]


def damage(workspace):
    (workspace / "data" / "split" / "train" / "record.json").write_text("{")


@pytest.mark.parametrize(
    ("arm", "before", "said"),
    [
        ("baseline", damage, r"train@baseline: .*data/split/train.* is damaged.*"),
        ("nonsense", None, r"train@nonsense: there is no arm 'nonsense' in params\.yaml.*"),
    ],
)
def test_what_every_rank_would_say_is_said_once(workspace, arm, before, said):
    if before:
        before(workspace)

    def stage():
        launch.run_training(lambda params: None, lambda params: train_stage.networks_of(params, arm), f"train@{arm}")

    with forks() as started:
        started.append(Fork(stage, workspace / "stage.log"))
        assert started[0].wait() == 1
        (line,) = started[0].said().splitlines()
    assert re.fullmatch(said, line)


@pytest.mark.slow
def test_training_processes_makes_the_stage_start_them_and_leaves_no_folder_of_logs(workspace, monkeypatch):
    (workspace / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(workspace / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with forks() as started:
        stage = functools.partial(launch.run_training, l2_path.main, lambda params: 2, "l2_path")
        started.append(Fork(stage, workspace / "stage.log"))
        assert started[0].wait() == 0
        begins, ends = started[0].said().splitlines()
        assert (begins, ends) == (
            "l2_path: 0/100, 2 training, cap in ?",
            "l2_path: mean 100 steps; 2 of 2 reached max_steps",
        )
    assert [file for place in ("temporary", ".dvc/tmp") for file in (workspace / place).iterdir()] == []
    together = artifacts.read_record(TrainingResult, workspace / "results" / "l2_path")
    l2_path.main(params_of_one_process(workspace))
    assert_same_training(together, artifacts.read_record(TrainingResult, workspace / "results" / "l2_path"), 1e-4)


RANKS = {
    "forks of two threads": ("Group.threads = lambda self, of_the_host: 2", "fork"),
    "started anew, as where there is a GPU": ("torch.cuda.is_available = lambda: True", "spawn"),
}
STAGE = """
import torch
from pipeline.network.distributed import Group
from stages import l2_path, launch

{ranks}
make = launch.LaunchConfig
launch.LaunchConfig = lambda **given: print(given["start_method"], flush=True) or make(**given)
launch.run_training(l2_path.main, lambda params: 2, "l2_path")
"""


@pytest.mark.slow
@pytest.mark.parametrize("ranks", RANKS)
def test_a_stage_starts_its_ranks_as_the_machine_allows(workspace, ranks):
    change, method = RANKS[ranks]
    command = [sys.executable, "-c", STAGE.format(ranks=change)]
    said = subprocess.run(
        command, cwd=workspace, check=True, timeout=PATIENCE, stdout=subprocess.PIPE, text=True
    ).stdout
    assert said.splitlines()[0] == method
    assert artifacts.read_record(TrainingResult, workspace / "results" / "l2_path").seeds == [0, 0]


def has_a_bug(*params):
    raise KeyError("a bug")


@pytest.mark.parametrize(
    "start",
    [
        lambda: launch.run_training(has_a_bug, lambda params: 2, "l2_path"),
        lambda: launch.launch_ranks("scaling", 2, has_a_bug),
    ],
    ids=["stage", "benchmark"],
)
def test_a_rank_s_traceback_is_shown(workspace, start):
    with forks() as started:
        started.append(Fork(start, workspace / "stage.log"))
        assert started[0].wait() == 1
        assert "KeyError: 'a bug'\n" in started[0].said()


def test_the_launcher_looks_for_errors_in_the_clone(workspace):
    """A file there would be read as a pickle if a rank fails."""

    def stage():
        make = tempfile.NamedTemporaryFile

        def shown(*arguments, **keywords):
            file = make(*arguments, **keywords)
            print(file.name)
            return file

        tempfile.NamedTemporaryFile = shown
        stage_with_two_ranks()

    with forks() as started:
        started.append(Fork(stage, workspace / "stage.log"))
        assert started[0].wait() == 0
        places = [line for line in started[0].said().splitlines() if "errorfile" in line]
    assert len(places) == 2
    assert {str(Path(place).parent) for place in places} == {f"{workspace}/.dvc/tmp"}


@pytest.mark.parametrize("left", ["TORCHELASTIC_RUN_ID", "RANK"])
def test_a_stage_is_no_rank_where_half_of_what_torchrun_sets_was_left_in_the_environment(workspace, left, monkeypatch):
    (workspace / "params.yaml").write_text(small_params())
    with forks() as started:
        stage = functools.partial(launch.run_training, train_baseline, lambda params: 3, "train@baseline")
        started.append(Fork(stage, workspace / "stage.log", {left: "0"}))
        assert started[0].wait() == 0, started[0].said()
    assert (workspace / "models" / "baseline").exists()


def train_baseline(params):
    train_stage.main(params, "baseline")


def test_without_a_loopback_interface_a_stage_says_so_in_one_line(workspace):
    def alone():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            sys.exit(SKIPPED)
        stage_with_two_ranks()

    with forks() as started:
        started.append(Fork(alone, workspace / "stage.log"))
        status = started[0].wait()
        if status == SKIPPED:
            pytest.skip("a machine without a network needs the right to make a network namespace (root)")
        said = "no loopback interface, over which ranks meet: set training.processes to 1"
        assert (status, started[0].said()) == (1, f"train@baseline: {said}\n")
    assert not (workspace / "models").exists()


def test_an_interface_of_another_name_is_not_taken_for_the_loopback(monkeypatch):
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0")])
    with pytest.raises(RuntimeError, match=r"^no loopback interface"):
        launch.launch_ranks("train@baseline", 2, print)


def test_a_stage_names_in_one_line_the_rank_that_was_killed(workspace):
    with forks() as started:
        started.append(start_endless_stage(workspace))
        rank_0, rank_1 = children_of(started[0], 2)
        rank_1.kill()
        assert started[0].wait() == 1
        assert ends_of(started[0]) == [f"train@baseline: rank 1 on {socket.gethostname()} was ended by SIGKILL"]
    assert has_ended(rank_0)
    assert not (workspace / "models").exists()


def test_ctrl_c_ends_all_ranks_with_one_line(workspace):
    with forks() as started:
        started.append(start_endless_stage(workspace))
        ranks = children_of(started[0], 2)
        os.kill(started[0].pid, signal.SIGINT)
        assert started[0].wait() == 130
        assert ends_of(started[0]) == ["train@baseline: interrupted"]
        wait_until(lambda: all(map(has_ended, ranks)), started[0].said)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_ranks_end_with_a_launcher_that_was_killed(workspace, number):
    with forks() as started:
        started.append(start_endless_stage(workspace))
        ranks = children_of(started[0], 2)
        os.kill(started[0].pid, number)
        assert started[0].wait() == -number
        wait_until(lambda: all(map(has_ended, ranks)), started[0].said)
        assert ends_of(started[0]) == []


@pytest.mark.slow
def test_a_stage_whose_rank_fails_adds_no_line_to_the_rank_s_own(workspace):
    (workspace / "models").write_text("no folder")
    with forks() as started:
        started.append(start_stage(workspace))
        assert started[0].wait() == 1
        (said,) = ends_of(started[0])
    assert re.match(r"train@baseline: rank 0 on \S+: .*models", said)


STOPPED_BY = {
    "Ctrl-C": (lambda dvc, ranks: os.killpg(dvc.pid, signal.SIGINT), r"^train@l2: interrupted$"),
    "a rank's death": (lambda dvc, ranks: ranks[1].kill(), r"^train@l2: rank 1 on \S+ was ended by SIGKILL$"),
    "the launcher's death": (lambda dvc, ranks: ranks[0].parent().kill(), r"exited with (-9|137)$"),
    "dvc's death": (lambda dvc, ranks: dvc.kill(), r"^dvc has ended, and this stage with it$"),
}


@pytest.fixture(scope="module")
def checked(clone, tmp_path_factory):
    """A clone whose next training has two ranks and no end."""
    checked = clone.copied(tmp_path_factory.mktemp("checked") / "clone")
    (checked.folder / "params.yaml").write_text(small_params(training=ENDLESS))
    assert checked.repro("check") == ["check"]
    return checked


@pytest.mark.slow
@pytest.mark.parametrize("compiles", [False, True], ids=["training", "compiling"])
@pytest.mark.parametrize("by", STOPPED_BY)
def test_whatever_stops_ranks_under_dvc_one_line_says_it_and_nothing_is_left(checked, tmp_path, by, compiles):
    stop, line = STOPPED_BY[by]
    here = checked.copied(tmp_path / "here")
    (here.folder / "params.yaml").write_text(small_params(training={**ENDLESS, "compile": compiles}))
    env = here.env | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}  # nothing is compiled yet
    command, log = [sys.executable, "-m", "dvc", "repro", "train@l2"], tmp_path / "dvc.log"
    with (
        log.open("w") as said,
        subprocess.Popen(command, cwd=here.folder, env=env, stdout=said, stderr=said, start_new_session=True) as dvc,
    ):
        try:
            ranks = ranks_at_work(psutil.Process(dvc.pid), log, compiles)
            below = psutil.Process(dvc.pid).children(recursive=True)
            stop(dvc, ranks)
            assert dvc.wait(timeout=PATIENCE) != 0
            wait_until(lambda: all(map(has_ended, below)), log.read_text)
        finally:
            dvc.kill()
    assert len(re.findall(line, log.read_text(), flags=re.MULTILINE)) == 1, log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (here.folder / "models" / "l2").exists()


def ranks_at_work(dvc, log, compiles):
    """Wait until two ranks below a process have worked for seconds, or C++ is compiled for them; rank 0 first."""
    ranks = []

    def work():
        with contextlib.suppress(psutil.Error):
            below = dvc.children(recursive=True)
            forks = [each for each in below if each.cmdline() == each.parent().cmdline()]
            ranks[:] = sorted(forks, key=lambda each: each.pid)
            is_compiled = any(each.name() == "cc1plus" for each in below)  # the compiler inside g++
            return len(ranks) == 2 and (is_compiled if compiles else all(each.cpu_times().user > 4 for each in ranks))
        return False

    wait_until(work, log.read_text)
    return ranks


# ranks that do not come


def group_that_meets_in(store, monkeypatch):
    """Join, as rank 0 of two, a group whose ranks meet in a store."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setattr(distributed, "rendezvous", lambda *arguments, **options: iter([(store, 0, 2)]))
    with distributed.group():
        pass


def test_a_rank_that_does_not_come_is_named(monkeypatch):
    store = torch.distributed.HashStore()
    store.set_timeout(timedelta(milliseconds=1))
    with pytest.raises(RuntimeError, match=r"^rank 1 did not come within 300 seconds$"):
        group_that_meets_in(store, monkeypatch)


def test_ranks_that_do_not_reach_each_other_are_named_by_their_hosts(monkeypatch):
    store = torch.distributed.HashStore()
    store.set("host of rank 1", "elsewhere")
    store.set_timeout(timedelta(seconds=1))  # in which rank 1 does not say where it listens
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setattr(distributed, "SILENCE", timedelta(seconds=1))
    with pytest.raises(RuntimeError, match=f"^the ranks, on {socket.gethostname()}, elsewhere, do not all reach each"):
        group_that_meets_in(store, monkeypatch)


# ranks that die


@pytest.fixture
def no_grace(monkeypatch):
    monkeypatch.setattr(distributed, "GRACE", 0.0)


def on_rank(rank, action, name="_overall", times=2):
    """Let a rank do something when it is about to call a method of its group for the n-th time."""
    method, calls = getattr(Group, name), []

    def wrapped(self, *arguments):
        calls.append(self.rank)
        if calls.count(rank) == times:
            action()
        return method(self, *arguments)

    return lambda: setattr(Group, name, wrapped)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("it cannot go on")


def stand_still():
    os.kill(os.getpid(), signal.SIGSTOP)


def as_stage(before, function):
    """Run a function as a stage that torchrun started."""

    def stage():
        before()
        launch.run_rank(lambda params: function(), "train@l2")

    return stage


def line(rank, error, host=None):
    """Give the line that a rank ends with."""
    return f"train@l2: rank {rank} on {host or socket.gethostname()}: {error}\n"


def lost(rank, host=None):
    return f"rank {rank} on {host or socket.gethostname()} died or cannot be reached any more"


@pytest.fixture
def endless(tmp_path, monkeypatch, no_grace):
    """Train for as long as the ranks live, in a folder with valid parameters."""
    monkeypatch.setattr(stages, "load_params", lambda path: None)
    return lambda: train_together(tmp_path, max_steps=10**7, patience=10**7)


@pytest.mark.parametrize(
    ("rank", "action", "status", "word"),
    [(2, die, -signal.SIGKILL, ""), (2, fail, 1, line(2, "it cannot go on"))],
    ids=["killed", "fails"],
)
def test_rank_0_names_the_rank_that_died_and_the_others_end(tmp_path, endless, rank, action, status, word):
    statuses, said = run_ranks(3, as_stage(on_rank(rank, action), endless), tmp_path)
    assert statuses == [1, 1, status]
    assert said == [line(0, lost(2)), line(1, lost(0)), word]
    assert not (tmp_path / "result").exists()


def test_the_others_end_with_rank_0(tmp_path, endless):
    statuses, said = run_ranks(2, as_stage(on_rank(0, die), endless), tmp_path)
    assert statuses == [-signal.SIGKILL, 1]
    assert said[1] == line(1, lost(0))


@pytest.mark.parametrize(("name", "times"), [("_gather", 1), ("_overall", 6)], ids=["before", "after"])
def test_a_rank_that_dies_when_its_result_is_asked_for_leaves_no_output(tmp_path, endless, name, times):
    # 400 steps: it speaks four times while it trains, once at the end, and once when rank 0 has its result.
    stage = as_stage(on_rank(1, die, name, times), lambda: train_together(tmp_path, patience=400))
    statuses, said = run_ranks(2, stage, tmp_path)
    assert statuses == [1, -signal.SIGKILL]
    assert said[0] == line(0, lost(1))
    assert not (tmp_path / "result").exists()


def test_a_rank_that_says_nothing_any_more_counts_as_dead(tmp_path, endless, monkeypatch):
    join = torch.distributed.init_process_group

    def join_for_a_moment(backend, *, timeout, **options):
        assert timeout == distributed.SILENCE
        join(backend, timeout=timedelta(seconds=3), **options)

    monkeypatch.setattr(torch.distributed, "init_process_group", join_for_a_moment)
    statuses, said = run_ranks(2, as_stage(on_rank(1, stand_still), endless), tmp_path, wait_for=[0])
    assert statuses == [1]
    assert said[0] == line(0, lost(1))
