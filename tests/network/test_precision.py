"""A training multiplies at full float32 accuracy, and torch's settings are as they were found."""

import itertools

import pytest
import torch

from pipeline import predict, train
from pipeline.network import precision
from pipeline.network.precision import ON_CPU, ON_GPU, full_precision, onednn_is_better


def settings():
    """Read every precision that torch multiplies by, and its number of threads."""
    return (*(each.fp32_precision for each in (torch.backends, ON_CPU, ON_GPU)), torch.get_num_threads())


@pytest.fixture(params=[("none", "none"), ("ieee", "tf32"), ("bf16", "tf32"), ("tf32", "none")], ids="-".join)
def found(request):
    before = ON_CPU.fp32_precision, ON_GPU.fp32_precision
    ON_CPU.fp32_precision, ON_GPU.fp32_precision = request.param
    as_found = settings()
    yield as_found
    assert settings() == as_found
    ON_CPU.fp32_precision, ON_GPU.fp32_precision = before


@pytest.fixture(autouse=True)
def untried():
    """Neither take another test's answer nor leave one behind."""
    onednn_is_better.cache_clear()
    yield
    onednn_is_better.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "error", "expected"),
    [
        ((2.0, 1.0), 1.0, True),
        ((2.0, 1.0), 0.5, True),
        ((2.0, 1.0), 1.9, True),
        ((2.0, 1.0), 2.1, False),
        ((2.0, 1.0), 1e4, False),  # rounded to bfloat16
        ((0.004, 0.0029), 1.0, True),
        ((0.004, 0.0031), 1.0, False),  # within the noise
        ((0.004, 0.004), 1.0, False),  # no faster, and longer to call
    ],
)
def test_onednn_is_taken_where_it_is_clearly_faster_and_as_exact(monkeypatch, found, seconds, error, expected):
    rounds = itertools.count()

    def timed_product(left, right):
        of = ("ieee", "bf16").index(ON_CPU.fp32_precision)
        slow = (next(rounds) // 2 % 3 != of) * 10.0  # of most rounds, others for each backend
        assert left.dtype == right.dtype == torch.float32
        wrong = torch.full((32, 51), 1e-5).double()
        wrong[::2] *= -1  # zero on average
        return seconds[of] + slow, left.double() @ right.double() + (1, error)[of] * wrong

    monkeypatch.setattr(precision, "PROBE", (32, 78, 51))  # which takes a hundredth of the time
    monkeypatch.setattr(precision, "timed_product", timed_product)
    assert onednn_is_better(2) is expected
    with full_precision():
        assert (ON_CPU.fp32_precision, ON_GPU.fp32_precision) == ("bf16" if expected else "ieee", "ieee")


def test_the_probe_tries_once_for_a_number_of_threads(monkeypatch):
    tried = []
    monkeypatch.setattr(precision, "timed_product", lambda left, right: tried.append(1) or (1.0, left @ right))
    for count, times in ((1, 1), (1, 1), (3, 2)):
        onednn_is_better(count)
        assert len(tried) == times * 2 * precision.ROUNDS


def test_the_settings_are_put_back_where_the_probe_or_the_block_fails(monkeypatch, found):
    with pytest.raises(RuntimeError, match="stopped"), full_precision():
        raise RuntimeError("stopped")
    onednn_is_better.cache_clear()
    monkeypatch.setattr(precision, "timed_product", lambda left, right: 1 / 0)
    with pytest.raises(ZeroDivisionError), full_precision():
        pass


def test_the_probe_asks_nothing_of_the_modes_around_it():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert onednn_is_better(1) in (True, False)
    finally:
        torch.set_default_dtype(torch.float32)


def test_products_within_keep_full_float32_accuracy(found):
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, generator=generator) for size in ((3, 320, 784), (784, 64)))
    exact = left.double() @ right.double()
    with full_precision():
        assert torch.linalg.norm(left @ right - exact) < 1e-6 * torch.linalg.norm(exact)


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_training_and_prediction_are_within_full_precision(monkeypatch, found, use_batchnorm):
    seen = []
    softmax = torch.exp

    def watched(tensor):
        seen.append((ON_CPU.fp32_precision, ON_GPU.fp32_precision))
        return softmax(tensor)

    monkeypatch.setattr(precision, "onednn_is_better", lambda threads: False)
    monkeypatch.setattr(torch, "exp", watched)  # called once in every forward pass
    generator = torch.Generator().manual_seed(0)
    X, Y = torch.randn(12, 40, generator=generator), torch.eye(4)[torch.arange(40) % 4].mT
    settings = {"learning_rate": 0.1, "max_steps": 3, "batch_size": 10, "seeds": [0], "use_batchnorm": use_batchnorm}
    result = train(X, Y, [12, 6, 4], **settings)
    predict(X, Y, result.parameters)
    assert {*seen} == {("ieee", "ieee")}
    assert len(seen) >= 3 + 1
