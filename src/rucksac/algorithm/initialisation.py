"""First values of the networks' weights."""

import math

import torch
from torch import nn

from rucksac.algorithm.networks import Dense


def initialise(network: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Fill every `Dense` layer of `network` in place.

    `default` is PyTorch's own for linear layers, uniform within 1/sqrt(inputs) for weights and biases. The others have
    zero biases: `xavier` is Glorot's uniform, as in pranz24/pytorch-soft-actor-critic; `orthogonal` has orthonormal
    rows or columns times sqrt(2), as in ikostrikov/jaxrl.
    """
    for layer in network.modules():
        if isinstance(layer, Dense):
            inputs, outputs = layer.weight.shape[-2:]
            with torch.no_grad():
                layer.bias.zero_()
                if scheme == "xavier":
                    bound = math.sqrt(6.0 / (inputs + outputs))
                    layer.weight.uniform_(-bound, bound, generator=generator)
                elif scheme == "orthogonal":
                    for matrix in layer.weight.view(-1, inputs, outputs):
                        nn.init.orthogonal_(matrix, math.sqrt(2.0), generator=generator)
                else:
                    bound = 1.0 / math.sqrt(inputs)
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)
