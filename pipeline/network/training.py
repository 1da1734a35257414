"""Training and prediction: section 3 of the assignment.

:func:`train` trains one network a seed, all of them as one stack; :func:`L_layer_model` is its face for
a single network. There is no other implementation of a step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.network.backward import L_model_backward, require_learning_rate, update_parameters
from pipeline.network.ensemble import Stack, TrainingResult
from pipeline.network.forward import (
    L_model_forward,
    as_tensor,
    compute_cost,
    initialize_parameters,
    l2_penalty,
    number_of_layers,
    require_seed,
    sizes_of_layers,
)
from pipeline.network.precision import full_precision
from pipeline.network.tracing import Traced

if TYPE_CHECKING:
    from pipeline.network.ensemble import Snapshot
    from pipeline.network.forward import Array, Cache, Parameters

COST_EVERY = 100  # training steps between two recorded costs (assignment, section 3a)
EVALUATION_BLOCK = 1000  # examples evaluated at once, few enough that their activations stay in cache


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
    progress: bool | Callable[[Snapshot], None] = False,
) -> TrainingResult:
    """Train one network for each seed, all as one stack.

    A seed decides a network's start; the batches depend on ``shuffle_seed`` alone and are the same for
    every network. A network whose best validation cost has not improved for ``patience`` training steps
    stops and leaves the stack. Its best parameters are returned on every way out: stopped, cap reached,
    diverged, or interrupted by Ctrl-C.

    Parameters
    ----------
    X : (n_0, examples)
        Training runs on its device; what is returned is on the CPU.
    Y : (n_L, examples)
        One-hot labels.
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
        Training steps between two evaluations of the validation set.
    patience : int
        Training steps without improvement after which a network stops, at the next evaluation.
    min_delta : float
        What the validation cost must fall by to count as improved, in nats.
    shuffle_seed : int
        Seed of the order in which examples are drawn.
    progress : bool or callable
        Print the cost every 100 steps, or call with a :class:`Snapshot` then.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If an argument is not what it must be; the message names it.
    """
    layers_dims = sizes_of_layers("layers_dims", layers_dims)
    X, Y = _checked_examples("X", X, "Y", Y, layers_dims)
    if validation is not None:
        validation = _checked_examples("validation[0]", validation[0], "validation[1]", validation[1], layers_dims)
    lambdas = lambda_of_each(l2, len(seeds))
    _check_settings(
        X.shape[1],
        seeds,
        lambdas,
        shuffle_seed=shuffle_seed,
        learning_rate=learning_rate,
        min_delta=min_delta,
        use_batchnorm=use_batchnorm,
        max_steps=max_steps,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        patience=patience,
    )
    report = _print_costs if progress is True else progress or None
    stack = Stack(
        initialize_stack(layers_dims, seeds, use_batchnorm=use_batchnorm, dtype=X.dtype, device=X.device), lambdas
    )
    examples = X.mT.contiguous()  # an example a row: a batch is a contiguous gather
    take_step = Traced(training_step)
    batches = _batches(len(examples), batch_size, max_steps, shuffle_seed, X.device)
    try:
        with torch.inference_mode(), full_precision():
            for step, batch in enumerate(batches, start=1):
                X_batch, Y_batch = examples.index_select(0, batch).mT, Y.index_select(1, batch)
                if step % COST_EVERY == 0:
                    penalties = l2_penalty(stack.parameters, stack.l2)
                AL = take_step(
                    X_batch,
                    Y_batch,
                    stack.parameters,
                    float(learning_rate),  # a trace takes no number of NumPy's
                    use_batchnorm=use_batchnorm,
                    l2=stack.l2,
                )
                stack.step = step
                if step % COST_EVERY == 0:
                    stack.record_costs(compute_cost(AL, Y_batch), penalties)
                if step % evaluate_every == 0 or step == max_steps:
                    if validation is None:
                        stack.keep_finite(compute_cost(AL, Y_batch))
                    else:
                        stack.keep_best(*evaluate(*validation, stack.parameters), min_delta)
                        stack.stop(step - stack.best_step[stack.live] >= patience, "no improvement")
                if report and step % COST_EVERY == 0:
                    report(stack.snapshot())
                if not len(stack.live):
                    break
        stack.stop(torch.ones_like(stack.live, dtype=torch.bool), "cap reached")
    except KeyboardInterrupt:
        stack.stop(torch.ones_like(stack.live, dtype=torch.bool), "interrupted")
    return stack.result([int(seed) for seed in seeds], lambdas, epochs_per_step=batch_size / len(examples))


def lambda_of_each(l2: Any, networks: int) -> list[float]:
    """Return lambda network by network, from one number for all or one for each, and refuse whatever is neither."""
    one_for_all = isinstance(l2, Real) or getattr(l2, "ndim", None) == 0
    allowed = f"l2 must be one number or one for each of the {networks} seeds"
    try:
        lambdas = [float(l2)] * networks if one_for_all else [float(each) for each in l2]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{allowed}, got {l2!r}") from error
    if len(lambdas) != networks:
        raise ValueError(f"{allowed}, got {len(lambdas)}")
    return lambdas


def initialize_stack(
    layers_dims: Sequence[int],
    seeds: Sequence[int],
    *,
    use_batchnorm: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Parameters:
    """Initialise one network for each seed and stack them.

    Parameters
    ----------
    layers_dims : sequence of int
    seeds : sequence of int
    use_batchnorm : bool
        Add the running statistics of the hidden layers: a network has them even if no step of it succeeds.
    dtype : torch.dtype
    device : torch.device, optional
        The CPU if none.

    Returns
    -------
    dict
        As :func:`pipeline.network.forward.initialize_parameters`, each entry with a leading axis of ``len(seeds)``.
    """
    networks = [initialize_parameters(layers_dims, seed=seed, dtype=dtype) for seed in seeds]
    parameters = {name: torch.stack([network[name] for network in networks]).to(device) for name in networks[0]}
    for layer in range(1, len(layers_dims) - 1) if use_batchnorm else ():
        parameters[f"mean{layer}"] = torch.zeros_like(parameters[f"b{layer}"])
        parameters[f"var{layer}"] = torch.ones_like(parameters[f"b{layer}"])
    return parameters


def training_step(
    X: Tensor,
    Y: Tensor,
    parameters: Parameters,
    learning_rate: float,
    *,
    use_batchnorm: bool = False,
    l2: float | Tensor = 0.0,
) -> Tensor:
    """Take one step on one mini-batch: forward, backward, update.

    Parameters
    ----------
    X : (n_0, batch_size) tensor
    Y : (n_L, batch_size) tensor
    parameters : dict
        Updated in place.
    learning_rate : float
    use_batchnorm : bool
    l2 : float or (...) tensor

    Returns
    -------
    (..., n_L, batch_size) tensor
        The probabilities before the update.
    """
    AL, caches = L_model_forward(X, parameters, use_batchnorm)
    grads = L_model_backward(AL, Y, caches, l2=l2)
    update_parameters(parameters, grads, learning_rate)
    return AL


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
    progress: bool | Callable[[Snapshot], None] = True,
) -> tuple[Parameters, list[float]]:
    """Train one network (assignment, section 3a); print its cost every 100 steps.

    Parameters
    ----------
    X : (n_0, examples)
    Y : (n_L, examples)
        One-hot labels.
    layers_dims : sequence of int
        Units of each layer, input and output included.
    learning_rate : float
    num_iterations : int
        Cap on the training steps.
    batch_size : int
    use_batchnorm, l2, validation, evaluate_every, patience, min_delta, progress
        As in :func:`train`.
    seed : int
        Decides the start; the order of the batches is the same for every seed.

    Returns
    -------
    parameters : dict
        The best parameters, as in :class:`TrainingResult`, without a replica axis.
    costs : list of float
        The cost, L2 penalty included, at every 100th step.

    Raises
    ------
    ValueError
        If an argument is not what it must be; the message names it.

    Warns
    -----
    RuntimeWarning
        If the cost stopped being finite.
    """
    _require_count("num_iterations", num_iterations)
    require_seed("seed", seed)
    result = train(
        X,
        Y,
        layers_dims,
        learning_rate=learning_rate,
        max_steps=num_iterations,
        batch_size=batch_size,
        seeds=[seed],
        use_batchnorm=use_batchnorm,
        l2=l2,
        validation=validation,
        evaluate_every=evaluate_every,
        patience=patience,
        min_delta=min_delta,
        progress=progress,
    )
    if result.stop_reason == ["diverged"]:
        warnings.warn(
            f"diverged: the cost was not finite at step {result.steps[0]}; "
            f"the parameters of step {result.best_step[0]} are returned",
            RuntimeWarning,
            stacklevel=2,
        )
    costs = (result.costs + result.penalties)[:, 0]
    return {name: stacked[0] for name, stacked in result.parameters.items()}, costs.tolist()


def predict(X: Array, Y: Array, parameters: Mapping[str, Array]) -> float | Tensor:
    """Measure how many examples' true class has the highest probability (assignment, section 3b).

    It must be higher than every other: a tie counts as a miss.

    Networks trained with batchnorm, which hold ``mean{l}`` and ``var{l}``, normalise by these running
    statistics: an image is classified alike alone and in any batch.

    Parameters
    ----------
    X : (n_0, examples)
    Y : (n_L, examples)
        One-hot labels.
    parameters : dict

    Returns
    -------
    float or (...) tensor
        Accuracy in percent, one for each replica.

    Raises
    ------
    ValueError
        If ``X`` is not finite, ``Y`` not one-hot, or a shape does not fit.
    """
    L = number_of_layers(parameters)
    layers_dims = [parameters["W1"].shape[-1], parameters[f"W{L}"].shape[-2]]
    X, Y = _checked_examples("X", X, "Y", Y, layers_dims)
    _, accuracy = evaluate(X, Y, parameters)
    return accuracy if accuracy.dim() else accuracy.item()


@full_precision()
def evaluate(X: Tensor, Y: Tensor, parameters: Mapping[str, Array]) -> tuple[Tensor, Tensor]:
    """Compute the data cost and the accuracy of a trained stack, block by block.

    Parameters
    ----------
    X : (n_0, examples) tensor
    Y : (n_L, examples) tensor
    parameters : dict

    Returns
    -------
    cost : (...) tensor
        In nats.
    accuracy : (...) tensor
        In percent.
    """
    costs, counts = [], []
    for (AL, _), Y_block in zip(forward_in_blocks(X, parameters), torch.split(Y, EVALUATION_BLOCK, dim=1), strict=True):
        costs.append(compute_cost(AL, Y_block).double() * Y_block.shape[1])
        counts.append(hits(AL, Y_block).sum(dim=-1))
    examples = X.shape[1]
    return torch.stack(costs).sum(dim=0) / examples, torch.stack(counts).sum(dim=0).double() * 100 / examples


def forward_in_blocks(X: Tensor, parameters: Mapping[str, Array]) -> Iterator[tuple[Tensor, list[Cache]]]:
    """Run a trained stack block by block, each as :func:`pipeline.network.forward.L_model_forward` at inference."""
    for X_block in torch.split(X, EVALUATION_BLOCK, dim=1):
        yield L_model_forward(X_block, parameters, "mean1" in parameters, inference=True)


def hits(AL: Tensor, Y: Tensor) -> Tensor:
    """Mark the examples whose true class has a higher probability than every other, ``(..., examples)``."""
    return (AL * Y).sum(dim=-2) > (AL - Y).amax(dim=-2)


Predict = predict


def _batches(examples: int, batch_size: int, steps: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Cut an endless stream of shuffled epochs into full batches of indices; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    stream = torch.empty(0, dtype=torch.int64, device=device)
    for _ in range(steps):
        if len(stream) < batch_size:
            stream = torch.cat([stream, torch.randperm(examples, generator=generator).to(device)])
        yield stream[:batch_size]
        stream = stream[batch_size:]


def _print_costs(snapshot: Snapshot) -> None:
    costs = "  ".join(f"{cost:.6f}" for cost in snapshot.costs.tolist())
    print(f"step {snapshot.step:6d}  cost {costs}", flush=True)


def _checked_examples(
    x_name: str, X: Array, y_name: str, Y: Array, layers_dims: Sequence[int]
) -> tuple[Tensor, Tensor]:
    X, Y = as_tensor(X), as_tensor(Y)
    inputs, classes = layers_dims[0], layers_dims[-1]
    if X.dim() != 2 or X.shape[0] != inputs or X.shape[1] < 1:
        raise ValueError(f"{x_name} must have shape ({inputs}, examples), an example a column, got {tuple(X.shape)}")
    if X.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{x_name} must be float32 or float64, got {X.dtype}")
    if not X.isfinite().all():
        raise ValueError(f"{x_name} must be finite, got NaN or inf in {int((~X.isfinite()).sum())} places")
    if Y.shape != (classes, X.shape[1]):
        raise ValueError(f"{y_name} must have shape ({classes}, {X.shape[1]}), got {tuple(Y.shape)}")
    one_hot = ((Y == 0) | (Y == 1)).all(dim=0) & (Y.sum(dim=0) == 1)
    if not one_hot.all():
        raise ValueError(f"{y_name} must be one-hot, a single 1 a column, got {int((~one_hot).sum())} other columns")
    return X, Y.to(X.dtype)


def _require_count(name: str, value: int) -> None:
    if not isinstance(value, Integral) or not 1 <= value < 2**63:
        raise ValueError(f"{name} must be whole, at least 1 and below 2**63, got {value}")


def _check_settings(
    examples: int,
    seeds: Sequence[int],
    lambdas: list[float],
    *,
    shuffle_seed: int,
    learning_rate: float,
    min_delta: float,
    use_batchnorm: bool,
    **counts: int,
) -> None:
    require_learning_rate(learning_rate)
    for name, value in counts.items():
        _require_count(name, value)
    if counts["batch_size"] > examples:
        raise ValueError(f"batch_size must be at most the {examples} examples, got {counts['batch_size']}")
    if use_batchnorm and counts["batch_size"] < 2:
        raise ValueError("batch_size must be at least 2 for batch norm, as one example is normalised to zero, got 1")
    if not (min_delta >= 0 and math.isfinite(min_delta)):
        raise ValueError(f"min_delta must be at least 0 and finite, got {min_delta}")
    if not len(seeds):
        raise ValueError("seeds must name at least one seed, got none")
    for name, each in [("shuffle_seed", shuffle_seed), *(("seeds", seed) for seed in seeds)]:
        require_seed(name, each)
    if not all(0 <= each < math.inf for each in lambdas):
        raise ValueError(f"l2 must be at least 0 and finite, got {lambdas}")
