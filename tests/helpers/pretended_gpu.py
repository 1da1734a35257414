"""A GPU that is the CPU under another name: it computes, refuses what a GPU refuses, and writes down what waits for it.

Tensors on it are wrappers that say they are on ``cuda:0`` and hold their numbers on the CPU.
"""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pipeline.network.precision import full_precision

NEEDS_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: none here")
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
COPIES = {"_to_copy", "copy_"}  # what may take a tensor from one device to another
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "is_nonzero", "repeat_interleave"}
WAITS |= {"_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"}
WAITS_IF_MASKED = {"index", "index_put_", "index_put"}  # a mask's true values are counted first


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU."""

    @staticmethod
    def __new__(cls, held):
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(
                cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=GPU
            )

    def __init__(self, held):
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("the GPU is used when it has gone")

    def tolist(self):
        return self.cpu().tolist()


class PretendedGpu(TorchDispatchMode):
    """While it is there, ``device="cuda"`` works.

    Attributes
    ----------
    waits : list of str
        Operations for whose result the CPU would have waited.
    on_cpu : list of str
        Operations that made a tensor on the CPU.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.on_cpu = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # made of simpler operations, each of which is looked at
                return func.decompose(*args, **(kwargs or {}))
        name, leaves = func.overloadpacket.__name__, tree_leaves((args, kwargs or {}))
        on_gpu = [leaf for leaf in leaves if isinstance(leaf, OnGpu)]
        on_cpu = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnGpu)]
        if on_gpu and name not in COPIES and any(tensor.dim() for tensor in on_cpu):
            raise RuntimeError(f"{name} of tensors on more than one device")
        asked = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        target = args[:1] if name == "copy_" else on_gpu
        device = (asked or [tensor.device for tensor in target] or [CPU])[0]
        if waits(name, on_gpu, on_cpu, device):
            self.waits.append(name)
        args, kwargs = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs or {}))
        args, kwargs = tree_map_only(torch.device, lambda _: CPU, (args, kwargs))
        made = func(*args, **kwargs)
        if device.type == "cpu":
            self.on_cpu += [name] * any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(made))
            return made
        known = {id(tensor.held): tensor for tensor in on_gpu}  # what is changed in place stays the tensor that it is
        return tree_map_only(torch.Tensor, lambda held: known[id(held)] if id(held) in known else OnGpu(held), made)


def waits(name, on_gpu, on_cpu, device):
    """Tell whether the CPU waits for the end of an operation whose result is to be on a device."""
    if name in COPIES:
        return bool(on_cpu if device.type == "cuda" else on_gpu)
    masked = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in on_gpu[1:])
    return bool(on_gpu) and (name in WAITS or (name in WAITS_IF_MASKED and masked))


@contextlib.contextmanager
def pretended_gpu():
    """Pretend that there is a GPU for as long as the block lasts."""
    with full_precision():
        pass  # the first of a process tries both backends of the CPU
    with contextlib.ExitStack() as stack:
        if not torch.cuda.is_available():  # else torch is not to be kept from the GPU that it has
            torch._C._ensureCUDADeviceGuardSet()
            stack.callback(setattr, torch.cuda, "_lazy_init", torch.cuda._lazy_init)
            torch.cuda._lazy_init = lambda: None
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)  # a list becomes a tensor on the CPU first, which then is moved
        yield stack.enter_context(PretendedGpu())
