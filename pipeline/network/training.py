"""Training: section 3a of the assignment, one network as the assignment tells it, and an ensemble of them.

:func:`L_layer_model` trains one network; :func:`train` trains one a seed, all at once. Both go from one validation
check, or cost to record, to the next by :func:`training_steps`, which PyTorch may compile.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.network import arguments
from pipeline.network.arguments import Array, Parameters
from pipeline.network.backward import L_model_backward, update_parameters
from pipeline.network.compiling import compiled, eager
from pipeline.network.ensemble import Ensemble, Snapshot, TrainingResult, initial_statistics, initialize_ensemble
from pipeline.network.forward import L_model_forward, compute_cost, initialize_parameters, l2_penalty
from pipeline.network.precision import full_precision
from pipeline.network.prediction import evaluate

COST_EVERY = 100  # training steps between two recorded costs (assignment, 3a)


def training_step(
    X: Tensor,
    Y: Tensor,
    parameters: Parameters,
    learning_rate: float,
    *,
    use_batchnorm: bool = False,
    l2: float | Tensor = 0.0,
) -> Tensor:
    """Take one step on one mini-batch: forward, cost, backward, update.

    Parameters
    ----------
    X, Y : (n_0, m), (n_L, m)
        The examples of the batch, and their one-hot labels.
    parameters : dict
        Gets new arrays.
    learning_rate, use_batchnorm, l2
        As in :func:`train`, but ``l2`` as a float or a (...) tensor.

    Returns
    -------
    cost : (...) tensor
        The data cost before the update, in nats.
    """
    AL, caches = L_model_forward(X, parameters, use_batchnorm)
    cost = compute_cost(AL, Y)
    grads = L_model_backward(AL, Y, caches, l2=l2)
    update_parameters(parameters, grads, learning_rate)
    return cost


def training_steps(
    X: Tensor,
    Y: Tensor,
    batches: Tensor,
    parameters: Parameters,
    learning_rate: float,
    *,
    use_batchnorm: bool = False,
    l2: float | Tensor = 0.0,
) -> Tensor:
    """Take one :func:`training_step` on each mini-batch, and return the cost of the last.

    ``X`` and ``Y`` hold all examples. ``batches`` are indices of examples, ``(steps, m)``, a mini-batch a row. An
    example of ``X`` lies in one piece of memory, so it is taken as a row of ``X.mT``.
    """
    for batch in batches:
        X_batch, Y_batch = X.mT.index_select(0, batch).mT, Y.index_select(1, batch)
        cost = training_step(X_batch, Y_batch, parameters, learning_rate, use_batchnorm=use_batchnorm, l2=l2)
    return cost


def L_layer_model(
    X: Array,
    Y: Array,
    layers_dims: Sequence[int],
    learning_rate: float,
    num_iterations: int,
    batch_size: int,
    *,
    use_batchnorm: bool = False,
    l2: float = 0.0,
    seed: int = 0,
    validation: tuple[Array, Array] | None = None,
    evaluate_every: int = 50,
    patience: int = 100,
    min_delta: float = 0.0,
    compile: bool = False,
    progress: bool | Callable[[Snapshot], None] = True,
) -> tuple[Parameters, list[float]]:
    """Train one network (assignment, 3a); print its cost every 100 steps.

    With a validation set its cost is checked every ``evaluate_every`` steps; training stops at the first check that
    comes ``patience`` steps or more after the lowest cost so far.

    Parameters
    ----------
    X, Y : (n_0, examples), (n_L, examples)
        The examples, and their one-hot labels.
    layers_dims : sequence of int
        Units of each layer, input and output included.
    learning_rate : float
    num_iterations : int
        Cap on the training steps; a step is one mini-batch.
    batch_size : int
    use_batchnorm, l2, validation, evaluate_every, patience, min_delta, compile, progress
        As in :func:`train`.
    seed : int
        Decides the start; the order of the batches is the same for every seed.

    Returns
    -------
    parameters : dict
        The best parameters, as in :class:`TrainingResult`.
    costs : list of float
        The cost in nats, L2 penalty included, at every 100th step.

    Raises
    ------
    ValueError
        If an argument is not what it must be; the message names it.
    TrainingInterrupted
        At Ctrl-C, with the best parameters and the costs so far.

    Warns
    -----
    RuntimeWarning
        If the cost stopped being finite, or X looks like unscaled pixels.
    """
    layers_dims = arguments.take_layers_dims("L_layer_model", "layers_dims", layers_dims)
    X, Y = arguments.take_examples("L_layer_model", X, Y, layers_dims)
    validation = arguments.take_validation("L_layer_model", validation, layers_dims)
    counts = {"batch_size": batch_size, "evaluate_every": evaluate_every, "patience": patience}
    options = {"use_batchnorm": use_batchnorm, "compile": compile, "progress": progress}
    rates = {"learning_rate": learning_rate, "min_delta": min_delta}
    arguments.require_settings("L_layer_model", X.shape[1], **options, **rates, **counts, num_iterations=num_iterations)
    (seed,) = arguments.take_seeds("L_layer_model", "seed", [seed])
    (l2,) = arguments.take_lambdas("L_layer_model", l2, networks=1)
    _warn_of_unscaled_pixels(X)
    report = _print_costs if progress is True else progress or None

    X = X.mT.contiguous().mT  # an example in one piece, see training_steps
    parameters = _to(X.device, initialize_parameters(layers_dims, seed=seed, dtype=X.dtype))
    if use_batchnorm:
        parameters |= initial_statistics(parameters)
    best, best_cost, best_step = dict(parameters), math.inf, 0
    costs, step, take_steps = [], 0, eager(training_steps)
    try:
        with full_precision():
            if compile:
                take_steps = compiled(
                    training_steps, X, Y, batch_size, parameters, learning_rate, use_batchnorm=use_batchnorm, l2=l2
                )
            batches = mini_batches(X.shape[1], batch_size, num_iterations)
            for end, stretch in stretches(batches, num_iterations, evaluate_every):
                before = dict(parameters)  # a step puts new arrays into the dictionary
                cost = take_steps(
                    X, Y, stretch.to(X.device), parameters, learning_rate, use_batchnorm=use_batchnorm, l2=l2
                )
                step = end
                if step % COST_EVERY == 0:
                    penalty = l2_penalty(_to(torch.float64, before), l2)  # large weights would overflow float32
                    costs.append((cost + penalty).item())
                    if report:
                        known = best_cost if validation and best_step else math.nan
                        report(Snapshot(step, torch.tensor(costs[-1:]), 1, known))
                if step % evaluate_every == 0 or step == num_iterations:
                    checked = cost if validation is None else evaluate(*validation, parameters)[0]
                    if not all(each.isfinite().all() for each in (checked, *parameters.values())):
                        _warn_of_divergence(step, best_step)
                        break
                    if validation is None or checked < best_cost - min_delta:  # a new low
                        best, best_cost, best_step = dict(parameters), checked.item(), step
                    elif step - best_step >= patience:  # no new low for too long
                        break
    except KeyboardInterrupt:
        raise _interrupted(step, best_step, parameters=_to("cpu", best), costs=costs) from None
    return _to("cpu", best), costs


def train(
    X: Array,
    Y: Array,
    layers_dims: Sequence[int],
    *,
    learning_rate: float,
    max_steps: int,
    batch_size: int,
    seeds: Sequence[int],
    use_batchnorm: bool = False,
    l2: float | Sequence[float] = 0.0,
    validation: tuple[Array, Array] | None = None,
    evaluate_every: int = 50,
    patience: int = 100,
    min_delta: float = 0.0,
    shuffle_seed: int = 0,
    compile: bool = False,
    progress: bool | Callable[[Snapshot], None] = False,
) -> TrainingResult:
    """Train one network for each seed, all as one ensemble.

    A seed decides a network's start; the batches depend on ``shuffle_seed`` alone and are the same for every
    network. A network whose validation cost has no new low for ``patience`` training steps stops and leaves the
    ensemble. Its best parameters come back on every way out: stopped, cap reached, diverged, or interrupted.

    Parameters
    ----------
    X, Y : (n_0, examples), (n_L, examples)
        The examples, on whose device training runs, and their one-hot labels.
    layers_dims : sequence of int
        Units of each layer, input and output included.
    learning_rate : float
    max_steps : int
        Cap on the training steps; a step is one mini-batch.
    batch_size : int
    seeds : sequence of int
    use_batchnorm : bool
    l2 : float or sequence of float
        Lambda of the L2 penalty, one for all networks or one for each.
    validation : (X, Y), optional
        The validation set; without it every network trains to the cap.
    evaluate_every : int
        Training steps between two validation checks.
    patience : int
        Training steps without a new low after which a network stops, at the next check.
    min_delta : float
        How far below the last low a new one must be, in nats.
    shuffle_seed : int
        Seed of the order in which examples are drawn.
    compile : bool
        Let PyTorch compile the steps first: seconds to a minute, after which they are faster. Then Ctrl-C waits for
        the next validation check or hundredth step.
    progress : bool or callable
        Print the cost every 100 steps, or call with a :class:`Snapshot` then.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If an argument is not what it must be; the message names it.
    TrainingInterrupted
        At Ctrl-C, with the result so far.
    """
    layers_dims = arguments.take_layers_dims("train", "layers_dims", layers_dims)
    X, Y = arguments.take_examples("train", X, Y, layers_dims)
    validation = arguments.take_validation("train", validation, layers_dims)
    counts = {"batch_size": batch_size, "evaluate_every": evaluate_every, "patience": patience}
    options = {"use_batchnorm": use_batchnorm, "compile": compile, "progress": progress}
    rates = {"learning_rate": learning_rate, "min_delta": min_delta}
    arguments.require_settings("train", X.shape[1], **options, **rates, **counts, max_steps=max_steps)
    seeds = arguments.take_seeds("train", "seeds", seeds)
    (shuffle_seed,) = arguments.take_seeds("train", "shuffle_seed", [shuffle_seed])
    lambdas = arguments.take_lambdas("train", l2, networks=len(seeds))
    report = _print_costs if progress is True else progress or None

    X = X.mT.contiguous().mT  # an example in one piece, see training_steps
    start = initialize_ensemble(layers_dims, seeds, use_batchnorm=use_batchnorm, dtype=X.dtype, device=X.device)
    ensemble = Ensemble(start, seeds, lambdas, batch_size / X.shape[1])
    settings: dict[str, Any] = {"learning_rate": learning_rate, "use_batchnorm": use_batchnorm}
    take_steps = eager(training_steps)
    try:
        with full_precision():
            if compile:
                take_steps = compiled(training_steps, X, Y, batch_size, start, l2=ensemble.l2, **settings)
            batches = mini_batches(X.shape[1], batch_size, max_steps, shuffle_seed)
            for step, stretch in stretches(batches, max_steps, evaluate_every):
                parameters = ensemble.parameters
                before = dict(parameters)  # a step puts new arrays into the dictionary
                costs = take_steps(X, Y, stretch.to(X.device), parameters, l2=ensemble.l2, **settings)
                ensemble.step = step
                if step % COST_EVERY == 0:
                    ensemble.record_costs(costs, l2_penalty(_to(torch.float64, before), ensemble.l2))
                if step % evaluate_every == 0 or step == max_steps:
                    checked, accuracies = evaluate(*validation, parameters) if validation else (costs, None)
                    ensemble.keep_best(checked, accuracies, min_delta)
                    ensemble.stop(step - ensemble.best_step[ensemble.live] >= patience, "no improvement")
                if report and step % COST_EVERY == 0:
                    report(ensemble.snapshot())
                if not len(ensemble.live):
                    break
        return ensemble.result("cap reached")
    except KeyboardInterrupt:
        result = ensemble.result("interrupted")
        raise _interrupted(ensemble.step, max(result.best_step), result=result) from None


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C in a training: a KeyboardInterrupt that holds what was reached.

    Attributes
    ----------
    parameters, costs : dict, list of float
        From :func:`L_layer_model`: what it returns, so far.
    result : TrainingResult
        From :func:`train`: what it returns, so far.
    """

    parameters: Parameters
    costs: list[float]
    result: TrainingResult


