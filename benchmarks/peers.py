"""Who is measured: each peer takes training steps of 784-20-7-5-10 on given batches.

A peer is made once and then called with a ``(steps, batch_size)`` tensor of example indices, again and again; a step
is gather, forward, backward and update in float32 by plain gradient descent, and with batch norm an update of the
running statistics, without which the network could not predict. All but scikit-learn start from the same parameters,
and return them trained, so that a test can see that they do the same work.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from benchmarks import LEARNING_RATE
from benchmarks.measure import CPU, Steps
from pipeline.network.arguments import Parameters, number_of_layers
from pipeline.network.compiling import compiled
from pipeline.network.compiling import eager as eager_steps
from pipeline.network.ensemble import initialize_ensemble
from pipeline.network.forward import BATCHNORM_EPSILON, BATCHNORM_MOMENTUM
from pipeline.network.precision import full_precision
from pipeline.network.training import training_steps

CLASSES = 10
AT_ONCE = 50  # steps in a call, as many as between two validation checks of the default study


@dataclass(frozen=True)
class Data:
    """Random images and labels, in the layouts that peers like best.

    Attributes
    ----------
    rows : (examples, pixels) tensor
    labels : (examples,) tensor
    Y : (classes, examples) tensor
        One-hot.
    """

    rows: Tensor
    labels: Tensor
    Y: Tensor

    @staticmethod
    def random(examples: int, pixels: int = 784, device: torch.device = CPU) -> "Data":
        """Draw data of MNIST's shape; no time depends on the values. Who trains on them does so on their device."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(CLASSES, (examples,), generator=generator)
        Y = nn.functional.one_hot(labels, CLASSES).T.float().contiguous()
        rows = torch.randn(examples, pixels, generator=generator)
        return Data(rows.to(device), labels.to(device), Y.to(device))


def start_of(layers: list[int], networks: int, device: torch.device = CPU, use_batchnorm: bool = False) -> Parameters:
    """Initialise networks as one ensemble; a single one has no leading axis."""
    ensemble = initialize_ensemble(layers, range(networks), use_batchnorm=use_batchnorm, device=device)
    return ensemble if networks > 1 else {name: stacked[0] for name, stacked in ensemble.items()}


def engine(data: Data, layers: list[int], networks: int, use_batchnorm: bool) -> Steps:
    """Take this project's steps by the functions that train."""
    start = start_of(layers, networks, data.rows.device, use_batchnorm)
    return _trained_by(eager_steps(training_steps), data, start, use_batchnorm)


def compiled_engine(
    data: Data, layers: list[int], seeds: Sequence[int], use_batchnorm: bool, take_steps: Callable[..., Tensor]
) -> Steps:
    """Take what :func:`compiled_steps` made of these steps; one network is an ensemble too, as in `train`."""
    ensemble = initialize_ensemble(layers, seeds, use_batchnorm=use_batchnorm, device=data.rows.device)
    return _trained_by(take_steps, data, ensemble, use_batchnorm)


def _trained_by(take_steps: Callable[..., Tensor], data: Data, parameters: Parameters, use_batchnorm: bool) -> Steps:
    def steps(batches: Tensor) -> Parameters:
        with full_precision():
            for some in torch.split(batches, AT_ONCE):
                take_steps(data.rows.mT, data.Y, some, parameters, LEARNING_RATE, use_batchnorm=use_batchnorm)
        return parameters

    return steps


def compiled_steps(data: Data, layers: list[int], batch_size: int, use_batchnorm: bool) -> Callable[..., Tensor]:
    """Compile training steps for ensembles of any size, as `train` does."""
    start = start_of(layers, 2, data.rows.device, use_batchnorm)
    with full_precision():
        return compiled(
            training_steps, data.rows.mT, data.Y, batch_size, start, LEARNING_RATE, use_batchnorm=use_batchnorm
        )


