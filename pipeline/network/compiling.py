"""How training steps run: as they are, or as C++ that PyTorch's own compiler, `torch.compile`, makes of them."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.network.arguments import Parameters, unchecked

OPTIONS = {
    "cpp_wrapper": True,  # one C++ file in place of many, which compiles sooner
    "cpp.vec_isa_ok": True,  # no trial compilation: a compiler of today knows the processor's vector instructions
    "aot_inductor.enable_line_tables": False,  # debuggers want them, and they take a second of compiling
    "cpp_cache_precompile_headers": False,  # torch would keep them in a folder in /tmp that anybody may have made
    "cpp.dynamic_threads": True,  # the same code serves any number of threads
    # torch's cache refuses a while_loop, unless it is named here with what its code depends on besides the loop's body.
    "unsafe_marked_cacheable_functions": {"torch.ops.higher_order.while_loop": torch.__version__},
}
State = tuple[Tensor, Tensor, Parameters]  # step, cost and parameters; the compiler fails at this inside a function
# Their type hints lack what is used here.
_compile: Any = torch.compile
_while_loop: Callable[..., State] = torch.while_loop
_shapes: Any = torch.fx.experimental._config


def eager(steps: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Take training steps as they are, without most checks, and without what autograd would note of every tensor."""
    unnoted = unchecked(torch.inference_mode()(steps))

    def take_steps(*arguments: Any, **settings: Any) -> Tensor:
        try:
            return unnoted(*arguments, **settings)
        except KeyboardInterrupt as stop:
            # If it came as the mode began or ended, the frames of its traceback would keep the mode on.
            raise stop.with_traceback(None) from None

    return take_steps


def compiled(
    steps: Callable[..., Tensor],
    X: Tensor,
    Y: Tensor,
    batch_size: int,
    parameters: Parameters,
    learning_rate: float,
    **settings: Any,
) -> Callable[..., Tensor]:
    """Compile training steps by taking two of them, from a copy of the parameters.

    They are one loop of compiled code, however many there are. The number of networks is left open, too: one
    compilation serves an ensemble while its networks stop. Where compiling fails, as without a C++ compiler, a
    RuntimeWarning says so, and the steps are eager ones.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns wherever there is no GPU
    batches = torch.zeros(2, batch_size, dtype=torch.int64, device=X.device)
    try:
        torch._dynamo.mark_dynamic(batches, 0)
        for each in (*parameters.values(), *settings.values()):
            if isinstance(each, Tensor) and each.dim() != 2:  # not of one network alone
                torch._dynamo.mark_dynamic(each, 0)
        # isolate_recompiles: torch limits how often one function is compiled, here it does so for each call of this.
        faster = unchecked(_compile(_in_one_loop(steps), fullgraph=True, isolate_recompiles=True, options=OPTIONS))
        # Without `fixed` a second training would leave open whatever differs from the first.
        fixed = torch._dynamo.config.patch(automatic_dynamic_shapes=False)
        with _shapes.patch(backed_size_oblivious=True), fixed:  # one network is compiled like many
            faster(X, Y, batches, dict(parameters), learning_rate, **settings)
    except (RuntimeError, OSError) as error:  # a fault of the steps themselves comes again without the compiler
        reason = str(error).strip().splitlines()[0]
        advice = " (it needs a C++ compiler, such as g++, and Python's headers)" if "C++" in reason else ""
        warnings.warn(f"training runs without torch.compile{advice}: {reason:.200}", RuntimeWarning, stacklevel=3)
        return eager(steps)
    return faster


def _in_one_loop(steps: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Write the loop over the batches as PyTorch's ``while_loop``, so that one step is compiled and not each."""

    def loop(
        X: Tensor, Y: Tensor, batches: Tensor, parameters: Parameters, learning_rate: float, **settings: Any
    ) -> Tensor:
        def is_left(step: Tensor, cost: Tensor, parameters: Parameters) -> Tensor:
            return step < len(batches)

        def take(step: Tensor, cost: Tensor, parameters: Parameters) -> State:
            parameters = dict(parameters)
            batch = batches.index_select(0, step.to(batches.device).unsqueeze(0))
            cost = steps(X, Y, batch, parameters, learning_rate, **settings)
            return step + 1, cost, parameters

        first = torch.zeros((), dtype=torch.int64)  # on the CPU, which then need not wait for a GPU to tell it
        no_cost = torch.zeros_like(parameters["b1"][..., 0, 0])  # one for each network
        _, cost, taken = _while_loop(is_left, take, (first, no_cost, dict(parameters)))
        parameters.update(taken)
        return cost

    return loop
