"""An agent from the zip file of Stable-Baselines3's SAC: tensors and plain JSON are read, nothing is unpickled.

What the file has only as a pickle, such as its spaces, is left alone: spaces come from the environment.
"""

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rucksac.agent import Agent
from rucksac.building import build
from rucksac.config import Config, with_settings
from rucksac.environments.choices import Choices
from rucksac.environments.making import EnvSource, closed_at_last, make
from rucksac.environments.reading import spaces_of
from rucksac.errors import UsageError
from rucksac.files import LARGEST_JSON
from rucksac.text import printable
from rucksac.training.agent_file import LARGEST_TENSORS, load_tensors
from rucksac.training.folder import path_of

POLICIES = "stable_baselines3.sac.policies"
BOX = "<class 'gymnasium.spaces.box.Box'>"
ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>")
ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "ELU": "elu", "SiLU": "silu", "GELU": "gelu"}
NUMBERS = {"learning_rate": "lr", "gamma": "gamma", "tau": "tau", "batch_size": "batch_size"}
HIDDEN = re.compile(r"actor\.latent_pi\.(\d+)\.weight")
CRITIC = re.compile(r"critic\.qf(\d+)\.(\d+)\.weight")
SUPPORTED = "supported is SAC with MlpPolicy on one array of numbers, without use_sde and without layers of your own"
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, AssertionError, zipfile.BadZipFile,
    pickle.UnpicklingError,
)  # fmt: skip