def eager(data: Data, layers: list[int], use_batchnorm: bool) -> Steps:
    """Take steps of ``torch.nn``, autograd and ``torch.optim.SGD``."""
    model = torch_model(layers, use_batchnorm).to(data.rows.device)
    start = start_of(layers, 1)
    linear = [module for module in model if isinstance(module, nn.Linear)]
    norms = [module for module in model if isinstance(module, nn.BatchNorm1d)]
    for layer, module in enumerate(linear, start=1):
        module.load_state_dict({"weight": start[f"W{layer}"], "bias": start[f"b{layer}"].flatten()})
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def steps(batches: Tensor) -> Parameters:
        for batch in batches:
            optimizer.zero_grad()
            logits = model(data.rows.index_select(0, batch))
            torch.autograd.backward(nn.functional.cross_entropy(logits, data.labels.index_select(0, batch)))
            optimizer.step()
        trained = {f"W{layer}": module.weight.detach() for layer, module in enumerate(linear, start=1)}
        for layer, module in enumerate(norms, start=1):
            running = dict(module.named_buffers())
            trained |= {f"{name}{layer}": running[f"running_{name}"][:, None] for name in ("mean", "var")}
        return trained

    return steps


def torch_model(layers: list[int], use_batchnorm: bool) -> nn.Sequential:
    """Build the network of ``torch.nn`` modules, batch norm after the activation."""
    modules: list[nn.Module] = []
    for inputs, units in itertools.pairwise(layers[:-1]):
        modules += [nn.Linear(inputs, units), nn.ReLU()]
        modules += [nn.BatchNorm1d(units, affine=False)] * use_batchnorm
    return nn.Sequential(*modules, nn.Linear(layers[-2], layers[-1]))


def vmap_grad(data: Data, layers: list[int], networks: int, use_batchnorm: bool) -> Steps:
    """Take steps of ``torch.func.vmap(grad)`` over the networks."""
    weights, running = _trained_and_kept(start_of(layers, networks, data.rows.device, use_batchnorm))
    L = number_of_layers(weights)

    def cost(weights: Parameters, X: Tensor, labels: Tensor) -> tuple[Tensor, Parameters]:
        A = X
        seen: Parameters = {}
        for layer in range(1, L):
            A = torch.relu(nn.functional.linear(A, weights[f"W{layer}"], weights[f"b{layer}"].squeeze(-1)))
            if use_batchnorm:
                mean = A.mean(0)
                centred = A - mean
                var = centred.square().mean(0)
                A = centred * torch.rsqrt(var + BATCHNORM_EPSILON)
                seen |= {f"mean{layer}": mean[:, None], f"var{layer}": var[:, None] * (len(X) / (len(X) - 1))}
        logits = nn.functional.linear(A, weights[f"W{L}"], weights[f"b{L}"].squeeze(-1))
        return nn.functional.cross_entropy(logits, labels), seen

    gradient = torch.func.vmap(torch.func.grad(cost, has_aux=True), in_dims=(0, None, None))

    def steps(batches: Tensor) -> Parameters:
        for batch in batches:
            grads, seen = gradient(weights, data.rows.index_select(0, batch), data.labels.index_select(0, batch))
            for name, value in weights.items():
                value.sub_(grads[name], alpha=LEARNING_RATE)
            for name, value in running.items():
                value.lerp_(seen[name], BATCHNORM_MOMENTUM)
        return weights | running

    return steps


