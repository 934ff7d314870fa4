"""Runs as tasks on a Ray cluster. A task watches the same process that trains a run on this machine, on its own node.

What is on disk is the only state, so a task has no result but how it ended, and one whose node is gone is begun anew
from the run's last checkpoint. Nodes must see the folder under the same path.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from rucksac.training.jobs import Ending, LocalJob

SECONDS_BETWEEN_LOOKS = 0.2
STOPPED = Ending(128 + signal.SIGTERM, None)


class RayJob:
    """A task: see `jobs.Job`."""

    def __init__(self, task: "ray.ObjectRef[Any]") -> None:
        self._task = task

    def ended(self) -> Ending | None:
        if not ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            return ray.get(self._task)
        except TaskCancelledError:
            return STOPPED
        except RayTaskError as error:
            return Ending(1, f"its task failed with {type(error.cause).__name__}: {error.cause}")
        except RayError:
            return Ending(1, "its process died, or the node it was on", lost=True)

    def terminate(self) -> None:
        ray.cancel(self._task)

    def kill(self) -> None:
        ray.cancel(self._task, force=True)

    def wait(self) -> None:
        while not ray.wait([self._task], timeout=1.0)[0]:
            pass


class RayCluster:
    """The cluster that this process is connected to: see `jobs.Place`."""

    def room(self, threads: int) -> int:
        return max(1, int(ray.cluster_resources().get("CPU", 0)) // threads)

    def start(self, run: Path, threads: int) -> RayJob:
        task: Any = ray.remote(num_cpus=threads, max_retries=0)(_train)
        return RayJob(task.remote(str(run.absolute()), os.getcwd()))


def _train(run: str, folder: str) -> Ending:
    """Train the run to its end, or until the task is cancelled: the run then saves and ends."""
    if not (Path(run) / "config.json").is_file():
        return Ending(2, f"rucksac: {run} is not there on {os.uname().nodename}; all nodes must see it under this path")
    with contextlib.suppress(OSError):  # an environment may be of a module there
        os.chdir(folder)
    # a node that a script started in its background ignores interrupts, by which Ray cancels
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = LocalJob(Path(run))
    try:
        while (ending := job.ended()) is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return ending
    except KeyboardInterrupt:
        job.terminate()
        job.wait()
        return STOPPED
