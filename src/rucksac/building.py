"""From settings to an agent: networks made and initialised, or a person's own ones checked; then native code."""

import dataclasses
import functools
import re

import numpy as np
import torch
from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm import equations
from rucksac.algorithm.architecture import (
    ENCODERS,
    Architecture,
    Encoder,
    answers_of,
    architectures,
    judges_jointly,
    pixels_left,
)
from rucksac.algorithm.blocks import NETWORKS
from rucksac.algorithm.categorical import Categorical
from rucksac.algorithm.critics import EXPECTED_RETURN, Critic, ReturnModel
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.distributional import Categories, Quantiles
from rucksac.algorithm.encoder import CONVOLUTIONS, Seeing
from rucksac.algorithm.networks import ChoiceMLP, Network, PairMLP, call, weights_of
from rucksac.algorithm.optimisers import (
    Optimiser,
    Rate,
    adam,
    annealed,
    chain,
    clip,
    constant,
    decay,
    since_reset,
    unit_columns,
    unit_scales,
)
from rucksac.algorithm.policies import Distribution, SquashedGaussian
from rucksac.algorithm.resets import resets_of
from rucksac.algorithm.state_noise import StateNoise
from rucksac.algorithm.update import SAC, Batch, State
from rucksac.compilation import Compiled, CompilerMissing, TensorFunction, compile_ahead
from rucksac.config import DEFAULTS, Config
from rucksac.device import PROCESSOR, recorded
from rucksac.environments.choices import Choices
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.learner import Learner
from rucksac.normalisation import Normaliser
from rucksac.streams import Stream, integer

MOST_CHOICES = 64  # whose categories are moved and mixed at once


def build(
    config: Config,
    spaces: Spaces,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    device: torch.device = PROCESSOR,
) -> Agent:
    """Return a fresh agent on `device`.

    `policy` and `critic` may be your own modules: policy (B, O) -> (B, 2A), or (B, A) for a deterministic one, critic
    (B, O), (B, A) -> (N, B); for discrete actions policy (B, O) -> (B, A), critic (B, O) -> (N, B, A). A critic of
    quantiles or categories has M numbers in place of each, as the last dimension. Modules are trained
    in place: their parameters, and the statistics that their layers keep in buffers and change in place. Raises
    `UsageError` when they do not fit, when the target entropy is out of reach, and for a deterministic policy over
    discrete actions.
    """
    default_networks = policy is None and critic is None
    if config.precision != "fp32" and not default_networks:
        raise UsageError(
            "--precision is for rucksac's own networks; leave it at fp32 and choose the precision inside your modules"
        )
    if resets_of(config) and not default_networks:
        raise UsageError(
            f"--reset-{'every' if config.reset_every else 'at'} is for rucksac's own networks, whose first weights can "
            "be drawn again; leave it out with modules of your own"
        )
    if config.weight_norm and not default_networks:
        raise UsageError("--weight-norm is for rucksac's own networks; leave it out with modules of your own")
    if config.encoder != DEFAULTS["encoder"] and not default_networks:
        raise UsageError("--encoder is for rucksac's own networks; leave it out with modules of your own")
    if config.gsde and not default_networks:
        raise UsageError("--gsde is for rucksac's own networks; leave it out with modules of your own")
    if spaces.observations.pictures and (policy is None) != (critic is None):
        raise UsageError(
            "observations have pictures, which rucksac's own networks see by convolutions that the critics learn and "
            "the policy reads; give both policy and critic, or none"
        )
    if config.normalise_observations and not spaces.numbers:
        raise UsageError(
            "--normalise-observations is for numbers, but here are nothing but pictures, which have a scale of their "
            "own; leave it out"
        )
    discrete = isinstance(spaces.actions, Choices)
    acting, evaluation, improvement = _distributions(config, spaces)
    obs_size, action_size = spaces.obs_size, spaces.action_size
    described, encoder = describe(config, spaces)
    encoder = encoder if default_networks else None
    given = {"policy": policy, "critic": critic}
    networks = _networks(config, described, discrete, given, encoder)
    policy, critic, state_value = networks["policy"], networks["critic"], networks.get("state_value")
    obs, action = torch.zeros(3, obs_size), torch.zeros(3, action_size)
    _check("policy", policy, (obs,), (3, improvement.outputs(action_size)))
    most = {"quantiles": 0, "categories": MOST_CHOICES}.get(config.returns, action_size)
    if discrete and action_size > most:
        raise UsageError(
            f"{config.returns} of the return are for continuous actions{f', or {most} choices' if most else ''}, but "
            f"here are {action_size} choices; give --returns expected"
        )
    answers = () if config.returns == "expected" else (answers_of(config),)
    judged = ((obs,), (config.critics, 3, action_size)) if discrete else ((obs, action), (config.critics, 3))
    _check("critic", critic, judged[0], (*judged[1], *answers))
    for network in (policy, critic, state_value):
        if network:
            network.requires_grad_(False).to(device)
    algorithm = SAC(
        policy=policy,
        critic=Critic(
            critic,
            discrete,
            returns=_return_model(config),
            for_target=equations.mean if config.target_q == "mean" else equations.smallest,
            for_policy={"smallest": equations.smallest, "first": equations.first, "mean": equations.mean}[
                config.policy_q
            ],
            joint=judges_jointly(config),
            count=config.critics,
            subset=config.target_critics,
            stacked=given["critic"] is None and encoder is None,
        ),
        optimisers={name: _optimiser(config, name) for name in [*described, "temperature"]},
        target_entropy=_target_entropy(config, discrete, *improvement.entropies(action_size)),
        acting=acting,
        evaluation=evaluation,
        improvement=improvement,
        state_value=state_value,
        targets=_targets(config),
        tau=config.tau,
        target_every=config.target_every,
        policy_delay=config.policy_delay,
        temperature_loss=equations.log_temperature_loss
        if config.temperature_loss == "log"
        else equations.temperature_loss,
        shared=tuple(name for name in weights_of(critic)[0] if name.startswith(CONVOLUTIONS)) if encoder else (),
        noise_by_state=described["policy"].widths[-2] * action_size if config.gsde else 0,
        entropy_to_come=not discrete if config.entropy_to_come == "auto" else config.entropy_to_come == "always",
    )
    normaliser = None
    if config.normalise_observations or config.normalise_rewards or config.reward_scale != 1.0:
        what = config.normalise_observations, config.normalise_rewards, config.reward_scale
        bound = config.largest_return if config.bound_returns else None
        normaliser = Normaliser(spaces.numbers, config.env_count, config.gamma, *what, bound)

    def begin(resets: int) -> State:
        parts = _networks(config, described, discrete, {}, encoder, resets) if resets else networks
        fresh = dataclasses.replace(
            algorithm,
            policy=parts["policy"],
            critic=dataclasses.replace(algorithm.critic, network=parts["critic"]),
            state_value=parts.get("state_value"),
        )
        return fresh.start(config.initial_alpha if config.alpha == "learned" else config.alpha)

    return Agent(config, spaces, algorithm, normaliser, default_networks, begin)


