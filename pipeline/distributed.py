"""Replicas over processes: each rank trains a part of the networks, and rank 0 puts the parts together.

Networks share their batches and nothing else, so ranks have nothing to tell each other but how they stand. Every
rank tells rank 0, and rank 0 answers: that is how the progress of all is shown, and how a rank that dies is found
out, because its connection breaks. Results travel as safetensors; nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.training import Snapshot, TrainingResult, train

SILENCE = timedelta(minutes=5)  # a rank that says nothing for so long counts as dead, its connection broken or not
GRACE = 5.0  # seconds for the launcher of a dead rank to end this one first: it knows what the rank died of
POLL = 0.1  # seconds between two looks at ranks that are still training
STATUS, PARCEL = 1, 2  # tags of the two kinds of messages
GO_ON, HAND_OVER, LEAVE = 0, 1, 2  # what rank 0 answers to a status
HOST_NAME_MAX = 255  # bytes

Progress = Callable[[Snapshot], None]


@contextmanager
def group() -> Iterator[Group]:
    """Join the ranks that torchrun started together with this process; without torchrun it is the only one.

    All ranks leave the block together, after rank 0 has done what it does there.

    Yields
    ------
    Group

    Raises
    ------
    RuntimeError
        If a rank died; the message names it and its host.
    """
    if not dist.is_torchelastic_launched():
        yield Group(0, [socket.gethostname()])
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=SILENCE)
    joined = Group(dist.get_rank(), _hosts())
    yield joined
    joined.leave()
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
        self.peers = [_Peer(other) for other in range(1, len(hosts))] if rank == 0 else []

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
        progress: Progress,
        **settings: Any,
    ) -> TrainingResult | None:
        """Train as :func:`pipeline.training.train` does, each rank its part of the networks.

        Parameters
        ----------
        X, Y, layers_dims, seeds, l2, settings
            As there, and the same on every rank.
        progress : callable
            Receives, on rank 0, snapshots of all ranks' networks; their ``costs`` are those of rank 0's.

        Returns
        -------
        TrainingResult or None
            On rank 0 that of all networks, in the order of ``seeds``; None on the other ranks.

        Raises
        ------
        ValueError
            If there are fewer networks than ranks.
        RuntimeError
            If a rank died.
        """
        parts = shares(len(seeds), len(self.hosts))
        part = parts[self.rank]
        for peer in self.peers:
            peer.status.training = parts[peer.rank].stop - parts[peer.rank].start
            peer.start()
        result = train(
            X,
            Y,
            layers_dims,
            seeds=seeds[part],
            l2=l2[part] if isinstance(l2, Sequence) else l2,
            progress=self._tell_rank_0 if self.rank else lambda snapshot: progress(self._with_peers(snapshot)),
            **settings,
        )
        if self.rank:
            self._hand_over(result, X.device)
            return None
        if not self.peers:
            return result
        return merge([result, *self._gathered(X.device, lambda: progress(self._with_peers(_last_snapshot(result))))])

    def leave(self) -> None:
        """Wait until rank 0 is here too."""
        for peer in self.peers:
            peer.answer = LEAVE
        for peer in self.peers:
            peer.join()
            self._check(peer)
        if self.rank:
            self._tell_until(LEAVE, _Status(finished=True))

    # on rank 0

    def _with_peers(self, snapshot: Snapshot) -> Snapshot:
        self._check(*self.peers)
        everyone = [_Status.of(snapshot), *(peer.status for peer in self.peers)]
        costs = [status.best_validation_cost for status in everyone]
        return dataclasses.replace(
            snapshot,
            step=max(status.step for status in everyone),
            training=sum(status.training for status in everyone),
            best_validation_cost=min((cost for cost in costs if not math.isnan(cost)), default=math.nan),
        )

    def _gathered(self, device: torch.device, waiting: Callable[[], None]) -> Iterator[TrainingResult]:
        while not all(peer.status.finished for peer in self.peers):
            waiting()
            time.sleep(POLL)
        waiting()
        for peer in self.peers:
            peer.answer = HAND_OVER
            length = torch.empty(1, dtype=torch.int64, device=device)
            self._speak(dist.recv, length, peer.rank, PARCEL)
            parcel = torch.empty(int(length), dtype=torch.uint8, device=device)
            self._speak(dist.recv, parcel, peer.rank, PARCEL)
            yield unpack(parcel)

    def _check(self, *peers: _Peer) -> None:
        for peer in peers:
            if peer.error is not None:
                self._end_after(peer.rank, peer.error)

    # on the others

    def _hand_over(self, result: TrainingResult, device: torch.device) -> None:
        self._tell_until(HAND_OVER, _Status.of(_last_snapshot(result), finished=True))
        parcel = pack(result).to(device)
        self._speak(dist.send, torch.tensor([len(parcel)], device=device), 0, PARCEL)
        self._speak(dist.send, parcel, 0, PARCEL)

    def _tell_until(self, answer: int, status: _Status) -> None:
        while self._tell(status) != answer:
            time.sleep(POLL)

    def _tell_rank_0(self, snapshot: Snapshot) -> None:
        self._tell(_Status.of(snapshot))

    def _tell(self, status: _Status) -> int:
        answer = torch.empty(1, dtype=torch.int64)
        self._speak(dist.send, status.as_tensor(), 0, STATUS)
        self._speak(dist.recv, answer, 0, STATUS)
        return int(answer)

    # on all

    def _speak(self, message: Callable[..., Any], content: Tensor, rank: int, tag: int) -> None:
        try:
            message(content, rank, tag=tag)
        except RuntimeError as error:
            self._end_after(rank, error)

    def _end_after(self, rank: int, error: Exception) -> None:
        time.sleep(GRACE)
        raise RuntimeError(f"rank {rank} on {self.hosts[rank]} died or cannot be reached any more") from error


@dataclasses.dataclass
class _Status:
    """How a rank stands, as :class:`Snapshot` says it."""

    step: int = 0
    training: int = 0
    best_validation_cost: float = math.nan
    finished: bool = False

    @classmethod
    def of(cls, snapshot: Snapshot, finished: bool = False) -> _Status:
        return cls(snapshot.step, snapshot.training, snapshot.best_validation_cost, finished)

    @classmethod
    def from_tensor(cls, values: Tensor) -> _Status:
        step, training, best_validation_cost, finished = values.tolist()
        return cls(int(step), int(training), best_validation_cost, bool(finished))

    def as_tensor(self) -> Tensor:
        return torch.tensor(dataclasses.astuple(self), dtype=torch.float64)


class _Peer(threading.Thread):
    """What rank 0 knows of another rank; the thread answers that rank until it leaves or dies."""

    def __init__(self, rank: int) -> None:
        super().__init__(daemon=True)
        self.rank = rank
        self.status = _Status()
        self.answer = GO_ON
        self.error: RuntimeError | None = None

    def run(self) -> None:
        status, answer = _Status().as_tensor(), GO_ON
        try:
            while answer != LEAVE:
                dist.recv(status, self.rank, tag=STATUS)
                self.status = _Status.from_tensor(status)
                answer = self.answer
                dist.send(torch.tensor([answer]), self.rank, tag=STATUS)
        except RuntimeError as error:
            self.error = error


def shares(count: int, size: int) -> list[slice]:
    """Divide networks among ranks as evenly as their numbers allow.

    Parameters
    ----------
    count : int
        Of networks.
    size : int
        Of ranks.

    Returns
    -------
    list of slice
        Those of each rank, in order.

    Raises
    ------
    ValueError
        If a rank would have none.
    """
    if count < size:
        raise ValueError(f"{count} networks cannot be shared by {size} processes: each needs one at least")
    return [slice(rank * count // size, (rank + 1) * count // size) for rank in range(size)]


def merge(results: Sequence[TrainingResult]) -> TrainingResult:
    """Put results of the same training, each of some of the networks, together as one.

    Parameters
    ----------
    results : sequence of TrainingResult

    Returns
    -------
    TrainingResult
        As if all networks had trained in one stack, in the order given.
    """
    longest = max(results, key=lambda result: max(result.steps))

    def curves(name: str) -> Tensor:
        rows = len(getattr(longest, name))
        return torch.cat([_extended(getattr(result, name), rows) for result in results], dim=1)

    def entries(name: str) -> list[Any]:
        return [entry for result in results for entry in getattr(result, name)]

    fields: dict[str, Any] = {
        name: curves(name) for name in ("costs", "penalties", "validation_costs", "validation_accuracies")
    }
    fields |= {name: entries(name) for name in ("seeds", "l2", "steps", "best_step", "epochs", "stop_reason")}
    return TrainingResult(
        parameters={name: torch.cat([result.parameters[name] for result in results]) for name in longest.parameters},
        cost_steps=longest.cost_steps,
        evaluation_steps=longest.evaluation_steps,
        **fields,
    )


def pack(result: TrainingResult) -> Tensor:
    """Put a result into one tensor of bytes: safetensors, in which what is no tensor is JSON.

    Parameters
    ----------
    result : TrainingResult

    Returns
    -------
    (bytes,) tensor of uint8
    """
    fields = dict(vars(result))
    tensors = {f"parameters.{name}": stacked for name, stacked in fields.pop("parameters").items()}
    tensors |= {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], Tensor)}
    tensors["json"] = _bytes(json.dumps(fields).encode())
    return _bytes(safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def unpack(parcel: Tensor) -> TrainingResult:
    """Take a result out of the tensor that :func:`pack` made.

    Parameters
    ----------
    parcel : (bytes,) tensor of uint8

    Returns
    -------
    TrainingResult
    """
    tensors: dict[str, Any] = safetensors.torch.load(parcel.cpu().numpy().tobytes())
    fields = json.loads(tensors.pop("json").numpy().tobytes())
    parameters = {
        name.removeprefix("parameters."): tensors.pop(name) for name in list(tensors) if name.startswith("parameters.")
    }
    return TrainingResult(parameters=parameters, **tensors, **fields)


def _hosts() -> list[str]:
    """Ask every rank for its host's name."""
    own = torch.zeros(HOST_NAME_MAX, dtype=torch.uint8)
    name = _bytes(socket.gethostname().encode())
    own[: len(name)] = name
    names = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(names, own)
    return [each.numpy().tobytes().rstrip(b"\0").decode() for each in names]


def _last_snapshot(result: TrainingResult) -> Snapshot:
    costs = result.validation_costs[result.validation_costs.isfinite()]
    best = costs.min().item() if len(costs) else math.nan
    return Snapshot(step=max(result.steps), costs=torch.empty(0), training=0, best_validation_cost=best)


def _extended(curve: Tensor, rows: int) -> Tensor:
    return torch.cat([curve, torch.full((rows - len(curve), curve.shape[1]), math.nan, dtype=curve.dtype)])


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
