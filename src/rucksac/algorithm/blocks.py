"""Networks of residual blocks, alone or N at once in stacked weights; what lies between blocks is as wide as they are.

Their layers with weights are one list, from the input to the output, two for each block, as `Architecture.shapes` has
them. Inputs are (B, in), outputs (B, out), or (N, B, out) for N copies.
"""

import math

import torch
from torch import Tensor, nn

from rucksac.algorithm import equations
from rucksac.algorithm.architecture import EXPANSIONS, Architecture
from rucksac.algorithm.layers import BatchRenorm, LayerNorm, RMSNorm, Scale
from rucksac.algorithm.networks import ACTIVATIONS, MLP, Dense, Network, initialise

BESIDE_INPUTS = 3.0  # the constant that keeps the length of an input when it is brought to 1


class PreNorm(Network):
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

    def hidden(self, x: Tensor) -> Tensor:
        """See `Network`."""
        first, *inner, _ = self.layers
        *norms, final = self.norms
        x = first(x)
        for norm, widen, narrow in zip(norms, inner[::2], inner[1::2], strict=True):
            x = x + narrow(self.activation(widen(norm(x))))
        return final(x)


class PostNorm(Network):
    """Add norm(W2 activation(norm(W1 x))) to x in each block, after one such layer (BroNet of BRO, arXiv 2405.16158).

    Initial weights are orthogonal, biases zero.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = dense_layers(architecture, ["orthogonal"] * len(architecture.shapes), generator)
        self.activation = ACTIVATIONS[architecture.activation]
        widths = [outputs for _, outputs in architecture.shapes[:-1]]
        self.norms = nn.ModuleList(LayerNorm(width, architecture.copies) for width in widths)

    def hidden(self, x: Tensor) -> Tensor:
        """See `Network`."""
        first, *inner, _ = self.layers
        norm, *norms = self.norms
        x = self.activation(norm(first(x)))
        for widen, before, narrow, after in zip(inner[::2], norms[::2], inner[1::2], norms[1::2], strict=True):
            x = x + after(narrow(self.activation(before(widen(x)))))
        return x


class PostBatchNorm(Network):
    """Add activation(norm(W2 activation(norm(W1 x)))) to x in each block (FlashSAC, arXiv 2604.04539).

    The norms, of the input as well, are over the batch; the sum is normed by its root mean square before the output.
    Initial weights are orthonormal; only the output has a bias, since batch norm takes one away again.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator) -> None:
        super().__init__()
        schemes = ["orthonormal"] * len(architecture.shapes)
        self.layers = dense_layers(architecture, schemes, generator, biases=False)
        self.activation = ACTIVATIONS[architecture.activation]
        widths = [architecture.widths[0], *(outputs for _, outputs in architecture.shapes[1:-1])]
        self.norms = nn.ModuleList(BatchRenorm(width, architecture.copies, corrected=False) for width in widths)
        self.final = RMSNorm(architecture.widths[-2], architecture.copies)

    def hidden(self, x: Tensor) -> Tensor:
        """See `Network`."""
        first, *inner, _ = self.layers
        norm, *norms = self.norms
        x = first(norm(x))
        for widen, before, narrow, after in zip(inner[::2], norms[::2], inner[1::2], norms[1::2], strict=True):
            x = x + self.activation(after(narrow(self.activation(before(widen(x))))))
        return self.final(x)


class Hyperspherical(Network):
    """Move along the unit sphere: each block goes part of the way from x to its answer (SimbaV2, arXiv 2502.15280).

    x <- unit(x + step (unit(W2 activation(scale W1 x)) - x)), with scales and steps that are learned for each number.
    Initial weights are orthonormal; only the output has a bias. With weights of length 1 the layers are cosines.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator) -> None:
        super().__init__()
        width, blocks, copies = architecture.widths[1], len(architecture.widths) - 2, architecture.copies
        schemes = ["orthonormal"] * len(architecture.shapes)
        self.layers = dense_layers(architecture, schemes, generator, biases=False)
        self.activation = ACTIVATIONS[architecture.activation]
        even, wider = math.sqrt(2.0 / width), EXPANSIONS["hyperspherical"]
        inner = even / math.sqrt(wider)
        self.first = Scale(width, copies, even, even)
        self.inner = nn.ModuleList(Scale(wider * width, copies, inner, inner) for _ in range(blocks))
        self.steps = nn.ModuleList(Scale(width, copies, 1.0 / (blocks + 1), width**-0.5) for _ in range(blocks))
        self.last = Scale(width, copies, 1.0, 1.0)

    def hidden(self, x: Tensor) -> Tensor:
        """See `Network`."""
        first, *inner, before, _ = self.layers
        x = equations.unit_rows(torch.cat([x, torch.full_like(x[..., :1], BESIDE_INPUTS)], -1))
        x = equations.unit_rows(self.first(first(x)))
        for scale, step, widen, narrow in zip(self.inner, self.steps, inner[::2], inner[1::2], strict=True):
            answer = equations.unit_rows(narrow(self.activation(scale(widen(x)))))
            x = equations.unit_rows(x + step(answer - x))
        return self.last(before(x))


NETWORKS: dict[str, type[Network]] = {
    "none": MLP,
    "pre-norm": PreNorm,
    "post-norm": PostNorm,
    "hyperspherical": Hyperspherical,
    "batch-norm": PostBatchNorm,
}
"""What each kind of block makes a network of, by its setting."""


def dense_layers(
    architecture: Architecture, schemes: list[str], generator: torch.Generator, biases: bool = True
) -> nn.ModuleList:
    """Return the layers with weights, each initialised by its scheme; the output has a bias, the others with `biases`.

    bf16 is for all but the first and the last.
    """
    layers = nn.ModuleList()
    for index, ((inputs, outputs), scheme) in enumerate(zip(architecture.shapes, schemes, strict=True)):
        output = index == len(schemes) - 1
        product = torch.bfloat16 if architecture.precision == "bf16" and index and not output else None
        layer = Dense(inputs, outputs, architecture.copies, product, bias=biases or output)
        initialise(layer, scheme, generator)
        if architecture.unit_columns:
            layer.weight.data = equations.unit_columns(layer.weight.data)
        layers.append(layer)
    return layers
