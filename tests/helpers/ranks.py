"""Ranks as forks of this process, on this host or on hosts made of namespaces.

A rank started from nothing would import torch for seconds; how torchrun starts one is tested apart.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
from pathlib import Path

CLONE_NEWUTS = 0x04000000
INTERFACE = "eth0"  # of each host
PATIENCE = 300  # seconds until a process counts as one that hangs, also on a machine that has much else to do


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Host:
    """A network namespace with one end of a cable, and a host name."""

    def __init__(self, name, namespace, address):
        self.name, self.namespace, self.address = name, namespace, address

    def enter(self):
        """Move this process to the host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self.namespace).open() as namespace:
            if libc.setns(namespace.fileno(), 0) or libc.unshare(CLONE_NEWUTS):
                raise OSError(ctypes.get_errno(), "cannot enter the namespace")
        socket.sethostname(self.name)
        os.environ["GLOO_SOCKET_IFNAME"] = INTERFACE


@contextlib.contextmanager
def two_hosts():
    """Lay a cable between two namespaces; their addresses (of a range kept for examples) exist in them alone."""
    tag = uuid.uuid4().hex[:8]
    hosts = [Host(f"host-{k}", f"{tag}{k}", f"192.0.2.{k + 1}") for k in range(2)]

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    try:
        for host in hosts:
            ip("netns", "add", host.namespace)
        ends = [("name", INTERFACE, "netns", host.namespace) for host in hosts]
        ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for host in hosts:
            ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", INTERFACE)
            for interface in ("lo", INTERFACE):
                ip("-n", host.namespace, "link", "set", interface, "up")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host.namespace], check=False, capture_output=True)


def run_and_exit(function, descriptor):
    """Be, in a fork, a process that does nothing else and says all into a descriptor; end as Python would."""
    status = 70
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        function()
        status = 0
    except SystemExit as end:
        status = end.code
        if not isinstance(status, int):
            status = 1
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Fork:
    """A fork of this process that runs a function; what it says is kept in a file."""

    def __init__(self, function, log, environment=None, host=None):
        def on_host():
            os.environ.update(environment or {})
            if host:
                host.enter()
            function()

        self.log = log
        with log.open("w") as said:
            self.pid = os.fork()
            if not self.pid:
                run_and_exit(on_host, said.fileno())

    def wait(self):
        """Return the exit status, negative for the signal that ended it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = None
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError(f"it hangs, and said {self.said()}")

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None

    def said(self):
        return self.log.read_text()


@contextlib.contextmanager
def forks():
    """Give a list for forks, and leave none of them running."""
    started = []
    try:
        yield started
    finally:
        for fork in started:
            fork.kill()


def run_ranks(size, function, folder, hosts=None, wait_for=None):
    """Run a function on ranks that believe torchrun started them; return their exit statuses and what they said."""
    port = free_port()
    hosts = hosts or [None] * size
    with forks() as started:
        for rank, host in enumerate(hosts):
            environment = {
                "TORCHELASTIC_RUN_ID": "test",
                "GLOO_SOCKET_IFNAME": "lo",
                "MASTER_ADDR": hosts[0].address if host else "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(size),
                "RANK": str(rank),
                "LOCAL_WORLD_SIZE": "1" if host else str(size),
            }
            started.append(Fork(function, folder / f"rank{rank}.log", environment, host))
        awaited = range(size) if wait_for is None else wait_for
        statuses = [started[rank].wait() for rank in awaited]
    return statuses, [fork.said() for fork in started]
