"""Multi-layer perceptrons, alone or N at once in stacked weights, and how networks are called with given weights.

O is the observation size, A the action size, N the number of critics, B the batch.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rucksac.algorithm import equations
from rucksac.algorithm.architecture import Architecture
from rucksac.algorithm.layers import BatchRenorm, Dropout, LayerNorm

Weights = dict[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "elu": nn.functional.elu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
}


class Dense(nn.Module):
    """Apply x W + b with W (in, out), or N of them at once with W (N, in, out) and one batched product.

    `product` is the type that x and W are rounded to for their product, None for the one they have.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        copies: int | None = None,
        product: torch.dtype | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        stack = () if copies is None else (copies,)
        self.weight = nn.Parameter(torch.zeros(*stack, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(*stack, *(() if copies is None else (1,)), outputs)) if bias else None
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b."""
        x = x.expand(*self.weight.shape[:-2], *x.shape[-2:])  # said outright: the product else finds its own order
        if self.product is None:
            product = x @ self.weight
        else:
            product = (x.to(self.product) @ self.weight.to(self.product)).to(x.dtype)
        return product if self.bias is None else product + self.bias


class Network(nn.Module, ABC):
    """Layers with weights, the last of which reads H numbers; a subclass says how these come about, in `hidden`."""

    layers: nn.ModuleList

    @abstractmethod
    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer reads, (B, H) or (N, B, H)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's output; no activation follows it."""
        return self.layers[-1](self.hidden(x))


class MLP(Network):
    """Map (B, in) to (B, out), or to (N, B, out) for N copies; bf16 is for what lies between hidden layers."""

    def __init__(self, architecture: Architecture, generator: torch.Generator) -> None:
        super().__init__()
        copies, shapes = architecture.copies, architecture.shapes
        between = range(1, len(shapes) - 1) if architecture.precision == "bf16" else ()
        batch, inside = architecture.norm.startswith("batch"), architecture.norm == "batch-before"
        layers = [
            Dense(
                inputs,
                outputs,
                copies,
                torch.bfloat16 if index in between else None,
                bias=not inside or index == len(shapes) - 1,  # batch norm takes a bias away again
            )
            for index, (inputs, outputs) in enumerate(shapes)
        ]
        for layer in layers:
            initialise(layer, architecture.initialisation, generator)
        self.layers, self.activation = nn.ModuleList(layers), ACTIVATIONS[architecture.activation]
        if architecture.unit_columns:
            for layer in layers:
                layer.weight.data = equations.unit_columns(layer.weight.data)
        self.first = nn.Sequential(*[BatchRenorm(architecture.widths[0], copies, not inside)] * batch)
        self.before, self.after = nn.ModuleList(), nn.ModuleList()  # the activation of each hidden layer
        for width in architecture.widths[1:-1]:
            dropout = [Dropout(architecture.dropout, generator)] if architecture.dropout else []
            norm: list[nn.Module] = [LayerNorm(width, copies)] if architecture.norm == "layer" else []
            norm += [BatchRenorm(width, copies, corrected=False)] * inside
            self.before.append(nn.Sequential(*dropout, *norm))
            self.after.append(nn.Sequential(*[BatchRenorm(width, copies)] * (batch and not inside)))

    def hidden(self, x: Tensor) -> Tensor:
        """See `Network`."""
        x = self.first(x)
        *layers, _ = self.layers
        for layer, before, after in zip(layers, self.before, self.after, strict=True):
            x = after(self.activation(before(layer(x))))
        return x


class PairMLP(nn.Module):
    """M numbers for a state and an action from N networks: (B, O), (B, A) -> (N, B, M), or (N, B) for M = 1.

    `network` makes them of the architecture and the generator.
    """

    def __init__(
        self, architecture: Architecture, generator: torch.Generator, network: Callable[..., nn.Module] = MLP
    ) -> None:
        super().__init__()
        self.mlp, self.single = network(architecture, generator), architecture.widths[-1] == 1

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the N answers for each pair."""
        answers = self.mlp(torch.cat([obs, action], -1))
        return answers.squeeze(-1) if self.single else answers


class ChoiceMLP(nn.Module):
    """M numbers for each of A actions from N networks: (B, O) -> (N, B, A, M), from A M outputs in that order."""

    def __init__(
        self,
        architecture: Architecture,
        generator: torch.Generator,
        network: Callable[..., nn.Module],
        answers: int,
    ) -> None:
        super().__init__()
        self.mlp, self.answers = network(architecture, generator), answers

    def forward(self, obs: Tensor) -> Tensor:
        """Return the N answers for each action."""
        return self.mlp(obs).unflatten(-1, (-1, self.answers))


def initialise(layer: Dense, scheme: str, generator: torch.Generator) -> None:
    """Fill a layer in place.

    `default` is PyTorch's own for linear layers, uniform within 1/sqrt(inputs) for weights and biases. The others have
    zero biases: `xavier` is Glorot's uniform, as in pranz24/pytorch-soft-actor-critic; `orthonormal` has orthonormal
    rows or columns, `orthogonal` has them times sqrt(2), as in ikostrikov/jaxrl; `he` is normal with the variance
    2 / inputs (arXiv 1502.01852, Eq. 10).
    """
    inputs, outputs = layer.weight.shape[-2:]
    with torch.no_grad():
        if scheme == "xavier":
            bound = math.sqrt(6.0 / (inputs + outputs))
            layer.weight.uniform_(-bound, bound, generator=generator)
        elif scheme in ("orthogonal", "orthonormal"):
            for matrix in layer.weight.view(-1, inputs, outputs):
                nn.init.orthogonal_(matrix, math.sqrt(2.0) if scheme == "orthogonal" else 1.0, generator=generator)
        elif scheme == "he":
            layer.weight.normal_(0.0, math.sqrt(2.0 / inputs), generator=generator)
        else:
            bound = 1.0 / math.sqrt(inputs)
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=generator)


def call(network: nn.Module, weights: Weights, *inputs: Tensor, learning: bool = False) -> Tensor:
    """Return the network's output with these weights in place of its own.

    While `learning` it is in training mode, in which its layers may change their statistics in `weights` in place.
    """
    if network.training != learning:
        network.train(learning)
    return functional_call(network, weights, inputs)


def weights_of(network: nn.Module | None) -> tuple[Weights, Weights]:
    """Return the network's parameters and its statistics (buffers), by name; no network has none."""
    if network is None:
        return {}, {}
    return {name: each.detach() for name, each in network.named_parameters()}, dict(network.named_buffers())
