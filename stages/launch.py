"""Start a training stage: in this process, as several ranks on this machine, or as one rank of torchrun's."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from torch.distributed import is_torchelastic_launched
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from pipeline.params import Params
from stages import run

LOOK_EVERY = 0.1  # seconds
LAUNCHER = "STAGE_LAUNCHER"  # the launcher's process id; the launcher may be gone before a rank asks for its parent


def run_training(stage: Callable[[Params], None], name: str, module: str, *arguments: str) -> None:
    """Run a training stage, which ``python -m module arguments`` has started."""

    def start(params: Params) -> None:
        if params.training.usable_processes == 1:
            stage(params)
        else:
            launch_ranks(params.training.usable_processes, "-m", module, *arguments)

    if is_torchelastic_launched():
        run_rank(stage, name)
    else:
        run(start, name)


def launch_ranks(processes: int, *command: str) -> None:
    """Run a Python command as ranks on this machine with torchrun, which ends them all when one fails."""
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ.pop("DVC_STAGE", None)  # a rank ends with this process, and this process with dvc
    logging.disable()  # torchrun's log; what went wrong is said below in one line
    # The address: this machine's name may not resolve. No signals: Ctrl-C stays a KeyboardInterrupt. No folder of logs.
    options = ["--local-addr=127.0.0.1", "--signals-to-handle=", f"--log-dir={os.devnull}"]
    try:
        torchrun([*options, f"--nproc-per-node={processes}", *command])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(1)  # the rank has said why
        raise RuntimeError(f"rank {rank} on {socket.gethostname()} was ended by {failure.signal_name()}") from error


def run_rank(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage as one rank of several, which ends with its launcher."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # torchrun passes Ctrl-C on: end without a word
    threading.Thread(target=_end_with, args=[int(os.environ.get(LAUNCHER, os.getppid()))], daemon=True).start()
    run(stage, f"{name}: rank {os.environ['RANK']} on {socket.gethostname()}")


def _end_with(launcher: int) -> None:
    """End this process soon after its launcher, which may have been killed."""
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    os._exit(1)