def describe(config: Config, spaces: Spaces) -> tuple[dict[str, Architecture], Encoder | None]:
    """Return rucksac's own networks for rows of numbers, by name, and what makes such rows of pictures, if need be."""
    pictures, layers = spaces.observations.pictures, ENCODERS[config.encoder]
    if config.encoder != DEFAULTS["encoder"] and not pictures:
        raise UsageError(
            f"--encoder {config.encoder} is for pictures, but no part of the observation is one; leave it out"
        )
    for each in pictures:
        if pixels_left(layers, min(each.height, each.width)) < 1:
            raise UsageError(
                f"--encoder {config.encoder} leaves nothing of a picture of {each.height} x {each.width} pixels; "
                f"give --encoder {DEFAULTS['encoder']}, or make the picture larger"
            )
    encoder = Encoder(spaces.numbers, pictures, layers) if pictures else None
    size = encoder.outputs if encoder else spaces.obs_size
    return architectures(config, size, spaces.action_size, isinstance(spaces.actions, Choices)), encoder


def _networks(
    config: Config,
    described: dict[str, Architecture],
    discrete: bool,
    given: dict[str, nn.Module | None],
    encoder: Encoder | None,
    resets: int = 0,
) -> dict[str, nn.Module]:
    """Return the networks described, or those given in their place; first weights differ from reset to reset."""
    which = [resets] if resets else []
    weights = torch.Generator().manual_seed(integer(config.seed, Stream.INITIALISATION, *which))
    networks = {}
    for name, architecture in described.items():
        kind, network = NETWORKS[config.blocks], given.get(name)
        if network is None:
            if name == "critic" and not discrete:
                network = PairMLP(architecture, weights, kind)
            elif name == "critic" and config.returns != "expected":
                network = ChoiceMLP(architecture, weights, kind, answers_of(config))
            elif name == "policy" and config.gsde:
                network = _by_state(kind, architecture, weights)
            else:
                network = kind(architecture, weights)
            network = Seeing(encoder, network, weights, learned=name == "critic") if encoder else network
        networks[name] = network
    return networks


def _by_state(kind: type[Network], architecture: Architecture, weights: torch.Generator) -> StateNoise:
    """Return a policy whose noise is a function of the state, in place of one with 2A outputs."""
    *widths, outputs = architecture.widths
    action_size = outputs // 2
    network = kind(dataclasses.replace(architecture, widths=(*widths, action_size)), weights)
    return StateNoise(network, widths[-1], action_size)


def _return_model(config: Config) -> ReturnModel:
    """Return what the answers of the critics mean."""
    averaged = config.target_q == "mean"
    if config.returns == "quantiles":
        return Quantiles(config.dropped_quantiles, averaged)
    if config.returns == "categories":
        return Categories(config.categories, config.largest_return, averaged)
    return EXPECTED_RETURN


