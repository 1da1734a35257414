"""How a training stage starts: in this process, in as many as ``params.yaml`` says, or as one of torchrun's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from pipeline.params import Params
from stages import run

LOOPBACK = "127.0.0.1"
LOOK_EVERY = 0.1  # seconds
LAUNCHER = "STAGE_LAUNCHER"  # names the variable with the launcher's process id: it may be gone when a rank first looks


def run_training(stage: Callable[[Params], None], name: str, module: str, *arguments: str) -> None:
    """Run a training stage; ``python -m module arguments`` is what starts it."""

    def start(params: Params) -> None:
        if params.training.processes == 1:
            stage(params)
        else:
            launch_ranks(params.training.processes, "-m", module, *arguments)

    if dist.is_torchelastic_launched():
        run_rank(stage, name)
    else:
        run(start, name)


def run_rank(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage as one rank of several, which ends with its launcher."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # torchrun passes Ctrl-C on: end without a word
    threading.Thread(target=_end_with, args=[int(os.environ.get(LAUNCHER, os.getppid()))], daemon=True).start()
    run(stage, f"{name}: rank {os.environ['RANK']} on {socket.gethostname()}")


def _end_with(launcher: int) -> None:
    """End this process soon after its launcher, even if that was killed and could not end it."""
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    os._exit(1)


def launch_ranks(processes: int, *command: str) -> None:
    """Run a Python command as ranks on this host, as torchrun does; if one fails, end the others."""
    store, *_ = next(rendezvous(f"tcp://{LOOPBACK}:0", rank=0, world_size=1))  # where the ranks meet
    environment = os.environ | {
        LAUNCHER: str(os.getpid()),
        "TORCHELASTIC_RUN_ID": str(os.getpid()),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GLOO_SOCKET_IFNAME": _loopback_interface(),
        "OMP_NUM_THREADS": "1",  # while a rank starts; it then sets its part of training.threads
    }
    environment.pop("DVC_STAGE", None)  # a rank ends with this process, which ends with dvc
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # In a group of its own: Ctrl-C is for this process, which ends them.
            ranks.append(subprocess.Popen([sys.executable, *command], env=own, process_group=0))
        while None in (statuses := [process.poll() for process in ranks]) and not any(statuses):
            time.sleep(LOOK_EVERY)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    for rank, status in enumerate(statuses):
        if status and status < 0:
            raise RuntimeError(f"rank {rank} on {socket.gethostname()} was ended by {signal.Signals(-status).name}")
    if any(statuses):
        sys.exit(1)  # the rank has said why


def _loopback_interface() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
