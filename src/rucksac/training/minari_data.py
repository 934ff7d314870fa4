"""Minari data sets on this machine, in and out: episodes with actions in the environment's own units.

Of a stack of frames a data set has the newest one, so it is for any --frame-stack.

The package is an extra. https://minari.farama.org has the format and a hub of data sets.
"""

import dataclasses
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import EnvSpec

from rucksac.config import MINARI, Config
from rucksac.environments.making import closed_at_last, make
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import newest_frames
from rucksac.environments.spaces import LARGEST_REWARD, Spaces
from rucksac.errors import UsageError
from rucksac.experience.history import Episode, episodes_of, overwritten, replay_of
from rucksac.experience.replay import Replay
from rucksac.training.checkpoint_layout import in_short
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.memory import Memory, memory_of
from rucksac.training.parts import columns_of

FRAME_SKIP = "frame_skip"  # of the data set's metadata: environment steps that count as one


class Exported(NamedTuple):
    """What was written: `overwritten` rows of replay memory were no longer there, `open` episodes had not ended."""

    name: str
    folder: str
    episodes: int
    steps: int
    overwritten: int
    open: int


def export_replay(run: str | Path, to: str) -> Exported:
    """Write what a run's replay memory holds as the Minari data set `to`, such as "minari:me/hopper-v0".

    Returns its name and folder, how many episodes and steps it has, and what is missing. Raises `UsageError` when the
    run has no replay memory, the data set exists, or the package is not installed.
    """
    if not isinstance(to, str) or not to.startswith(MINARI) or to == MINARI:
        raise UsageError(f"replay memories are exported to {MINARI}NAME, such as {MINARI}me/hopper-v0, not to {to!r}")
    return write_minari(memory_of(path_of(run)), to.removeprefix(MINARI))


def read_minari(name: str, spaces: Spaces, config: Config) -> Replay:
    """Return the episodes of the data set as a replay memory of a run with these settings, actions as the agent's.

    An episode that has no end of its own, such as a termination, ends as truncated. Raises `UsageError` when the
    package or the data set is missing, when it cannot be read, and when it does not fit an environment of these spaces.
    """
    minari, frame_skip = _package(), config.frame_skip
    if not (folder := _folder_of(name)).exists():
        raise UsageError(
            f"there is no Minari data set {name!r}, which would be in {folder}; minari download {name} fetches one of "
            "the hub, rucksac replay export makes one of a run"
        )
    with _readable(name):
        data = minari.load_dataset(name)
        skipped = data.storage.metadata.get(FRAME_SKIP, frame_skip)
        found = list(data.iterate_episodes())
    if skipped != frame_skip:
        raise UsageError(
            f"{MINARI}{name} has steps of --frame-skip {skipped}, not {frame_skip}; keep that or leave --demonstrations"
            " out"
        )
    try:
        episodes = [_episode(each, spaces, config.frame_stack) for each in found if len(each)]
    except UsageError as error:
        raise UsageError(
            f"{MINARI}{name} does not fit this environment: {error}; leave --demonstrations out, or name other data"
        ) from error
    if not episodes:
        raise UsageError(f"{MINARI}{name} holds no steps; name other data")
    return replay_of(episodes, columns_of(spaces, config.frame_stack))


def write_minari(memory: Memory, name: str) -> Exported:
    """Write the episodes in a replay memory as a new data set; raise `UsageError` when that cannot be.

    Numbers are float32, as the run kept them. Episodes that were under way end as truncated.
    """
    minari, (run, replay, config, spaces) = _package(), memory
    folder = _folder_of(name)
    if folder.exists():
        raise UsageError(f"there is a Minari data set {name!r} already, in {folder}; give another name or version")
    episodes = [each for env_index in range(replay.envs) for each in episodes_of(replay, env_index)]
    if not episodes:
        raise UsageError(f"the replay memory of {run} is empty; let it train on")
    saved, (spaces, parts) = RunFolder.open(run).read_config(), _observed(spaces, config.frame_stack)
    lost = overwritten(replay)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that nobody is named as the author
            minari.create_dataset_from_buffers(
                dataset_id=name,
                buffer=[_buffer(minari, each, spaces, list(parts)) for each in episodes],
                env=_spec(saved["environment"], memory),
                algorithm_name=f"rucksac, recipe {saved['recipe']}",
                action_space=spaces.actions.space,
                observation_space=spaces.observations.space,
                description=f"What was in the replay memory of a training run. {lost:,} older rows of it are missing.",
                jpeg_encoding=False,  # which would change pictures
            ).storage.update_metadata({FRAME_SKIP: config.frame_skip})
    except (OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            f"the data set cannot be written to {folder} ({in_short(error)}); give another name"
        ) from error
    steps = sum(each.steps for each in episodes)
    return Exported(name, str(folder), len(episodes), steps, lost, sum(replay.in_episode))


