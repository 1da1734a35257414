"""A compiled training step: the numbers of the step as it is, to rounding, and that step where nothing compiles."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from clones import small_params

import stages
from pipeline import L_layer_model, TrainingInterrupted, train
from pipeline.network import compiling
from pipeline.network.compiling import compiled
from pipeline.network.ensemble import initialize_ensemble
from pipeline.network.training import mini_batches, training_steps

DIMS = [12, 6, 5, 3]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    """Take the folder of the stages: what one test has compiled serves the next."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(ROOT / ".dvc" / "tmp" / "torchinductor"))


def data(examples=60, dtype=torch.float64):
    random = torch.Generator().manual_seed(0)
    X = torch.randn(DIMS[0], examples, generator=random, dtype=dtype)
    return X, torch.eye(DIMS[-1], dtype=dtype)[:, torch.randint(DIMS[-1], (examples,), generator=random)]


def taken(take_steps, networks, **settings):
    """Take 25 steps in stretches of 1, 8 and 16; give the last cost of each, and the parameters at the end."""
    X, Y = data()
    parameters = initialize_ensemble(DIMS, range(networks), use_batchnorm=settings["use_batchnorm"], dtype=X.dtype)
    batches = torch.stack([*mini_batches(X.shape[1], 10, 25)])
    stretches = torch.split(batches, [1, 8, 16])
    return torch.stack([take_steps(X, Y, each, parameters, 0.1, **settings) for each in stretches]), parameters


@pytest.mark.slow
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_one_compilation_serves_every_size_and_takes_the_steps_of_the_functions(use_batchnorm):
    def settings_of(networks):
        return {"use_batchnorm": use_batchnorm, "l2": torch.linspace(0, 0.3, networks, dtype=torch.float64)}

    start = initialize_ensemble(DIMS, range(4), use_batchnorm=use_batchnorm, dtype=torch.float64)
    found = {name: each.clone() for name, each in start.items()}
    with warnings.catch_warnings(action="error"):
        faster = compiled(training_steps, *data(), 10, start, 0.1, **settings_of(4))
    torch.testing.assert_close(start, found, rtol=0, atol=0)  # a copy took those steps
    with torch._dynamo.config.patch(error_on_recompile=True):
        for networks in (4, 3, 1, 7):
            costs, parameters = taken(faster, networks, **settings_of(networks))
            expected_costs, expected = taken(training_steps, networks, **settings_of(networks))
            torch.testing.assert_close(costs, expected_costs, rtol=0, atol=1e-10)
            torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)


SETTINGS = {"learning_rate": 0.5, "batch_size": 10, "evaluate_every": 10, "patience": 20}


@pytest.mark.slow
def test_a_compiled_training_ends_as_the_other_does():
    settings = SETTINGS | {"max_steps": 300, "seeds": range(5), "l2": [0.0, 0.01, 0.0, 0.1, 0.0], "use_batchnorm": True}
    X, Y = data()
    faster, expected = (
        train(X, Y, DIMS, **settings, validation=data(31), compile=compile) for compile in (True, False)
    )
    assert len(set(expected.steps)) > 1  # they leave the ensemble one after the other
    assert (faster.steps, faster.best_step, faster.stop_reason) == (
        expected.steps, expected.best_step, expected.stop_reason,
    )  # fmt: skip
    torch.testing.assert_close(faster.parameters, expected.parameters, rtol=0, atol=1e-9)
    torch.testing.assert_close(faster.costs, expected.costs, rtol=0, atol=1e-9, equal_nan=True)


