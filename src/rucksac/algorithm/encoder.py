"""Networks that see pictures: convolutions, a short row of features, then any network for rows of numbers.

One set of convolutions serves all: the critics learn it, everyone else reads it (arXiv 2004.13649, 2107.09645). B is
the batch, O the size of a flat observation, F that of what the convolutions leave.
"""

import math

import torch
from torch import Tensor, nn

from rucksac.algorithm.architecture import FEATURES, Encoder, Pixels
from rucksac.algorithm.layers import LayerNorm
from rucksac.algorithm.networks import Dense, initialise

CONVOLUTIONS = "convolutions."  # what the names of their weights begin with


class Convolutions(nn.Module):
    """The layers of an encoder for each picture in (B, O), each followed by a ReLU, to (B, F).

    Those that are not `learned` are buffers, which the algorithm fills. Initial weights are orthogonal with the gain of
    a ReLU, biases zero.
    """

    def __init__(self, encoder: Encoder, generator: torch.Generator, learned: bool) -> None:
        super().__init__()
        self.pictures, self.layers = encoder.pictures, encoder.layers
        for number, picture in enumerate(encoder.pictures):
            inputs = picture.frames * picture.channels
            for layer, (filters, side, _) in enumerate(encoder.layers):
                weight, bias = torch.zeros(filters, inputs, side, side), torch.zeros(filters)
                if learned:
                    nn.init.orthogonal_(weight, math.sqrt(2.0), generator=generator)
                for name, tensor in ((f"weight{number}_{layer}", weight), (f"bias{number}_{layer}", bias)):
                    if learned:
                        self.register_parameter(name, nn.Parameter(tensor))
                    else:
                        self.register_buffer(name, tensor)
                inputs = filters

    def forward(self, obs: Tensor) -> Tensor:
        """Return what the convolutions leave of all pictures, one after the other."""
        found = []
        for number, picture in enumerate(self.pictures):
            x = channels_of(obs, picture) / 255.0 - 0.5
            for layer, each in enumerate(self.layers):
                weight, bias = (getattr(self, f"{name}{number}_{layer}") for name in ("weight", "bias"))
                x = torch.relu(nn.functional.conv2d(x, weight, bias, each.stride))
            found.append(x.flatten(1))
        return torch.cat(found, -1) if len(found) > 1 else found[0]


def channels_of(obs: Tensor, picture: Pixels) -> Tensor:
    """Return a picture in flat observations (B, O) as (B, N C, H, W): the channels of frame after frame."""
    frames, height, width, channels = picture.frames, picture.height, picture.width, picture.channels
    part = obs[:, picture.begin : picture.begin + frames * height * width * channels]
    if picture.channels_first:
        return part.reshape(-1, frames * channels, height, width)
    ordered = part.reshape(-1, frames, height, width, channels).permute(0, 1, 4, 2, 3)
    return ordered.reshape(-1, frames * channels, height, width)


class Seeing(nn.Module):
    """Give a network the numbers in (B, O) and features of its pictures: a layer, a layer norm and tanh behind them."""

    def __init__(self, encoder: Encoder, network: nn.Module, generator: torch.Generator, learned: bool) -> None:
        super().__init__()
        self.numbers, self.network = encoder.numbers, network
        self.convolutions = Convolutions(encoder, generator, learned)
        self.features, self.norm = Dense(encoder.convolved, FEATURES), LayerNorm(FEATURES, None)
        initialise(self.features, "orthonormal", generator)

    def forward(self, obs: Tensor, *others: Tensor) -> Tensor:
        """Return what the network makes of them, and of its other inputs."""
        features = self.norm(self.features(self.convolutions(obs))).tanh()
        return self.network(torch.cat([obs[:, : self.numbers], features], -1), *others)
