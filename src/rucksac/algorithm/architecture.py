"""What networks look like, described once: they are built from it, and their cost is counted from it.

Counted are the multiply-adds of matrix products; all else is small beside them. Importing this module needs no torch.
"""

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rucksac.config import Config


class Convolution(NamedTuple):
    """One layer that sees pictures: so many filters, each `side` pixels high and wide, every `stride` pixels."""

    filters: int
    side: int
    stride: int


ENCODERS = {
    "drq": (Convolution(32, 3, 2), Convolution(32, 3, 1), Convolution(32, 3, 1), Convolution(32, 3, 1)),
    "nature": (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)),
}
"""Convolutions by the name of the encoder: arXiv 2004.13649, App. B.2, and Mnih et al., Nature 518 (2015)."""
EXPANSIONS = {"pre-norm": 4, "post-norm": 1, "hyperspherical": 4, "batch-norm": 4}
"""How much wider than a block its inner layer is, by the kind of block."""
FEATURES = 50  # of pictures, in DrQ and DrQ-v2


@dataclass(frozen=True)
class Architecture:
    """A multi-layer perceptron, or `copies` equal ones side by side; `widths` run from the input to the output.

    `norm` is none, layer, between each hidden layer and its activation, batch, of the input and after each activation,
    or batch-before, of the input and before each activation; `dropout` is the share of each hidden layer's outputs that
    is left out, before any norm; with `unit_columns` the weights of each output have length 1. With `blocks` the hidden
    layers are blocks of two layers each, see `algorithm.blocks`, and have no other norm.
    """

    widths: tuple[int, ...]
    copies: int | None = None
    activation: str = "relu"
    initialisation: str = "default"
    precision: str = "fp32"
    norm: str = "none"
    dropout: float = 0.0
    unit_columns: bool = False
    blocks: str = "none"

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Return inputs and outputs of every layer."""
        if self.blocks == "none":
            return tuple(itertools.pairwise(self.widths))
        inputs, *hidden, outputs = self.widths
        wider = EXPANSIONS[self.blocks]
        inside = [shape for width in hidden for shape in ((width, wider * width), (wider * width, width))]
        if self.blocks == "hyperspherical":  # a constant beside the inputs, and a layer more before the output
            inputs, inside = inputs + 1, [*inside, (hidden[-1], hidden[-1])]
        return ((inputs, hidden[0]), *inside, (hidden[-1], outputs))

    @property
    def weights(self) -> int:
        """Return the number of weights, biases left out: also the multiply-adds of one forward pass on one row."""
        return (self.copies or 1) * sum(inputs * outputs for inputs, outputs in self.shapes)

    @property
    def training(self) -> int:
        """Return the multiply-adds for one row forwards and back to the weights, and to a norm of the input."""
        inputs, outputs = self.shapes[0]
        normed = self.norm.startswith("batch") or self.blocks == "batch-norm"
        return 3 * self.weights - (0 if normed else (self.copies or 1) * inputs * outputs)


class Pixels(Protocol):
    """Where a picture of so many frames is in a flat observation, and in which order its numbers are."""

    @property
    def begin(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def channels_first(self) -> bool: ...


@dataclass(frozen=True)
class Encoder:
    """What makes `FEATURES` numbers of pictures, each through its own convolutions, and adds the other `numbers`."""

    numbers: int
    pictures: tuple[Pixels, ...]
    layers: tuple[Convolution, ...]

    @property
    def outputs(self) -> int:
        """Return how many numbers come out."""
        return self.numbers + FEATURES

    @property
    def convolved(self) -> int:
        """Return how many numbers all pictures are after the convolutions."""
        filters = self.layers[-1].filters
        return sum(
            filters * pixels_left(self.layers, each.height) * pixels_left(self.layers, each.width)
            for each in self.pictures
        )

    @property
    def weights(self) -> int:
        """Return the number of weights, biases left out."""
        channels = [(each.frames * each.channels, *(layer.filters for layer in self.layers)) for each in self.pictures]
        convolutions = sum(
            layer.side**2 * inputs * layer.filters
            for each in channels
            for inputs, layer in zip(each, self.layers, strict=False)
        )
        return convolutions + FEATURES * self.convolved


def pixels_left(layers: tuple[Convolution, ...], side: int) -> int:
    """Return how many pixels of a side are left behind these layers, none or fewer where it is too short."""
    for layer in layers:
        side = (side - layer.side) // layer.stride + 1
    return side


def architectures(config: Config, obs_size: int, action_size: int, discrete: bool) -> dict[str, Architecture]:
    """Return the networks under optimisation by name, for O observation numbers and A actions."""
    common: dict[str, Any] = {
        "activation": config.activation,
        "initialisation": config.initialisation,
        "precision": config.precision,
        "unit_columns": config.weight_norm,
        "blocks": config.blocks,
    }
    outputs = action_size if discrete or config.deterministic_policy else 2 * action_size
    policy = Architecture((obs_size, *config.hidden, outputs), norm=config.policy_norm, **common)
    answers = answers_of(config)
    asked, answered = (obs_size, action_size * answers) if discrete else (obs_size + action_size, answers)
    widths = (asked, *(config.critic_hidden or config.hidden), answered)
    critic = Architecture(widths, config.critics, norm=config.critic_norm, dropout=config.dropout, **common)
    found = {"policy": policy, "critic": critic}
    if config.value_network:
        found["state_value"] = Architecture((obs_size, *config.hidden, 1), **common)
    return found


def answers_of(config: Config) -> int:
    """Return how many numbers each critic has for an action."""
    return {"quantiles": config.quantiles, "categories": config.categories}.get(config.returns, 1)


def judges_jointly(config: Config) -> bool:
    """Return whether the critics judge both states of a transition in one pass."""
    before = config.critic_norm == "batch-before" or config.blocks == "batch-norm"
    return before or (config.critic_norm == "batch" and not config.target_network)


def multiply_adds(config: Config, obs_size: int, action_size: int, discrete: bool = False) -> float:
    """Return the multiply-adds per environment step: one action, and the gradient steps that it owes."""
    used = architectures(config, obs_size, action_size, discrete)
    policy, critic, state_value = used["policy"], used["critic"], used.get("state_value")
    if judges_jointly(config):
        evaluation = policy.weights + 2 * critic.training + (2 * critic.weights if config.target_network else 0)
    else:  # what is to come, then the critics towards it
        asked = critic.weights * (config.target_critics or config.critics) // config.critics
        evaluation = policy.weights + asked + critic.training
    if state_value:
        evaluation += state_value.weights + state_value.training
    judging = critic.weights if discrete else 2 * critic.weights  # the gradient passes through the actions alone
    improvement = policy.training + judging
    per_row = evaluation + improvement / config.policy_delay
    return policy.weights + config.utd * config.batch_size * per_row
