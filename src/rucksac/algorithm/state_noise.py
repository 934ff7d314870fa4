"""Exploration noise that is a function of the state (gSDE, arXiv 2005.05719)."""

import torch
from torch import Tensor, nn

from rucksac.algorithm.networks import Network

FIRST_LOG_STD = -3.0  # of each weight of the noise, in the authors' settings for SAC
LEAST_VARIANCE = 1e-6


class StateNoise(nn.Module):
    """A Gaussian policy whose noise is linear in the H numbers h that the last layer of `network` reads.

    With noise (B, H A), standard normal, the mean is mu(s) + h theta for weights theta = sigma * noise of the state's
    own; the same noise in the next state gives another deviation that fits it. Without it, the output (B, 2A) has what
    is so distributed: the mean mu(s) and the log standard deviation 1/2 log(h^2 sigma^2), by dimension. All gradients
    are those of that Gaussian.
    """

    def __init__(self, network: Network, hidden: int, action_size: int) -> None:
        super().__init__()
        self.network = network
        self.log_std = nn.Parameter(torch.full((hidden, action_size), FIRST_LOG_STD))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return mean and log standard deviation (B, 2A) for rows (B, O)."""
        hidden = self.network.hidden(obs)
        mean, std = self.network.layers[-1](hidden), self.log_std.exp()
        log_std = 0.5 * (hidden.square() @ std.square() + LEAST_VARIANCE).log()
        if noise is not None:
            theta = noise.view(-1, *std.shape) * std
            mean = mean + (hidden.unsqueeze(-1) * theta).sum(-2)
        return torch.cat([mean, log_std], -1)
