"""A product is as exact by whichever library and however many threads, and torch's settings are as they were found."""

import contextlib
import itertools

import pytest
import torch
from pretended_gpu import GPU, pretended_gpu

from pipeline import predict, train
from pipeline.network import precision
from pipeline.network.precision import ON_CPU, ON_GPU, full_precision, product, way_of

SMALL, MIDDLE, LARGE = (16, 20, 7), (20, 784, 64), (320, 784, 64)  # rows, terms and columns


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
    precision.onednn_is_as_good.cache_clear()
    yield
    precision.onednn_is_as_good.cache_clear()


@pytest.fixture
def oneDNN(monkeypatch):
    """Let oneDNN be as good, also on a processor where it rounds to bfloat16."""

    def timed_product(left, right):
        return SECONDS[ON_CPU.fp32_precision], left.double() @ right.double()

    monkeypatch.setattr(precision, "_timed_product", timed_product)


SECONDS = {"ieee": 2.0, "bf16": 1.0}


@pytest.fixture(params=["probed", "oneDNN"])
def library(request, monkeypatch):
    """Multiply large matrices by what the probe finds best, or by oneDNN if it does not round to bfloat16."""
    if request.param == "oneDNN":
        monkeypatch.setattr(precision, "onednn_is_as_good", lambda threads: True)
        left, right = factors(LARGE)
        exact = left.double() @ right.double()
        if torch.linalg.norm(product(left, right) - exact) > 1e-4 * torch.linalg.norm(exact):
            pytest.skip("oneDNN rounds to bfloat16 on this processor")


@pytest.fixture
def seen(monkeypatch):
    """Collect torch's precision and number of threads while it multiplies."""
    settings = []
    multiply = precision._multiply

    def watched(*args):
        settings.append((ON_CPU.fp32_precision, torch.get_num_threads()))
        return multiply(*args)

    monkeypatch.setattr(precision, "_multiply", watched)
    return settings


def factors(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    rows, terms, columns = shape
    return (torch.randn(size, generator=generator, dtype=dtype) for size in ((rows, terms), (terms, columns)))


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "error", "expected"),
    [
        ((2.0, 1.0), 1.0, True),
        ((2.0, 1.0), 1.9, True),
        ((2.0, 1.0), 2.1, False),
        ((2.0, 1.0), 1e4, False),  # rounded to bfloat16
        ((1.0, 1.2), 1.0, True),  # within the noise
        ((1.0, 1.4), 1.0, False),
    ],
)
def test_onednn_is_taken_where_it_is_no_slower_and_as_exact(monkeypatch, found, seconds, error, expected):
    slow_now_and_then = itertools.cycle([1, 1, 5, 5])

    def timed_product(left, right):
        of = ("ieee", "bf16").index(ON_CPU.fp32_precision)
        assert left.dtype == right.dtype == torch.float32
        wrong = torch.full((32, 51), 1e-5).double()
        wrong[::2] *= -1  # zero on average
        return seconds[of] * next(slow_now_and_then), left.double() @ right.double() + (1, error)[of] * wrong

    monkeypatch.setattr(precision, "PROBE", (32, 78, 51))  # which takes a hundredth of the time
    monkeypatch.setattr(precision, "_timed_product", timed_product)
    assert precision.onednn_is_as_good(2) is expected


def test_the_probe_tries_once_for_a_number_of_threads(monkeypatch):
    tried = []
    monkeypatch.setattr(precision, "_timed_product", lambda left, right: tried.append(1) or (1.0, left @ right))
    for count, times in ((1, 1), (1, 1), (3, 2)):
        with threads(count):
            product(*factors(LARGE))
        assert len(tried) == times * 2 * precision.ROUNDS


