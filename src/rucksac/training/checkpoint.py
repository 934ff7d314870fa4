"""Writing the whole run to disk exactly as it is in memory, and bringing it back; `checkpoint_layout` says where."""

import shutil
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from rucksac import files
from rucksac.agent import Agent
from rucksac.environments.reenactment import reenact
from rucksac.environments.transitions import Collected
from rucksac.errors import UsageError
from rucksac.experience import segments
from rucksac.experience.history import latest
from rucksac.experience.sampling import value
from rucksac.training import replay_files, snapshot
from rucksac.training.agent_file import restore_agent
from rucksac.training.checkpoint_layout import (
    ACTIONS,
    ARRAYS,
    BEST,
    CHECKPOINT,
    KIND,
    LARGEST_ARRAYS,
    UNREADABLE,
    VERSION,
    checkpoints_in,
    content_of,
    in_short,
    logs_of,
    manifest_of,
    segments_of,
)
from rucksac.training.demonstrations import Demonstrations, require_unchanged
from rucksac.training.loop import LISTENERS
from rucksac.training.parts import Training
from rucksac.training.progress import Progress
from rucksac.training.replay_files import Segment
from rucksac.training.wholeness import problem_of


class Checkpoints:
    """The checkpoints of one run folder, for the process that trains there.

    Of `demonstrations` they hold what tells whether these are still the same, and no copy.
    """

    def __init__(self, run: Path, keep: int, demonstrations: Demonstrations | None = None) -> None:
        self.run, self.keep, self.demonstrations = run, keep, demonstrations
        self._next = 1
        self._segments: list[Segment] = []
        self._since: list[int] = []  # by environment, the first row that is in no segment

    def exist(self) -> bool:
        """Return whether there is any checkpoint, whole or not."""
        return bool(checkpoints_in(self.run, CHECKPOINT))

    def save(self, training: Training, logs: dict[str, files.Beginning]) -> Path:
        """Write a checkpoint, return its folder; `logs` has what of each log file belongs to it. Raises `OSError`."""
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
        training.agent.write(building)
        actions = {
            str(env_index): np.array(each, np.float32).reshape(len(each), training.agent.spaces.action_size)
            for env_index, each in enumerate(training.collector.actions)
        }
        content = {
            "format": KIND,
            "version": VERSION,
            "state": snapshot.take(training),
            "segments": [each._asdict() for each in live],
            "logs": {name: log._asdict() for name, log in logs.items()},
            "actions": files.write(building / ACTIONS, safetensors.numpy.save(actions)),
        }
        if arrays := snapshot.arrays(training):
            content["arrays"] = files.write(building / ARRAYS, safetensors.numpy.save(arrays))
        if self.demonstrations:
            content["demonstrations"] = self.demonstrations.to_json()
        files.write_manifest(building / "run.json", content)
        files.make_durable(building)
        building.rename(folder / name)
        files.make_durable(folder)
        self._next, self._segments, self._since = self._next + 1, live, list(replay.written)
        self._remove_what_is_no_longer_needed()
        return folder / name

    def save_best(self, agent: Agent, env_steps: int) -> None:
        """Keep the agent as the best one so far. Raises `OSError`."""
        folder = self.run / "checkpoints"
        folder.mkdir(exist_ok=True)
        name = f"best-step-{env_steps}"
        shutil.rmtree(folder / name, ignore_errors=True)
        building = folder / (name + ".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        agent.write(building)
        building.rename(folder / name)
        for each in checkpoints_in(self.run, BEST)[:-1]:
            shutil.rmtree(each)

    def restore(self, training: Training) -> tuple[dict[str, files.Beginning], list[str]]:
        """Bring a fresh `training` to the newest whole checkpoint; return what to keep of the logs, and what to tell.

        What is damaged, and whatever a killed process left, is removed. Raises `UsageError` when no checkpoint is
        whole.
        """
        notes: list[str] = []
        for folder in reversed(checkpoints_in(self.run, CHECKPOINT)):
            try:
                logs = self.read(training, folder)
                break
            except UNREADABLE as error:
                notes.append(f"The checkpoint {folder.name} is damaged ({in_short(error)}).")
        else:
            raise UsageError(f"{self.run} holds no whole checkpoint to resume from ({' '.join(notes)}); train anew")
        for best in checkpoints_in(self.run, BEST):
            if problem := problem_of(self.run, best, best=True):
                notes.append(f"The best agent, {best.name}, is damaged ({problem}) and therefore removed.")
                shutil.rmtree(best)
        if not checkpoints_in(self.run, BEST):
            training.progress.best = Progress().best  # it was lost; the next evaluation is the best one there is
        for damaged in checkpoints_in(self.run, CHECKPOINT):
            if damaged.name > folder.name:
                shutil.rmtree(damaged)
        self._remove_what_is_no_longer_needed()
        over, lost = _reenact_all(training)
        if lost:
            which = f"s {', '.join(map(str, lost))}" if len(lost) > 1 else f" {lost[0]}"
            notes.append(
                f"What was under way in environment{which} could not be repeated exactly: it is closed as truncated, "
                "and from here on the run is not the one it would have been."
            )
            for listen in LISTENERS:
                listen(training, Collected([], [], lost))
        training.collector.over = [*over, *lost]
        training.collector.begin_episodes()
        return logs, notes

    def read(self, training: Training, folder: Path) -> dict[str, files.Beginning]:
        """Bring `training` to one checkpoint, its environments aside; raise one of `UNREADABLE` when damaged."""
        content = content_of(self.run, folder)
        restore_agent(training.agent, folder)
        require_unchanged(self.demonstrations, content.get("demonstrations"))
        live = segments_of(content)
        replay_files.read(self.run / "replay", live, training.replay)
        snapshot.restore(training, content["state"])
        segments.settle(training.replay)
        _put_actions(training, _arrays(folder, ACTIONS, content["actions"]))
        if snapshot.arrays(training):
            snapshot.put_arrays(training, _arrays(folder, ARRAYS, content["arrays"]))
        self._next = int(folder.name.split("-")[0]) + 1
        self._segments = live
        self._since = [max(0, written - 1) for written in training.replay.written]  # closing an episode touches it
        return logs_of(content)

    def _remove_what_is_no_longer_needed(self) -> None:
        kept = checkpoints_in(self.run, CHECKPOINT)
        for old in kept[: -self.keep]:
            shutil.rmtree(old)
        needed = {each.file for each in self._segments}
        for folder in kept[-self.keep : -1]:
            content = manifest_of(folder)
            needed |= {each["file"] for each in content["segments"]}
        for file in (self.run / "replay").iterdir():
            if file.name not in needed:
                file.unlink()
        for left in (self.run / "checkpoints").glob("*.new"):
            shutil.rmtree(left)


def _reenact_all(training: Training) -> tuple[list[int], list[int]]:
    """Play all open episodes again; return environments that had none, and those that did not repeat theirs exactly."""
    collector, replay, over, lost = training.collector, training.replay, [], []
    for env_index, length in enumerate(collector.lengths):
        if length and not replay.in_episode[env_index]:  # it ended, but the next one could not be begun
            over.append(env_index)
            continue
        rows = latest(replay, env_index, length)
        if not reenact(collector, env_index, *(value(replay, each)(replay, rows, None) for each in ("obs", "reward"))):
            lost.append(env_index)
    return over, lost


def _arrays(folder: Path, name: str, sha256: str) -> dict[str, np.ndarray]:
    return safetensors.numpy.load(files.read(folder, name, sha256, LARGEST_ARRAYS))


def _put_actions(training: Training, actions: dict[str, np.ndarray]) -> None:
    collector = training.collector
    for env_index, length in enumerate(collector.lengths):
        array = actions[str(env_index)]
        if array.dtype != np.float32 or (length and array.shape != (length, training.agent.spaces.action_size)):
            raise ValueError("the actions of an open episode have another shape or type")
        collector.actions[env_index] = list(array[:length])
