"""Fetch the data set that ``params.yaml`` names; if no source has it, warn and use the bundled digits."""

import os
import sys

from pipeline import artifacts
from pipeline.data import download
from pipeline.params import Params
from stages import CHECKED, SOURCE, run
from stages.progress import say, working


def main(params: Params) -> None:
    wanted, fallback = params.data.dataset, params.data.offline_fallback
    try:
        with working(f"download: {wanted}"):
            dataset = download.load(wanted, os.environ.get("DATA_MIRROR"), say)
    except download.DataUnavailableError as error:
        if fallback is None:
            raise
        _warn(f"{error}\nNO SOURCE GAVE {wanted}: RUNNING ON THE BUNDLED {fallback} INSTEAD.")
        dataset = download.load(fallback)
        # This dependency of the stage is now not as dvc.lock says: the next dvc repro tries the sources again, and the
        # run cache stores the digits under a key that no other run uses.
        artifacts.write_json(CHECKED, f"{fallback} stands in for {wanted}")
    artifacts.write_record(SOURCE, dataset)
    print(f"{dataset.name}: {len(dataset.train_labels):,} training and {len(dataset.test_labels):,} test images")


def _warn(message: str) -> None:
    rule = "!" * 80
    print(f"{rule}\n{message}\nThe next dvc repro tries again.\n{rule}", file=sys.stderr)


if __name__ == "__main__":
    run(main, "download")
