"""Set a random part of the training set aside for validation, and measure the mean and deviation of the pixels."""

from pipeline import artifacts
from pipeline.data import preprocessing
from pipeline.data.preprocessing import Dataset
from pipeline.params import Params
from stages import SOURCE, SPLIT, run


def main(params: Params) -> None:
    dataset = artifacts.read_record(Dataset, SOURCE)
    # Checked again: offline, the digits may stand in for the data set that the first stage checked.
    params.require_fit(dataset.name, len(dataset.classes), len(dataset.train_labels))
    sets, card = preprocessing.split(dataset, params.data.validation_fraction, params.data.split_seed)
    for name, examples in sets.items():
        artifacts.write_record(SPLIT / name, examples)
    artifacts.write_record(SPLIT / "card", card)
    print(", ".join(f"{size:,} {name}" for name, size in card.sizes.items()))


if __name__ == "__main__":
    run(main, "split")