def jax_scan(data: Data, layers: list[int], networks: int, use_batchnorm: bool) -> Steps:
    """Take steps of JAX: ``grad`` under ``vmap`` over the networks, all steps in one compiled ``scan``."""
    rows, labels = jnp.asarray(data.rows.cpu().numpy()), jnp.asarray(data.labels.cpu().numpy())
    starts = start_of(layers, max(networks, 2), use_batchnorm=use_batchnorm)
    parameters = _trained_and_kept({name: jnp.asarray(value[:networks].numpy()) for name, value in starts.items()})
    L = number_of_layers(starts)

    def cost(weights: Any, X: Any, labels: Any) -> Any:
        A = X
        seen: dict[str, Any] = {}
        for layer in range(1, L):
            A = jax.nn.relu(A @ weights[f"W{layer}"].T + weights[f"b{layer}"][:, 0])
            if use_batchnorm:
                mean, var = A.mean(0), A.var(0)
                A = (A - mean) * jax.lax.rsqrt(var + BATCHNORM_EPSILON)
                seen |= {f"mean{layer}": mean[:, None], f"var{layer}": var[:, None] * (len(X) / (len(X) - 1))}
        logits = A @ weights[f"W{L}"].T + weights[f"b{L}"][:, 0]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean(), seen

    gradient = jax.vmap(jax.grad(cost, has_aux=True), in_axes=(0, None, None))

    def scan(parameters: Any, batches: Any, rows: Any, labels: Any) -> Any:
        def step(parameters: Any, batch: Any) -> Any:
            weights, running = parameters
            grads, seen = gradient(weights, rows[batch], labels[batch])
            weights = jax.tree.map(lambda value, grad: value - LEARNING_RATE * grad, weights, grads)
            running = jax.tree.map(lambda value, new: value + BATCHNORM_MOMENTUM * (new - value), running, seen)
            return (weights, running), None

        return jax.lax.scan(step, parameters, batches)[0]

    compiled = jax.jit(scan)

    def steps(batches: Tensor) -> Any:
        nonlocal parameters
        with jax.default_matmul_precision("highest"):  # on a GPU it would multiply in TF32, and not do the same work
            parameters = jax.block_until_ready(compiled(parameters, jnp.asarray(batches.cpu().numpy()), rows, labels))
        return parameters[0] | parameters[1]

    return steps


def _trained_and_kept(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what has a gradient from the running statistics."""
    trained = {name: value for name, value in parameters.items() if name[0] in "Wb"}
    return trained, {name: value for name, value in parameters.items() if name not in trained}


def scikit_learn(data: Data, layers: list[int]) -> Steps:
    """Take steps of scikit-learn's ``MLPClassifier``, without momentum and without penalty."""
    model: MLPClassifier | None = None

    def steps(batches: Tensor) -> None:
        nonlocal model
        if model is None:
            model = MLPClassifier(
                hidden_layer_sizes=layers[1:-1],
                solver="sgd",
                momentum=0.0,
                nesterovs_momentum=False,
                alpha=0.0,
                learning_rate_init=LEARNING_RATE,
                batch_size=batches.shape[1],
            )
        chosen = batches.flatten()
        rows, labels = data.rows.index_select(0, chosen), data.labels.index_select(0, chosen)
        model.partial_fit(rows.numpy(), labels.numpy(), classes=range(CLASSES))

    return steps


def bare_products(layers: list[int], networks: int, batch_size: int, device: torch.device = CPU) -> Steps:
    """Multiply the matrices of a step into buffers that are there, the engine's way, and do nothing else."""

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device)

    X = random(batch_size, layers[0]).mT
    pairs = []
    for layer, (inputs, units) in enumerate(itertools.pairwise(layers)):
        W, dZ = random(networks, units, inputs), random(networks, units, batch_size)
        if layer == 0:
            folded, dZ_folded = W.view(-1, inputs), dZ.view(-1, batch_size)
            pairs += [(folded, X), (dZ_folded, X.mT)]
        else:
            A = random(networks, inputs, batch_size)
            pairs += [(W, A), (dZ, A.mT), (W.mT, dZ)]
    work = [(left, right, left @ right) for left, right in pairs]

    def steps(batches: Tensor) -> None:
        with full_precision():
            for _ in batches:
                for left, right, out in work:
                    torch.matmul(left, right, out=out)

    return steps


def product_operations(layers: list[int], batch_size: int) -> int:
    """Count the additions and multiplications of one network's products in one step."""
    forward = sum(inputs * units for inputs, units in itertools.pairwise(layers))
    return 2 * batch_size * (3 * forward - layers[0] * layers[1])


def product_bytes(layers: list[int], networks: int, batch_size: int) -> int:
    """Count the bytes of the products of one step: each operand read once, each result written once.

    All products of a layer are among the same three, the weights, the input and the output of each network.
    """
    numbers = 0
    for layer, (inputs, units) in enumerate(itertools.pairwise(layers)):
        weights, outputs = networks * units * inputs, networks * units * batch_size
        if layer == 0:  # one input for all, and nobody wants its gradient
            numbers += 2 * (weights + inputs * batch_size + outputs)
        else:
            numbers += 3 * (weights + networks * inputs * batch_size + outputs)
    return 4 * numbers
