"""Refuse a wrong ``params.yaml`` while every output still stands: dvc removes a stage's outputs before it runs it."""

from __future__ import annotations

from pipeline import artifacts, preprocessing
from pipeline.devices import device_of
from pipeline.origins import origin_of
from pipeline.params import Params
from stages import CHECKED, run


def main(params: Params) -> None:
    """Write what is the same for all parameters, so that the stages behind this one rerun for their own alone."""
    name, layers, batch = params.data.dataset, params.network.layers, params.training.batch_size
    origin = origin_of(name)
    classes = len(origin.classes)
    if layers[-1] != classes:
        raise ValueError(f"network.layers is {layers}: it must end in the {classes} classes of {name}")
    train, _ = preprocessing.split_indices(origin.train_examples, params.data.validation_fraction, seed=0)
    if batch > len(train):
        raise ValueError(f"training.batch_size is {batch}: it must be at most the {len(train):,} examples of {name}")
    device_of(params.training.device, rank=params.training.processes - 1)  # the last process has one too
    artifacts.write_json(CHECKED, "params.yaml is valid")


if __name__ == "__main__":
    run(main, "check")
