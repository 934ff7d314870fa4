"""From settings to an agent: networks made and initialised, or a person's own ones checked; then native code."""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm import equations
from rucksac.algorithm.categorical import Categorical
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.initialisation import initialise
from rucksac.algorithm.networks import MLP, Critics, Dense
from rucksac.algorithm.policies import SquashedGaussian
from rucksac.algorithm.state_value import StateValue
from rucksac.algorithm.update import SAC, Batch, Distribution
from rucksac.compilation import Compiled, CompilerMissing, TensorFunction, compile_ahead
from rucksac.config import Config
from rucksac.device import PROCESSOR, carried, recorded
from rucksac.environments.choices import Choices
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.normalisation import Normaliser
from rucksac.streams import Stream, integer


def build(
    config: Config,
    spaces: Spaces,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    device: torch.device = PROCESSOR,
) -> Agent:
    """Return a fresh agent on `device`.

    `policy` and `critic` may be your own modules: policy (B, O) -> (B, 2A), or (B, A) for a deterministic one, critic
    (B, O), (B, A) -> (N, B); for discrete actions policy (B, O) -> (B, A), critic (B, O) -> (N, B, A). They are trained
    in place by their parameters. Raises `UsageError` when they do not fit or have buffers, when the target entropy is
    out of reach, and for a deterministic policy over discrete actions.
    """
    default_networks = policy is None and critic is None
    if config.precision != "fp32" and not default_networks:
        raise UsageError(
            "--precision is for rucksac's own networks; leave it at fp32 and choose the precision inside your modules"
        )
    discrete = isinstance(spaces.actions, Choices)
    acting, evaluation, improvement = _distributions(config, spaces)
    weights = torch.Generator().manual_seed(integer(config.seed, Stream.INITIALISATION))
    obs_size, action_size = spaces.obs_size, spaces.action_size
    outputs = improvement.outputs(action_size)
    if policy is None:
        policy = MLP(obs_size, config.hidden, outputs, config.activation)
        _prepare(policy, config, weights)
    if critic is None:
        if discrete:
            critic = MLP(obs_size, config.hidden, action_size, config.activation, config.critics)
        else:
            critic = Critics(obs_size, action_size, config.hidden, config.activation, config.critics)
        _prepare(critic, config, weights)
    value = None
    if config.value_network:
        value = StateValue(MLP(obs_size, config.hidden, 1, config.activation).requires_grad_(False))
        _prepare(value.network, config, weights)
    obs, action = torch.zeros(3, obs_size), torch.zeros(3, action_size)
    _check("policy", policy, (obs,), (3, outputs))
    if discrete:
        _check("critic", critic, (obs,), (config.critics, 3, action_size))
    else:
        _check("critic", critic, (obs, action), (config.critics, 3))
    for network in (policy, critic, value.network if value else None):
        if network:
            network.to(device)
    algorithm = SAC(
        policy=policy.requires_grad_(False),
        critic=critic.requires_grad_(False),
        target_entropy=_target_entropy(config, *improvement.entropies(action_size)),
        acting=acting,
        evaluation=evaluation,
        improvement=improvement,
        value=value,
        targets=("value",) if value else ("critic", "policy") if config.target_policy else ("critic",),
        policy_q=equations.first if config.policy_q == "first" else equations.pessimistic,
        temperature_loss=equations.log_temperature_loss
        if config.temperature_loss == "log"
        else equations.temperature_loss,
        entropy_to_come=not discrete if config.entropy_to_come == "auto" else config.entropy_to_come == "always",
    )
    normaliser = None
    if config.normalise_observations or config.normalise_rewards or config.reward_scale != 1.0:
        what = config.normalise_observations, config.normalise_rewards, config.reward_scale
        normaliser = Normaliser(obs_size, config.envs, config.gamma, *what)
    agent = Agent(config, spaces, algorithm, normaliser, default_networks)
    if device.type != "cpu":
        agent.step_function, agent.critic_step_function = (
            carried(function, device) for function in (agent.step_function, agent.critic_step_function)
        )
    return agent


