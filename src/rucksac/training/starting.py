"""A new run that starts from a trained agent: its settings, then its parameters."""

import dataclasses
from pathlib import Path

from rucksac.agent import Agent
from rucksac.config import Config, flag
from rucksac.environments.reading import check_alike
from rucksac.errors import UsageError
from rucksac.training.agent_file import tensors_of
from rucksac.training.folder import RunFolder
from rucksac.training.loading import load_agent

OWN = ("normaliser.running",)  # of the episodes under way


def settings_from(run: Path) -> tuple[Config, str]:
    """Return the settings of a run that starts where this one is, and the name of its recipe.

    They are those of the run, without random steps: the trained policy acts from the first step on, and learning begins
    once more than one batch is stored. Raises `UsageError` when there is no such run.
    """
    saved = RunFolder.open(run).read_config()
    config = Config.from_json(saved["settings"])
    return dataclasses.replace(config, warmup=0, learning_starts=None), saved["recipe"]


def begin_from(agent: Agent, run: Path) -> None:
    """Give `agent` the policy, critics, slow copies, temperature and normaliser of the newest checkpoint of `run`.

    Raises `UsageError` when observations, number of actions or networks are not the same. Bounds of the actions may
    differ: the policy acts in the cube [-1, 1]^A, so the same action now means another fraction of the new range.
    """
    try:
        trained = load_agent(run)
    except UsageError as error:
        raise UsageError(f"this run begins with the agent of another, which is missing: {error}") from error
    check_alike(agent.spaces, trained.spaces)
    for name in ("activation", "deterministic_policy"):
        if (here := getattr(agent.config, name)) != (there := getattr(trained.config, name)):
            raise UsageError(f"the agent in {run} was trained with {flag(name)} {there}, not {here}; leave that out")
    theirs = tensors_of(trained)
    for name, tensor in tensors_of(agent).items():
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
