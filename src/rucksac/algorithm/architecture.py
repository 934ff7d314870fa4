"""What networks look like, described once: they are built from it, and their cost is counted from it.

Counted are the multiply-adds of matrix products; all else is small beside them. Importing this module needs no torch.
"""

import itertools
from dataclasses import dataclass

from rucksac.config import Config


@dataclass(frozen=True)
class Architecture:
    """A multi-layer perceptron, or `copies` equal ones side by side; `widths` run from the input to the output."""

    widths: tuple[int, ...]
    copies: int | None = None
    activation: str = "relu"
    initialisation: str = "default"
    precision: str = "fp32"

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Return inputs and outputs of every layer."""
        return tuple(itertools.pairwise(self.widths))

    @property
    def weights(self) -> int:
        """Return the number of weights, biases left out: also the multiply-adds of one forward pass on one row."""
        return (self.copies or 1) * sum(inputs * outputs for inputs, outputs in self.shapes)

    @property
    def training(self) -> int:
        """Return the multiply-adds for one row forwards and back to the weights; the input needs no gradient."""
        inputs, outputs = self.shapes[0]
        return 3 * self.weights - (self.copies or 1) * inputs * outputs


def architectures(config: Config, obs_size: int, action_size: int, discrete: bool) -> dict[str, Architecture]:
    """Return the networks under optimisation by name, for O observation numbers and A actions."""

    def network(inputs: int, outputs: int, copies: int | None = None) -> Architecture:
        widths = (inputs, *config.hidden, outputs)
        return Architecture(widths, copies, config.activation, config.initialisation, config.precision)

    found = {
        "policy": network(obs_size, action_size if discrete or config.deterministic_policy else 2 * action_size),
        "critic": network(obs_size, action_size, config.critics)
        if discrete
        else network(obs_size + action_size, 1, config.critics),
    }
    if config.value_network:
        found["state_value"] = network(obs_size, 1)
    return found


def multiply_adds(config: Config, obs_size: int, action_size: int, discrete: bool = False) -> float:
    """Return the multiply-adds per environment step: one action, and the gradient steps that it owes."""
    used = architectures(config, obs_size, action_size, discrete)
    policy, critic, state_value = used["policy"], used["critic"], used.get("state_value")
    evaluation = policy.weights + critic.weights + critic.training  # what is to come, then the critics towards it
    if state_value:
        evaluation += state_value.weights + state_value.training
    judging = critic.weights if discrete else 2 * critic.weights  # the gradient passes through the actions alone
    improvement = policy.training + judging
    per_row = evaluation + improvement / config.policy_delay
    return policy.weights + config.utd * config.batch_size * per_row
