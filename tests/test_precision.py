"""A product is as exact by whichever library and however many threads, and torch's settings are as they were found."""

import contextlib
import itertools

import pytest
import torch

from pipeline import precision
from pipeline.precision import full_precision, product

SMALL, MIDDLE, LARGE = (16, 20, 7), (20, 784, 64), (320, 784, 64)  # rows, terms and columns


@pytest.fixture(params=["highest", "high", "medium"])
def found(request):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.fixture(autouse=True)
def untried():
    """Neither take another test's answer nor leave one behind."""
    precision._onednn_is_faster.cache_clear()
    yield
    precision._onednn_is_faster.cache_clear()


@pytest.fixture
def oneDNN(monkeypatch):
    """Let oneDNN be the faster one everywhere."""
    monkeypatch.setattr(precision, "onednn_is_faster", lambda: True)


@pytest.fixture
def seen(monkeypatch):
    """Collect torch's precision and number of threads while it multiplies."""
    settings = []
    multiply = precision._multiply

    def watched(*args):
        settings.append((torch.get_float32_matmul_precision(), torch.get_num_threads()))
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
    ("seconds", "errors", "expected"),
    [
        ((2.0, 1.0), (1e-7, 1e-7), True),
        ((2.0, 1.0), (1e-7, 1e-3), False),  # faster, but rounded to bfloat16
        ((1.0, 2.0), (1e-7, 1e-7), False),
        ((1.0, 0.9), (1e-7, 1e-7), False),  # within the noise
    ],
)
def test_the_faster_library_is_taken_where_it_is_as_exact(monkeypatch, found, seconds, errors, expected):
    slow_now_and_then = itertools.cycle([1, 1, 5, 5])

    def timed_product(left, right):
        of = ("highest", "medium").index(torch.get_float32_matmul_precision())
        return seconds[of] * next(slow_now_and_then), left.double() @ right.double() + errors[of]

    monkeypatch.setattr(precision, "_timed_product", timed_product)
    assert precision.onednn_is_faster() is expected
    assert torch.get_float32_matmul_precision() == found


def test_the_probe_tries_once_for_a_number_of_threads(monkeypatch):
    tried = []
    monkeypatch.setattr(precision, "_timed_product", lambda left, right: tried.append(1) or (1.0, left @ right))
    for count, times in ((1, 1), (1, 1), (3, 2)):
        with threads(count):
            product(*factors(LARGE))
        assert len(tried) == times * 2 * precision.ROUNDS


def test_the_setting_is_put_back_where_the_probe_fails(monkeypatch, found):
    monkeypatch.setattr(precision, "_timed_product", lambda left, right: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        product(*factors(LARGE))
    assert torch.get_float32_matmul_precision() == found


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        (SMALL, torch.float32, ("highest", 1)),
        (MIDDLE, torch.float32, ("highest", 2)),
        (LARGE, torch.float32, ("medium", 2)),
        (LARGE, torch.float64, ("highest", 2)),
    ],
    ids=["small", "middle", "large", "double"],
)
def test_its_size_and_type_decide_how_a_product_is_made(oneDNN, seen, shape, dtype, expected):
    with threads(2):
        product(*factors(shape, dtype))
        assert torch.get_num_threads() == 2
    assert seen == [expected]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
def test_the_settings_are_put_back_after_an_error(oneDNN, shape):
    left, right = factors(shape)
    with threads(2):
        with pytest.raises(RuntimeError):
            product(left[:, 1:], right)
        assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("shape", [SMALL, MIDDLE, LARGE], ids=["small", "middle", "large"])
@pytest.mark.parametrize("plus", [None, (3, 1, 1), (1, 1), (2, 3, 1, 1)], ids=lambda axes: f"plus {axes}")
@pytest.mark.parametrize("stacked", ["neither", "left", "both", "broadcast"])
def test_products_keep_full_float32_accuracy(shape, stacked, plus):
    left, right = factors(shape)
    b = None if plus is None else torch.randn(*plus[:-2], shape[0], 1, generator=torch.Generator().manual_seed(1))
    left = left if stacked == "neither" else torch.stack([left, -left, 2 * left])
    right = torch.stack([right, right / 3, -right]) if stacked in ("both", "broadcast") else right
    left = left[:1] if stacked == "broadcast" else left
    exact = left.double() @ right.double() + (0 if b is None else b.double())
    result = product(left, right, b)
    assert result.shape == exact.shape
    assert torch.linalg.norm(result - exact) < 1e-6 * torch.linalg.norm(exact)


def test_within_full_precision_nothing_is_rounded_to_less(found):
    with full_precision():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == found
    with pytest.raises(RuntimeError, match="stopped"), full_precision():
        raise RuntimeError("stopped")
    assert torch.get_float32_matmul_precision() == found
