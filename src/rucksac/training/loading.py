"""Reading from the checkpoints of a run: its agent, its replay memory."""

from pathlib import Path

from torch import nn

from rucksac.agent import MANIFEST, Agent
from rucksac.config import Config
from rucksac.environments.opening import evaluated_in
from rucksac.errors import UsageError
from rucksac.experience import segments
from rucksac.experience.replay import Replay
from rucksac.training import replay_files
from rucksac.training.agent_file import read_agent
from rucksac.training.checkpoint_layout import (
    BEST,
    CHECKPOINT,
    UNREADABLE,
    checkpoints_in,
    in_short,
    manifest_of,
    segments_of,
)
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.hub import HUB, downloaded
from rucksac.training.snapshot import restore_part


def load_agent(
    run: str | Path, policy: nn.Module | None = None, critic: nn.Module | None = None, *, best: bool = False
) -> Agent:
    """Return the agent of a run's newest checkpoint, or of its best evaluation, or the one that `Agent.save` wrote.

    `run` is a folder, or hf://OWNER/NAME for files of `Agent.save` on the Hugging Face Hub. Raises `UsageError` when
    there is no agent.
    An agent trained with modules of your own needs them again, `policy` and `critic`, in any state.
    """
    return load_counted(run, policy, critic, best=best)[0]


def load_counted(
    run: str | Path, policy: nn.Module | None = None, critic: nn.Module | None = None, *, best: bool = False
) -> tuple[Agent, int | None]:
    """Return what `load_agent` does, and the environment steps behind the agent, None for one that was saved alone."""
    path = downloaded(run) if isinstance(run, str) and run.startswith(HUB) else path_of(run)
    found = checkpoints_in(path, BEST if best else CHECKPOINT)
    if is_agent(path):
        if best:
            raise UsageError(f"{run} is an agent, not a run, so it holds no best one; leave best out")
        found = [path]
    if not found:
        if any(path.glob("seed*/config.json")):
            RunFolder.open(path)  # says which folder to give
        remedy = "give the folder that `rucksac train` wrote" if path.exists() else "there is no such folder"
        raise UsageError(f"{run} holds no {'best ' if best else ''}checkpoint; {remedy}")
    try:
        agent = read_agent(found[-1], policy, critic)
        return agent, None if found[-1] == path else int(found[-1].name.split("-")[-1])
    except UNREADABLE as error:
        older = f"; remove that folder to use the one before, {found[-2].name}" if len(found) > 1 else ""
        raise UsageError(f"the checkpoint in {found[-1]} is damaged or foreign ({in_short(error)}){older}") from error


def is_agent(path: Path) -> bool:
    """Return whether this is the folder of an agent rather than of a run."""
    return (path / MANIFEST).is_file()


def environment_of(path: Path) -> str:
    """Return the id of the environment that a run is evaluated in; raise `UsageError` when it has none.

    It is --eval-env where there is one: that a robot trained does not mean that it may be moved by an evaluation.
    """
    if is_agent(path):
        raise UsageError(f"{path} is an agent, saved without its environment; name one, such as --env Hopper-v5")
    saved = RunFolder.open(path).read_config()
    env = evaluated_in(saved["environment"], Config.from_json(saved["settings"]))
    if not isinstance(env, str):
        raise UsageError(
            f"{path} was trained with an environment made by a function; name one with --env, or use rucksac.evaluate"
        )
    return env


def load_replay(run: Path, replay: Replay) -> None:
    """Fill `replay`, of the run's sizes, from its newest checkpoint; raise `ValueError` or the like when damaged."""
    manifest = manifest_of(checkpoints_in(run, CHECKPOINT)[-1])
    replay_files.read(run / "replay", segments_of(manifest), replay)
    restore_part("the replay memory", replay, manifest["state"]["replay"])
    segments.settle(replay)