def _targets(config: Config) -> tuple[str, ...]:
    """Return the networks that have a slow copy."""
    if config.value_network:
        return ("state_value",)
    return (*(["critic"] if config.target_network else []), *(["policy"] if config.target_policy else []))


def _optimiser(config: Config, name: str) -> Optimiser:
    """Return what updates the parameters of this name; clipping and decay are for networks alone."""
    rate = _rate(config, name)
    optimiser = adam(rate, config.adam_beta, age=since_reset(resets_of(config), _delay(config, name)))
    if name == "temperature":
        return optimiser
    if config.clip_gradients:
        optimiser = chain(clip(config.clip_gradients), optimiser)
    if config.weight_decay:
        optimiser = chain(optimiser, decay(config.weight_decay, rate))
    if config.weight_norm:
        optimiser = chain(optimiser, unit_columns(_is_matrix))
    if config.weight_norm and config.blocks == "batch-norm":
        optimiser = chain(optimiser, unit_scales(_is_norm))
    return optimiser


def _is_matrix(name: str) -> bool:
    """Return whether this is the weight of a layer of rucksac's own networks, such as mlp.layers.0.weight."""
    return bool(re.fullmatch(r"(network\.)*(mlp\.)?layers\.\d+\.weight", name))


def _is_norm(name: str) -> bool:
    """Return whether this is scale or shift of a norm between such layers, such as mlp.norms.0.bias."""
    return bool(re.fullmatch(r"(network\.)*(mlp\.)?(norms\.\d+|final)\.(weight|bias)", name))


def _rate(config: Config, name: str) -> Rate:
    """Return the learning rate of the parameters of this name; where it falls, it does so by environment steps."""
    lr = {"policy": config.policy_lr, "temperature": config.temperature_lr}.get(name) or config.lr
    if config.lr_schedule == "constant":
        return constant(lr)
    delay = _delay(config, name)
    each, first = delay / config.utd / config.rate_steps, config.first_update / config.rate_steps
    offline = config.offline_steps // delay  # updates before the first environment step
    return annealed(lr, config.lr_schedule, config.lr_end, lambda count: first + each * max(0, count - 1 - offline))


def _delay(config: Config, name: str) -> int:
    """Return the gradient steps for each update of the parameters of this name."""
    return config.policy_delay if name in ("policy", "temperature") else 1


def compile_steps(learner: Learner, only_cached: bool = False) -> str | None:
    """Compile gradient steps and acting to native code; return None, or in a few words why they stay as they are.

    With `only_cached` they become native code only where it was compiled before, which takes a second or two.
    """
    agent = learner.agent
    if agent.config.compile == "never":
        return "--compile never was given"
    rows, obs, action = agent.config.batch_size, agent.spaces.obs_size, agent.spaces.action_size
    batch = Batch(*map(torch.zeros, ((rows, obs), (rows, action), (rows,), (rows,), (rows, obs))))
    if agent.config.priorities:
        batch = batch._replace(weight=torch.zeros(rows))
    try:
        compile_acting(agent, only_cached)
        for improve in (True, False) if agent.config.policy_delay > 1 else (True,):
            step = functools.partial(learner.step_in_place, improve=improve)
            learner.functions[improve] = _native(step, learner.arguments(batch), agent.device, only_cached)
    except CompilerMissing as error:
        return str(error)
    return None


def compile_acting(agent: Agent, only_cached: bool = False) -> None:
    """Compile acting to native code; raise `CompilerMissing` where that cannot be done."""
    sizes = agent.spaces.obs_size, agent.noise_size
    some = agent.act_arguments(*(np.zeros((agent.config.envs, size), np.float32) for size in sizes))
    agent.act_function = _native(agent.act_in_order, some, agent.device, only_cached)


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
    if config.gsde and discrete:
        raise UsageError(
            f"--gsde is for continuous actions, but here are {spaces.action_size} choices; leave it out, or give "
            "--no-gsde"
        )
    if not config.deterministic_policy:
        return (Categorical if discrete else SquashedGaussian(config.log_std == "tanh"),) * 3
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


def _check(name: str, network: nn.Module, inputs: tuple[torch.Tensor, ...], shape: tuple[int, ...]) -> None:
    parameters, statistics = weights_of(network)
    try:
        given = tuple(call(network, parameters | statistics, *inputs).shape)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"the {name} cannot take a batch of 3 ({str(error).splitlines()[0]})") from error
    if given != shape:
        raise UsageError(f"the {name} returned shape {given} for a batch of 3, but must return {shape}")


def _target_entropy(config: Config, discrete: bool, lowest: float, usual: float, highest: float) -> float | None:
    if config.alpha != "learned" or config.deterministic_policy:
        return None
    given = config.target_entropy
    if given == "half":
        given = None if discrete else usual / 2
    target = usual if given is None else given
    if not lowest < target < highest:
        raise UsageError(
            f"--target-entropy is {target:g}, but the entropy of a policy over these actions lies between {lowest:g} "
            f"and {highest:.3f} nats; give one in between, such as {usual:.3g}"
        )
    return target
