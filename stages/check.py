"""Refuse a wrong ``params.yaml`` while every output still stands: dvc removes a stage's outputs before it runs it."""

from __future__ import annotations

from pipeline import artifacts
from pipeline.consistency import require_fit
from pipeline.data.sources import origin_of
from pipeline.network.devices import device_of
from pipeline.params import Params
from stages import CHECKED, run


def main(params: Params) -> None:
    """Write what is the same for all parameters, so that the stages behind this one rerun for their own alone."""
    origin = origin_of(params.data.dataset)
    require_fit(params, params.data.dataset, len(origin.classes), origin.train_examples)
    device_of(params.training.device, rank=params.training.processes - 1)  # the last process has one too
    artifacts.write_json(CHECKED, "params.yaml is valid")


if __name__ == "__main__":
    run(main, "check")
