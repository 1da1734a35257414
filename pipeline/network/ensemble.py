"""Networks that train together as one ensemble, and the record of each: what a training returns.

A network that has stopped leaves the ensemble. Records are of all networks, with NaN for those that have stopped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline.network.arguments import Parameters, number_of_layers
from pipeline.network.forward import STATISTICS_AT_START, initialize_parameters

StopReason = Literal["no improvement", "cap reached", "interrupted", "diverged"]


@dataclass(frozen=True)
class Snapshot:
    """How an ensemble stands while it trains; what a progress callback receives."""

    step: int  # training steps done
    costs: Tensor  # (networks that took this step,): data cost of its batch plus L2 penalty, in nats
    training: int  # networks still training
    best_validation_cost: float  # the lowest so far over all networks, in nats; NaN without validation


@dataclass(frozen=True)
class TrainingResult:
    """One trained network a seed; entry ``k`` everywhere belongs to ``seeds[k]``.

    Attributes
    ----------
    parameters : dict
        Best parameters, ``(networks, ...)``: the last that improved the validation cost by more than ``min_delta``;
        without validation the last, every ``evaluate_every`` steps, that were finite.
    seeds : list of int
    l2 : list of float
        Lambda of each network's penalty.
    cost_steps : list of int
        Steps at which a cost was recorded: every 100th.
    costs, penalties : (len(cost_steps), networks) tensors
        Data cost of that step's batch, and L2 penalty, in nats; NaN once a network has stopped.
    evaluation_steps : list of int
        Steps of the validation checks.
    validation_costs, validation_accuracies : (len(evaluation_steps), networks) tensors
        In nats and in percent; NaN where a cost is not finite, and once a network has stopped.
    steps, best_step : list of int
        Training steps until the stop, and the step of the best parameters.
    epochs : list of float
        Passes over the training set until the stop.
    stop_reason : list of str
        ``"no improvement"``, ``"cap reached"``, ``"interrupted"`` or ``"diverged"``.
    """

    parameters: Parameters
    seeds: list[int]
    l2: list[float]
    cost_steps: list[int]
    costs: Tensor
    penalties: Tensor
    evaluation_steps: list[int]
    validation_costs: Tensor
    validation_accuracies: Tensor
    steps: list[int]
    best_step: list[int]
    epochs: list[float]
    stop_reason: list[StopReason]

    @property
    def layers_dims(self) -> list[int]:
        """Units of each layer, input and output included."""
        layers = range(1, number_of_layers(self.parameters) + 1)
        return [self.parameters["W1"].shape[2], *(self.parameters[f"W{layer}"].shape[1] for layer in layers)]

    @property
    def headline(self) -> int:
        """The headline model: the network with the lowest validation cost at its best step, the first of equals.

        A network without a best step, because it diverged before its first check, is not chosen.
        """
        return int(self.at_best(self.validation_costs).nan_to_num(nan=math.inf).argmin())

    @property
    def headline_costs(self) -> dict[int, float]:
        """The headline model's cost, L2 penalty included, by step: what ``L_layer_model`` returns."""
        costs = (self.costs + self.penalties)[:, self.headline].tolist()
        return {step: cost for step, cost in zip(self.cost_steps, costs, strict=True) if not math.isnan(cost)}

    def at_best(self, curve: Tensor) -> Tensor:
        """Look up a curve of validation checks at each network's best step, ``(networks,)``; NaN where none is."""
        rows = dict(zip(self.evaluation_steps, curve.tolist(), strict=True))
        none = [math.nan] * len(self.best_step)
        return torch.tensor([rows.get(step, none)[k] for k, step in enumerate(self.best_step)], dtype=torch.float64)


