"""``params.yaml`` as a typed, validated object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
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

Dataset = Literal["mnist", "fashion_mnist", "kmnist", "digits"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Lambda = Annotated[float, Field(ge=0)]


def _not_the_data_set(name: str) -> str:
    if name == "dataset":
        raise ValueError("must not be 'dataset', which metrics call the data set")
    return name


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("must not repeat a value")
    return values


ArmName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_the_data_set)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class ParamsError(ValueError):
    """``params.yaml`` is not what it must be; the message names the key, the value and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(_Section):
    """Which data, and how they are divided."""

    dataset: Dataset
    offline_fallback: Literal["digits"] | None
    validation_fraction: float = Field(gt=0, lt=1)
    split_seed: Seed


class Network(_Section):
    """Units of each layer after the input."""

    layers: list[Count] = Field(min_length=1)


class Training(_Section):
    """What all arms have in common."""

    learning_rate: float = Field(gt=0)
    batch_size: Count
    max_steps: Count
    evaluate_every: Count
    patience: Count
    min_delta: float = Field(ge=0)
    seeds: Seeds
    shuffle_seed: Seed
    threads: Count
    processes: Count

    @field_validator("processes")
    @classmethod
    def _a_thread_each(cls, processes: int, info: ValidationInfo) -> int:
        threads = info.data.get("threads", processes)
        if processes > threads:
            raise ValueError(f"must be at most training.threads, which is {threads}: each process needs a thread")
        return processes

    def settings(self) -> dict[str, Any]:
        """Return what :func:`pipeline.training.train` takes by the same name, but the seeds."""
        return self.model_dump(exclude={"seeds", "threads", "processes"})


class Arm(_Section):
    """What one arm has of its own."""

    title: str = Field(min_length=1)
    use_batchnorm: bool
    l2: Lambda


class L2Path(_Section):
    """The lambdas among which the L2 arm's was chosen."""

    values: Annotated[list[Lambda], Field(min_length=2), AfterValidator(_distinct)]
    seeds: Seeds


class Timing(_Section):
    """How long the clock is held to the arms."""

    rounds: Count
    steps: Count


class Params(_Section):
    """All of ``params.yaml``."""

    data: Data
    network: Network
    training: Training
    arms: dict[ArmName, Arm] = Field(min_length=1)
    l2_path: L2Path
    timing: Timing

    @model_validator(mode="after")
    def _layers_end_in_the_classes(self) -> Params:
        classes = 10  # of every data set that may be named
        if self.network.layers[-1] != classes:
            raise ValueError(
                f"network.layers is {self.network.layers}: it must end in the {classes} classes of {self.data.dataset}"
            )
        return self


def load_params(path: Path) -> Params:
    """Read and validate a parameter file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Params

    Raises
    ------
    ParamsError
        If it cannot be read, is no YAML or holds a value that is not allowed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path.name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets "2020-13-45" fall through as a bare ValueError
        raise ParamsError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path.name} must be a map of sections, got {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(_explain(path.name, error)) from error


def _explain(file: str, error: ValidationError) -> str:
    """Put pydantic's first complaint into one line that names the key, the value and what is allowed."""
    first, *others = error.errors()
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    what = first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "missing":
            said = f"{key} is missing"
        case "extra_forbidden":
            said = f"{key} is not a key that this file may have"
        case "value_error" if not key:
            said = what
        case _:
            said = f"{key} is {first['input']!r}: {what[0].lower()}{what[1:]}"
            if first["type"] == "float_type" and isinstance(first["input"], str):
                said += " (YAML reads 1e-3 as a string: write 1.0e-3)"
    return f"{file}: {said}" + (f" (and {len(others)} more)" if others else "")