def from_sb3(file: str | Path, env: EnvSource, env_args: dict[str, Any] | None = None) -> Agent:
    """Return the agent in a file that `SAC.save` of Stable-Baselines3 wrote, for the environment it was trained in.

    It has the policy, all critics, their slow copies, the temperature, and the learning rate, discount, tau and batch
    size; it acts as the model does, to rounding. `env_args` are what the environment is made with. Raises `UsageError`
    for networks of other kinds and for a file or an environment that does not fit.
    """
    path = path_of(file)
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the zip file that `SAC.save` of Stable-Baselines3 wrote")
    try:
        data, networks, variables = _read(path)
        settings = _settings(data, networks)
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be taken over: {_reason(error)}; {SUPPORTED}") from error
    if "ent_coef_tensor" in variables:
        settings["alpha"] = float(variables["ent_coef_tensor"])
    elif isinstance(data.get("target_entropy"), float):
        settings["target_entropy"] = data["target_entropy"]
    if env_args:
        settings["env_args"] = env_args
    with closed_at_last(make(env, with_settings(Config(), settings))) as made:
        spaces = spaces_of(made)
    if isinstance(spaces.actions, Choices):
        raise UsageError(f"{path} has continuous actions, but the environment has {spaces.action_size} choices")
    obs_size, action_size = networks["actor.latent_pi.0.weight"].shape[1], len(networks["actor.mu.bias"])
    if (obs_size, action_size) != (spaces.obs_size, spaces.action_size):
        raise UsageError(
            f"{path} was trained with {obs_size} observations and {action_size} actions, but the environment has "
            f"{spaces.obs_size} and {spaces.action_size}; name the one it was trained in"
        )
    agent = build(with_settings(Config(), settings), spaces)
    try:
        taken = _named(networks, len(agent.config.hidden), agent.config.critics)
        if "log_ent_coef" in variables:
            taken["temperature.parameters.log_alpha"] = variables["log_ent_coef"].detach().reshape(())
        load_tensors(agent, agent.tensors() | taken)
    except (ValueError, LookupError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be taken over: {_reason(error)}; {SUPPORTED}") from error
    agent.grad_steps = int(data.get("_n_updates", 0))
    return agent


def _reason(error: BaseException) -> str:
    """Return in words why a file does not fit."""
    if isinstance(error, KeyError):
        return str(error.args[0]) if "no item named" in str(error) else f"it has no {error}"
    if isinstance(error, pickle.UnpicklingError):
        return "its tensors are no plain tensors"
    return printable(str(error).partition("\n")[0])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return the plain data, the networks and the other variables in the file."""
    with zipfile.ZipFile(path) as archive:
        sizes = {"data": LARGEST_JSON, "policy.pth": LARGEST_TENSORS, "pytorch_variables.pth": LARGEST_JSON}
        for name, largest in sizes.items():
            if archive.getinfo(name).file_size > largest:
                raise ValueError(f"{name} is larger than it can be")
        data = json.loads(archive.read("data"))
        networks, variables = (
            torch.load(archive.open(name), map_location="cpu", weights_only=True)
            for name in ("policy.pth", "pytorch_variables.pth")
        )
    return data, networks, variables


def _settings(data: dict[str, Any], networks: dict[str, Tensor]) -> dict[str, Any]:
    """Return the settings that the file tells; raise `ValueError` for what is not supported."""
    if data["policy_class"]["__module__"] != POLICIES:
        raise ValueError(f"its policy is of {data['policy_class']['__module__']}")
    if data["use_sde"]:
        raise ValueError("it was trained with use_sde")
    given = str(data["policy_kwargs"].get("activation_fn", "<class 'torch.nn.modules.activation.ReLU'>"))
    activation = ACTIVATION.fullmatch(given)
    if not activation or activation[1] not in ACTIVATIONS:
        raise ValueError(f"its activation is {given}, which is none of {', '.join(ACTIVATIONS)}")
    seen = data["observation_space"]
    if seen[":type:"] != BOX:
        raise ValueError(f"its observations are of {seen[':type:']}")
    if seen["dtype"] == "uint8" and len(json.loads(str(seen["_shape"]))) == 3:
        raise ValueError("its observations are images")
    hidden = tuple(len(networks[name]) for name in networks if HIDDEN.fullmatch(name))
    critics = [found for found in map(CRITIC.fullmatch, networks) if found]
    first = tuple(len(networks[found[0]]) for found in critics if found[1] == "0")
    settings: dict[str, Any] = {"hidden": hidden, "activation": ACTIVATIONS[activation[1]]}
    settings["critics"] = len({found[1] for found in critics})
    if first[:-1] != hidden:
        settings["critic_hidden"] = first[:-1]
    return settings | {ours: data[theirs] for theirs, ours in NUMBERS.items() if isinstance(data[theirs], int | float)}


def _named(networks: dict[str, Tensor], layers: int, critics: int) -> dict[str, Tensor]:
    """Return the tensors by our names and in our shapes; raise `ValueError` when one is missing or left over."""
    left = dict(networks)

    def taken(name: str) -> tuple[Tensor, Tensor]:
        """Return a layer's weight (in, out) and bias (out,)."""
        return left.pop(f"{name}.weight").T, left.pop(f"{name}.bias")

    found: dict[str, Tensor] = {}

    def put(name: str, weight: Tensor, bias: Tensor) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, bias

    for layer in range(layers):
        put(f"policy.parameters.layers.{layer}", *taken(f"actor.latent_pi.{2 * layer}"))
    ends = [taken("actor.mu"), taken("actor.log_std")]
    put(f"policy.parameters.layers.{layers}", *(torch.cat(each, -1) for each in zip(*ends, strict=True)))
    for theirs, ours in (("critic", "critic.parameters"), ("critic_target", "target.critic")):
        depth = sum(name.startswith(f"{theirs}.qf0.") for name in left) // 2
        for layer in range(depth):
            stack = [taken(f"{theirs}.qf{number}.{2 * layer}") for number in range(critics)]
            weights, biases = zip(*stack, strict=True)
            put(f"{ours}.mlp.layers.{layer}", torch.stack(weights), torch.stack(biases).unsqueeze(1))
    if left:
        raise ValueError(f"{next(iter(left))} belongs to no layer of MlpPolicy")
    return found
