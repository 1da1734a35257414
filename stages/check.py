"""Refuse a wrong ``params.yaml`` before any other stage: DVC removes a stage's outputs before it runs it."""

import os

import psutil

from pipeline import artifacts
from pipeline.data.sources import place_of, source_of
from pipeline.network.devices import device_of
from pipeline.params import Params
from pipeline.report.drawing import require_drawable
from pipeline.text import in_lines
from stages import CHECKED, run


def main(params: Params) -> None:
    """Write a constant, so that later stages rerun only when their own parameters change."""
    source = source_of(params.data.dataset)
    if source.sha256 and (mirror := os.environ.get("DATA_MIRROR")):
        place_of(mirror)
    params.require_fit(params.data.dataset, len(source.classes), source.train_examples)
    device = device_of(params.training.device)
    params.require_memory(psutil.virtual_memory().total, on_gpu=device.type == "cuda")
    require_drawable({name: arm.title for name, arm in params.arms.items()})
    artifacts.write_json(CHECKED, "params.yaml is valid")
    if said := params.training.said_of_cores():
        print(in_lines(said))


if __name__ == "__main__":
    run(main, "check")
