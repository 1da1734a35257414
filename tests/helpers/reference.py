"""What the engine is compared with: autograd, and the assignment's network in torch.nn and torch.optim."""

import copy
import itertools

import pytest
import torch
from torch import nn

from pipeline import initialize_parameters
from pipeline.network.forward import BATCHNORM_EPSILON

DIMS = [6, 8, 5, 4]
COMBINATIONS = {
    "plain": (False, 0.0),
    "batchnorm": (True, 0.0),
    "l2": (False, 0.05),
    "batchnorm and l2": (True, 0.05),
}


def normal(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype)


def one_hot(classes, *shape):
    """Draw labels of the given shape; the class axis becomes the last but one."""
    return torch.nn.functional.one_hot(torch.randint(classes, shape), classes).double().mT


def probabilities(*shape):
    return torch.softmax(normal(*shape), dim=-2)


def random_parameters(dims, axes=()):
    """Draw weights and biases, the biases not zero as they are at the start."""
    parameters = {}
    for layer, (inputs, units) in enumerate(itertools.pairwise(dims), start=1):
        parameters[f"W{layer}"] = normal(*axes, units, inputs) / inputs**0.5
        parameters[f"b{layer}"] = 0.3 * normal(*axes, units, 1)
    return parameters


def blobs(examples, dims=DIMS, noise=1.0, seed=0, dtype=torch.float64):
    """Draw Gaussian clouds, one a class, whose centres do not depend on the seed."""
    centres = torch.randn(dims[0], dims[-1], generator=torch.Generator().manual_seed(99), dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(dims[-1], (examples,), generator=generator)
    X = centres[:, labels] + noise * torch.randn(dims[0], examples, generator=generator, dtype=dtype)
    return X, nn.functional.one_hot(labels, dims[-1]).to(dtype).T.contiguous()


def one_of(parameters, k):
    return {name: each[k] for name, each in parameters.items()}


def tensors_in(nested):
    """List the arrays of any nest of dicts, tuples and lists, in order."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, tuple | list):
        return [tensor for each in nested for tensor in tensors_in(each)]
    return [nested] if hasattr(nested, "shape") else []


def converted(nested, convert):
    """Copy a nest of dicts, tuples and lists with ``convert`` applied to its tensors."""
    if isinstance(nested, dict):
        return {name: converted(each, convert) for name, each in nested.items()}
    if isinstance(nested, tuple | list):
        return type(nested)(converted(each, convert) for each in nested)
    return convert(nested) if isinstance(nested, torch.Tensor) else nested


def assert_close(actual, expected, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def assert_all_close(actual, expected, tolerance=1e-10):
    """Compare two dicts of tensors, name by name."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            actual[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_numpy_gives_the_same(function, arguments):
    expected = tensors_in(function(*copy.deepcopy(arguments)))
    actual = tensors_in(function(*converted(arguments, lambda tensor: tensor.numpy().copy())))
    assert len(actual) == len(expected) > 0
    for ours, theirs in zip(actual, expected, strict=True):
        assert isinstance(ours, torch.Tensor)
        assert_close(ours, theirs, 0)


def assert_dtype_follows(function, arguments, dtype):
    outputs = tensors_in(function(*converted(arguments, lambda tensor: tensor.to(dtype))))
    assert {tensor.dtype for tensor in outputs} == {dtype}


def assert_inputs_unchanged(function, arguments):
    before = copy.deepcopy(arguments)
    function(*arguments)
    for now, then in zip(tensors_in(arguments), tensors_in(before), strict=True):
        assert torch.equal(now, then)


def autograd(function, inputs, cotangent):
    """Pass a cotangent back through ``function`` by autograd; the gradient of each input."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    return torch.autograd.grad(function(*leaves), leaves, cotangent)


def batchnorm(A):
    """Normalise by the formula of the paper, for autograd to differentiate."""
    return (A - A.mean(-1, keepdim=True)) / (A.var(-1, correction=0, keepdim=True) + BATCHNORM_EPSILON).sqrt()


def network_gradients(X, Y, parameters, use_batchnorm, l2):
    """Cost and gradients of the whole network by autograd, under the names and scaling of the engine."""
    leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
    L, A, activations = len(leaves) // 2, X, {}
    for layer in range(1, L + 1):
        Z = leaves[f"W{layer}"] @ A + leaves[f"b{layer}"]
        A = torch.softmax(Z, dim=-2) if layer == L else torch.relu(Z)
        if use_batchnorm and layer < L:
            A = batchnorm(A)
        activations[f"A{layer}"] = A
    penalty = sum(leaves[f"W{layer}"].square().sum((-2, -1)) for layer in range(1, L + 1)) * l2 / 2
    cost = -(Y * A.log()).sum(-2).mean(-1) + penalty
    by_name = leaves | activations
    grads = torch.autograd.grad(cost.sum(), list(by_name.values()))
    m = X.shape[-1]  # dA is the gradient of the sum of the losses, not of their mean
    named = {f"d{name}": grad * m if name[0] == "A" else grad for name, grad in zip(by_name, grads, strict=True)}
    return cost.detach(), named


class TorchTwin:
    """One network of the assignment in torch.nn, trained by torch.optim.SGD from the engine's start."""

    def __init__(self, dims, seed, use_batchnorm, l2, learning_rate):
        start = initialize_parameters(dims, seed=seed, dtype=torch.float64)
        self.linears, self.norms, modules = [], [], []
        for layer, (inputs, units) in enumerate(itertools.pairwise(dims), start=1):
            linear = nn.Linear(inputs, units).double()
            linear.weight.data.copy_(start[f"W{layer}"])
            linear.bias.data.copy_(start[f"b{layer}"][:, 0])
            self.linears.append(linear)
            modules.append(linear)
            if layer < len(dims) - 1:
                modules.append(nn.ReLU())
                if use_batchnorm:
                    self.norms.append(nn.BatchNorm1d(units, affine=False).double())
                    modules.append(self.norms[-1])
        self.network = nn.Sequential(*modules)
        weights = {"params": [linear.weight for linear in self.linears], "weight_decay": l2}
        biases = {"params": [linear.bias for linear in self.linears], "weight_decay": 0.0}
        self.optimizer = torch.optim.SGD([weights, biases], lr=learning_rate)

    def step(self, X, Y):
        """Take one training step; the data cost of the batch before it."""
        self.optimizer.zero_grad()
        cost = nn.CrossEntropyLoss()(self.network(X.T), Y.argmax(0))
        cost.backward()
        self.optimizer.step()
        return cost.item()

    def parameters(self):
        named = {}
        for layer, linear in enumerate(self.linears, start=1):
            named[f"W{layer}"] = linear.weight.detach().clone()
            named[f"b{layer}"] = linear.bias.detach().clone()[:, None]
        for layer, norm in enumerate(self.norms, start=1):
            named[f"mean{layer}"] = norm.running_mean.clone()[:, None]
            named[f"var{layer}"] = norm.running_var.clone()[:, None]
        return named

    def accuracy(self, X, Y):
        self.network.eval()
        with torch.no_grad():
            return (self.network(X.T).argmax(1) == Y.argmax(0)).double().mean().item() * 100


LEADING_AXES = {"no leading axis": (), "one axis": (3,), "two axes": (2, 3)}


each_leading_shape = pytest.mark.parametrize("axes", LEADING_AXES.values(), ids=LEADING_AXES.keys())


LINEAR_SHAPES = {
    "no leading axis": ((5, 7), (4, 5), (4, 1)),
    "one axis": ((3, 5, 7), (3, 4, 5), (3, 4, 1)),
    "two axes": ((2, 3, 5, 7), (2, 3, 4, 5), (2, 3, 4, 1)),
    "one batch, many networks": ((784, 6), (3, 20, 784), (3, 20, 1)),
    "many batches, one network": ((3, 5, 7), (4, 5), (4, 1)),
    "axes that meet": ((2, 1, 5, 7), (3, 4, 5), (3, 4, 1)),
    "one bias for all": ((5, 7), (3, 4, 5), (4, 1)),
    "one example": ((3, 5, 1), (3, 4, 5), (3, 4, 1)),
    "one unit": ((5, 7), (1, 5), (1, 1)),
}
