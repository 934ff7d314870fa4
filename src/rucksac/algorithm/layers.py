"""Layers between those with weights: norms and dropout, for one network or N side by side.

Inputs are (B, H), or (N, B, H) for N copies. What a layer counts or averages over time is a buffer, so it is part of
the state of learning like any parameter.
"""

import torch
from torch import Tensor, nn

LAYER_NORM_EPSILON, RMS_NORM_EPSILON = 1e-5, 1e-6
RENORM_EPSILON, RENORM_MOMENTUM, RENORM_WARMUP = 1e-3, 0.99, 100_000
LARGEST_SCALE, LARGEST_SHIFT = 3.0, 5.0


class LayerNorm(nn.Module):
    """Normalise each row to mean 0 and variance 1, then scale and shift each number (arXiv 1607.06450)."""

    def __init__(self, size: int, copies: int | None) -> None:
        super().__init__()
        shape = (size,) if copies is None else (copies, 1, size)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows."""
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred * (centred.square().mean(-1, keepdim=True) + LAYER_NORM_EPSILON).rsqrt() * self.weight + self.bias
        )


class RMSNorm(nn.Module):
    """Divide each row by its root mean square, then scale each number (arXiv 1910.07467)."""

    def __init__(self, size: int, copies: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((size,) if copies is None else (copies, 1, size)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows."""
        return x * (x.square().mean(-1, keepdim=True) + RMS_NORM_EPSILON).rsqrt() * self.weight


class Scale(nn.Module):
    """Multiply each number by a factor that begins at `initial` (arXiv 2502.15280).

    The parameter begins at `unit`: the smaller that is, the faster the factor moves for one learning rate.
    """

    def __init__(self, size: int, copies: int | None, initial: float, unit: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,) if copies is None else (copies, 1, size), unit))
        self.gain = initial / unit

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled rows."""
        return x * (self.gain * self.weight)


class Dropout(nn.Module):
    """Leave out a share of the numbers and scale up the rest, whether learning or not (arXiv 2110.02034).

    Which ones follows from a count of the passes in which the network learned, by a hash of count and position: masks
    need no memory and repeat themselves exactly when a run is resumed.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("count", torch.randint(2**31, (), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return what is left."""
        count = self.get_buffer("count")
        if self.training:
            count += 2  # even numbers for learning, odd ones for all else
        place = torch.arange(x.numel(), device=x.device).view(x.shape)
        kept = hashed(place ^ hashed(count if self.training else count + 1)) >= int(self.share * 2**32)
        return torch.where(kept, x / (1.0 - self.share), 0.0)


class BatchRenorm(nn.Module):
    """Normalise each number by its mean and variance over the batch, corrected towards those of all batches.

    Batch renormalisation (arXiv 1702.03275) as in CrossQ (arXiv 1902.05605): plain batch normalisation for the first
    100,000 passes that learn, or for ever without `corrected`. Where nothing is learned, the running mean and variance
    are used.
    """

    def __init__(self, size: int, copies: int | None, corrected: bool = True) -> None:
        super().__init__()
        self.corrected = corrected
        shape = (1, size) if copies is None else (copies, 1, size)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised batch; while learning, take it into the running statistics."""
        running_mean, running_variance = self.get_buffer("mean"), self.get_buffer("variance")
        if not self.training:
            return (x - running_mean) * (running_variance + RENORM_EPSILON).rsqrt() * self.weight + self.bias
        mean = x.mean(-2, keepdim=True)
        variance = (x - mean).square().mean(-2, keepdim=True)
        normal = (x - mean) * (variance + RENORM_EPSILON).rsqrt()
        if self.corrected:
            scale, shift = self._correction(mean.detach(), variance.detach(), running_mean, running_variance)
            normal = normal * scale + shift
        self._take_in(mean.detach(), variance.detach())
        return normal * self.weight + self.bias

    def _correction(
        self, mean: Tensor, variance: Tensor, running_mean: Tensor, running_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return scale and shift from the batch's statistics to the running ones, within bounds."""
        deviation, running = (variance + RENORM_EPSILON).sqrt(), (running_variance + RENORM_EPSILON).sqrt()
        scale = (deviation / running).clamp(1.0 / LARGEST_SCALE, LARGEST_SCALE)
        shift = ((mean - running_mean) / running).clamp(-LARGEST_SHIFT, LARGEST_SHIFT)
        begun = self.get_buffer("count") >= RENORM_WARMUP
        return torch.where(begun, scale, 1.0), torch.where(begun, shift, 0.0)

    def _take_in(self, mean: Tensor, variance: Tensor) -> None:
        for name, new in (("mean", mean), ("variance", variance)):
            old = self.get_buffer(name)
            old.copy_(RENORM_MOMENTUM * old + (1.0 - RENORM_MOMENTUM) * new)
        self.get_buffer("count").add_(1)


def hashed(number: Tensor) -> Tensor:
    """Return 32 random-looking bits for each whole number (two rounds of shift, exclusive or and product)."""
    bits = number & 0xFFFFFFFF
    for _ in range(2):
        bits = ((bits ^ (bits >> 16)) * 0x045D9F3B) & 0xFFFFFFFF  # below 2^63, so that nothing overflows
    return bits ^ (bits >> 16)
