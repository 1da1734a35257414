"""The networks that train together, and what is known of each: what a training returns.

A network that has improved is copied, one that has stopped leaves the stack, and one whose cost or parameters are no
longer finite leaves it as diverged. What is recorded is of all networks, with NaN for those that have stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.network.forward import Parameters


@dataclass(frozen=True)
class Snapshot:
    """How a stack stands while it trains; what a progress callback receives.

    Attributes
    ----------
    step : int
        Training steps done.
    costs : (replicas that took this step,) tensor
        Data cost of this step's batch plus the penalty.
    training : int
        Replicas still training.
    best_validation_cost : float
        The lowest so far over all replicas, NaN without validation.
    """

    step: int
    costs: Tensor
    training: int
    best_validation_cost: float


@dataclass(frozen=True)
class TrainingResult:
    """One trained network a seed; row or entry ``k`` everywhere belongs to ``seeds[k]``.

    Attributes
    ----------
    parameters : dict
        Best parameters, ``(replicas, ...)``: the last that improved the validation cost by more than
        ``min_delta``; without validation those of the last look, every ``evaluate_every`` steps, at which they were
        finite.
    seeds : list of int
    l2 : list of float
        Lambda of each network's penalty.
    cost_steps : list of int
        Steps at which a cost was recorded: every 100th.
    costs, penalties : (len(cost_steps), replicas) tensors
        Data cost of that step's batch, and L2 penalty, in nats; NaN once a replica has stopped.
    evaluation_steps : list of int
        Steps at which the validation set was evaluated.
    validation_costs, validation_accuracies : (len(evaluation_steps), replicas) tensors
        In nats and in percent; NaN once a replica has stopped.
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
    stop_reason: list[str]

    def at_best(self, curve: Tensor) -> Tensor:
        """Look up a curve of evaluations at each network's best step, ``(replicas,)``; NaN where there is none."""
        best = torch.tensor(self.best_step)
        if not self.evaluation_steps:
            return curve.new_full(best.shape, math.nan)
        rows = torch.searchsorted(torch.tensor(self.evaluation_steps), best)
        return curve[rows, torch.arange(len(best))].where(best > 0, math.nan)


class Stack:
    """The networks that are still training, and what is known of all of them.

    What belongs together is replaced at once, so that an interruption at any moment leaves a whole record.

    Parameters
    ----------
    parameters : dict
        The networks' start, ``(replicas, ...)``; a training step may update it in place.
    lambdas : list of float
        Lambda of each network's penalty.

    Attributes
    ----------
    parameters, l2 : dict, float or tensor
        Of the networks that are still training.
    live : (training,) tensor
        Their places in the whole stack.
    step : int
        Training steps done.
    """

    def __init__(self, parameters: Parameters, lambdas: list[float]) -> None:
        count, device = len(lambdas), parameters["W1"].device
        self.device = device
        self.parameters = parameters
        one_for_all = len(set(lambdas)) == 1
        self.l2 = lambdas[0] if one_for_all else self.parameters["W1"].new_tensor(lambdas)
        self.live = torch.arange(count, device=device)
        self.step = 0
        self.best = {name: stacked.clone() for name, stacked in self.parameters.items()}
        self.best_cost = torch.full((count,), math.inf, dtype=torch.float64, device=device)
        self.best_step = torch.zeros(count, dtype=torch.int64, device=device)
        self.steps = torch.zeros(count, dtype=torch.int64, device=device)
        self.stop_reason = [""] * count
        self.recorded: list[tuple[int, Tensor, Tensor]] = []  # step, costs, penalties
        self.evaluated: list[tuple[int, Tensor, Tensor]] = []  # step, validation costs, accuracies

    def record_costs(self, costs: Tensor, penalties: Tensor) -> None:
        """Record the data cost of this step's batch and the penalty of each network that is training."""
        self.recorded.append((self.step, self._of_all(costs), self._of_all(penalties)))

    def keep_best(self, costs: Tensor, accuracies: Tensor, min_delta: float) -> None:
        """Record an evaluation; keep copies of what has improved and drop what has diverged."""
        record = (self.step, self._of_all(costs), self._of_all(accuracies))
        self._keep(costs, costs < self.best_cost[self.live] - min_delta, [record])

    def keep_finite(self, costs: Tensor) -> None:
        """Keep copies of every network whose cost is finite, and drop the others."""
        self._keep(costs, torch.ones_like(costs, dtype=torch.bool), [])

    def stop(self, which: Tensor, reason: str) -> None:
        """Let the networks of the mask ``which`` leave the stack."""
        if not which.any():
            return
        leaving = self.live[which]
        reasons = list(self.stop_reason)
        for replica in leaving.tolist():
            reasons[replica] = reason
        self.steps, self.stop_reason, self.parameters, self.l2, self.live = (
            self.steps.index_fill(0, leaving, self.step),
            reasons,
            {name: stacked[~which] for name, stacked in self.parameters.items()},
            self.l2[~which] if isinstance(self.l2, Tensor) else self.l2,
            self.live[~which],
        )

    def snapshot(self) -> Snapshot:
        """Tell how the stack stands, after a cost was recorded."""
        best = self.best_cost.min().item()
        _, costs, penalties = self.recorded[-1]
        took_it = (self.steps == 0) | (self.steps == self.step)
        return Snapshot(
            step=self.step,
            costs=(costs + penalties)[took_it],
            training=len(self.live),
            best_validation_cost=best if self.evaluated and math.isfinite(best) else math.nan,
        )

    def result(self, seeds: list[int], lambdas: list[float], epochs_per_step: float) -> TrainingResult:
        """Return the best parameters and all that was recorded, on the CPU, once every network has stopped."""
        steps = self.steps.tolist()
        return TrainingResult(
            parameters={name: stacked.cpu().clone() for name, stacked in self.best.items()},
            seeds=seeds,
            l2=lambdas,
            cost_steps=[step for step, _, _ in self.recorded],
            costs=self._rows([costs for _, costs, _ in self.recorded]),
            penalties=self._rows([penalties for _, _, penalties in self.recorded]),
            evaluation_steps=[step for step, _, _ in self.evaluated],
            validation_costs=self._rows([costs for _, costs, _ in self.evaluated]),
            validation_accuracies=self._rows([accuracies for _, _, accuracies in self.evaluated]),
            steps=steps,
            best_step=self.best_step.tolist(),
            epochs=[count * epochs_per_step for count in steps],
            stop_reason=self.stop_reason,
        )

    def _keep(self, costs: Tensor, improved: Tensor, records: list[tuple[int, Tensor, Tensor]]) -> None:
        finite = costs.isfinite()
        for stacked in self.parameters.values():
            finite &= stacked.isfinite().flatten(start_dim=1).all(dim=1)
        improved = improved & finite
        rows = self.live[improved]
        self.evaluated, self.best, self.best_cost, self.best_step = (
            [*self.evaluated, *records],
            {name: self.best[name].index_copy(0, rows, stacked[improved]) for name, stacked in self.parameters.items()},
            self.best_cost.index_copy(0, rows, costs[improved].double()),
            self.best_step.index_fill(0, rows, self.step),
        )
        self.stop(~finite, "diverged")

    def _of_all(self, values: Tensor) -> Tensor:
        missing = torch.full((len(self.steps),), math.nan, dtype=torch.float64, device=self.device)
        return missing.index_copy(0, self.live, values.double())

    def _rows(self, records: list[Tensor]) -> Tensor:
        return torch.stack(records).cpu().clone() if records else torch.empty(0, len(self.steps), dtype=torch.float64)
