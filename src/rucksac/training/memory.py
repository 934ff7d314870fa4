"""The replay memory that a run has left behind, for other runs and other tools."""

from pathlib import Path
from typing import NamedTuple

from rucksac.config import Config
from rucksac.environments import reading
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.experience.replay import Replay
from rucksac.training.agent_file import settings_in, spaces_in
from rucksac.training.checkpoint_layout import CHECKPOINT, UNREADABLE, checkpoints_in, in_short
from rucksac.training.folder import RunFolder
from rucksac.training.loading import is_agent, load_replay
from rucksac.training.parts import columns_of


class Memory(NamedTuple):
    """What a run kept of its experience, with its settings and spaces."""

    run: Path
    replay: Replay
    config: Config
    spaces: Spaces


def memory_of(run: Path) -> Memory:
    """Return the replay memory of a run's newest checkpoint; raise `UsageError` when it has none or it is damaged."""
    if is_agent(run):
        raise UsageError(f"{run} is an agent without a replay memory; name its run")
    RunFolder.open(run)
    found = checkpoints_in(run, CHECKPOINT)
    if not found:
        raise UsageError(f"{run} has no checkpoint yet, and so no replay memory; let it train on")
    try:
        config, spaces = settings_in(found[-1]), spaces_in(found[-1])
        replay = Replay(config.buffer_size, config.env_count, columns_of(spaces, config.frame_stack))
        load_replay(run, replay)
    except UNREADABLE as error:
        raise UsageError(f"the replay memory of {run} cannot be read ({in_short(error)}); do without it") from error
    return Memory(run, replay, config, spaces)


def require_fit(memory: Memory, spaces: Spaces, frame_skip: int, flag: str) -> None:
    """Raise `UsageError` unless its rows mean the same in an environment of these spaces; `flag` is what to leave out.

    Rewards, and what followed an action, are those of then, so bounds of actions and --frame-skip must be the same.
    """
    try:
        reading.check_same(spaces, memory.spaces)
    except UsageError as error:
        raise UsageError(
            f"the replay memory of {memory.run} holds other observations or actions ({error}); leave {flag} out"
        ) from error
    if frame_skip != memory.config.frame_skip:
        raise UsageError(
            f"the replay memory of {memory.run} has steps of --frame-skip {memory.config.frame_skip}, not "
            f"{frame_skip}; keep that or leave {flag} out"
        )
