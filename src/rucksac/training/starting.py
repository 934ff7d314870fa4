"""A new run that starts from a trained agent: its settings, its parameters and, if wanted, its replay memory."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from rucksac.agent import Agent
from rucksac.algorithm.recipes import DEFAULT
from rucksac.config import Config, flag
from rucksac.environments.reading import check_alike
from rucksac.errors import UsageError
from rucksac.experience.history import transitions_of
from rucksac.training.folder import RunFolder
from rucksac.training.loading import is_agent, load_agent
from rucksac.training.memory import memory_of, require_fit
from rucksac.training.parts import Training

OWN = ("normaliser.running",)  # of the episodes under way


class Origin(NamedTuple):
    """The run, or the agent, that a new run starts from, and whether it begins with that run's replay memory too."""

    folder: Path
    with_replay: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"started_from": str(self.folder.absolute()), "started_with_replay": self.with_replay}


def origin_of(saved: dict[str, Any]) -> Origin | None:
    """Return where the run with this config.json started from, None when it began with nothing."""
    folder = saved["derived"].get("started_from")
    return (
        Origin(Path(folder), saved["derived"].get("started_with_replay") is True) if isinstance(folder, str) else None
    )


def settings_from(run: Path) -> tuple[Config, str]:
    """Return the settings of a run that starts where this run or agent is, and the name of its recipe.

    They are those of the run, without random and offline steps: the trained policy acts from the first step on, and
    learning begins once more than one batch is stored. Raises `UsageError` when there is no such run.
    """
    if is_agent(run):
        config, recipe = load_agent(run).config, DEFAULT
    else:
        saved = RunFolder.open(run).read_config()
        config, recipe = Config.from_json(saved["settings"]), saved["recipe"]
    return dataclasses.replace(config, warmup=0, learning_starts=None, offline_steps=0), recipe


def begin_from(training: Training, origin: Origin) -> None:
    """Give a run that has not begun what it starts from; raise `UsageError` when that is missing or does not fit."""
    try:
        trained = load_agent(origin.folder)
    except UsageError as error:
        raise UsageError(f"this run begins with the agent of another, which cannot be read: {error}") from error
    _take_agent(training.agent, trained, origin.folder)
    if origin.with_replay:
        _take_replay(training, origin.folder)


def _take_agent(agent: Agent, trained: Agent, run: Path) -> None:
    """Give `agent` the policy, critics, slow copies, temperature and normaliser of the one that was trained in `run`.

    Raises `UsageError` when observations, number of actions or networks are not the same. Bounds of the actions may
    differ: the policy acts in the cube [-1, 1]^A, so the same action now means another fraction of the new range.
    """
    check_alike(agent.spaces, trained.spaces)
    for name in ("blocks", "activation", "deterministic_policy"):
        if (here := getattr(agent.config, name)) != (there := getattr(trained.config, name)):
            raise UsageError(f"the agent in {run} was trained with {flag(name)} {there}, not {here}; leave that out")
    theirs = trained.tensors()
    for name, tensor in agent.tensors().items():
        if name in OWN or ".moments." in name:
            continue
        if name.startswith("temperature") and agent.algorithm.target_entropy is None:
            continue  # a fixed one is a setting
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise UsageError(
                f"the agent in {run} has no {name} of shape {tuple(tensor.shape)}; keep its --hidden, --critics and "
                "normalisation"
            )
        tensor.copy_(theirs[name])


def _take_replay(training: Training, run: Path) -> None:
    """Store the transitions that `run` kept, shared out over the environments of the new run, its oldest first.

    The last episode of each environment of `run` ends as truncated.
    """
    kept = memory_of(run)
    require_fit(kept, training.agent.spaces, training.agent.config.frame_skip, "--start-with-replay")
    for env_index in range(kept.replay.envs):
        share = env_index % training.replay.envs
        for transition in transitions_of(kept.replay, env_index):
            training.replay.add(share, **transition)
        training.replay.close_episode(share)
