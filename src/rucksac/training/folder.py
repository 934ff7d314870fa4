"""A run on disk: which file is where, what a run was made with, and the refusal to write over one."""

import importlib.metadata
import itertools
import json
import os
import platform
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.resources import processor
from rucksac.text import printable, shortened

try:
    import fcntl
except ImportError:  # not on Windows; there nothing keeps two processes out of one folder
    fcntl = None  # type: ignore[assignment]

MOST_THREADS = 1024
PACKAGES = ("rucksac", "torch", "numpy", "gymnasium", "mujoco")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make the folder; raise `UsageError` when it already holds something or cannot be written."""
        if path.is_dir() and (process := cls(path).occupant()):
            raise UsageError(f"process {process} trains in {path}; give another --run, or wait for it")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            go_on = f"go on with rucksac resume {shlex.quote(str(path))}, " if (path / "config.json").exists() else ""
            raise UsageError(f"{path} is already in use; {go_on}give another --run, or remove it first")
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "config.json").touch()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}); give a --run where you may write"
            ) from error
        return cls(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training here; the lock ends with the process. Raises `UsageError` when taken."""
        if process := self.occupant():
            raise UsageError(
                f"{self.path} is in use by process {process}, which trains there; wait for it or end it first"
            )
        try:
            lock = (self.path / "lock").open("a")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written ({error.strerror}); make it writable first") from error
        with lock:
            if fcntl and not _take(lock):  # another came at the same moment
                raise UsageError(f"{self.path} is in use by another process; wait for it or end it first")
            lock.truncate(0)  # only now: until here it was another's
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def occupant(self) -> int | None:
        """Return the id of the process that trains here now, if any; raise `UsageError` when that cannot be told."""
        file = self.path / "lock"
        if not (fcntl and file.is_file()):
            return None
        try:
            with file.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read(20) or 0)
            return None
        except OSError as error:
            raise UsageError(f"{file} cannot be read ({error.strerror}); let this user read it") from error

    def discard(self) -> None:
        """Remove what an unsuccessful start has written; a folder with a checkpoint stays."""
        if not (self.path / "checkpoints").exists():
            shutil.rmtree(self.path, ignore_errors=True)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Return an existing run; raise `UsageError` when `path` is none."""
        if members := sorted(path.glob("seed*/config.json")):
            raise UsageError(f"{path} holds several seeds; give one of them, such as {members[0].parent}")
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} is not the folder of a run; give one that `rucksac train` wrote")
        for entry in path.iterdir():
            if entry.is_symlink():  # it could lead what is written here to files elsewhere
                raise UsageError(f"{entry} is a link, but a run folder holds none; put what it leads to in its place")
        return cls(path)

    def write_config(self, environment: str | None, recipe: str, config: Config, derived: dict[str, Any]) -> None:
        """Write config.json: settings, what followed from them (`derived`), versions and machine."""
        self._write_json(
            "config.json",
            {
                "environment": environment,
                "recipe": recipe,
                "settings": config.to_json(),
                "derived": derived,
                "versions": versions(),
                "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()},
            },
        )

    def changed_versions(self) -> str:
        """Return in words which packages are not those that config.json names; nothing when all are."""
        before, now = self.read_config().get("versions"), versions()
        if not isinstance(before, dict):
            return ""
        different = [name for name in now if name != "rucksac" and before.get(name, now[name]) != now[name]]
        return ", ".join(f"{name} was {printable(str(before[name]))} and is {now[name]}" for name in different)

    def write_summary(self, summary: dict[str, Any]) -> None:
        self._write_json("summary.json", summary)

    def read_config(self) -> dict[str, Any]:
        """Return config.json; raise `UsageError` when it is damaged."""
        return self._read_json("config.json", ("environment", "recipe", "settings", "derived"))

    def read_summary(self) -> dict[str, Any]:
        """Return summary.json; raise `UsageError` when it is missing or damaged."""
        return self._read_json("summary.json", ("env_steps",))

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        temporary = self.path / (name + ".new")
        temporary.write_text(json.dumps(values, indent=2) + "\n")
        os.replace(temporary, self.path / name)

    def _read_json(self, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        try:
            values = json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self.path / name} cannot be read ({error}); was this folder written by rucksac?"
            ) from error
        if not isinstance(values, dict) or any(key not in values for key in keys) or not _plain(values):
            raise UsageError(f"{self.path / name} is damaged or foreign: it must name {', '.join(keys)}")
        return values


def _take(lock: IO[str]) -> bool:
    """Return whether the lock could be taken; who only looks at it, as `occupant` does, has it for an instant."""
    for wait in (0.01, 0.1, 0.3, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if wait:
                time.sleep(wait)
    return False


def path_of(run: str | os.PathLike[str]) -> Path:
    """Return the path of a run's folder; raise `UsageError` for what cannot be one."""
    if not isinstance(run, str | os.PathLike):
        raise UsageError(f"the run is given as {type(run).__name__}, but must be the path of a folder")
    if str(run) == "":
        raise UsageError("the path of the run is empty; name a folder")
    try:
        path = Path(run).expanduser()
        if "\0" in str(path):
            raise ValueError("embedded null byte")
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL, or of a user that there is not
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{shortened(str(run))} cannot be the path of a folder ({reason}); give another") from error
    return path


def threads_of(saved: dict[str, Any]) -> int | None:
    """Return the number of threads that config.json says the run had, None when it says nothing sensible."""
    threads = saved["derived"].get("threads")
    return threads if isinstance(threads, int) and 1 <= threads <= MOST_THREADS else None


def _plain(values: dict[str, Any]) -> bool:
    kinds = {"settings": dict, "derived": dict, "environment": str | None, "recipe": str}
    return all(isinstance(values[key], kind) for key, kind in kinds.items() if key in values)


def next_free(base: Path) -> Path:
    """Return `base`, or the first of base-2, base-3 and so on that does not exist."""
    return next(path for path in _candidates(path_of(base)) if not path.exists())


def _candidates(base: Path) -> Iterator[Path]:
    yield base
    for number in itertools.count(2):
        yield base.with_name(f"{base.name}-{number}")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter for a run, where they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
