"""A GPU by one parameter: what is computed there stays there, equals the CPU's and makes the CPU wait at checks alone.

Everywhere it is shown on a pretended GPU; where there is a real one, on that too.
"""

import dataclasses

import pytest
import torch
from clones import small_params
from pretended_gpu import GPU, NEEDS_A_GPU, pretended_gpu
from reference import DIMS, assert_close, blobs
from samples import SETS, assert_same_training, write_split

import pipeline.analysis.timing
import stages
from pipeline import TrainingResult, artifacts, initialize_parameters, train
from pipeline.analysis.evaluation import Evaluation, evaluate_arm
from pipeline.analysis.timing import KINDS, time_steps
from pipeline.network import devices, training
from pipeline.network.devices import device_of, take_device
from pipeline.network.precision import ON_GPU, full_precision
from pipeline.network.training import COST_EVERY, training_step, training_steps
from pipeline.params import load_params
from stages import check, evaluate, l2_path, timing
from stages import train as train_stage

BATCH_SIZE, EVALUATE_EVERY, EXAMPLES = 10, 10, 40
DATA = {"X": blobs(EXAMPLES, noise=1.5), "validation": blobs(300, noise=1.5, seed=1)}
SETTINGS = {
    "learning_rate": 0.1,
    "max_steps": 80,  # on the pretended GPU a step takes long
    "batch_size": BATCH_SIZE,
    "seeds": [0, 1, 2, 3],
    "evaluate_every": EVALUATE_EVERY,
    "patience": 10,
}


def run(device, **changes):
    """Train small networks, which stop at steps of their own, on a device."""
    (X, Y), validation = ([each.to(device) for each in pair] for pair in DATA.values())
    return train(X, Y, DIMS, validation=validation, **(SETTINGS | changes))


