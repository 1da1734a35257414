"""Set a random part of the training set aside for validation; measure what standardises the pixels."""

from __future__ import annotations

from pipeline import artifacts
from pipeline.consistency import require_fit
from pipeline.data import preprocessing
from pipeline.data.preprocessing import Dataset
from pipeline.params import Params
from stages import SOURCE, SPLIT, run


def main(params: Params) -> None:
    source = artifacts.read_record(Dataset, SOURCE)
    # Once more, as these may be the digits in place of what the check has taken them for.
    require_fit(params, source.name, len(source.classes), len(source.train_labels))
    sets, card = preprocessing.split(source, params.data.validation_fraction, params.data.split_seed)
    for name, examples in sets.items():
        artifacts.write_record(SPLIT / name, examples)
    artifacts.write_record(SPLIT / "card", card)
    print(", ".join(f"{size:,} {name}" for name, size in card.sizes.items()))


if __name__ == "__main__":
    run(main, "split")
