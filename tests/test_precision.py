"""The probe takes the faster library only where it is as exact, and leaves torch's setting as it found it."""

import itertools

import pytest
import torch

from pipeline import precision


@pytest.fixture(params=["highest", "high", "medium"])
def found(request):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("seconds", "errors", "expected"),
    [
        ((2.0, 1.0), (1e-7, 1e-7), "medium"),
        ((2.0, 1.0), (1e-7, 1e-3), "highest"),  # faster, but rounded to bfloat16
        ((1.0, 2.0), (1e-7, 1e-7), "highest"),
        ((1.0, 0.9), (1e-7, 1e-7), "highest"),  # within the noise
    ],
)
def test_the_faster_library_is_taken_where_it_is_as_exact(monkeypatch, found, seconds, errors, expected):
    slow_now_and_then = itertools.cycle([1, 1, 5, 5])

    def timed_product(left, right):
        of = ("highest", "medium").index(torch.get_float32_matmul_precision())
        return seconds[of] * next(slow_now_and_then), left.double() @ right.double() + errors[of]

    monkeypatch.setattr(precision, "_timed_product", timed_product)
    precision.fastest_precision.cache_clear()
    with precision.fastest_products(torch.ones(4, 2, 3), torch.ones(3, 1)):
        assert torch.get_float32_matmul_precision() == expected
    assert torch.get_float32_matmul_precision() == found
    precision.fastest_precision.cache_clear()


def test_the_probe_asks_again_for_another_number_of_threads(monkeypatch):
    probed = []
    monkeypatch.setattr(precision, "_timed_product", lambda left, right: probed.append(1) or (1.0, left @ right))
    precision.fastest_precision.cache_clear()
    for threads, probes in ((1, 1), (1, 1), (3, 2)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with precision.fastest_products(torch.ones(4, 2, 3), torch.ones(3, 1)):
            assert len(probed) == probes * 2 * precision.ROUNDS
    precision.fastest_precision.cache_clear()


def test_the_setting_is_put_back_after_an_error(found):
    with pytest.raises(RuntimeError, match="stopped"), precision.fastest_products(torch.ones(2, 3), torch.ones(3, 4)):
        raise RuntimeError("stopped")
    assert torch.get_float32_matmul_precision() == found


def test_the_setting_is_put_back_where_the_probe_fails(found):
    with pytest.raises(RuntimeError), precision.fastest_products(torch.ones(2, 3), torch.ones(4, 4)):
        pass
    assert torch.get_float32_matmul_precision() == found


def test_double_precision_leaves_the_setting_alone(found):
    with precision.fastest_products(torch.ones(2, 3).double(), torch.ones(3, 4).double()):
        assert torch.get_float32_matmul_precision() == found


def test_products_keep_full_float32_accuracy():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(16, 20, 784, generator=generator), torch.randn(784, 64, generator=generator)
    exact = left.double() @ right.double()
    with precision.fastest_products(left, right):
        error = (left @ right - exact).abs().max() / exact.abs().max()
    assert error < 1e-6
