"""Every public function of preprocessing and statistics over sizes, seeds and extreme values.

Shapes come out right, what is finite stays finite, and no input is changed in place.
"""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.analysis import statistics
from pipeline.data import preprocessing

reproducible = settings(deadline=None, derandomize=True, max_examples=40, database=None)
seeds = st.integers(0, 2**16)
values = st.floats(-1e15, 1e15)
samples = st.integers(1, 18).flatmap(lambda n: arrays(float, n, elements=values))
pairs = st.integers(1, 18).flatmap(lambda n: arrays(float, (2, n), elements=values))


def images(count, pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, pixels), dtype=torch.uint8, generator=generator)


@reproducible
@given(st.integers(2, 200), st.floats(0.001, 0.999), seeds)
def test_split_indices(examples, share, seed):
    assume(0 < preprocessing.validation_size(examples, share) < examples)
    train, validation = preprocessing.split_indices(examples, share, seed)
    assert len(validation) == round(examples * share)
    for part in (train, validation):
        assert part.dtype == torch.int64
        assert bool((part.diff() > 0).all())
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(examples))
    assert all(map(torch.equal, preprocessing.split_indices(examples, share, seed), (train, validation)))


@reproducible
@given(st.integers(4, 60), st.integers(1, 9), st.integers(2, 5), seeds)
def test_split(count, pixels, classes, seed):
    labels = torch.arange(count) % classes
    data = preprocessing.Dataset(
        name="any",
        title="any",
        classes=[str(each) for each in range(classes)],
        train_images=images(count, pixels, seed),
        train_labels=labels,
        test_images=images(3, pixels, seed + 1),
        test_labels=labels[:3],
    )
    before = data.train_images.clone(), data.test_images.clone(), labels.clone()
    sets, card = preprocessing.split(data, 0.25, seed)
    assert {name: len(each.labels) for name, each in sets.items()} == card.sizes
    assert card.sizes["train"] + card.sizes["validation"] == count
    for name, own in (("train", data.train_images), ("validation", data.train_images), ("test", data.test_images)):
        assert torch.equal(sets[name].images, own[sets[name].indices])
    assert math.isfinite(card.mean)
    assert card.std > 0
    assert all(map(torch.equal, before, (data.train_images, data.test_images, data.train_labels)))


@reproducible
@given(st.integers(1, 40), st.integers(1, 30), seeds, st.sampled_from([0, 1, 255]))
def test_pixel_statistics_and_standardise(count, pixels, seed, largest):
    rows = images(count, pixels, seed).clamp(max=largest)
    before = rows.clone()
    mean, std = preprocessing.pixel_statistics(rows)
    columns = preprocessing.standardise(rows, mean, std)
    assert columns.shape == (pixels, count)
    assert columns.dtype == torch.float32
    assert columns.isfinite().all()
    assert abs(columns.double().mean().item()) < 1e-4
    assert columns.double().std(correction=0).item() == pytest.approx(float(rows.unique().numel() > 1), abs=1e-4)
    assert torch.equal(rows, before)


@reproducible
@given(st.integers(1, 12), st.integers(0, 40), seeds)
def test_one_hot(classes, count, seed):
    labels = torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))
    before = labels.clone()
    columns = preprocessing.one_hot(labels, classes)
    assert columns.shape == (classes, count)
    assert columns.dtype == torch.float32
    assert torch.equal(columns.argmax(dim=0) if count else labels, labels)
    assert torch.equal(columns.sum(dim=0), torch.ones(count))
    assert torch.equal(labels, before)


@reproducible
@given(st.integers(1, 40).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_share_interval(counts):
    count, of = counts
    low, high = statistics.share_interval(count, of)
    assert 0 <= low <= count / of <= high <= 1
    mirrored = statistics.share_interval(of - count, of)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@reproducible
@given(pairs, st.sets(st.integers(0, 17)))
def test_compare(two, missing):
    ours, theirs = two
    ours[[each for each in missing if each < len(ours)]] = math.nan
    before = two.copy()
    comparison = statistics.compare(ours, theirs)
    differences = (ours - theirs)[np.isfinite(ours)]
    assert comparison.pairs == len(differences)
    assert comparison.above + comparison.below + int((differences == 0).sum()) == comparison.pairs
    assert math.isfinite(comparison.difference) == (comparison.pairs > 0)
    assert math.isfinite(comparison.low) == math.isfinite(comparison.high) == (comparison.pairs >= 6)
    mirrored = statistics.compare(theirs, ours)
    assert (mirrored.above, mirrored.below, mirrored.pairs) == (comparison.below, comparison.above, comparison.pairs)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((comparison.low, comparison.high))
    assert np.array_equal(two, before, equal_nan=True)


@reproducible
@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=3, max_size=18))
def test_rank_correlation(two):
    ours, theirs = np.array(two, dtype=float).T
    assume(len(set(ours)) > 1 and len(set(theirs)) > 1)  # a constant has no rank
    correlation, p = statistics.rank_correlation(ours, theirs)
    assert abs(correlation) <= 1 + 1e-12 and 0 <= p <= 1
    assert statistics.rank_correlation(theirs, ours)[0] == pytest.approx(correlation)
    assert statistics.rank_correlation(-(ours**3), theirs)[0] == pytest.approx(-correlation)  # the order alone counts
    assert statistics.rank_correlation([*ours, math.nan], [*theirs, 0.0])[0] == pytest.approx(correlation)


@reproducible
@given(samples, st.floats(0.5, 0.99))
def test_typical_interval(sample, confidence):
    before = sample.copy()
    low, high = statistics.typical_interval(sample, confidence)
    assert low <= high
    wider = statistics.typical_interval(sample, (1 + confidence) / 2)
    assert wider[0] <= low
    assert high <= wider[1]
    if math.isfinite(low):
        rounding = 1e-9 * np.abs(sample).max()
        assert sample.min() - rounding <= low
        assert high <= sample.max() + rounding
    assert np.array_equal(sample, before)


@pytest.mark.parametrize("module", [preprocessing, statistics])
def test_every_public_function_is_among_what_is_tested_here(module):
    source = Path(__file__).read_text(encoding="utf-8")
    functions = [
        name
        for name, each in inspect.getmembers(module, inspect.isfunction)
        if each.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert functions
    for name in functions:
        assert f"{module.__name__.rpartition('.')[2]}.{name}(" in source, name