def mini_batches(examples: int, batch_size: int, steps: int, seed: int = 0) -> Iterator[Tensor]:
    """Draw full mini-batches, ``(batch_size,)`` indices of examples, from a stream of shuffled epochs."""
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same batches on every device
    stream = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(stream) < batch_size:
            stream = torch.cat([stream, torch.randperm(examples, generator=generator)])
        batch, stream = stream[:batch_size], stream[batch_size:]
        yield batch


def stretches(batches: Iterable[Tensor], steps: int, evaluate_every: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the batches in stretches, ``(steps, batch_size)``, each with the number of its last step.

    A stretch ends at each validation check, at each hundredth step, and at the step before each hundredth. So a
    hundredth step, whose cost is recorded, has a stretch to itself, and the parameters before it are known.
    """
    stretch = []
    for step, batch in enumerate(batches, start=1):
        stretch.append(batch)
        if step % COST_EVERY in (0, COST_EVERY - 1) or step % evaluate_every == 0 or step == steps:
            yield step, torch.stack(stretch)
            stretch = []


def _print_costs(snapshot: Snapshot) -> None:
    costs = "  ".join(f"{cost:.6f}" for cost in snapshot.costs.tolist())
    print(f"step {snapshot.step:6d}  cost {costs}", flush=True)


def _to(where: torch.device | torch.dtype | str, parameters: Parameters) -> Parameters:
    # Copies are returned: what an eager step made would refuse changes in place, and autograd.
    return {name: each.to(where, copy=True) for name, each in parameters.items()}


def _interrupted(step: int, best_step: int, **reached: Any) -> TrainingInterrupted:
    where = ", ".join(f".{name}" for name in reached)
    error = TrainingInterrupted(f"at step {step:,}; this error holds the best so far (step {best_step:,}) in {where}")
    vars(error).update(reached)
    return error


def _warn_of_divergence(step: int, best_step: int) -> None:
    said = f"diverged: cost or weights were not finite at step {step}; the parameters of step {best_step} are returned"
    warnings.warn(said, RuntimeWarning, stacklevel=3)


def _warn_of_unscaled_pixels(X: Tensor) -> None:
    if X.square().mean().sqrt() > 10:  # it is below 1 for pixels from 0 to 1, and 1 for standardised data
        got = f"L_layer_model got an X of values up to {X.abs().max():g}, as unscaled pixels are"
        hint = "with which training stays at the cost of guessing: divide by 255, or standardise"
        warnings.warn(f"{got}, {hint}", RuntimeWarning, stacklevel=3)
