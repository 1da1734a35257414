"""Who is measured side by side does the same work."""

import re
import sys

import numpy as np
import pytest
import torch
from pretended_gpu import CPU, GPU, NEEDS_A_GPU, pretended_gpu

pytest.importorskip("jax", reason="JAX is not installed: make .venv/bench")
from benchmarks import floors, measure, peers, ranks, run

LAYERS = [20, 6, 5, 10]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("device", [CPU, pytest.param(GPU, marks=NEEDS_A_GPU)], ids=str)
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_all_peers_take_the_same_steps(use_batchnorm, device):
    data = peers.Data.random(300, LAYERS[0], device)
    batches = torch.randint(300, (6, 32), generator=torch.Generator().manual_seed(1)).to(device)
    start = peers.start_of(LAYERS, 3, device, use_batchnorm)
    compiled_steps = peers.compiled_steps(data, LAYERS, 32, use_batchnorm)
    ours = {name: value.cpu() for name, value in peers.engine(data, LAYERS, 3, use_batchnorm)(batches).items()}
    for networks, theirs in (
        (3, peers.vmap_grad(data, LAYERS, 3, use_batchnorm)),
        (3, peers.jax_scan(data, LAYERS, 3, use_batchnorm)),
        (None, peers.eager(data, LAYERS, use_batchnorm)),
        (None, peers.engine(data, LAYERS, 1, use_batchnorm)),
        *((n, peers.compiled_engine(data, LAYERS, range(n), use_batchnorm, compiled_steps)) for n in (3, 1)),
        (1, peers.jax_scan(data, LAYERS, 1, use_batchnorm)),
    ):
        trained = {name: np.asarray(value) for name, value in as_numpy(theirs(batches))}
        for name in ("W1", "W2", "W3", *(["mean1", "var1", "mean2", "var2"] if use_batchnorm else [])):
            expected = ours[name][0] if networks is None else ours[name][:networks]
            assert (ours[name] - start[name].cpu()).abs().max() > 1e-3
            np.testing.assert_allclose(trained[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_processes_take_the_steps_of_one(use_batchnorm):
    data = peers.Data.random(300, LAYERS[0])
    batches = torch.randint(300, (6, 32), generator=torch.Generator().manual_seed(1))
    expected = peers.engine(data, LAYERS, 3, use_batchnorm)(batches)
    with ranks.started(300, LAYERS[0]) as processes:
        take = ranks.compiled_engine(processes, LAYERS, 3, 32, use_batchnorm)
        torch.testing.assert_close(take(batches), expected, rtol=1e-4, atol=1e-6)
        again = peers.engine(data, LAYERS, 3, use_batchnorm)
        again(batches)
        torch.testing.assert_close(take(batches), again(batches), rtol=1e-4, atol=1e-6)
    assert all(process.poll() is not None for process in processes)


def as_numpy(parameters):
    return ((name, value.cpu() if isinstance(value, torch.Tensor) else value) for name, value in parameters.items())


def test_scikit_learn_takes_a_step_a_batch(monkeypatch):
    taken = []
    backprop = peers.MLPClassifier._backprop
    monkeypatch.setattr(peers.MLPClassifier, "_backprop", lambda *args: taken.append(len(args[1])) or backprop(*args))
    data = peers.Data.random(300, pixels=LAYERS[0])
    steps = peers.scikit_learn(data, LAYERS)
    steps(torch.arange(96).view(3, 32))
    assert taken == [32] * 3


def test_operations_are_those_of_the_products():
    macs = 20 * 6 + 6 * 5 + 5 * 10
    assert peers.product_operations(LAYERS, 7) == 2 * 7 * (3 * macs - 20 * 6)


def test_turns_alternate_and_a_first_one_does_not_count():
    order = []
    seconds = measure.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "a", "b", "b"] * 4
    assert set(seconds) == {"a", "b"}


@pytest.mark.parametrize(("busy", "pauses"), [(0, 1), (3, 4), (1000, measure.PAUSES)])
def test_a_turn_waits_until_nobody_s_threads_spin_but_not_for_ever(monkeypatch, busy, pauses):
    slept = []
    monkeypatch.setattr(measure.time, "sleep", slept.append)
    monkeypatch.setattr(measure.time, "process_time", lambda: measure.PAUSE * min(len(slept), busy))
    seen = []
    measure.in_turns({"a": lambda: seen.append(len(slept))}, rounds=1)
    assert seen[:2] == [pauses, pauses]
    assert set(slept) == {measure.PAUSE}


def test_a_run_says_on_which_processor_it_ran(monkeypatch, tmp_path):
    cpuinfo = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu vme\n\n"
    monkeypatch.setattr(run, "CPUINFO", tmp_path / "cpuinfo")
    run.CPUINFO.write_text(cpuinfo * 2)
    assert run.processor() == "AMD EPYC (cpu family 25, model 17)"
    assert run.machine(2).startswith("AMD EPYC (cpu family 25, model 17), ")
    run.CPUINFO.unlink()
    monkeypatch.setattr(run.platform, "processor", lambda: "arm")
    assert run.processor() == "arm"
    monkeypatch.setattr(run.platform, "processor", lambda: "")
    assert run.processor() == run.platform.machine() != ""


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_the_engine_takes_the_same_steps_on_a_gpu_and_makes_nothing_elsewhere(use_batchnorm):
    batches = torch.randint(300, (6, 32), generator=torch.Generator().manual_seed(1))
    expected = peers.engine(peers.Data.random(300, LAYERS[0]), LAYERS, 3, use_batchnorm)(batches)
    with pretended_gpu() as gpu:
        take = peers.engine(peers.Data.random(300, LAYERS[0], GPU), LAYERS, 3, use_batchnorm)
        batches = batches.to(GPU)
        gpu.waits.clear(), gpu.on_cpu.clear()
        trained = take(batches)
        assert gpu.waits == gpu.on_cpu == []
        torch.testing.assert_close({name: value.cpu() for name, value in trained.items()}, expected)


def test_the_bare_products_are_on_the_gpu_alone():
    with pretended_gpu() as gpu:
        peers.bare_products(LAYERS, 3, 32, GPU)(torch.zeros(2, 32, device=GPU))
        assert gpu.waits == gpu.on_cpu == []


def test_bytes_are_those_of_the_products(monkeypatch):
    counted = []

    def product(left, right, out):
        counted.append(4 * (left.numel() + right.numel() + out.numel()))

    steps = peers.bare_products(LAYERS, 3, 7)
    monkeypatch.setattr(torch, "matmul", product)
    steps(torch.zeros(1, 7))
    assert len(counted) == 2 + 3 * (len(LAYERS) - 2)
    assert peers.product_bytes(LAYERS, 3, 7) == sum(counted)


@pytest.mark.long
def test_the_table_of_a_gpu_has_every_peer_and_both_floors():
    text = floors.measure(torch.device("cpu"), 1, 1e-3, layers=LAYERS, networks=(2, 3), batch_size=16, copy=10**6)
    title, heading, *lines, rates = text.splitlines()
    assert title.endswith("batch 16, on the CPU")
    assert re.split(r"  +", heading.strip()) == ["x2", "x3", "x2, bn", "x3, bn"]
    table = {line[:20].strip(): [float(cell) for cell in line[20:].split()] for line in lines}
    assert list(table) == [
        "engine", "eager autograd", "vmap(grad)", "products", "JAX",
        "floor of operations", "floor of bytes", "engine / floor",
    ]  # fmt: skip
    operations, memory = map(float, re.findall(r"([\d.e+]+) G", rates))
    for k, n in enumerate((2, 3, 2, 3)):
        of = {row: cells[k] for row, cells in table.items()}
        assert min(of.values()) > 0
        assert of["floor of operations"] == pytest.approx(
            peers.product_operations(LAYERS, 16) / operations / 1e3, rel=0.01
        )
        assert of["floor of bytes"] == pytest.approx(peers.product_bytes(LAYERS, n, 16) / n / memory / 1e3, rel=0.01)
        larger = max(of["floor of operations"], of["floor of bytes"])
        assert of["engine / floor"] == pytest.approx(of["engine"] / larger, rel=0.02)


def test_without_a_gpu_its_benchmark_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["run", "--device", "cuda"])
    with pytest.raises(SystemExit) as caught:
        run.main()
    assert caught.value.code.startswith("benchmarks: the device asked for is cuda, but torch finds no CUDA GPU here")