def test_one_network_alone_is_compiled_too():
    X, Y = data()
    (faster, costs), (expected, expected_costs) = (
        L_layer_model(X, Y, DIMS, 0.5, 200, 10, l2=0.01, compile=compile, progress=False) for compile in (True, False)
    )
    assert costs == pytest.approx(expected_costs, abs=1e-10)
    torch.testing.assert_close(faster, expected, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_compiled_loops_serve_any_number_of_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    X, Y = data(600)
    batches = torch.stack([*mini_batches(600, 512, 25)])
    found = torch.get_num_threads()

    def after(take_steps, threads):
        torch.set_num_threads(threads)
        parameters = initialize_ensemble(DIMS, range(16), use_batchnorm=True, dtype=X.dtype)
        take_steps(X, Y, batches, parameters, 0.1, use_batchnorm=True)
        return parameters

    try:
        expected = after(training_steps, 1)
        start = initialize_ensemble(DIMS, range(16), use_batchnorm=True, dtype=X.dtype)
        faster = compiled(training_steps, X, Y, 512, start, 0.1, use_batchnorm=True)
        made = sorted(tmp_path.rglob("*.cpp"))
        assert made
        for threads in (1, 2, 4):
            torch.testing.assert_close(after(faster, threads), expected, rtol=0, atol=1e-10)
        assert sorted(tmp_path.rglob("*.cpp")) == made
    finally:
        torch.set_num_threads(found)


@pytest.mark.parametrize("compile", [1, None, "yes"])
def test_compile_is_true_or_false(compile):
    for run in (
        lambda: train(*data(), DIMS, **SETTINGS, max_steps=1, seeds=[0], compile=compile),
        lambda: L_layer_model(*data(), DIMS, 0.5, 1, 10, compile=compile),
    ):
        with pytest.raises(ValueError, match=r"^(train|L_layer_model) wants True or False as compile, got"):
            run()


def bytes_of(folder, compile, learning_rate=0.5, **env):
    """Train in a process of its own; the compiler keeps what it makes in a folder. Give the hash and what was said."""
    code = f"""
import hashlib, sys, warnings
sys.path[:0] = ["tests/network", "tests/helpers"]
from test_compiling import DIMS, SETTINGS, data
from pipeline import train
warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)
settings = SETTINGS | {{"learning_rate": {learning_rate}, "max_steps": 50, "seeds": range(3), "compile": {compile}}}
result = train(*data(), DIMS, **settings)
print(hashlib.sha256(b"".join(each.numpy().tobytes() for each in result.parameters.values())).hexdigest())
"""
    env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder)} | env
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_step_that_does_not_compile_is_taken_as_it_is(monkeypatch):
    def no_compiler(step, **options):
        def fails(*arguments, **settings):
            raise RuntimeError("no g++ is here\nand more")

        return fails

    expected = train(*data(), DIMS, **SETTINGS, max_steps=50, seeds=range(3))
    monkeypatch.setattr(compiling, "_compile", no_compiler)
    with pytest.warns(RuntimeWarning, match=r"^training runs without torch\.compile: no g\+\+ is here$"):
        result = train(*data(), DIMS, **SETTINGS, max_steps=50, seeds=range(3), compile=True)
    torch.testing.assert_close(result.parameters, expected.parameters, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["missing", "broken"])
def test_without_a_compiler_a_warning_says_so_and_the_training_is_that_of_the_functions(tmp_path, kind):
    compiler = tmp_path / "g++"
    if kind == "broken":  # it tells its version, and compiles no file
        compiler.write_text('#!/bin/sh\ncase "$*" in *.cpp*|*.h*) echo no >&2; exit 1;; esac\nexec g++ "$@"\n')
        compiler.chmod(0o755)
    ours, said = bytes_of(tmp_path, True, CXX=str(compiler))
    wanted = "training runs without torch.compile (it needs a C++ compiler, such as g++, and Python's headers): "
    assert said.startswith(wanted) and said.count("\n") == 1  # nothing from the compiler itself
    assert ours == bytes_of(tmp_path, False)[0]


@pytest.mark.slow
def test_a_folder_that_cannot_hold_what_is_compiled_is_said_too(tmp_path):
    (tmp_path / "file").write_text("")
    ours, said = bytes_of(tmp_path / "file", True)
    assert said.startswith("training runs without torch.compile: ") and said.count("\n") == 1
    assert ours == bytes_of(tmp_path, False)[0]


def test_ctrl_c_while_it_compiles_ends_like_any_other(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiling, "_compile", lambda *arguments, **options: interrupted)
    with pytest.raises(TrainingInterrupted) as stopped:
        train(*data(), DIMS, **SETTINGS, max_steps=100, seeds=[0, 1], compile=True)
    assert stopped.value.result.steps == [0, 0]


def test_a_stage_says_a_warning_in_one_line(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(small_params())
    with warnings.catch_warnings(action="default"):
        stages.run(lambda params: warnings.warn("no compiler is here", RuntimeWarning, stacklevel=1), "train@l2")
    assert capfd.readouterr().err == "train@l2: no compiler is here\n"


def test_a_stage_keeps_what_the_compiler_makes_in_the_clone():
    code = "import os, stages; print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    env = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    said = [
        subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env | user, text=True).strip()
        for user in ({}, {"TORCHINDUCTOR_CACHE_DIR": "/somewhere/else"})
    ]
    assert said == [str(ROOT / ".dvc" / "tmp" / "torchinductor"), "/somewhere/else"]


@pytest.mark.long
def test_a_cold_and_a_warm_cache_of_the_compiler_give_the_same_bytes_and_leave_nothing_elsewhere(tmp_path):
    folder, elsewhere = tmp_path / "cache", tmp_path / "tmp"
    elsewhere.mkdir()
    cold = bytes_of(folder, True, TMPDIR=str(elsewhere))[0]
    made = sorted(folder.rglob("*"))
    assert any(path.suffix == ".cpp" for path in made)  # it was compiled
    assert bytes_of(folder, True, TMPDIR=str(elsewhere))[0] == cold
    assert sorted(folder.rglob("*")) == made  # and not again
    other = bytes_of(folder, True, learning_rate=0.25, TMPDIR=str(elsewhere))[0]
    empty = bytes_of(tmp_path / "empty", True, learning_rate=0.25, TMPDIR=str(elsewhere))[0]
    assert other == empty != cold  # what was compiled for one learning rate does not serve another
    assert not list(elsewhere.iterdir())
