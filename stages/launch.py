"""How a training stage starts: in this process, in as many as ``params.yaml`` says, or as one of torchrun's."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pipeline.params import Params, load_params
from stages import PARAMS, run

LOOPBACK = "127.0.0.1"
LOOK_EVERY = 0.1  # seconds
LAUNCHER = "STAGE_LAUNCHER"  # names the variable with the launcher's process id: it may be gone when a rank first looks


def run_training(stage: Callable[[Params], None], name: str, module: str, *arguments: str) -> None:
    """Run a training stage; ``python -m module arguments`` is what starts it."""
    if dist.is_torchelastic_launched():
        _run_rank(stage)
        return

    def start(params: Params) -> None:
        if params.training.processes == 1:
            stage(params)
        else:
            launch_ranks(params.training.processes, name, "-m", module, *arguments)

    run(start, name)


def _run_rank(stage: Callable[[Params], None]) -> None:
    """Run the stage as one rank of several; what stops it is for the launcher to say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # torchrun passes Ctrl-C on: end without a word
    threading.Thread(target=_end_with, args=[int(os.environ.get(LAUNCHER, os.getppid()))], daemon=True).start()
    try:
        stage(load_params(PARAMS))
    except (ValueError, RuntimeError, OSError) as error:
        get_error_handler().record_exception(error)
        sys.exit(1)


def _end_with(launcher: int) -> None:
    """Let this process end soon after its launcher, even if that was killed and could not end it."""
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    os._exit(1)


def launch_ranks(processes: int, name: str, *command: str) -> None:
    """Do what ``torchrun --nproc-per-node`` does on this host, and say in one line what stopped a rank."""
    logging.disable()  # torch's own words on what stopped a rank, pages of them
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.pop("DVC_STAGE", None)  # a rank ends with this process, which ends with dvc
    os.environ["OMP_NUM_THREADS"] = "1"  # while a rank starts; it then sets its part of training.threads
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_interface())
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=name,
            rdzv_backend="c10d",
            rdzv_endpoint=f"{LOOPBACK}:0",
            local_addr=LOOPBACK,
            max_restarts=0,
            signals_to_handle="SIGTERM,SIGHUP,SIGQUIT",  # Ctrl-C is Python's, which ends the ranks without a word
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)(*command)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise RuntimeError(f"rank {rank} on {socket.gethostname()}: {_reason(failure)}") from error
        except SignalException as error:
            raise RuntimeError(f"ended by {error.sigval.name}") from error


def _reason(failure: ProcessFailure) -> str:
    message = failure.message
    if isinstance(message, dict):  # what the rank recorded, after the name of the exception's type
        return str(message["message"]).partition(": ")[2]
    return message


def _loopback_interface() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
