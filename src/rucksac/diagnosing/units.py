"""Hidden units that never answer (arXiv 2302.12902 calls such units dormant): no gradient reaches their weights."""

import numpy as np
import torch
from torch import Tensor, nn

from rucksac.agent import Agent
from rucksac.algorithm.networks import MLP, PairMLP, call


def dead_units(agent: Agent, obs: np.ndarray, action: np.ndarray) -> dict[str, list[float]]:
    """Return which share of the ReLU units of each hidden layer is zero for all of these, by network.

    Observations are (B, O) as the environment gives them, actions (B, A). Empty for other activations, which have no
    such units, and for modules of a person's own.
    """
    found = {}
    seen = torch.from_numpy(agent.normaliser.observations(obs) if agent.normaliser else obs).to(agent.device)
    taken = torch.from_numpy(action).to(agent.device)
    for name, network in (("policy", agent.algorithm.policy), ("critic", agent.algorithm.critic.network)):
        layers = network.mlp if isinstance(network, PairMLP) else network
        if isinstance(layers, MLP) and layers.activation is torch.relu:
            inputs = (seen, taken) if isinstance(network, PairMLP) else (seen,)
            found[name] = _dead(network, layers, getattr(agent.state, name).weights, inputs)
    return found


def _dead(network: nn.Module, layers: MLP, weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> list[float]:
    shares: list[float] = []

    def watch(_: nn.Module, __: object, before_activation: Tensor) -> None:
        shares.append(float((before_activation <= 0.0).all(-2).double().mean()))

    hooks = [each.register_forward_hook(watch) for each in layers.before]
    try:
        with torch.inference_mode():
            call(network, weights, *inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return shares
