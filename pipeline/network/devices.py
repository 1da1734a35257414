"""Where a stage computes: on the CPU or on a GPU, as ``training.device`` says."""

import os
import time

import torch


def device_of(name: str, rank: int = 0) -> torch.device:
    """Find the device that is asked for: "auto" is a GPU where there is one, and else the CPU.

    ``rank`` counts the processes of a host: each takes a GPU of its own. A ValueError says that there is none for it.
    """
    gpus = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and gpus == 0):
        return torch.device("cpu")
    if gpus == 0:
        raise ValueError("the device asked for is cuda, but torch finds no CUDA GPU here; cpu and auto do without")
    if rank >= gpus:
        raise ValueError(f"process {rank + 1} of this host needs a GPU of its own, but torch finds only {gpus} here")
    return torch.device("cuda", rank)


def take_device(name: str) -> torch.device:
    """Find the device of this process, a rank or the only one, and let CUDA use no other."""
    device = device_of(name, rank=int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def clock(device: torch.device) -> float:
    """Read the clock, in seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
