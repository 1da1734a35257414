"""PyTorch's own compiler for the training step: `torch.compile` makes C++ of it, the functions stay as they are."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.network.arguments import Parameters, unchecked

OPTIONS = {
    "cpp_wrapper": True,  # one C++ file in place of many, which compiles sooner
    "cpp.vec_isa_ok": True,  # the processor's vector instructions are not tried out: a compiler of today knows them
    "aot_inductor.enable_line_tables": False,  # debuggers want them, and they take a second of compiling
    "cpp_cache_precompile_headers": False,  # torch would keep them in a folder in /tmp that anybody may have made
    "cpp.threads": 1,  # for all but products: a loop is soon done, and so the same code serves any number of threads
}
# Their type hints lack what is used here.
_compile: Any = torch.compile
_shapes: Any = torch.fx.experimental._config


def compiled(
    step: Callable[..., Tensor], X: Tensor, Y: Tensor, parameters: Parameters, learning_rate: float, **settings: Any
) -> Callable[..., Tensor]:
    """Compile a training step by taking it once, from a copy of the parameters.

    The number of networks is left open: one compilation serves an ensemble while its networks stop. Where compiling
    fails, as without a C++ compiler, a RuntimeWarning says so, and the step is returned as it is.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns wherever there is no GPU
    try:
        for each in (*parameters.values(), *settings.values()):
            if isinstance(each, Tensor) and each.dim() != 2:  # not of one network alone
                torch._dynamo.mark_dynamic(each, 0)
        # isolate_recompiles: torch limits how often one function is compiled, here it does so for each call of this.
        faster = unchecked(_compile(step, fullgraph=True, isolate_recompiles=True, options=OPTIONS))
        # Without `fixed` a second training would leave open whatever differs from the first.
        fixed = torch._dynamo.config.patch(automatic_dynamic_shapes=False)
        with _shapes.patch(backed_size_oblivious=True), fixed:  # one network is compiled like many
            faster(X, Y, dict(parameters), learning_rate, **settings)
    except (RuntimeError, OSError) as error:  # a fault of the step itself comes again without the compiler
        reason = str(error).strip().splitlines()[0]
        advice = "it needs a C++ compiler, such as g++, and Python's headers"
        warnings.warn(f"training runs without torch.compile ({advice}): {reason:.200}", RuntimeWarning, stacklevel=3)
        return unchecked(step)
    return faster
