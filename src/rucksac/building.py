"""From settings to an agent: networks made and initialised, or a person's own ones checked."""

import math
from typing import cast

import torch
from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm.initialisation import initialise
from rucksac.algorithm.networks import MLP, Critics, Dense
from rucksac.algorithm.policies import SquashedGaussian
from rucksac.algorithm.update import SAC
from rucksac.config import Config
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.streams import Stream, integer

MAX_ENTROPY_PER_DIMENSION = math.log(2.0)  # of the uniform density on [-1, 1], in nats


def build(config: Config, spaces: Spaces, policy: nn.Module | None = None, critic: nn.Module | None = None) -> Agent:
    """Return a fresh agent.

    `policy` and `critic` may be your own modules: policy (B, O) -> (B, 2A), critic (B, O), (B, A) -> (N, B). They are
    trained in place by their parameters. Raises `UsageError` when they do not fit or have buffers, and when the target
    entropy is out of reach.
    """
    default_networks = policy is None and critic is None
    if config.precision != "fp32" and not default_networks:
        raise UsageError(
            "--precision is for rucksac's own networks; leave it at fp32 and choose the precision inside your modules"
        )
    weights = torch.Generator().manual_seed(integer(config.seed, Stream.INITIALISATION))
    outputs = SquashedGaussian.outputs(spaces.action_size)
    if policy is None:
        policy = MLP(spaces.obs_size, config.hidden, outputs, config.activation)
        _set_precision(policy, config)
        initialise(policy, config.initialisation, weights)
    if critic is None:
        critic = Critics(spaces.obs_size, spaces.action_size, config.hidden, config.activation, config.critics)
        _set_precision(critic.mlp, config)
        initialise(critic, config.initialisation, weights)
    obs, action = torch.zeros(3, spaces.obs_size), torch.zeros(3, spaces.action_size)
    _check("policy", policy, (obs,), (3, outputs))
    _check("critic", critic, (obs, action), (config.critics, 3))
    algorithm = SAC(policy.requires_grad_(False), critic.requires_grad_(False), _target_entropy(config, spaces))
    return Agent(config, spaces, algorithm, default_networks)


def _set_precision(mlp: MLP, config: Config) -> None:
    """Round only the products between hidden layers: what comes in and goes out keeps its own precision."""
    for layer in list(mlp.layers)[1:-1]:
        cast(Dense, layer).product = torch.bfloat16 if config.precision == "bf16" else None


def _check(name: str, network: nn.Module, inputs: tuple[torch.Tensor, ...], shape: tuple[int, ...]) -> None:
    if next(network.buffers(), None) is not None:
        raise UsageError(f"the {name} has buffers, but only parameters are trained; use layers without buffers")
    try:
        given = tuple(network(*inputs).shape)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"the {name} cannot take a batch of 3 ({str(error).splitlines()[0]})") from error
    if given != shape:
        raise UsageError(f"the {name} returned shape {given} for a batch of 3, but must return {shape}")


def _target_entropy(config: Config, spaces: Spaces) -> float | None:
    if config.alpha != "learned":
        return None
    target = -float(spaces.action_size) if config.target_entropy is None else config.target_entropy
    highest = spaces.action_size * MAX_ENTROPY_PER_DIMENSION
    if target >= highest:
        raise UsageError(
            f"--target-entropy is {target:g}, but a policy on [-1, 1]^{spaces.action_size} has less than "
            f"{highest:.3f} nats; give a smaller one, such as {-spaces.action_size}"
        )
    return target
