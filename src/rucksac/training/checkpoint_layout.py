"""Where checkpoints are in a run's folder and what their run.json says.

    checkpoints/000003-step-15000/   agent.json, agent.safetensors: the agent alone
                                     actions.safetensors: those of the episodes under way
                                     arrays.safetensors: state too large for run.json, if there is any
                                     run.json: every other piece of state, and which segments belong to it
    checkpoints/best-step-10000/     the agent with the best evaluation so far
    replay/000003-0.safetensors      segments: the rows of replay memory that were new at that checkpoint

A checkpoint is a folder that gets its name when everything in it and in its segments is on disk. It then never
changes; segments are removed when no kept checkpoint names them.
"""

import re
from pathlib import Path
from typing import Any

import safetensors

from rucksac import files
from rucksac.errors import UsageError
from rucksac.training.record import KINDS
from rucksac.training.replay_files import Segment

KIND, VERSION = "rucksac-run", 3
CHECKPOINT = re.compile(r"(\d{6,})-step-(\d+)")
BEST = re.compile(r"best-step-(\d+)")
ACTIONS = "actions.safetensors"
ARRAYS = "arrays.safetensors"
LARGEST_ARRAYS = 2**32
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, MemoryError, OSError, RuntimeError, AttributeError,
              safetensors.SafetensorError)  # fmt: skip


def checkpoints_in(run: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the checkpoints whose name fits, oldest first."""
    folder = run / "checkpoints"
    inside = list(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in inside if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    return sorted(found, key=lambda path: [int(number) for number in pattern.fullmatch(path.name).groups()])  # type: ignore[union-attr]


def content_of(run: Path, folder: Path) -> dict[str, Any]:
    """Return a checkpoint's run.json; raise `ValueError` when it belongs to another folder.

    Raises `UsageError` when a log is not what it was.
    """
    content = manifest_of(folder)
    if content["state"]["progress"]["env_steps"] != int(folder.name.split("-")[-1]):
        raise ValueError("run.json is that of another checkpoint")
    for name, log in logs_of(content).items():
        path, fault = run / name, None
        if not path.is_file() or path.stat().st_size < log.size:
            fault = "is shorter than the checkpoint says"
        elif log.sha256 and files.GrowingFile(path).beginning(log.size) != log:
            fault = "has been changed since the checkpoint"
        if fault:
            raise UsageError(f"{path} {fault}; put the whole file back, or train anew")
    return content


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's run.json; raise `ValueError` when it is not what was written."""
    return files.read_manifest(folder / "run.json", KIND, VERSION)


def logs_of(content: dict[str, Any]) -> dict[str, files.Beginning]:
    """Return what of each log file belongs to a checkpoint; raise `ValueError` when that makes no sense."""
    logs = {name: files.Beginning(**log) for name, log in content["logs"].items()}
    known = set(logs) == {f"{name}.csv" for name in KINDS}
    if not known or not all(isinstance(log.size, int) and log.size >= 0 for log in logs.values()):
        raise ValueError("what is said of the logs makes no sense")
    return logs


def segments_of(content: dict[str, Any]) -> list[Segment]:
    """Return the segments that belong to a checkpoint."""
    return [Segment(**each) for each in content["segments"]]


def in_short(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
