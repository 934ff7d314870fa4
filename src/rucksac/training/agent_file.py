"""Reading what `Agent.save` and `Agent.write` wrote: safetensors and JSON; nothing is ever unpickled."""

from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from rucksac import files
from rucksac.agent import FORMAT, MANIFEST, TENSORS, VERSION, Agent
from rucksac.building import build, describe
from rucksac.config import Config, flag
from rucksac.environments import reading
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError

LARGEST_TENSORS = 64 * 2**30


def read_agent(folder: Path, policy: nn.Module | None = None, critic: nn.Module | None = None) -> Agent:
    """Return a new agent from `folder`; raise `ValueError` or the like when it is damaged."""
    content = files.read_manifest(folder / MANIFEST, FORMAT, VERSION)
    if not content["default_networks"] and policy is None and critic is None:
        raise UsageError(
            "the agent was trained with networks of your own; give them: load(run, policy=..., critic=...)"
        )
    config, spaces = Config.from_json(content["config"]), reading.from_json(content["spaces"])
    data = files.read(folder, TENSORS, content["sha256"], LARGEST_TENSORS)
    described, encoder = describe(config, spaces)
    weights = sum(network.weights for network in described.values()) + (encoder.weights if encoder else 0)
    if content["default_networks"] and weights * 4 > len(data):
        raise ValueError("the settings speak of larger networks than were saved")
    agent = build(config, spaces, policy, critic)
    load_tensors(agent, safetensors.torch.load(data))
    agent.grad_steps = int(content["grad_steps"])
    return agent


def restore_agent(agent: Agent, folder: Path) -> None:
    """Copy the tensors saved in `folder` into `agent`; raise `ValueError` or the like when they are damaged.

    Raises `UsageError` when the agent has other settings than the saved one.
    """
    check_settings(agent.config, folder)
    reading.check_same(agent.spaces, spaces_in(folder))
    load_tensors(agent, safetensors.torch.load(check_agent(folder)))


def check_settings(config: Config, folder: Path) -> None:
    """Raise `UsageError` when these are not the settings that the agent in `folder` was trained with, steps aside."""
    saved = settings_in(folder).to_json()
    for name, value in config.to_json().items():
        if name != "steps" and value != saved[name]:
            raise UsageError(
                f"config.json has {flag(name)} {value}, but the run was trained with {saved[name]}; put it back"
            )


def settings_in(folder: Path) -> Config:
    """Return the settings of the agent in `folder`; raise `ValueError` or the like when they are damaged."""
    return Config.from_json(files.read_manifest(folder / MANIFEST, FORMAT, VERSION)["config"])


def spaces_in(folder: Path) -> Spaces:
    """Return the spaces of the agent in `folder`; raise `ValueError` or the like when they are damaged."""
    return reading.from_json(files.read_manifest(folder / MANIFEST, FORMAT, VERSION)["spaces"])


def check_agent(folder: Path) -> bytes:
    """Return the tensor file in `folder`; raise `ValueError` or the like when it or its manifest is damaged."""
    content = files.read_manifest(folder / MANIFEST, FORMAT, VERSION)
    return files.read(folder, TENSORS, content["sha256"], LARGEST_TENSORS)


def load_tensors(agent: Agent, tensors: dict[str, Tensor]) -> None:
    """Copy values into the agent; raise `ValueError` when names, shapes or types differ or a value is not finite."""
    own = agent.tensors()
    if set(own) != set(tensors):
        raise ValueError(f"the tensors differ in name: {sorted(set(own) ^ set(tensors))[:3]}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape or tensor.dtype != tensors[name].dtype:
            raise ValueError(f"{name} is {tuple(tensors[name].shape)}, but must be {tuple(tensor.shape)}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])
