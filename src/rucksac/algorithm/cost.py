"""What the networks that some settings describe weigh, and the arithmetic of a gradient step on them.

Counted are the multiply-adds of matrix products; all else is small beside them. Importing this module needs no torch.
"""

import itertools
from typing import NamedTuple

from rucksac.config import Config


class Network(NamedTuple):
    """The layers of `copies` equal networks; `sizes` are their widths from input to output."""

    sizes: tuple[int, ...]
    copies: int = 1

    @property
    def weights(self) -> int:
        """Return the number of weights, biases left out: also the multiply-adds of one forward pass on one row."""
        return self.copies * sum(a * b for a, b in itertools.pairwise(self.sizes))

    @property
    def training(self) -> int:
        """Return the multiply-adds for one row forwards and back to the weights; the input needs no gradient."""
        return 3 * self.weights - self.copies * self.sizes[0] * self.sizes[1]


def networks(config: Config, obs_size: int, action_size: int, discrete: bool) -> dict[str, Network]:
    """Return the networks under optimisation by name, for O observation numbers and A actions."""
    outputs = action_size if discrete or config.deterministic_policy else 2 * action_size
    critic = (obs_size, *config.hidden, action_size) if discrete else (obs_size + action_size, *config.hidden, 1)
    found = {"policy": Network((obs_size, *config.hidden, outputs)), "critic": Network(critic, config.critics)}
    if config.value_network:
        found["value"] = Network((obs_size, *config.hidden, 1))
    return found


def multiply_adds(config: Config, obs_size: int, action_size: int, discrete: bool = False) -> float:
    """Return the multiply-adds per environment step: one action, and the gradient steps that it owes."""
    used = networks(config, obs_size, action_size, discrete)
    policy, critic, value = used["policy"], used["critic"], used.get("value")
    evaluation = policy.weights + critic.weights + critic.training  # a state's value, then the critics towards it
    if value:
        evaluation += value.weights + value.training
    judging = critic.weights if discrete else 2 * critic.weights  # the gradient passes through the actions alone
    improvement = policy.training + judging
    per_row = evaluation + improvement / config.policy_delay
    return policy.weights + config.utd * config.batch_size * per_row
