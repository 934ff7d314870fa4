"""The whole run on disk, exactly as it is in memory, at every checkpoint.

    checkpoints/000003-step-15000/   agent.json, agent.safetensors: the agent alone
                                     actions.safetensors: those of the episodes under way
                                     run.json: every other piece of state, and which segments belong to it
    checkpoints/best-step-10000/     the agent with the best evaluation so far
    replay/000003-0.safetensors      segments: the rows of replay memory that were new at that checkpoint

A checkpoint is a folder that gets its name when everything in it and in its segments is on disk. It then never
changes; segments are removed when no kept checkpoint names them.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from torch import nn

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.reenactment import reenact
from rucksac.errors import UsageError
from rucksac.experience import segments
from rucksac.experience.replay import Replay
from rucksac.training import files, replay_files, snapshot
from rucksac.training.agent_file import check_agent, check_settings, read_agent, restore_agent, save_agent
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.parts import Progress, Training
from rucksac.training.record import COLUMNS
from rucksac.training.replay_files import Segment

KIND, VERSION = "rucksac-run", 2
CHECKPOINT = re.compile(r"(\d{6,})-step-(\d+)")
BEST = re.compile(r"best-step-(\d+)")
ACTIONS = "actions.safetensors"
LARGEST_ACTIONS = 2**32
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, MemoryError, OSError, RuntimeError, AttributeError,
              safetensors.SafetensorError)  # fmt: skip


def load_agent(
    run: str | Path, policy: nn.Module | None = None, critic: nn.Module | None = None, *, best: bool = False
) -> Agent:
    """Return the agent of a run's newest checkpoint, or of its best evaluation; raise `UsageError` when there is none.

    An agent trained with modules of your own needs them again, `policy` and `critic`, in any state.
    """
    path = path_of(run)
    found = _named(path, BEST if best else CHECKPOINT)
    if not found:
        if any(path.glob("seed*/config.json")):
            RunFolder.open(path)  # says which folder to give
        remedy = "give the folder that `rucksac train` wrote" if path.exists() else "there is no such folder"
        raise UsageError(f"{run} holds no {'best ' if best else ''}checkpoint; {remedy}")
    try:
        return read_agent(found[-1], policy, critic)
    except UNREADABLE as error:
        older = f"; remove that folder to use the one before, {found[-2].name}" if len(found) > 1 else ""
        raise UsageError(f"the checkpoint in {found[-1]} is damaged or foreign ({_short(error)}){older}") from error


def load_replay(run: Path, replay: Replay) -> None:
    """Fill `replay`, of the run's sizes, from its newest checkpoint; raise `ValueError` or the like when damaged."""
    replay_files.read(run / "replay", _segments(_manifest(_named(run, CHECKPOINT)[-1])), replay)


def _content(run: Path, folder: Path) -> dict[str, Any]:
    """Return a checkpoint's run.json; raise `ValueError` when it belongs to another folder.

    Raises `UsageError` when a log is not what it was.
    """
    content = _manifest(folder)
    if content["state"]["progress"]["env_steps"] != int(folder.name.split("-")[-1]):
        raise ValueError("run.json is that of another checkpoint")
    for name, log in _logs(content).items():
        path, fault = run / name, None
        if not path.is_file() or path.stat().st_size < log.size:
            fault = "is shorter than the checkpoint says"
        elif log.sha256 and files.GrowingFile(path).beginning(log.size) != log:
            fault = "has been changed since the checkpoint"
        if fault:
            raise UsageError(f"{path} {fault}; put the whole file back, or train anew")
    return content


def _manifest(folder: Path) -> dict[str, Any]:
    return files.read_manifest(folder / "run.json", KIND, VERSION, {})


def _logs(content: dict[str, Any]) -> dict[str, files.Beginning]:
    logs = {name: files.Beginning(**log) for name, log in content["logs"].items()}
    known = set(logs) == {f"{name}.csv" for name in COLUMNS}
    if not known or not all(isinstance(log.size, int) and log.size >= 0 for log in logs.values()):
        raise ValueError("what is said of the logs makes no sense")
    return logs


