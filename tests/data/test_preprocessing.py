"""The split is random and complete, and what standardises the pixels comes from the training split alone."""

import pytest
import torch

from pipeline.data.preprocessing import Dataset, one_hot, pixel_statistics, split, split_indices, standardise


def uint8(*shape, low=0, high=256):
    return torch.randint(low, high, shape, dtype=torch.uint8)


@pytest.fixture
def dataset():
    """Test images are far brighter than the others, so that statistics which saw them would show it."""
    return Dataset(
        name="made up",
        title="Made up",
        classes=["a", "b", "c"],
        train_images=uint8(200, 6, high=100),
        train_labels=uint8(200, high=3),
        test_images=uint8(40, 6, low=200),
        test_labels=uint8(40, high=3),
    )


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("examples", [100, 1437])
def test_the_two_parts_are_disjoint_and_complete(examples, fraction):
    train, validation = split_indices(examples, fraction, seed=0)
    assert sorted(train.tolist() + validation.tolist()) == list(range(examples))
    assert len(validation) == round(examples * fraction)


def test_a_fifth_of_mnist_is_twelve_thousand():
    train, validation = split_indices(60_000, 0.2, seed=0)
    assert (len(train), len(validation)) == (48_000, 12_000)


def test_each_part_is_ascending_so_that_it_is_read_in_order():
    for part in split_indices(500, 0.2, seed=0):
        assert part.tolist() == sorted(part.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_the_part_is_drawn_from_everywhere(seed):
    examples, quarters = 2000, 4
    _, validation = split_indices(examples, 0.2, seed)
    counts = torch.bincount(validation * quarters // examples, minlength=quarters)
    assert (counts - 100).abs().max() < 40  # four standard deviations of a hypergeometric draw


def test_every_example_is_drawn_about_as_often_as_any_other():
    counts = torch.zeros(50)
    for seed in range(400):
        counts[split_indices(50, 0.2, seed)[1]] += 1
    assert (counts - 80).abs().max() < 40  # five standard deviations


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    first, again, other = (split_indices(100, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_split_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    split_indices(100, 0.2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("examples", "fraction"), [(2, 0.2), (10, 0.01), (10, 0.99), (0, 0.5), (10, 0.0), (10, 1.0)])
def test_a_split_that_leaves_a_set_empty_is_refused(examples, fraction):
    with pytest.raises(ValueError, match=f"a share of {fraction} of {examples} examples leaves one of the two"):
        split_indices(examples, fraction, seed=0)


def test_the_sets_hold_what_their_indices_say(dataset):
    sets, card = split(dataset, 0.2, seed=7)
    train, validation = split_indices(200, 0.2, seed=7)
    for name, indices in (("train", train), ("validation", validation)):
        assert torch.equal(sets[name].indices, indices)
        assert torch.equal(sets[name].images, dataset.train_images[indices])
        assert torch.equal(sets[name].labels, dataset.train_labels[indices])
    assert torch.equal(sets["test"].images, dataset.test_images)
    assert torch.equal(sets["test"].labels, dataset.test_labels)
    assert torch.equal(sets["test"].indices, torch.arange(40))
    assert list(card.sizes.items()) == [("train", 160), ("validation", 40), ("test", 40)]
    assert (card.name, card.classes) == (dataset.name, dataset.classes)


def test_statistics_are_the_training_splits_alone(dataset):
    sets, card = split(dataset, 0.2, seed=0)
    pixels = sets["train"].images.double()
    assert card.mean == pytest.approx(pixels.mean().item(), rel=1e-12)
    assert card.std == pytest.approx(pixels.std(correction=0).item(), rel=1e-12)


def test_a_brighter_validation_or_test_set_changes_no_statistic(dataset):
    _, validation = split_indices(200, 0.2, seed=0)
    before = split(dataset, 0.2, seed=0)[1]
    dataset.train_images[validation] = 255
    dataset.test_images[:] = 0
    after = split(dataset, 0.2, seed=0)[1]
    assert (after.mean, after.std) == (before.mean, before.std)


def test_standardised_training_pixels_have_mean_zero_and_deviation_one():
    images = uint8(300, 20)
    X = standardise(images, *pixel_statistics(images)).double()
    assert X.mean().item() == pytest.approx(0, abs=1e-6)
    assert X.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_standardised_examples_are_columns_in_view_and_rows_in_memory():
    images = uint8(30, 784)
    X = standardise(images, 10.0, 4.0)
    assert X.shape == (784, 30)
    assert X.dtype == torch.float32
    assert X.stride() == (1, 784)
    assert torch.equal(X, ((images.double() - 10) / 4).float().T)


def test_standardising_leaves_the_images_as_they_are():
    images = uint8(5, 8)
    before = images.clone()
    standardise(images, 1.0, 2.0)
    assert torch.equal(images, before)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_gives_zeros(value):
    images = torch.full((5, 8), value, dtype=torch.uint8)
    mean, std = pixel_statistics(images)
    assert (mean, std) == (value, 1.0)
    assert torch.equal(standardise(images, mean, std), torch.zeros(8, 5))


def test_statistics_of_many_bright_pixels_do_not_overflow():
    images = torch.full((3000, 784), 255, dtype=torch.uint8)
    images[0] = 254
    mean, std = pixel_statistics(images)
    assert mean == pytest.approx(255 - 1 / 3000, rel=1e-9)
    assert std == pytest.approx((1 / 3000 * (1 - 1 / 3000)) ** 0.5, rel=1e-6)


def test_one_hot_puts_a_single_one_in_each_column():
    labels = torch.tensor([2, 0, 3, 2], dtype=torch.uint8)
    Y = one_hot(labels, 5)
    assert Y.dtype == torch.float32
    assert Y.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
