"""Set a random part of the training set aside for validation, and measure the mean and deviation of the pixels."""

from __future__ import annotations

from pipeline import artifacts
from pipeline.data import preprocessing
from pipeline.data.preprocessing import Dataset
from pipeline.data.sources import require_classes
from pipeline.params import PIXELS, Params
from stages import SOURCE, SPLIT, run


def main(params: Params) -> None:
    dataset = artifacts.read_record(Dataset, SOURCE, pixels=PIXELS)
    with artifacts.damage_named(SOURCE):
        require_classes(dataset.name, dataset.classes)
    # Checked again: offline, the digits may stand in for the data set that the first stage checked.
    params.require_fit(dataset.name, len(dataset.classes), len(dataset.train_labels))
    sets, card = preprocessing.split(dataset, params.data.validation_fraction, params.data.split_seed)
    for name, examples in sets.items():
        artifacts.write_record(SPLIT / name, examples)
    artifacts.write_record(SPLIT / "card", card)
    print(", ".join(f"{size:,} {name}" for name, size in card.sizes.items()))


if __name__ == "__main__":
    run(main, "split")
