"""One thin script a DVC stage, and what they share: paths, and how a stage starts and ends."""

from stages import lifetime

# isort: split
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import artifacts
from pipeline.data import preprocessing
from pipeline.params import Params, ParamsError, load_params, read_yaml
from pipeline.text import in_lines

PARAMS = Path("params.yaml")
CHECKED = Path("data/checked.json")
SOURCE = Path("data/source")
SPLIT = Path("data/split")
MODELS = Path("models")
RESULTS = Path("results")
METRICS = Path("metrics")
PLOTS = Path("plots")
CPU = torch.device("cpu")
os.environ.setdefault("TORCH_WARM_POOL", "0")  # processes that compile for a GPU before anything is asked of them
# torch's own choice is a folder in /tmp that another user could have made.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(".dvc/tmp/torchinductor").absolute()))


def run(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage on the parameters; say in one line what stopped it, or ``python -X dev`` where."""
    warnings.showwarning = lambda message, *_: print(in_lines(f"{name}: {message}"), file=sys.stderr)
    try:
        given = inputs_of(name) if "DVC_STAGE" in os.environ else {}  # first: an edit after this is seen at the end
        params = load_params(PARAMS)
        stage(params)
        if given:
            require_unchanged(given, inputs_of(name))
            lifetime.end_at_once()
    except ParamsError as error:
        sys.exit(f"{error}")
    except (ValueError, RuntimeError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"{name}: {error}")
    except MemoryError:
        sys.exit(f"{name}: the memory of this machine is full")
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(lifetime.INTERRUPTED)


def inputs_of(stage: str) -> dict[str, Any]:
    """Read what ``dvc.yaml`` lists for a stage: the values of its parameters, and its code."""
    name, _, arm = stage.partition("@")
    values = read_yaml(PARAMS)
    listed = value_at(read_yaml(Path("dvc.yaml")), f"stages.{name}") or {}
    listed = listed.get("do", listed)
    inputs: dict[str, Any] = {}
    for key in listed.get("params", []):
        if isinstance(key, str):
            of_this_arm = key.replace("${key}", arm)
            inputs[of_this_arm] = value_at(values, of_this_arm)
        else:  # the whole file
            inputs[PARAMS.name] = values
    for dep in map(Path, listed.get("deps", [])):
        files = [dep, *dep.rglob("*.py")]
        inputs |= {str(file): file.read_bytes() for file in files if file.suffix in (".py", ".yaml")}
    return inputs


def value_at(values: Any, key: str) -> Any:
    """Look up a value by its key, such as ``training.batch_size``; None if there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def require_unchanged(given: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse inputs that were edited while the stage ran: DVC would record the new ones for what the old ones made."""
    if changed := [name for name in given if given[name] != now.get(name)]:
        raise ValueError(f"{', '.join(changed)} changed while it ran, so its results are not kept: run dvc repro again")


def examples(name: str, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Read one of the three sets as standardised columns ``X`` and one-hot columns ``Y``, and put it on a device."""
    card, stored = stored_set(name)
    X = preprocessing.standardise(stored.images, card.mean, card.std)
    return X.to(device), preprocessing.one_hot(stored.labels, len(card.classes)).to(device)


def stored_set(name: str) -> tuple[preprocessing.DatasetCard, preprocessing.Examples]:
    """Read the facts about the data, and one of the three sets."""
    card = artifacts.read_record(preprocessing.DatasetCard, SPLIT / "card")
    stored = artifacts.read_record(preprocessing.Examples, SPLIT / name)
    if (count := len(stored.labels)) != card.sizes[name]:
        with artifacts.damage_named(SPLIT):  # the set or the card
            raise ValueError(f"{name} holds {count:,} examples, and card says {card.sizes[name]:,}")
    return card, stored