def _observed(spaces: Spaces, frame_stack: int) -> tuple[Spaces, dict[str, slice]]:
    """Return the spaces of a data set, and where in a flat observation each column of the replay memory is."""
    if not spaces.observations.pictures:
        return spaces, {"obs": slice(None)}
    space = spaces.observations.space
    seen = Composite(newest_frames(space) if frame_stack > 1 else space)
    parts = {"obs": slice(0, spaces.numbers)} if spaces.numbers else {}
    frames = {f"picture{number}": slice(at.begin, at.begin + at.size) for number, at in enumerate(seen.pictures)}
    return Spaces(seen, spaces.actions), parts | frames


def _package() -> Any:
    try:
        import h5py  # noqa: F401 (what Minari keeps data in)
        import minari
    except ImportError as error:
        raise UsageError(
            f'Minari data sets need a package that is not installed ({error}); pip install "rucksac[minari]"'
        ) from error
    return minari


def _folder_of(name: str) -> Path:
    """Return the folder of a data set; raise `UsageError` for what cannot be the name of one."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(name)
        folder: Path = get_dataset_path(name)
        return folder
    except (ValueError, TypeError) as error:  # without a version there is a TypeError
        raise UsageError(
            f"{name!r} cannot be the name of a Minari data set; it must be like me/hopper-v0: letters, digits, - and "
            "_, perhaps after folders, and a version"
        ) from error


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the package raises on a stranger's files
        raise UsageError(
            f"the Minari data set {name!r} cannot be read ({type(error).__name__}: {in_short(error)}); fetch or "
            "make it anew"
        ) from error


def _episode(given: Any, spaces: Spaces, frame_stack: int) -> Episode:
    """Return an episode of a data set as rows of the replay memory; raise `UsageError` when it does not fit."""
    ends = np.logical_or(given.terminations, given.truncations)
    if ends[:-1].any():
        raise UsageError(f"episode {given.id} goes on after its end")
    reward = np.asarray(given.rewards, np.float64)
    if not (np.abs(reward) < LARGEST_REWARD).all():
        raise UsageError(f"episode {given.id} has a reward that is not a finite number below {LARGEST_REWARD:g}")
    spaces, parts = _observed(spaces, frame_stack)
    rows = np.stack([spaces.flatten(_at(given.observations, step)) for step in range(len(reward) + 1)])
    values = {
        **{name: rows[:, part] for name, part in parts.items()},
        "action": spaces.actions.from_env(np.asarray(given.actions)),
        "reward": reward.astype(np.float32),
    }
    return Episode(len(reward), values, bool(given.terminations[-1]))


def _at(observations: Any, step: int) -> Any:
    if isinstance(observations, dict):
        return {name: _at(part, step) for name, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_at(part, step) for part in observations)
    return observations[step]


def _buffer(minari: Any, episode: Episode, spaces: Spaces, columns: list[str]) -> Any:
    rows = np.concatenate([episode.values[name] for name in columns], 1, dtype=np.float32)
    last = np.arange(1, episode.steps + 1) == episode.steps
    return minari.data_collector.EpisodeBuffer(
        observations=spaces.observations.unflatten(rows),
        actions=spaces.actions.to_env(episode.values["action"]),
        rewards=episode.values["reward"],
        terminations=last & episode.terminated,
        truncations=last & (not episode.terminated),
    )


def _spec(environment: str | None, memory: Memory) -> EnvSpec | None:
    """Return what makes the run's environment again, None where a file cannot say that."""
    if environment is None:
        return None
    try:
        with closed_at_last(make(environment, dataclasses.replace(memory.config, frame_stack=1))) as env:
            spec: EnvSpec | None = env.spec
            if spec:
                spec.to_json()
            return spec
    except (UsageError, ValueError, TypeError):
        return None
