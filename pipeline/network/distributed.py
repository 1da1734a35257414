"""Networks over processes: each rank trains a part of them, and rank 0 puts the parts together.

Networks share their batches and nothing else, so ranks need not speak to train. Every hundredth step they all do: to
show how all stand, and because a rank that died is found out by speaking to it.
"""

from __future__ import annotations

import dataclasses
import functools
import io
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

from pipeline.network.arguments import lambda_of_each
from pipeline.network.ensemble import Snapshot, TrainingResult
from pipeline.network.training import train

SILENCE = timedelta(minutes=5)  # a rank that does not speak for so long counts as dead, its connection broken or not
GRACE = 5.0  # seconds for the launcher of a dead rank to end this one first: it knows what the rank died of


@contextmanager
def group() -> Iterator[Group]:
    """Join the ranks that were started together with this process; without a launcher it is the only one.

    Yields
    ------
    Group
    """
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
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=SILENCE)
    except RuntimeError as error:
        raise RuntimeError(f"the ranks, on {', '.join(hosts)}, do not all reach each other: {error}") from error
    yield Group(rank, hosts)
    dist.destroy_process_group()


class Group:
    """The ranks that train together.

    Parameters
    ----------
    rank : int
        Of this process. Rank 0 gathers.
    hosts : list of str
        The host of each rank.
    """

    def __init__(self, rank: int, hosts: list[str]) -> None:
        self.rank = rank
        self.hosts = hosts
        self.others = [] if rank else range(1, len(hosts))  # the ranks that this one gathers from

    def threads(self, of_the_host: int) -> int:
        """Return this rank's part of the threads that its host gives, at least one."""
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

        Parameters
        ----------
        X, Y, layers_dims, seeds, l2, settings
            As there, and the same on every rank.
        progress : callable
            Receives snapshots of all ranks' networks; their ``costs`` are those of this rank's.

        Returns
        -------
        TrainingResult or None
            On rank 0 that of all networks, in the order of ``seeds``; None on the other ranks.

        Raises
        ------
        ValueError
            If there are fewer networks than ranks.
        RuntimeError
            If a rank died; the message names it and its host.
        """
        part = _shares(len(seeds), len(self.hosts))[self.rank]

        def tell(snapshot: Snapshot) -> None:
            if snapshot.training:  # that a rank has none left is told below, until no rank has
                progress(self._with_others(snapshot))

        lambdas = lambda_of_each(l2, len(seeds))
        result = train(X, Y, layers_dims, seeds=seeds[part], l2=lambdas[part], progress=tell, **settings)
        own = _end_of(result)
        while (everyone := self._with_others(own)).training:
            progress(everyone)
        whole = self._gathered(result, X.device)
        progress(self._with_others(own))  # nobody leaves, and nothing is written, before rank 0 has it all
        return whole

    def _with_others(self, snapshot: Snapshot) -> Snapshot:
        """Tell rank 0 how this rank's networks stand, and hear how all do."""
        state = torch.tensor([snapshot.step, snapshot.training, snapshot.best_validation_cost], dtype=torch.float64)
        if self.rank:
            self._speak(dist.send, state, 0)
            self._speak(dist.recv, state, 0)
        else:
            states = [state, *(self._speak(dist.recv, torch.empty_like(state), other) for other in self.others)]
            steps, training, costs = torch.stack(states).unbind(dim=1)
            state = torch.stack([steps.max(), training.sum(), functools.reduce(torch.fmin, costs)])  # fmin skips NaN
            for other in self.others:
                self._speak(dist.send, state, other)
        step, still_training, best = state.tolist()
        return dataclasses.replace(snapshot, step=int(step), training=int(still_training), best_validation_cost=best)

    def _gathered(self, result: TrainingResult, device: torch.device) -> TrainingResult | None:
        if self.rank:
            parcel = _pack(result).to(device)
            self._speak(dist.send, torch.tensor([len(parcel)], device=device), 0)
            self._speak(dist.send, parcel, 0)
            return None
        results = [result]
        for other in self.others:
            length = self._speak(dist.recv, torch.zeros(1, dtype=torch.int64, device=device), other)
            parcel = torch.empty(int(length), dtype=torch.uint8, device=device)
            results.append(_unpack(self._speak(dist.recv, parcel, other)))
        return _merge(results)

    def _speak(self, message: Callable[[Tensor, int], Any], content: Tensor, rank: int) -> Tensor:
        try:
            message(content, rank)
        except RuntimeError as error:
            time.sleep(GRACE)
            raise RuntimeError(f"rank {rank} on {self.hosts[rank]} died or cannot be reached any more") from error
        return content


def _shares(count: int, size: int) -> list[slice]:
    """Divide networks among ranks, in order and as evenly as their numbers allow."""
    if count < size:
        raise ValueError(f"{count} networks cannot be shared by {size} processes: each needs one at least")
    return [slice(rank * count // size, (rank + 1) * count // size) for rank in range(size)]


def _merge(results: Sequence[TrainingResult]) -> TrainingResult:
    """Put results together as if all their networks had trained in one stack, in the order given."""
    whole: dict[str, Any] = {}
    for name in vars(results[0]):
        parts = [getattr(result, name) for result in results]
        if name == "parameters":
            whole[name] = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        elif name in ("cost_steps", "evaluation_steps"):
            whole[name] = max(parts, key=len)
        elif isinstance(parts[0], Tensor):
            rows = max(len(part) for part in parts)
            whole[name] = torch.cat([_extended(part, rows) for part in parts], dim=1)
        else:
            whole[name] = [entry for part in parts for entry in part]
    return TrainingResult(**whole)


def _extended(curve: Tensor, rows: int) -> Tensor:
    """Go on with NaN, as a curve does once its network has stopped."""
    return torch.cat([curve, curve.new_full((rows - len(curve), curve.shape[1]), math.nan)])


def _end_of(result: TrainingResult) -> Snapshot:
    costs = result.validation_costs[result.validation_costs.isfinite()]
    return Snapshot(max(result.steps), torch.empty(0), 0, min(costs.tolist(), default=math.nan))


def _pack(result: TrainingResult) -> Tensor:
    """Put a result into one tensor of bytes."""
    parcel = io.BytesIO()
    torch.save(vars(result), parcel)
    return torch.frombuffer(parcel.getbuffer(), dtype=torch.uint8)


def _unpack(parcel: Tensor) -> TrainingResult:
    """Take a result out of what :func:`_pack` made; nothing in it can run."""
    return TrainingResult(**torch.load(io.BytesIO(parcel.cpu().numpy().tobytes()), weights_only=True))
