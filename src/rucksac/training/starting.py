"""A new run that starts from a trained agent: its settings, then its parameters."""

import dataclasses
from pathlib import Path

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.reading import to_json
from rucksac.errors import UsageError
from rucksac.training.agent_file import tensors_of
from rucksac.training.checkpoint import load_agent
from rucksac.training.folder import RunFolder

COLLECTS = 1_000  # environment steps with the trained policy before the first gradient step
MOMENTS = ("mean", "square")  # of Adam, which counts its steps anew
OWN = ("normaliser.running",)  # of the episodes under way


def settings_from(run: Path) -> tuple[Config, str]:
    """Return the settings of a run that starts where this one is, and the name of its recipe.

    They are those of the run, without random steps: the trained policy acts from the first step on. Raises `UsageError`
    when there is no such run.
    """
    saved = RunFolder.open(run).read_config()
    config = Config.from_json(saved["settings"])
    return dataclasses.replace(config, warmup=0, learning_starts=max(COLLECTS, config.batch_size)), saved["recipe"]


def begin_from(agent: Agent, run: Path) -> None:
    """Give `agent` the policy, critics, slow copies, temperature and normaliser of the newest checkpoint of `run`.

    Raises `UsageError` when observations, number of actions or networks are not the same. Bounds of the actions may
    differ: the policy acts in the cube [-1, 1]^A, so the same action now means another fraction of the new range.
    """
    trained = load_agent(run)
    (seen, acts), (new_seen, new_acts) = (
        (to_json(each.spaces)["observation"], to_json(each.spaces)["action"]) for each in (trained, agent)
    )
    for name, old, new in (("observations", seen, new_seen), ("actions", _kind(acts), _kind(new_acts))):
        if old != new:
            raise UsageError(
                f"{run} was trained with the {name} {old}, but here they are {new}; start from another run"
            )
    theirs = tensors_of(trained)
    for name, tensor in tensors_of(agent).items():
        if name in OWN or name.split(".")[1] in MOMENTS:
            continue
        if name.startswith("temperature") and agent.algorithm.target_entropy is None:
            continue  # a fixed one is a setting
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise UsageError(
                f"the agent in {run} has no {name} of shape {tuple(tensor.shape)}; keep its --hidden, --critics and "
                "normalisation"
            )
        tensor.copy_(theirs[name])


def _kind(action: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in action.items() if name not in ("low", "high", "dtype")}
