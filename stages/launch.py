"""Start a training stage: in this process, as several ranks on this machine, or as one rank of torchrun's.

A rank is one process of several that train together. Either the stage starts them through PyTorch's launcher, as forks
where it can; or a user types torchrun, which runs the stage once for each rank.
"""

import functools
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pipeline.network.devices import device_of
from pipeline.params import Params, Training
from stages import lifetime, run, stored_set

RUN = "TORCHELASTIC_RUN_ID"  # the launcher gives it, and a RANK, to each rank
LAUNCHER = "STAGE_LAUNCHER"  # the launcher's process id: if it dies early, a rank's getppid() gives another's
PRIVATE = Path(".dvc/tmp")


def run_training(stage: Callable[[Params], None], networks: Callable[[Params], int], name: str) -> None:
    """Run a training stage, of so many networks, as this process or as the ranks that it starts."""

    def start(params: Params) -> None:
        processes = processes_for(params.training, networks(params))
        if processes == 1:
            stage(params)
        else:
            torch.set_num_threads(1)  # had OpenMP started threads before the fork, ranks with threads would hang
            for each in ("train", "validation"):
                stored_set(each)  # only to check them: damage is named once, not by every rank
            if params.training.compile and start_method() == "fork":
                importlib.import_module("torch._inductor.compile_fx")  # takes seconds, once for all ranks
            launch_ranks(name, processes, run_rank, stage, name)

    if "RANK" in os.environ and RUN in os.environ:  # torchrun runs this
        _end_with(os.getppid())
        run_rank(stage, name)
    else:
        os.environ.pop(RUN, None)  # left over: torch would take this process for a rank
        run(start, name)


def processes_for(training: Training, networks: int) -> int:
    """Return how many ranks train here: each has a thread, a network, and, where GPUs train, a GPU of its own."""
    most = min(training.processes, training.usable_threads, networks)
    on_gpus = device_of(training.device).type == "cuda"
    return min(most, torch.cuda.device_count()) if on_gpus else most


def start_method() -> str:
    """Return how ranks are started: CUDA does not work in a fork, nor do the frameworks of other systems."""
    return "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"


def launch_ranks(name: str, processes: int, rank: Callable[..., None], *arguments: Any) -> None:
    """Run a function as ranks on this machine with PyTorch's launcher, which ends them all when one fails.

    Where a rank is a fork of this process, this has imported all that it needs, and must have computed on one thread
    only.
    """
    signal.signal(signal.SIGINT, functools.partial(_interrupted, name))
    os.environ["GLOO_SOCKET_IFNAME"] = _loopback()
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.pop("DVC_STAGE", None)  # this process ends with dvc and checks its inputs: a rank need not
    logging.disable()  # the launcher's log; what went wrong is said below in one line
    PRIVATE.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = f"{PRIVATE.absolute()}"  # private: the launcher unpickles a rank's error from here
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        max_restarts=0,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",  # this machine's name may not resolve
        start_method=start_method(),
        signals_to_handle="",  # Ctrl-C is handled above
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    try:
        elastic_launch(config, _as_rank)(rank, *arguments)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode > 0:  # not ended by a signal
            sys.exit(1)  # the rank has said why
        raise RuntimeError(f"rank {number} on {socket.gethostname()} was ended by {failure.signal_name()}") from error


def _interrupted(name: str, *signal_and_frame: object) -> None:
    """End at once, and the ranks soon after: a KeyboardInterrupt could get lost in PyTorch's launcher."""
    if os.environ[LAUNCHER] == str(os.getpid()):  # no fork that is just starting
        sys.stderr.write(f"{name}: interrupted\n")
        sys.stderr.flush()
    os._exit(lifetime.INTERRUPTED)


def _as_rank(rank: Callable[..., None], *arguments: Any) -> None:
    """Run a function as a rank: it ends with the launcher, at Ctrl-C without a word, and else it says why."""
    logging.disable(logging.NOTSET)  # a fork has what launch_ranks has set
    _end_with(int(os.environ[LAUNCHER]))
    try:
        rank(*arguments)
    except Exception:
        traceback.print_exc()  # the launcher would only log it
        sys.exit(1)


def run_rank(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage as one rank of several."""
    if os.environ.get("LOCAL_RANK", "0") != "0":  # the first rank of each host says it
        warnings.filterwarnings("ignore", "training runs without torch.compile")
    try:
        run(stage, f"{name}: rank {os.environ['RANK']} on {socket.gethostname()}")
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        sys.stderr.write(f"{end.code}\n")  # in one piece: the other ranks write to the same place
        sys.exit(1)


def _end_with(launcher: int) -> None:
    """Let this process, a rank, end soon after its launcher, which may be killed, and at Ctrl-C without a word."""

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(lifetime.LOOK_EVERY)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal sends Ctrl-C to every rank; only the launcher says so
    threading.Thread(target=watch, daemon=True).start()


def _loopback() -> str:
    """Return the interface over which the ranks of one machine meet, and make sure that it works."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as here, socket.create_connection(here.getsockname()):
            return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    except (OSError, StopIteration) as error:
        raise RuntimeError("no loopback interface, over which ranks meet: set training.processes to 1") from error