def gpus(monkeypatch, count):
    """Let torch say that there are so many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


# which device


@pytest.mark.parametrize(
    ("name", "count", "rank", "expected"),
    [
        ("cpu", 0, 0, "cpu"),
        ("cpu", 2, 7, "cpu"),
        ("auto", 0, 3, "cpu"),
        ("auto", 1, 0, "cuda:0"),
        ("auto", 2, 1, "cuda:1"),
        ("cuda", 1, 0, "cuda:0"),
        ("cuda", 8, 7, "cuda:7"),
    ],
)
def test_a_name_and_a_rank_give_a_device(monkeypatch, name, count, rank, expected):
    gpus(monkeypatch, count)
    assert str(device_of(name, rank)) == expected


def test_on_a_mac_auto_is_the_cpu(monkeypatch):
    """Its GPU has no float64."""
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(device_of("auto")) == "cpu"


@pytest.mark.parametrize(
    ("name", "count", "rank", "said"),
    [
        ("cuda", 0, 0, "the device asked for is cuda, but torch finds no CUDA GPU here; cpu and auto do without"),
        ("cuda", 2, 2, "process 3 of this host needs a GPU of its own, but torch finds only 2 here"),
        ("auto", 1, 1, "process 2 of this host needs a GPU of its own, but torch finds only 1 here"),
    ],
)
def test_a_gpu_that_is_not_there_is_an_error(monkeypatch, name, count, rank, said):
    gpus(monkeypatch, count)
    with pytest.raises(ValueError) as caught:
        device_of(name, rank)
    assert str(caught.value) == said


def test_each_of_torchruns_processes_takes_the_gpu_of_its_local_rank(monkeypatch):
    gpus(monkeypatch, 4)
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert take_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert take_device("auto") == torch.device("cuda", 3)
    assert take_device("cpu") == torch.device("cpu")
    assert taken == [torch.device("cuda", 0), torch.device("cuda", 3)]


def test_the_clock_is_read_once_a_gpu_has_done_its_work(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(str(device)))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: events.append("clock"))
    devices.clock(torch.device("cuda", 1))
    devices.clock(torch.device("cpu"))
    assert events == ["cuda:1", "clock", "clock"]


# the pretended GPU


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with pretended_gpu():
        on_gpu = torch.ones(3, device="cuda")
        for mixed in (lambda: on_gpu + torch.ones(3), lambda: torch.ones(2, 3) @ on_gpu, on_gpu.numpy):
            with pytest.raises((RuntimeError, TypeError)):
                mixed()
        assert (on_gpu + torch.tensor(1.0)).device == GPU  # a number
    with pytest.raises(RuntimeError, match="when it has gone"):
        on_gpu + 1


WAITING = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a masked assignment": lambda x: x.__setitem__(x > 0, x.new_ones(3)),
    "a copy to the GPU": lambda x: torch.arange(3).to(x.device),
    "a copy into a tensor": lambda x: torch.empty(3).copy_(x),
    "where": lambda x: torch.where(x > 0),
    "unique": lambda x: x.unique(),
    "unique rows": lambda x: x[None].unique(dim=0),
    "unique neighbours": lambda x: x.unique_consecutive(),
    "repeats": lambda x: x.repeat_interleave(x.long()),
    "counts": lambda x: x.long().bincount(),
    "equal": lambda x: torch.equal(x, x + 1),
}
NOT_WAITING = {
    "sum": lambda x: x.sum(),
    "index": lambda x: x[torch.zeros(1, dtype=torch.int64, device=x.device)],
    "where": lambda x: x.where(x > 0, 0.0),
    "a copy on the GPU": lambda x: torch.empty_like(x).copy_(x),
    "dtype": lambda x: x.double(),
}


@pytest.mark.parametrize("what", WAITING.values(), ids=WAITING)
def test_the_pretended_gpu_notices_who_waits(what):
    with pretended_gpu() as gpu:
        x = torch.ones(3, device="cuda")
        what(x)
        assert len(gpu.waits) == 1


@pytest.mark.parametrize("what", NOT_WAITING.values(), ids=NOT_WAITING)
def test_the_pretended_gpu_notices_who_does_not_wait(what):
    with pretended_gpu() as gpu:
        what(torch.ones(3, device="cuda"))
        assert gpu.waits == gpu.on_cpu == []


def test_the_pretended_gpu_notices_tensors_on_the_cpu():
    with pretended_gpu() as gpu:
        torch.zeros(3)
        assert gpu.on_cpu == ["zeros"]


# training

TRAININGS = {  # with the last lambda a network diverges
    "plain": {"l2": 0.01},
    "batchnorm": {"use_batchnorm": True, "l2": [0.0, 0.3, 0.01, 1e6]},
}


@pytest.mark.parametrize("settings", TRAININGS.values(), ids=TRAININGS)
def test_a_training_on_a_gpu_is_that_on_the_cpu_to_rounding(gpu, settings):
    ours, theirs = run("cuda", **settings), run("cpu", **settings)
    assert len(set(theirs.steps)) >= 2
    assert_same_training(ours, theirs, 1e-9)
    for value in (*ours.parameters.values(), ours.costs, ours.validation_costs):
        assert value.device.type == "cpu"


@pytest.mark.parametrize("settings", TRAININGS.values(), ids=TRAININGS)
def test_the_cpu_waits_for_checks_progress_and_new_batches_alone(monkeypatch, settings):
    """From the beginning of a step until that of the next one; batches come to the GPU at the end of a stretch."""
    with pretended_gpu() as gpu:
        marks = []

        def marked_step(*arguments, **keywords):
            marks.append((len(gpu.waits), len(gpu.on_cpu)))
            return training_step(*arguments, **keywords)

        monkeypatch.setattr(training, "training_step", marked_step)
        settings = settings | {"max_steps": 105, "evaluate_every": 7, "patience": 1000}
        run("cuda", progress=lambda snapshot: None, **settings)
        marks.append((len(gpu.waits), len(gpu.on_cpu)))
    assert len(marks) == 106
    for step in range(1, 105):
        waits = gpu.waits[marks[step - 1][0] : marks[step][0]]
        on_cpu = gpu.on_cpu[marks[step - 1][1] : marks[step][1]]
        is_check, is_shown = step % 7 == 0, step == COST_EVERY
        ends_stretch = is_check or is_shown or step == COST_EVERY - 1
        shown, batches = ["_local_scalar_dense", "index"] * is_shown, ["_to_copy"] * ends_stretch
        assert bool(waits) == ends_stretch, (step, waits)
        assert is_check or waits == shown + batches, (step, waits)
        assert ends_stretch or on_cpu == [], (step, on_cpu)


def ensemble_and_batch(device, use_batchnorm):
    parameters = {
        name: torch.stack([value, value]).to(device) for name, value in initialize_parameters(DIMS, seed=0).items()
    }
    X, Y = (each.float().to(device) for each in blobs(12))
    with torch.inference_mode():
        training_step(X, Y, parameters, 0.1, use_batchnorm=use_batchnorm)  # makes the running statistics
    return X, Y, parameters


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
@pytest.mark.parametrize("l2", [0.0, 0.01, "each its own"])
def test_every_tensor_that_a_step_makes_is_on_the_gpu(use_batchnorm, l2):
    with pretended_gpu() as gpu:
        X, Y, parameters = ensemble_and_batch("cuda", use_batchnorm)
        lambdas = torch.tensor([0.01, 0.02]).to("cuda") if l2 == "each its own" else l2
        gpu.waits.clear(), gpu.on_cpu.clear()
        with torch.inference_mode():
            cost = training_step(X, Y, parameters, 0.1, use_batchnorm=use_batchnorm, l2=lambdas)
        assert gpu.waits == gpu.on_cpu == []
        assert {each.device for each in (cost, *parameters.values())} == {GPU}


@NEEDS_A_GPU
@pytest.mark.filterwarnings(
    "ignore:Synchronization debug mode is a prototype:UserWarning"
)  # torch says so at its start
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_cuda_itself_finds_no_wait_in_a_step(use_batchnorm):
    X, Y, parameters = ensemble_and_batch("cuda", use_batchnorm)
    batch = torch.arange(5, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            X, Y = X.index_select(1, batch), Y.index_select(1, batch)
            training_step(X, Y, parameters, 0.1, use_batchnorm=use_batchnorm, l2=0.01)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("found", ["none", "ieee", "tf32"])
def test_products_on_a_gpu_are_never_tf32(gpu, found):
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(320, 784, generator=generator), torch.randn(784, 64, generator=generator)
    before = ON_GPU.fp32_precision
    ON_GPU.fp32_precision = found
    try:
        with full_precision():
            result = (left.to("cuda") @ right.to("cuda")).cpu()
        assert_close(result, (left.double() @ right.double()).float(), 2e-4)  # TF32 is off by fifty times as much
        assert ON_GPU.fp32_precision == found
    finally:
        ON_GPU.fp32_precision = before


# evaluation and timing


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_an_evaluation_on_a_gpu_is_that_on_the_cpu_to_rounding(gpu, use_batchnorm):
    result = run("cpu", max_steps=100, use_batchnorm=use_batchnorm)
    on_gpu = {name: tuple(each.to("cuda") for each in pair) for name, pair in SETS.items()}
    ours, theirs = evaluate_arm(result, on_gpu), evaluate_arm(result, SETS)
    for field in dataclasses.fields(Evaluation):
        torch.testing.assert_close(getattr(ours, field.name), getattr(theirs, field.name), rtol=1e-9, atol=1e-9)


def test_steps_are_timed_on_the_gpu(gpu, monkeypatch):
    synchronised = []
    monkeypatch.setattr(torch.cuda, "synchronize", synchronised.append)
    X, Y = (each.float().to("cuda") for each in DATA["X"])
    measured = time_steps(X, Y, DIMS, validation=(X, Y), batch_size=10, rounds=1, steps=50)
    assert all(list(seconds) == list(KINDS) for seconds in measured)
    turns = 2 * len(KINDS)
    assert len(synchronised) == (1 + 2 + 1) * turns  # at the start, after each 25 steps and after the check
    assert {device.type for device in synchronised} == {"cuda"}


# stages


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small split, and parameters that ask for a GPU."""
    (tmp_path / "params.yaml").write_text(small_params(training={"device": "cuda"}))
    write_split(tmp_path / "data" / "split", SETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


STAGES = {
    "check": check.main,
    "train": lambda params: train_stage.main(params, "baseline"),
    "l2_path": l2_path.main,
    "evaluate": evaluate.main,
    "timing": timing.main,
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_stage_that_is_asked_for_a_gpu_says_in_one_line_that_there_is_none(folder, monkeypatch, stage):
    gpus(monkeypatch, 0)
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        stages.run(stage, "stage")
    assert caught.value.code.startswith("stage: the device asked for is cuda, but torch finds no CUDA GPU here")
    assert sorted(folder.rglob("*")) == before


def run_stages(folder, device, seen):
    """Run the stages that compute on a device, and read what they wrote."""
    few = {"device": device, "max_steps": 10, "evaluate_every": 10, "seeds": [0, 1]}
    (folder / "params.yaml").write_text(small_params(training=few))
    params = load_params(folder / "params.yaml")
    for arm in params.arms:
        train_stage.main(params, arm)
    l2_path.main(params)
    timing.main(params)
    evaluate.main(params)
    assert seen == {device}
    seen.clear()
    assert artifacts.read_json(folder / "results/timing/record.json")["device"] == device
    return {
        arm: (
            artifacts.read_record(TrainingResult, folder / "models" / arm),
            artifacts.read_record(Evaluation, folder / "results/evaluation" / arm),
        )
        for arm in params.arms
    }


@pytest.mark.slow
def test_stages_compute_on_the_gpu_and_write_what_the_cpu_writes(folder, gpu, monkeypatch):
    if gpu:
        gpus(monkeypatch, 1)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    seen = set()

    def watched_steps(X, *arguments, **keywords):
        seen.add(X.device.type)
        return training_steps(X, *arguments, **keywords)

    def watched_arm(result, sets):
        seen.update(X.device.type for X, _ in sets.values())
        return evaluate_arm(result, sets)

    for module in (training, pipeline.analysis.timing):
        monkeypatch.setattr(module, "training_steps", watched_steps)
    monkeypatch.setattr(evaluate.evaluation, "evaluate_arm", watched_arm)
    ours, theirs = run_stages(folder, "cuda", seen), run_stages(folder, "cpu", seen)
    for arm, (result, evaluation) in ours.items():
        assert_same_training(result, theirs[arm][0], 1e-4)  # single precision
        for name, accuracy in evaluation.accuracies.items():
            assert_close(accuracy, theirs[arm][1].accuracies[name], 0.02)
