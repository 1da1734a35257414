"""A traced step beside the step itself, bit for bit; what is traced anew, and what cannot be."""

import gc
import weakref

import numpy as np
import pytest
import torch
from reference import COMBINATIONS, DIMS, blobs

from pipeline import train
from pipeline.network import precision, training
from pipeline.network.precision import full_precision
from pipeline.network.tracing import Traced
from pipeline.network.training import initialize_stack, training_step

EXAMPLES = 60
X, Y = blobs(EXAMPLES)


def counted(function):
    """Count a function's own runs in its attribute ``runs``."""

    def run(*arguments, **keywords):
        run.runs += 1
        return function(*arguments, **keywords)

    run.runs = 0
    return run


def trained(step, *, networks, batch_size, **settings):
    """Take six steps on batches of their own; return the probabilities of each and the parameters."""
    dtype = settings.pop("dtype")
    parameters = initialize_stack(DIMS, range(networks), use_batchnorm=settings["use_batchnorm"], dtype=dtype)
    if not isinstance(settings["l2"], float):
        settings["l2"] = torch.linspace(0.01, 0.5, networks, dtype=dtype)
    with torch.inference_mode(), full_precision():
        outputs = [
            step(X[:, batch].to(dtype), Y[:, batch], parameters, 0.1, **settings)
            for batch in torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0)).split(batch_size)[:6]
        ]
    return [*outputs, *parameters.values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
@pytest.mark.parametrize("l2", [0.0, 0.3, "each its own"])
def test_a_traced_step_equals_the_step_bit_for_bit(dtype, networks, use_batchnorm, l2):
    step = counted(training_step)
    settings = {"networks": networks, "batch_size": 10, "use_batchnorm": use_batchnorm, "l2": l2, "dtype": dtype}
    ours, theirs = trained(Traced(step), **settings), trained(training_step, **settings)
    assert step.runs == 1
    assert len({str(output) for output in theirs[:6]}) == 6
    assert all(torch.equal(each, other) for each, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("use_batchnorm", "l2"), COMBINATIONS.values(), ids=COMBINATIONS.keys())
def test_a_training_takes_traced_steps_and_traces_one_for_each_size_of_its_stack(monkeypatch, use_batchnorm, l2):
    def run():
        return train(
            X, Y, DIMS, learning_rate=np.float64(0.1), max_steps=300, batch_size=10, seeds=range(4), l2=l2,
            use_batchnorm=use_batchnorm, validation=blobs(50, noise=1.5, seed=1), evaluate_every=5, patience=5,
        )  # fmt: skip

    step = counted(training_step)
    monkeypatch.setattr(training, "training_step", step)
    ours = run()
    assert step.runs == len(set(ours.steps)) > 1
    monkeypatch.setattr(training, "Traced", lambda function: function)
    theirs = run()
    assert step.runs > 2 * len(set(ours.steps))
    assert ours.steps == theirs.steps
    assert all(torch.equal(value, theirs.parameters[name]) for name, value in ours.parameters.items())


def scaled(A, parameters, by=2.0, power=1):
    return (parameters["W"] * A).mul(by).pow(power)


ALIKE = {"A": torch.ones(3), "parameters": {"W": torch.ones(3)}, "by": 2.0, "power": 1}
OTHERS = {
    "another shape": {"A": torch.ones(2, 3)},
    "another dtype": {"A": torch.ones(3).double()},
    "another device": {"A": torch.ones(3, device="meta"), "parameters": {"W": torch.ones(3, device="meta")}},
    "another number": {"by": 3.0},
    "another name": {"parameters": {"W": torch.ones(3), "b": torch.ones(3)}},
    "a number of another type": {"power": 1.0},
    "a tensor for a number": {"by": torch.tensor(3.0)},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_what_is_not_alike_is_traced_anew(changes):
    function = counted(scaled)
    traced = Traced(function)
    for runs, arguments in enumerate((ALIKE, ALIKE | changes, ALIKE), start=1):
        for _ in range(3):
            result, expected = traced(**arguments), scaled(**arguments)
            assert result.device == expected.device
            assert result.device.type == "meta" or torch.equal(result, expected)
        assert function.runs == runs


def test_tensors_are_told_apart_by_the_dicts_they_are_in():
    traced = Traced(lambda first, second: (first | second)["a"] - (first | second)["b"])
    a, b = torch.ones(3), torch.zeros(3)
    assert traced({"a": a, "b": b}, {}).tolist() == traced({"a": a}, {"b": b}).tolist() == [1.0] * 3
    traced = Traced(lambda first, second: first["a"] * 1 + sum(second.values()))
    assert traced({"a": a, "b": b}, {}).tolist() == [1.0] * 3
    assert traced({"a": a}, {"b": a * 2}).tolist() == [3.0] * 3


def test_tensors_are_told_apart_by_their_names():
    traced = Traced(scaled)
    A, W, b = torch.ones(3), torch.full((3,), 5.0), torch.zeros(3)
    assert traced(A, {"W": W, "b": b}).tolist() == traced(A, {"b": b, "W": W}).tolist() == [10.0] * 3


def test_tensors_and_numbers_are_told_apart_by_their_places():
    traced = Traced(lambda a, b: a - b)
    A = torch.ones(3)
    assert traced(A, 3.0).tolist() == [-2.0] * 3
    assert traced(3.0, A).tolist() == [2.0] * 3


def test_numbers_are_told_apart_by_their_signs():
    traced = Traced(lambda A, b: A / (A * b))
    assert traced(torch.ones(1), 0.0).tolist() == [float("inf")]
    assert traced(torch.ones(1), -0.0).tolist() == [-float("inf")]


def test_numbers_are_told_apart_by_their_keywords():
    traced = Traced(scaled)
    A, parameters = torch.full((3,), 5.0), {"W": torch.ones(3)}
    assert traced(A, parameters, by=3.0).tolist() == [15.0] * 3
    assert traced(A, parameters, power=3.0).tolist() == [1000.0] * 3


EVERY_CALL = {
    "a method": lambda A, B: A.clamp_min(0),
    "a property": lambda A, B: A.mT,
    "a function": lambda A, B: torch.addcmul(A, A, B, value=-0.25),
    "of a submodule": lambda A, B: torch.linalg.vector_norm(A, dim=-1, keepdim=True),
    "an operator": lambda A, B: 1 - A / B,
    "in place": lambda A, B: (A * B).exp_().mul_(A),
    "in place by an operator": lambda A, B: torch.stack([A, B]).__itruediv__(B),
    "tensors in a list": lambda A, B: torch.cat([A, B, A]),
    "a tensor by keyword": lambda A, B: torch.add(A, other=B),
    "an index": lambda A, B: A[..., None, 1:],
    "a dtype": lambda A, B: A.double(),
    "a random number": lambda A, B: torch.rand_like(A),
    "a random number by itself": lambda A, B: A * torch.rand(2, 2),
    "a product": lambda A, B: precision.product(A, B, B[:, :1]),
    "a constant": lambda A, B: A + torch.full((), 2.5),
    "a constant of a value": lambda A, B: A + torch.full((), A.sum()),
    "an array filled": lambda A, B: torch.full((2, 2), 9.0, out=A) * 1,
    "an array like another": lambda A, B: torch.zeros_like(A).add_(B) + torch.ones_like(A).add_(B),
    "a new array": lambda A, B: A.new_full((2, 2), 0.5).mul_(B),
    "an argument": lambda A, B: B,
    "sizes": lambda A, B: A * A.dim() * A.numel() * len(A) * A.size(1) * A.shape[0],
}


@pytest.mark.parametrize("function", EVERY_CALL.values(), ids=EVERY_CALL)
def test_every_kind_of_call_is_repeated(function):
    function = counted(function)
    traced = Traced(function)
    traced(torch.randn(2, 2), torch.randn(2, 2))
    for seed in range(3):
        ours = torch.randn(2, 2), torch.randn(2, 2)
        theirs = tuple(each.clone() for each in ours)
        torch.manual_seed(seed)
        expected = function(*theirs)
        torch.manual_seed(seed)
        assert torch.equal(traced(*ours), expected)
        assert all(map(torch.equal, ours, theirs))  # what is changed in place
    assert function.runs == 4


def test_a_constant_is_made_once_and_a_shape_is_asked_once():
    calls = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            calls.append(func.__name__)
            return func(*args, **(kwargs or {}))

    traced = Traced(lambda A: A / torch.full((), float(A.shape[0])))
    traced(torch.ones(4))
    with Watch():
        assert traced(torch.full((4,), 8.0)).tolist() == [2.0] * 4
    assert [name for name in calls if name not in ("__get__", "tolist")] == ["full", "div"]


NO_TENSOR = "traced call of torch must give a tensor"
FROM_ELSEWHERE = r"its arguments or made of them, got another one of shape \(3, 1\)"
CONSTANT = "must not change or return a constant, got"
RESULT = "must return a tensor, got"
NOT_OF_PYTHON = r"must use numbers of Python, got np\.(float|int)64"
ELSEWHERE = torch.ones(3, 1)
REFUSED = {
    "item": (NO_TENSOR, lambda A: A * A.sum().item()),
    "a condition": (NO_TENSOR, lambda A: A if A.sum() > 0 else -A),
    "tolist": (NO_TENSOR, lambda A: A * A.tolist()[0]),
    "a comparison": (NO_TENSOR, lambda A: A * torch.equal(A, A)),
    "an assignment": (NO_TENSOR, lambda A: A.__setitem__(0, 1.0)),
    "two results of a call": (NO_TENSOR, lambda A: A.max(dim=0)[0]),
    "a history": (NO_TENSOR, lambda A: A * 2 if A.requires_grad else A * 3),
    "a version": (NO_TENSOR, lambda A: A * A._version),
    "an operand from elsewhere": (FROM_ELSEWHERE, lambda A: A * ELSEWHERE),
    "a result from elsewhere": (FROM_ELSEWHERE, lambda A: ELSEWHERE),
    "a constant changed": (CONSTANT, lambda A: torch.full((), 0.0).add_(A.sum())),
    "a constant changed later": (CONSTANT, lambda A: (two := torch.full((3,), 2.0)) * A + two.mul_(2)),
    "a constant returned": (CONSTANT, lambda A: torch.full((3,), 2.0)),
    "a number returned": (RESULT, lambda A: 2.0),
    "nothing returned": (RESULT, lambda A: None),
    "a tuple returned": (RESULT, lambda A: (A,)),
    "a NumPy number": (NOT_OF_PYTHON, lambda A: A * np.float64(0.1)),
    "a NumPy number in a tuple": (NOT_OF_PYTHON, lambda A: A.sum(dim=(0, np.int64(0))[1:])),
    "a NumPy number by keyword": (NOT_OF_PYTHON, lambda A: A.add(A, alpha=np.float64(0.1))),
}


@pytest.mark.parametrize(("message", "function"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_repeated_wrongly_is_refused(message, function):
    traced = Traced(function)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            traced(torch.ones(3))


def test_a_tensor_from_elsewhere_is_not_taken_for_one_that_died():
    def function(A):
        for _ in range(50):
            A * 2
        return A + torch.Tensor([9.0])

    with pytest.raises(RuntimeError, match="its arguments or made of them"):
        Traced(function)(torch.ones(1))


def test_a_tensor_given_twice_is_refused_and_repeated_rightly():
    traced = Traced(lambda A, B: A - B)
    A, B = torch.ones(3), torch.zeros(3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"given no tensor twice, got one of \(3,\)"):
            traced(A, A)
    assert traced(A, B).tolist() == [1.0] * 3
    assert traced(A, A).tolist() == [0.0] * 3


def test_a_function_that_adds_to_a_dict_is_run_until_it_no_longer_does():
    function = counted(lambda A, kept: kept.setdefault("sum", torch.zeros_like(A)).add_(A) * 1)
    traced = Traced(function)
    for _ in range(2):
        kept = {}
        assert [traced(torch.ones(1), kept).item() for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
        assert kept["sum"].tolist() == [4.0]
    assert function.runs == 3


def test_a_function_that_replaces_a_tensor_of_a_dict_is_never_repeated():
    def function(A, kept):
        kept["sum"] = kept["sum"] + A
        return kept["sum"] * 1

    traced, kept = Traced(function), {"sum": torch.zeros(1)}
    assert [traced(torch.ones(1), kept).item() for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]


def test_a_trace_is_kept_when_the_next_one_fails():
    def positive(A):
        if len(A) > 3:
            raise ValueError("too long")
        return A.clamp_min(0)

    traced = Traced(positive)
    for _ in range(2):
        assert traced(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
        with pytest.raises(ValueError, match="too long"):
            traced(torch.ones(4))


def test_a_product_is_asked_at_every_step_how_it_is_made(monkeypatch):
    ways = []
    monkeypatch.setattr(precision, "way_of", lambda left, right: ways.append(left.shape) or "torch's own")
    traced = Traced(precision.product)
    for _ in range(3):
        traced(torch.ones(2, 3), torch.ones(3, 4))
    assert ways == [(2, 3)] * 3


def test_no_tensor_of_a_step_lives_on():
    made = []

    def function(A):
        result = A * 2
        made.append(weakref.ref(result))
        return result + 1

    traced = Traced(function)
    A = torch.ones(3)
    made.append(weakref.ref(traced(A)))
    made.append(weakref.ref(A))
    del A
    gc.collect()
    assert [reference() for reference in made] == [None] * 3