def compile_agent(agent: Agent, only_cached: bool = False) -> str | None:
    """Compile the agent's step and acting to native code; return None, or in a few words why they stay as they are.

    With `only_cached` they become native code only where it was compiled before, which takes a second or two.
    """
    if agent.config.compile == "never":
        return "--compile never was given"
    rows, envs = agent.config.batch_size, agent.config.envs
    obs, action = agent.spaces.obs_size, agent.spaces.action_size
    batch = Batch(*map(torch.zeros, ((rows, obs), (rows, action), (rows,), (rows,), (rows, obs))))
    some = agent.act_arguments(*(np.zeros((envs, size), np.float32) for size in (obs, action)))
    try:
        agent.act_function = _native(agent.act_in_order, some, agent.device, only_cached)
        agent.step_function = _native(agent.step_in_place, agent.step_arguments(batch), agent.device, only_cached)
        if agent.config.policy_delay > 1:
            critic_step = functools.partial(agent.step_in_place, improve=False)
            agent.critic_step_function = _native(critic_step, agent.step_arguments(batch), agent.device, only_cached)
    except CompilerMissing as error:
        return str(error)
    return None


def _native(
    function: TensorFunction, arguments: list[torch.Tensor], device: torch.device, only_cached: bool
) -> Compiled:
    if device.type == "cpu":
        return compile_ahead(function, arguments, only_cached)
    there = [argument.to(device) for argument in arguments]
    return recorded(compile_ahead(function, there, only_cached), there, device)


def _distributions(config: Config, spaces: Spaces) -> tuple[Distribution, Distribution, Distribution]:
    """Return how actions come about in the environment, where states are valued, and in the policy's loss."""
    discrete = isinstance(spaces.actions, Choices)
    if not config.deterministic_policy:
        return (Categorical,) * 3 if discrete else (SquashedGaussian,) * 3
    if discrete:
        raise UsageError(
            f"a deterministic policy is for continuous actions, but here are {spaces.action_size} choices; give "
            "--no-deterministic-policy, or another recipe"
        )
    acting, evaluation, improvement = (
        Deterministic(noise, config.noise_clip)
        for noise in (config.exploration_noise, config.target_noise, config.improvement_noise)
    )
    return acting, evaluation, improvement


def _prepare(network: nn.Module, config: Config, weights: torch.Generator) -> None:
    initialise(network, config.initialisation, weights)
    for layer in _between_hidden_layers(network):  # what comes in and goes out keeps its own precision
        layer.product = torch.bfloat16 if config.precision == "bf16" else None


def _between_hidden_layers(network: nn.Module) -> Iterator[Dense]:
    for module in network.modules():
        if isinstance(module, MLP):
            yield from (layer for layer in list(module.layers)[1:-1] if isinstance(layer, Dense))


def _check(name: str, network: nn.Module, inputs: tuple[torch.Tensor, ...], shape: tuple[int, ...]) -> None:
    if next(network.buffers(), None) is not None:
        raise UsageError(f"the {name} has buffers, but only parameters are trained; use layers without buffers")
    try:
        given = tuple(network(*inputs).shape)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"the {name} cannot take a batch of 3 ({str(error).splitlines()[0]})") from error
    if given != shape:
        raise UsageError(f"the {name} returned shape {given} for a batch of 3, but must return {shape}")


def _target_entropy(config: Config, lowest: float, usual: float, highest: float) -> float | None:
    if config.alpha != "learned" or config.deterministic_policy:
        return None
    target = usual if config.target_entropy is None else config.target_entropy
    if not lowest < target < highest:
        raise UsageError(
            f"--target-entropy is {target:g}, but the entropy of a policy over these actions lies between {lowest:g} "
            f"and {highest:.3f} nats; give one in between, such as {usual:.3g}"
        )
    return target
