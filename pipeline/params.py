"""``params.yaml`` as a typed, validated object, and what only the data can refuse."""

import difflib
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from pipeline.data.preprocessing import validation_size
from pipeline.text import shown

LARGEST = 2**16  # characters of a file; the shipped one has 2,000
LONGEST = 1000  # characters of a key or a value
DEEPEST = 10  # nested maps and lists; the shipped file has 3
PIXELS = 28 * 28  # of an image, in every data set
OF_KEYS = {"missing": "is missing", "extra_forbidden": "is not a key that this file may have"}  # said by type of error


def _plain(title: str) -> str:
    if not title.strip() or not title.isprintable() or re.search(r"\[\[|\]\]|\*\*|`", title):
        raise ValueError("must be printable, not blank, and without [[, ]], ** and `, the report's markup")
    if re.search(r'(^|;)[\s"]*[=+@-]', title):  # some spreadsheets begin a cell after a semicolon
        raise ValueError(
            "must have no =, +, - or @ at its beginning or after a semicolon: to a spreadsheet that is a formula"
        )
    return title


def _in_float32(value: float) -> float:
    if value and not 1.2e-38 <= abs(value) <= 3.4e38:
        raise ValueError("must be 0 or between 1.2e-38 and 3.4e+38, the range of float32")
    return value


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("must not repeat a value")
    return values


Count = Annotated[int, Field(ge=1, lt=2**63)]
Workers = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Real = Annotated[float, AfterValidator(_in_float32)]
Lambda = Annotated[Real, Field(ge=0)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class ParamsError(ValueError):
    """``params.yaml`` is invalid; the message names the key, the value and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(_Section):
    """The data set and its split."""

    dataset: str
    offline_fallback: Literal["digits"] | None
    validation_fraction: float = Field(gt=0, lt=1)
    split_seed: Seed


class Network(_Section):
    """Units of each layer after the input."""

    layers: list[Count] = Field(min_length=1)


class Training(_Section):
    """Settings that all arms share."""

    learning_rate: Real = Field(gt=0)
    batch_size: Count
    max_steps: Count
    evaluate_every: Count
    patience: Count
    min_delta: Real = Field(ge=0)
    seeds: Seeds
    shuffle_seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    compile: bool
    threads: Workers
    processes: Workers

    def settings(self) -> dict[str, Any]:
        """Return the arguments that :func:`pipeline.network.training.train` takes by the same names, but the seeds."""
        return self.model_dump(exclude={"seeds", "device", "threads", "processes"})

    @property
    def usable_threads(self) -> int:
        """``threads``, but no more than this machine has cores: further threads only get in each other's way."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(self.threads, cores)

    def said_of_cores(self) -> str:
        """Say in one line that this machine has fewer cores than ``threads``; nothing if it has as many."""
        usable = self.usable_threads
        here = f"stages use no more threads and processes than this machine has cores, {usable}"
        return f"training.threads is {self.threads}: {here}" if usable < self.threads else ""


class Arm(_Section):
    """Settings of one arm."""

    title: Annotated[str, Field(max_length=64), AfterValidator(_plain)]
    use_batchnorm: bool
    l2: Lambda


class L2Path(_Section):
    """The values of lambda from which the L2 arm's is chosen."""

    values: Annotated[list[Lambda], Field(min_length=2), AfterValidator(_distinct)]
    seeds: Seeds

    @property
    def networks(self) -> int:
        """One for each value and seed."""
        return len(self.values) * len(self.seeds)


class Timing(_Section):
    """How long the arms are timed."""

    rounds: int = Field(ge=1, le=1000)
    steps: Count


class Params(_Section):
    """All of ``params.yaml``."""

    data: Data
    network: Network
    training: Training
    reference: str
    arms: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)], Arm] = Field(min_length=1)
    l2_path: L2Path
    timing: Timing

    @field_validator("arms")
    @classmethod
    def _in_order(cls, arms: dict[str, Arm], info: ValidationInfo) -> dict[str, Arm]:
        """Put the reference first and the others in order of their names: DVC does not see the order of the file."""
        return dict(sorted(arms.items(), key=lambda arm: (arm[0] != info.data.get("reference"), arm[0])))

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.reference not in self.arms:
            arms = shown(", ".join(self.arms))
            raise ValueError(f"reference is {shown(repr(self.reference))}: must be one of {arms}")
        normalised = [name for name, arm in self.arms.items() if arm.use_batchnorm]
        if normalised and self.training.batch_size < 2:
            reason = f"as arms.{normalised[0]} normalises over a batch"
            raise ValueError(f"training.batch_size is {self.training.batch_size}: must be at least 2, {reason}")
        return self

    def require_fit(self, name: str, classes: int, examples: int) -> None:
        """Check layers, split and batch against a data set of so many classes and, before its split, examples."""
        layers, batch, share = self.network.layers, self.training.batch_size, self.data.validation_fraction
        aside = validation_size(examples, share)
        left = examples - aside
        fewest = 2 if any(arm.use_batchnorm for arm in self.arms.values()) else 1  # evaluated as a batch, too
        if layers[-1] != classes:
            raise ValueError(f"network.layers is {shown(layers)}: it must end in the {classes} classes of {name}")
        if aside < fewest or left < 1:
            at_least = "two (for batch norm)" if fewest == 2 else "one"
            wanted = f"it must set at least {at_least} aside and leave at least one"
            raise ValueError(
                f"data.validation_fraction is {share}: of the {examples:,} training examples of {name} {wanted}"
            )
        if batch > left:
            wanted = f"it must be at most the {left:,} examples of {name} that are left to train on"
            raise ValueError(f"training.batch_size is {batch}: {wanted}")

    def require_memory(self, memory: int, *, on_gpu: bool) -> None:
        """Check that the networks fit into so many bytes of memory; of those on a GPU only the results do."""
        layers = self.network.layers
        numbers = sum((before + 1) * units for before, units in pairwise([PIXELS, *layers]))
        networks = max(len(self.training.seeds), self.l2_path.networks)
        copies = 1 if on_gpu else 4  # parameters, gradients, updated and best parameters
        if (needed := 4 * numbers * networks * copies) > memory:
            need = f"{networks:,} networks of {numbers:,} parameters need at least {needed / 2**30:,.1f} GiB of memory"
            raise ValueError(f"network.layers is {shown(layers)}: {need}, and this machine has {memory / 2**30:,.1f}")


