"""Training over several processes, the ranks: each trains a part of the networks, and rank 0 puts the parts together.

Networks share their batches and nothing else, so ranks need not speak to train. Every hundredth step they all do: to
show how the networks stand, and because a rank that died is found out by speaking to it.
"""

import dataclasses
import functools
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from pipeline.network.arguments import take_lambdas
from pipeline.network.ensemble import Snapshot, TrainingResult
from pipeline.network.training import train

SILENCE = timedelta(minutes=5)  # a rank that is silent for so long counts as dead, even if its connection stands
GRACE = 5.0  # seconds for the launcher to end this rank after another died: the launcher knows why it died


@contextmanager
def group() -> Iterator["Group"]:
    """Join the ranks that the launcher has started; without one this process is the only one."""
    if not dist.is_torchelastic_launched():
        yield Group(0, [socket.gethostname()])
        return
    store, rank, size = next(rendezvous("env://", timeout=SILENCE))
    store.set(f"host of rank {rank}", socket.gethostname())
    hosts = []
    for each in range(size):
        try:
            hosts.append(store.get(f"host of rank {each}").decode())
        except RuntimeError as error:
            raise RuntimeError(f"rank {each} did not come within {SILENCE.seconds} seconds") from error
    try:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=SILENCE)
    except RuntimeError as error:
        raise RuntimeError(f"the ranks, on {', '.join(hosts)}, do not all reach each other: {error}") from error
    yield Group(rank, hosts)
    dist.destroy_process_group()


class Group:
    """The ranks that train together, each on its host; rank 0 gathers the results."""

    def __init__(self, rank: int, hosts: list[str]) -> None:
        self.rank = rank
        self.hosts = hosts
        self.others = range(1, len(hosts))  # the ranks that rank 0 speaks with

    def threads(self, of_the_host: int) -> int:
        """Return how many of a host's threads this rank may use: an equal part, at least one."""
        return max(1, of_the_host // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def train(
        self,
        X: Tensor,
        Y: Tensor,
        layers_dims: Sequence[int],
        *,
        seeds: Sequence[int],
        l2: float | Sequence[float],
        progress: Callable[[Snapshot], None],
        **settings: Any,
    ) -> TrainingResult | None:
        """Train as :func:`pipeline.network.training.train` does, each rank its part of the networks.

        Arguments are the same on every rank. ``progress`` receives snapshots of all networks, whose ``costs`` are those
        of this rank's. Rank 0 returns the result of all, in the order of ``seeds``; the others None. A ValueError says
        that there are fewer networks than ranks, a RuntimeError which rank died, and on which host.
        """
        own = _share(self.rank, len(self.hosts), len(seeds))

        def report(snapshot: Snapshot) -> None:
            if snapshot.training:  # a rank that has finished reports below
                progress(self._overall(snapshot))

        lambdas = take_lambdas("train", l2, len(seeds))
        result = train(X, Y, layers_dims, seeds=seeds[own], l2=lambdas[own], progress=report, **settings)
        best = min(result.validation_costs[result.validation_costs.isfinite()].tolist(), default=math.nan)
        finished = Snapshot(max(result.steps), torch.empty(0), 0, best)
        while (overall := self._overall(finished)).training:  # other ranks still train
            progress(overall)
        whole = self._gather(result)
        progress(self._overall(finished))  # no rank leaves, and nothing is written, before rank 0 has every result
        return whole

    def _overall(self, snapshot: Snapshot) -> Snapshot:
        """Tell rank 0 how this rank's networks stand, and hear from it how all do."""
        state = torch.tensor([snapshot.step, snapshot.training, snapshot.best_validation_cost], dtype=torch.float64)
        if self.rank == 0:
            states = [state, *(self._speak(dist.recv, torch.empty_like(state), other) for other in self.others)]
            steps, training, costs = torch.stack(states).unbind(dim=1)
            state = torch.stack([steps.max(), training.sum(), functools.reduce(torch.fmin, costs)])  # fmin skips NaN
            for other in self.others:
                self._speak(dist.send, state, other)
        else:
            self._speak(dist.send, state, 0)
            self._speak(dist.recv, state, 0)
        step, training, best = state.tolist()
        return dataclasses.replace(snapshot, step=int(step), training=int(training), best_validation_cost=best)

    def _gather(self, result: TrainingResult) -> TrainingResult | None:
        """Send this rank's result to rank 0, which merges all: a JSON header that describes the tensors, then these."""
        if self.rank != 0:
            fields = dict(vars(result))
            tensors = {f"parameters.{name}": each for name, each in fields.pop("parameters").items()}
            tensors |= {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], Tensor)}
            kinds = {name: [str(each.dtype).removeprefix("torch."), each.shape] for name, each in tensors.items()}
            header = torch.frombuffer(bytearray(json.dumps([fields, kinds]).encode()), dtype=torch.uint8)
            for each in (torch.tensor([len(header)]), header, *tensors.values()):
                self._speak(dist.send, each.contiguous(), 0)
            return None
        return _merge([result, *map(self._receive, self.others)])

    def _receive(self, other: int) -> TrainingResult:
        length = int(self._speak(dist.recv, torch.tensor([0]), other))
        header = self._speak(dist.recv, torch.empty(length, dtype=torch.uint8), other)
        fields, kinds = json.loads(header.numpy().tobytes())
        fields["parameters"] = {}
        for name, (dtype, shape) in kinds.items():
            tensor = self._speak(dist.recv, torch.empty(shape, dtype=getattr(torch, dtype)), other)
            into, _, key = name.rpartition(".")
            (fields[into] if into else fields)[key] = tensor
        return TrainingResult(**fields)

    def _speak(self, message: Callable[[Tensor, int], Any], content: Tensor, rank: int) -> Tensor:
        """Send a tensor to a rank, or receive one from it; if that fails, name the rank."""
        try:
            message(content, rank)
        except RuntimeError as error:
            time.sleep(GRACE)
            raise RuntimeError(f"rank {rank} on {self.hosts[rank]} died or cannot be reached any more") from error
        return content


def _share(rank: int, size: int, networks: int) -> slice:
    """Return which networks a rank trains: the shares are in order, and as equal as their numbers allow."""
    if networks < size:
        raise ValueError(f"{networks} networks cannot be shared by {size} processes: each needs one at least")
    return slice(rank * networks // size, (rank + 1) * networks // size)


def _merge(results: Sequence[TrainingResult]) -> TrainingResult:
    """Put results together as if all networks had trained in one ensemble."""
    whole: dict[str, Any] = {}
    for name in vars(results[0]):
        parts = [getattr(result, name) for result in results]
        if name == "parameters":
            whole[name] = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        elif name in ("cost_steps", "evaluation_steps"):
            whole[name] = max(parts, key=len)
        elif isinstance(parts[0], Tensor):
            longest = max(map(len, parts))
            missing = [part.new_full((longest - len(part), part.shape[1]), math.nan) for part in parts]
            whole[name] = torch.cat([torch.cat(pair) for pair in zip(parts, missing, strict=True)], dim=1)
        else:
            whole[name] = [entry for part in parts for entry in part]
    return TrainingResult(**whole)
