"""Prior data that a run learns from beside its own experience: where it comes from, and that it stays the same."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rucksac.config import MINARI, Config
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.experience.history import transitions_of
from rucksac.experience.replay import Replay
from rucksac.normalisation import Normaliser
from rucksac.training.folder import path_of
from rucksac.training.memory import memory_of, require_fit


class Demonstrations(NamedTuple):
    """Prior data, in a replay memory to which nothing is added; where it comes from, and the SHA-256 of its rows."""

    replay: Replay
    source: str
    sha256: str

    def to_json(self) -> dict[str, str | int]:
        return {"source": self.source, "transitions": len(self.replay), "sha256": self.sha256}


def demonstrations_of(config: Config, spaces: Spaces) -> Demonstrations | None:
    """Return what the settings name for an environment of these spaces, None where they name nothing.

    Raises `UsageError` when it is missing, damaged or does not fit.
    """
    source = config.demonstrations
    if source is None:
        return None
    if source.startswith(MINARI):
        from rucksac.training.minari_data import read_minari

        replay = read_minari(source.removeprefix(MINARI), spaces, config)
    else:
        run: Path = path_of(source)
        memory = memory_of(run)
        require_fit(memory, spaces, config.frame_skip, "--demonstrations")
        replay = memory.replay
        for env_index in range(replay.envs):
            replay.close_episode(env_index)
    if not len(replay):
        raise UsageError(f"the demonstrations in {source} hold no steps; name other data")
    return Demonstrations(replay, source, _sha256(replay))


def require_unchanged(found: Demonstrations | None, recorded: object) -> None:
    """Raise `UsageError` unless these are the demonstrations that a checkpoint recorded, None for none."""
    if (found and found.to_json()) != recorded:
        where = f" in {found.source}" if found else ""
        raise UsageError(
            f"the demonstrations{where} are not those that this run has learned from; put those back, or train anew"
        )


def introduce(normaliser: Normaliser, replay: Replay) -> None:
    """Let a normaliser take in demonstrations, in their order, as if they had been seen first."""
    for env_index in range(replay.envs):
        for each in transitions_of(replay, env_index):
            normaliser.learn(0, each["obs"], float(each["reward"]), each["terminated"] or each["truncated"])


def _sha256(replay: Replay) -> str:
    digest = hashlib.sha256(repr((replay.envs, replay.written)).encode())
    for name, array in replay.data.items():
        used = array.reshape(replay.envs, replay.rows_per_env, *array.shape[1:])[:, : replay.used]
        digest.update(repr((name, used.shape, used.dtype.str)).encode())
        digest.update(np.ascontiguousarray(used).data)
    return digest.hexdigest()