def _segments(content: dict[str, Any]) -> list[Segment]:
    return [Segment(**each) for each in content["segments"]]


def examine(run: Path) -> list[dict[str, Any]]:
    """Return the checkpoints of a run, oldest first: name, env_steps, best, and what is wrong, None for a whole one."""
    return [
        {
            "name": path.name,
            "env_steps": int(path.name.split("-")[-1]),
            "best": best,
            "problem": _problem(run, path, best),
        }
        for best, pattern in ((False, CHECKPOINT), (True, BEST))
        for path in _named(run, pattern)
    ]


def obstacle(run: Path, config: Config) -> str | None:
    """Return why the run could not go on with these settings, None when it could."""
    found = _named(run, CHECKPOINT)
    for folder in reversed(found):
        try:
            check_settings(config, folder)
            _check(run, folder, best=False)
            return None
        except UsageError as error:
            return str(error)
        except UNREADABLE:
            continue
    if found:
        return "no checkpoint is whole"
    return "its checkpoints are lost" if (run / "replay").exists() else None


def _problem(run: Path, folder: Path, best: bool) -> str | None:
    try:
        _check(run, folder, best)
    except (UsageError, *UNREADABLE) as error:
        return _short(error)
    return None


def _check(run: Path, folder: Path, best: bool) -> None:
    check_agent(folder)
    if not best:
        content = _content(run, folder)
        files.read(folder, ACTIONS, content["actions"], LARGEST_ACTIONS)
        for each in _segments(content):
            replay_files.content(run / "replay", each)


