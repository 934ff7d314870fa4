"""Multi-layer perceptrons, alone or N at once in stacked weights.

O is the observation size, A the action size, N the number of critics, B the batch.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

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

    product: torch.dtype | None = None

    def __init__(self, inputs: int, outputs: int, copies: int | None = None) -> None:
        super().__init__()
        stack = () if copies is None else (copies,)
        self.weight = nn.Parameter(torch.zeros(*stack, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(*stack, *(() if copies is None else (1,)), outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b."""
        x = x.expand(*self.weight.shape[:-2], *x.shape[-2:])  # said outright: the product else finds its own order
        if self.product is None:
            return x @ self.weight + self.bias
        return (x.to(self.product) @ self.weight.to(self.product)).to(x.dtype) + self.bias


class MLP(nn.Module):
    """Map (B, in) to (B, out), or to (N, B, out) when `copies` is N, through the given hidden layers."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, activation: str = "relu", copies: int | None = None
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden, outputs]
        self.layers = nn.ModuleList(Dense(a, b, copies) for a, b in itertools.pairwise(sizes))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's output; no activation follows it."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class Critics(nn.Module):
    """N independent action values in one batched network: (B, O), (B, A) -> (N, B)."""

    def __init__(self, obs_size: int, action_size: int, hidden: Sequence[int], activation: str, critics: int) -> None:
        super().__init__()
        self.mlp = MLP(obs_size + action_size, hidden, 1, activation, copies=critics)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the N answers for each pair."""
        return self.mlp(torch.cat([obs, action], -1)).squeeze(-1)
