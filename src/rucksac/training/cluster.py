"""A Ray cluster: whether it can be used, and being connected to it. Ray is imported only where one is asked for."""

import importlib.util
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rucksac.errors import UsageError
from rucksac.resources import available_threads
from rucksac.text import count, shortened

LOCAL = "local"  # a cluster of this machine alone, which is started for the purpose
HOST_AND_PORT = re.compile(r"[\w.-]+:\d{1,5}")
SECONDS_TO_CONNECT = 10.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # tells nobody, warns of nothing


def check_address(address: Any) -> None:
    """Raise `UsageError` for what is no address of a cluster, and where Ray is not installed."""
    if not isinstance(address, str) or (address != LOCAL and not HOST_AND_PORT.fullmatch(address)):
        raise UsageError(f"--ray is {shortened(address)}, but must be local or HOST:PORT, as ray start --head says it")
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:  # a mere folder of that name is no package
        raise UsageError('--ray needs the package ray; pip install "rucksac[ray]"')


@contextmanager
def connected(address: str, what: str, number: int, processors: int = 1) -> Iterator[None]:
    """Be connected to the cluster at `address` meanwhile, which may have been done already.

    Raises `UsageError` when there is no such cluster, or one without room for so many of `what`, with so many
    processors each.
    """
    os.environ.update(QUIET)
    import ray

    if ray.is_initialized():
        _require(what, number, processors)
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(address, number * processors)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there
        _require(what, number, processors)
        yield
    finally:
        ray.shutdown()


def _connect(address: str, processors: int) -> None:
    import ray

    quiet: dict[str, Any] = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        ray.init(LOCAL, num_cpus=max(processors, available_threads()), **quiet)
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()  # Ray itself would try for minutes
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"there is no Ray cluster to use at {address} ({shortened(' '.join(str(error).split()))}); see ray status"
        ) from error


def _require(what: str, number: int, processors: int) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if (room := sum(int(each.get("CPU", 0)) // processors for each in nodes)) < number:
        raise UsageError(
            f"the Ray cluster has room for {count(room, what)} of {count(processors, 'processor')} each, not for "
            f"{number}; give fewer, or add a node"
        )