class Checkpoints:
    """The checkpoints of one run folder, for the process that trains there."""

    def __init__(self, run: Path, keep: int) -> None:
        self.run, self.keep = run, keep
        self._next = 1
        self._segments: list[Segment] = []
        self._since: list[int] = []  # by lane, the first row that is in no segment

    def exist(self) -> bool:
        """Return whether there is any checkpoint, whole or not."""
        return bool(_named(self.run, CHECKPOINT))

    def save(self, training: Training, logs: dict[str, files.Beginning]) -> None:
        """Write a checkpoint; `logs` has what of each log file belongs to it. Raises `OSError`."""
        folder, replay = self.run / "checkpoints", training.replay
        folder.mkdir(exist_ok=True)
        (self.run / "replay").mkdir(exist_ok=True)
        live = [each for each in self._segments if replay_files.is_live(each, replay)]
        live += replay_files.write(self.run / "replay", f"{self._next:06d}", replay, self._since)
        env_steps = training.progress.env_steps
        name = f"{self._next:06d}-step-{env_steps}"
        building = folder / (name + ".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        save_agent(training.agent, building, env_steps)
        actions = {
            str(lane): np.array(each, np.float32).reshape(len(each), training.agent.spaces.action_size)
            for lane, each in enumerate(training.rollout.actions)
        }
        content = {
            "format": KIND,
            "version": VERSION,
            "state": snapshot.take(training),
            "segments": [each._asdict() for each in live],
            "logs": {name: log._asdict() for name, log in logs.items()},
            "actions": files.write(building / ACTIONS, safetensors.numpy.save(actions)),
        }
        files.write_manifest(building / "run.json", content)
        files.make_durable(building)
        building.rename(folder / name)
        files.make_durable(folder)
        self._next, self._segments, self._since = self._next + 1, live, list(replay.written)
        self._remove_what_is_no_longer_needed()

    def save_best(self, agent: Agent, env_steps: int) -> None:
        """Keep the agent as the best one so far. Raises `OSError`."""
        folder = self.run / "checkpoints"
        folder.mkdir(exist_ok=True)
        name = f"best-step-{env_steps}"
        shutil.rmtree(folder / name, ignore_errors=True)
        building = folder / (name + ".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        save_agent(agent, building, env_steps)
        building.rename(folder / name)
        for each in _named(self.run, BEST)[:-1]:
            shutil.rmtree(each)

    def restore(self, training: Training) -> tuple[dict[str, files.Beginning], list[str]]:
        """Bring a fresh `training` to the newest whole checkpoint; return what to keep of the logs, and what to tell.

        What is damaged, and whatever a killed process left, is removed. Raises `UsageError` when no checkpoint is
        whole.
        """
        notes: list[str] = []
        for folder in reversed(_named(self.run, CHECKPOINT)):
            try:
                logs = self.read(training, folder)
                break
            except UNREADABLE as error:
                notes.append(f"The checkpoint {folder.name} is damaged ({_short(error)}).")
        else:
            raise UsageError(f"{self.run} holds no whole checkpoint to resume from ({' '.join(notes)}); train anew")
        for best in _named(self.run, BEST):
            if problem := _problem(self.run, best, best=True):
                notes.append(f"The best agent, {best.name}, is damaged ({problem}) and therefore removed.")
                shutil.rmtree(best)
        if not _named(self.run, BEST):
            training.progress.best = Progress().best  # it was lost; the next evaluation is the best one there is
        for damaged in _named(self.run, CHECKPOINT):
            if damaged.name > folder.name:
                shutil.rmtree(damaged)
        self._remove_what_is_no_longer_needed()
        lost = [lane for lane in range(len(training.rollout.lanes)) if not self._reenact(training, lane)]
        if lost:
            which = f"s {', '.join(map(str, lost))}" if len(lost) > 1 else f" {lost[0]}"
            notes.append(
                f"What was under way in environment{which} could not be repeated exactly: it is closed as truncated, "
                "and from here on the run is not the one it would have been."
            )
            training.close_episodes(lost)
            training.rollout.begin(*lost)
        return logs, notes

    def read(self, training: Training, folder: Path) -> dict[str, files.Beginning]:
        """Bring `training` to one checkpoint, its environments aside; raise one of `UNREADABLE` when damaged."""
        content = _content(self.run, folder)
        restore_agent(training.agent, folder)
        live = _segments(content)
        replay_files.read(self.run / "replay", live, training.replay)
        snapshot.restore(training, content["state"])
        segments.check(training.replay)
        _put_actions(training, safetensors.numpy.load(files.read(folder, ACTIONS, content["actions"], LARGEST_ACTIONS)))
        self._next = int(folder.name.split("-")[0]) + 1
        self._segments = live
        self._since = [max(0, written - 1) for written in training.replay.written]  # closing an episode touches it
        return _logs(content)

    def _reenact(self, training: Training, lane: int) -> bool:
        rollout, replay = training.rollout, training.replay
        if rollout.lengths[lane] and not replay.in_episode[lane]:  # it ended, but the next one could not be begun
            rollout.begin(lane)
            return True
        episode = segments.latest(replay, lane, rollout.lengths[lane])
        return reenact(rollout, lane, episode["obs"], episode["reward"])

    def _remove_what_is_no_longer_needed(self) -> None:
        kept = _named(self.run, CHECKPOINT)
        for old in kept[: -self.keep]:
            shutil.rmtree(old)
        needed = {each.file for each in self._segments}
        for folder in kept[-self.keep : -1]:
            content = _manifest(folder)
            needed |= {each["file"] for each in content["segments"]}
        for file in (self.run / "replay").iterdir():
            if file.name not in needed:
                file.unlink()
        for left in (self.run / "checkpoints").glob("*.new"):
            shutil.rmtree(left)


def _put_actions(training: Training, actions: dict[str, np.ndarray]) -> None:
    rollout = training.rollout
    for lane, length in enumerate(rollout.lengths):
        array = actions[str(lane)]
        if array.dtype != np.float32 or (length and array.shape != (length, training.agent.spaces.action_size)):
            raise ValueError("the actions of an open episode have another shape or type")
        rollout.actions[lane] = list(array[:length])


def _named(run: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the checkpoints whose name fits, oldest first."""
    folder = run / "checkpoints"
    inside = list(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in inside if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    return sorted(found, key=lambda path: [int(number) for number in pattern.fullmatch(path.name).groups()])  # type: ignore[union-attr]


def _short(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
