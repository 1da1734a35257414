"""One thin script a DVC stage, and what they share: paths, and how a stage starts and ends."""

from __future__ import annotations

from stages import lifetime

# isort: split
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pipeline import artifacts
from pipeline.data import preprocessing
from pipeline.params import Params, ParamsError, load_params

PARAMS = Path("params.yaml")
CHECKED = Path("data/checked.json")
SOURCE = Path("data/source")
SPLIT = Path("data/split")
MODELS = Path("models")
RESULTS = Path("results")
METRICS = Path("metrics")
PLOTS = Path("plots")
CPU = torch.device("cpu")


def run(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage on the parameters; say in one line what stopped it, or ``python -X dev`` where."""
    try:
        stage(load_params(PARAMS))
    except ParamsError as error:
        sys.exit(f"{error}")
    except (ValueError, RuntimeError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(lifetime.INTERRUPTED)


def examples(name: str, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Read one of the three sets as standardised columns ``X`` and one-hot columns ``Y``, and put it on a device."""
    card = artifacts.read_record(preprocessing.DatasetCard, SPLIT / "card")
    columns = artifacts.read_record(
        preprocessing.Examples, SPLIT / name, examples=card.sizes[name], classes=len(card.classes)
    )
    X = preprocessing.standardise(columns.images, card.mean, card.std)
    return X.to(device), preprocessing.one_hot(columns.labels, len(card.classes)).to(device)
