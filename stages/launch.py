"""Start a training stage: in this process, as several ranks on this machine, or as one rank of torchrun's."""

import functools
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable

import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from pipeline.network.devices import device_of
from pipeline.params import Params, Training
from stages import examples, lifetime, run

RUN = "TORCHELASTIC_RUN_ID"  # torchrun gives it, and a RANK, to each rank
LAUNCHER = "STAGE_LAUNCHER"  # the launcher's process id; the launcher may be gone before a rank asks for its parent


def run_training(
    stage: Callable[[Params], None], networks: Callable[[Params], int], name: str, module: str, *arguments: str
) -> None:
    """Run a training stage, which ``python -m module arguments`` has started, with so many networks."""

    def start(params: Params) -> None:
        processes = processes_for(params.training, networks(params))
        if processes == 1:
            stage(params)
        else:
            for each in ("train", "validation"):
                examples(each)  # damaged ones are named once, before every rank would name them
            launch_ranks(name, processes, "-m", module, *arguments)

    if "RANK" in os.environ and RUN in os.environ:
        run_rank(stage, name)
    else:
        os.environ.pop(RUN, None)  # one that torchrun did not set: torch would take this process for a rank
        run(start, name)


def processes_for(training: Training, networks: int) -> int:
    """Return how many ranks train here: each has a thread, a network, and, where GPUs train, a GPU of its own."""
    most = min(training.processes, training.usable_threads, networks)
    on_gpus = device_of(training.device).type == "cuda"
    return min(most, torch.cuda.device_count()) if on_gpus else most


def launch_ranks(name: str, processes: int, *command: str) -> None:
    """Run a Python command as ranks on this machine with torchrun, which ends them all when one fails."""
    signal.signal(signal.SIGINT, functools.partial(_interrupted, name))
    os.environ["GLOO_SOCKET_IFNAME"] = _loopback()
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.pop("DVC_STAGE", None)  # a rank ends with this process, and this process with dvc
    logging.disable()  # torchrun's log; what went wrong is said below in one line
    # The address: this machine's name may not resolve. No signals: Ctrl-C is handled above. No folder of logs.
    options = ["--local-addr=127.0.0.1", "--signals-to-handle=", f"--log-dir={os.devnull}"]
    try:
        torchrun([*options, f"--nproc-per-node={processes}", *command])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(1)  # the rank has said why
        raise RuntimeError(f"rank {rank} on {socket.gethostname()} was ended by {failure.signal_name()}") from error


def _interrupted(name: str, *signal_and_frame: object) -> None:
    """End at once, and the ranks soon after: a KeyboardInterrupt would have to find its way through torchrun."""
    sys.stderr.write(f"{name}: interrupted\n")
    sys.stderr.flush()
    os._exit(lifetime.INTERRUPTED)


def run_rank(stage: Callable[[Params], None], name: str) -> None:
    """Run a stage as one rank of several, which ends with its launcher."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # torchrun passes Ctrl-C on: end without a word
    if os.environ.get("LOCAL_RANK", "0") != "0":  # the first rank of each host says it
        warnings.filterwarnings("ignore", "training runs without torch.compile")
    threading.Thread(target=_end_with, args=[int(os.environ.get(LAUNCHER, os.getppid()))], daemon=True).start()
    try:
        run(stage, f"{name}: rank {os.environ['RANK']} on {socket.gethostname()}")
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        sys.stderr.write(f"{end.code}\n")  # in one piece: the other ranks write to the same place
        sys.exit(1)


def _end_with(launcher: int) -> None:
    """End this process soon after its launcher, which may have been killed."""
    while os.getppid() == launcher:
        time.sleep(lifetime.LOOK_EVERY)
    os._exit(1)


def _loopback() -> str:
    """Return the interface over which the ranks of one machine meet, and make sure that it works."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as here, socket.create_connection(here.getsockname()):
            return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    except (OSError, StopIteration) as error:
        raise RuntimeError("no loopback interface, over which ranks meet: set training.processes to 1") from error
