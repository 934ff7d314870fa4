"""Networks of residual blocks, alone or N at once in stacked weights; what lies between blocks is as wide as they are.

Their layers with weights are one list, from the input to the output, two for each block, as `Architecture.shapes` has
them. Inputs are (B, in), outputs (B, out), or (N, B, out) for N copies.
"""

import torch
from torch import Tensor, nn

from rucksac.algorithm import equations
from rucksac.algorithm.architecture import Architecture
from rucksac.algorithm.layers import LayerNorm
from rucksac.algorithm.networks import ACTIVATIONS, MLP, Dense, initialise


class PreNorm(nn.Module):
    """Add W2 activation(W1 norm(x)) to x in each block, with a last norm before the output (SimBa, arXiv 2410.09754).

    Initial weights are orthonormal at both ends and of He's variance in the blocks, biases zero.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator) -> None:
        super().__init__()
        count = len(architecture.shapes)
        self.layers = dense_layers(architecture, ["orthonormal", *["he"] * (count - 2), "orthonormal"], generator)
        self.activation = ACTIVATIONS[architecture.activation]
        widths = (*architecture.widths[1:-1], architecture.widths[-2])
        self.norms = nn.ModuleList(LayerNorm(width, architecture.copies) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's output."""
        first, *inner, last = self.layers
        *norms, final = self.norms
        x = first(x)
        for norm, widen, narrow in zip(norms, inner[::2], inner[1::2], strict=True):
            x = x + narrow(self.activation(widen(norm(x))))
        return last(final(x))


NETWORKS: dict[str, type[nn.Module]] = {"none": MLP, "pre-norm": PreNorm}
"""What each kind of block makes a network of, by its setting."""


def dense_layers(architecture: Architecture, schemes: list[str], generator: torch.Generator) -> nn.ModuleList:
    """Return the layers with weights, each initialised by its scheme; bf16 is for those inside blocks."""
    layers = nn.ModuleList()
    for index, ((inputs, outputs), scheme) in enumerate(zip(architecture.shapes, schemes, strict=True)):
        rounded = architecture.precision == "bf16" and 0 < index < len(schemes) - 1
        layer = Dense(inputs, outputs, architecture.copies, torch.bfloat16 if rounded else None)
        initialise(layer, scheme, generator)
        if architecture.unit_columns:
            layer.weight.data = equations.unit_columns(layer.weight.data)
        layers.append(layer)
    return layers