def load_params(path: Path) -> Params:
    """Read and validate a parameter file; a :class:`ParamsError` says what is wrong with it."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ParamsError(f"{path.name} must be a map of sections, got {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(_explain(path.name, error)) from error


def read_yaml(path: Path) -> Any:
    """Read YAML as DVC does, of bounded size and depth; a :class:`ParamsError` says why a file cannot be read.

    Aliases are refused: a few lines can make billions of items. So are merges: beside one, a repeated key is taken.
    """
    depth = 0
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it holds more than {LARGEST:,} characters")
        for event in YAML(typ="safe").parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(f"its maps and lists are more than {DEEPEST} levels deep")
            if isinstance(event, AliasEvent):
                raise ValueError(f"*{event.anchor} is an alias, which is not allowed here")
            if isinstance(event, ScalarEvent) and (event.value == "<<" or str(event.tag).endswith(":merge")):
                raise ValueError("<<, a merge, is not allowed here")
            if isinstance(event, ScalarEvent) and len(event.value) > LONGEST:
                raise ValueError(f"a key or a value has more than {LONGEST:,} characters")
        return YAML(typ="safe").load(text)
    except OSError as error:
        raise ParamsError(f"{path.name} cannot be read: {error.strerror}") from error
    # "2020-13-45" is a ValueError, "!!bool x" a LookupError, a list as a key a TypeError, "!!omap" can be either other.
    except (YAMLError, ValueError, LookupError, TypeError, AssertionError, ArithmeticError) as error:
        raise ParamsError(f"{path.name} is not YAML as it should be: {shown(error, longest=300)}") from error


def _explain(file: str, error: ValidationError) -> str:
    """Put pydantic's errors into one line: the first in words, the others as a count."""
    errors = error.errors()
    said = _say(errors[0])
    missing = {_key(each): each for each in errors if each["type"] == "missing"}
    for key in (_key(each) for each in errors if each["type"] == "extra_forbidden"):
        if meant := difflib.get_close_matches(key, missing, n=1):
            said = f"{key} {OF_KEYS['extra_forbidden']}, and {meant[0]} is missing"
            errors.remove(missing[meant[0]])  # the two are one mistake
            break
    return f"{file}: {said}" + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")


def _key(error: ErrorDetails) -> str:
    return shown(".".join(str(part) for part in error["loc"] if part != "[key]"))


def _say(error: ErrorDetails) -> str:
    key, what = _key(error), error["msg"].removeprefix("Value error, ")
    if error["type"] in OF_KEYS:
        return f"{key} {OF_KEYS[error['type']]}"
    return f"{key} is {shown(repr(error['input']))}: {what[0].lower()}{what[1:]}" if key else what