def initialize_ensemble(
    layers_dims: Sequence[int],
    seeds: Sequence[int],
    *,
    use_batchnorm: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Parameters:
    """Initialise one network for each seed: as ``initialize_parameters`` does, with a leading axis ``(networks, ...)``.

    With batch norm the running statistics are among them: a network has them even if no step of it succeeds.
    """
    networks = [initialize_parameters(layers_dims, seed=seed, dtype=dtype) for seed in seeds]
    parameters = {name: torch.stack([network[name] for network in networks]).to(device) for name in networks[0]}
    return parameters | initial_statistics(parameters) if use_batchnorm else parameters


def initial_statistics(parameters: Parameters) -> Parameters:
    """Return the running statistics of the hidden layers before the first step: mean 0, variance 1."""
    return {
        f"{kind}{layer}": torch.full_like(parameters[f"b{layer}"], first)
        for kind, first in STATISTICS_AT_START.items()
        for layer in range(1, number_of_layers(parameters))
    }


class Ensemble:
    """The networks that are still training, and the record of all of them.

    Nothing is changed in place, and fields that belong together are replaced in one statement, whose assignments
    Python does not interrupt: Ctrl-C at any moment leaves a whole record.
    """

    def __init__(self, parameters: Parameters, seeds: list[int], lambdas: list[float], epochs_per_step: float) -> None:
        count, device = len(seeds), parameters["W1"].device
        self.seeds, self.lambdas, self.epochs_per_step = seeds, lambdas, epochs_per_step
        self.parameters = parameters  # (networks that are still training, ...); a step puts new arrays into it
        self.l2 = torch.tensor(lambdas, dtype=torch.float64, device=device)
        self.live = torch.arange(count, device=device)  # places among all networks of those still training
        self.step = 0  # training steps done
        self.best = dict(parameters)
        self.best_cost = torch.full((count,), math.inf, dtype=torch.float64, device=device)
        self.best_step = torch.zeros(count, dtype=torch.int64, device=device)
        self.steps = torch.zeros(count, dtype=torch.int64, device=device)
        self.stop_reason: list[StopReason] = ["interrupted"] * count  # until a network stops
        self.recorded: list[tuple[int, Tensor, Tensor]] = []  # step, costs, penalties
        self.checked: list[tuple[int, Tensor, Tensor]] = []  # step, validation costs, accuracies

    def record_costs(self, costs: Tensor, penalties: Tensor) -> None:
        """Record the data cost of this step's batch and the penalty of each network that is training."""
        self.recorded.append((self.step, self._of_all(costs), self._of_all(penalties)))

    def keep_best(self, costs: Tensor, accuracies: Tensor | None, min_delta: float) -> None:
        """Record a validation check; keep what has improved and drop what has diverged.

        Without accuracies nothing is validated, and whatever is finite has improved.
        """
        each_network = [each.isfinite().flatten(start_dim=1).all(dim=1) for each in self.parameters.values()]
        improved = finite = torch.stack([costs.isfinite(), *each_network]).all(dim=0)
        checked = self.checked
        if accuracies is not None:
            improved = finite & (costs < self.best_cost[self.live] - min_delta)
            accuracies = accuracies.where(costs.isfinite(), math.nan)  # without a cost there is none
            checked = [*checked, (self.step, self._of_all(costs), self._of_all(accuracies))]
        kept = self.live[improved]
        self.checked, self.best, self.best_cost, self.best_step = (
            checked,
            {name: self.best[name].index_copy(0, kept, new[improved]) for name, new in self.parameters.items()},
            self.best_cost.index_copy(0, kept, costs[improved].double()),
            self.best_step.index_fill(0, kept, self.step),
        )
        self.stop(~finite, "diverged")

    def stop(self, which: Tensor, reason: StopReason) -> None:
        """Let the networks of the mask ``which`` leave the ensemble."""
        if not which.any():
            return
        leaving = set(self.live[which].tolist())
        self.steps, self.stop_reason, self.parameters, self.l2, self.live = (
            self.steps.index_fill(0, self.live[which], self.step),
            [reason if k in leaving else earlier for k, earlier in enumerate(self.stop_reason)],
            {name: each[~which] for name, each in self.parameters.items()},
            self.l2[~which],
            self.live[~which],
        )

    def snapshot(self) -> Snapshot:
        """Tell how the ensemble stands, after a cost was recorded."""
        best = self.best_cost.min().item()
        _, costs, penalties = self.recorded[-1]
        took_it = (self.steps == 0) | (self.steps == self.step)
        is_known = bool(self.checked) and math.isfinite(best)
        return Snapshot(self.step, (costs + penalties)[took_it], len(self.live), best if is_known else math.nan)

    def result(self, reason: StopReason) -> TrainingResult:
        """Stop the networks that are left, for a reason; return the best parameters and the record, on the CPU."""
        self.stop(torch.ones_like(self.live, dtype=torch.bool), reason)
        return TrainingResult(
            parameters={name: each.cpu() for name, each in self.best.items()},
            seeds=self.seeds,
            l2=self.lambdas,
            **self._curves(self.recorded, "cost_steps", "costs", "penalties"),
            **self._curves(self.checked, "evaluation_steps", "validation_costs", "validation_accuracies"),
            steps=self.steps.tolist(),
            best_step=self.best_step.tolist(),
            epochs=[steps * self.epochs_per_step for steps in self.steps.tolist()],
            stop_reason=self.stop_reason,
        )

    def _of_all(self, values: Tensor) -> Tensor:
        missing = torch.full((len(self.steps),), math.nan, dtype=torch.float64, device=self.live.device)
        return missing.index_copy(0, self.live, values.double())

    def _curves(self, records: list[tuple[int, Tensor, Tensor]], steps: str, first: str, second: str) -> dict[str, Any]:
        none = torch.empty(0, len(self.steps), dtype=torch.float64)
        return {
            steps: [step for step, _, _ in records],
            first: torch.vstack([none, *(values.cpu() for _, values, _ in records)]),
            second: torch.vstack([none, *(values.cpu() for _, _, values in records)]),
        }