def test_the_settings_are_put_back_where_the_probe_fails(monkeypatch, found):
    monkeypatch.setattr(precision, "_timed_product", lambda left, right: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        product(*factors(LARGE))


@pytest.mark.parametrize(
    ("shape", "dtype", "way", "expected"),
    [
        (SMALL, torch.float32, "one thread", ("found", 1)),
        (SMALL, torch.float64, "one thread", ("found", 1)),
        (MIDDLE, torch.float32, "torch's own", ("found", 2)),
        (LARGE, torch.float32, "oneDNN", ("bf16", 2)),
        (LARGE, torch.float64, "torch's own", ("found", 2)),
    ],
)
def test_its_size_and_type_decide_how_a_product_is_made(oneDNN, seen, found, shape, dtype, way, expected):
    with threads(2):
        assert way_of(*factors(shape, dtype)) == way
        product(*factors(shape, dtype))
        assert torch.get_num_threads() == 2
    assert seen == [(ON_CPU.fp32_precision if expected[0] == "found" else expected[0], expected[1])]


@pytest.mark.parametrize("shape", [SMALL, MIDDLE, LARGE], ids=["small", "middle", "large"])
def test_on_a_gpu_and_where_tensors_are_none_there_is_no_choice(oneDNN, shape):
    with pretended_gpu():
        assert way_of(*(each.to(GPU) for each in factors(shape))) == "torch's own"
    with torch.device("meta"):
        assert way_of(*(each.to("meta") for each in factors(shape))) == "torch's own"


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
def test_the_settings_are_put_back_after_an_error(oneDNN, found, shape):
    left, right = factors(shape)
    with pytest.raises(RuntimeError):
        product(left[:, 1:], right)


@pytest.mark.parametrize(
    "mode", [contextlib.nullcontext(), torch.device("meta"), torch.inference_mode()], ids=["", "meta", "inference"]
)
def test_the_probe_asks_nothing_of_what_is_around_it(mode):
    torch.set_default_dtype(torch.float64)
    left, right = factors(LARGE)
    try:
        with mode:
            product(left, right)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_probe_works_within_vmap():
    left, right = factors(LARGE)
    result = torch.func.vmap(product, in_dims=(0, None))(left.expand(2, -1, -1), right)
    torch.testing.assert_close(result[1], left @ right, rtol=0, atol=2e-4)  # of numbers up to 100


@pytest.mark.parametrize("shape", [SMALL, MIDDLE, LARGE], ids=["small", "middle", "large"])
@pytest.mark.parametrize("plus", [None, (3, 1, 1), (1, 1), (2, 3, 1, 1)], ids=lambda axes: f"plus {axes}")
@pytest.mark.parametrize("stacked", ["neither", "left", "both", "broadcast", "one"])
@pytest.mark.usefixtures("library")
def test_products_keep_full_float32_accuracy(shape, stacked, plus):
    left, right = factors(shape)
    b = None if plus is None else torch.randn(*plus[:-2], shape[0], 1, generator=torch.Generator().manual_seed(1))
    left = left if stacked == "neither" else torch.stack([left, -left, 2 * left])
    right = torch.stack([right, right / 3, -right]) if stacked in ("both", "broadcast") else right
    left = left[:1] if stacked == "broadcast" else left
    left, right = (left[:1], right[None]) if stacked == "one" else (left, right)
    exact = left.double() @ right.double() + (0 if b is None else b.double())
    result = product(left, right, b)
    assert result.shape == exact.shape
    assert torch.linalg.norm(result - exact) < 1e-6 * torch.linalg.norm(exact)


def test_within_full_precision_nothing_is_rounded_to_less(found):
    with full_precision():
        assert (ON_CPU.fp32_precision, ON_GPU.fp32_precision) == ("ieee", "ieee")
    assert settings() == found
    with pytest.raises(RuntimeError, match="stopped"), full_precision():
        raise RuntimeError("stopped")


@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_training_and_evaluation_multiply_at_full_precision(monkeypatch, found, seen, use_batchnorm):
    generator = torch.Generator().manual_seed(0)
    X, Y = torch.randn(12, 40, generator=generator), torch.eye(4)[torch.arange(40) % 4].mT
    result = train(
        X, Y, [12, 6, 4], learning_rate=0.1, max_steps=3, batch_size=10, seeds=[0], use_batchnorm=use_batchnorm
    )
    predict(X, Y, result.parameters)
    assert {each for each, _ in seen} == {"ieee"}
    assert len(seen) == 3 * (2 + 3) + 2
