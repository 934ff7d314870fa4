"""How a network's output becomes actions: K weighted candidates per state with their log-probabilities."""

from typing import NamedTuple

import torch
from torch import Tensor

from rucksac.algorithm import equations

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Candidates(NamedTuple):
    """What a policy proposes in each state; see the table in `equations`."""

    action: Tensor  # (B, A) for K = 1
    log_prob: Tensor  # (B, K), nats
    weight: Tensor  # (B, K), sums to 1 over K


class SquashedGaussian:
    """A diagonal Gaussian squashed by tanh into the cube [-1, 1]^A ([1] App. C); one sampled candidate, K = 1.

    The network's 2A outputs are the mean and the log standard deviation, the latter clamped to [-20, 2].
    """

    @staticmethod
    def outputs(action_size: int) -> int:
        """Return how many numbers the network must produce per state."""
        return 2 * action_size

    @staticmethod
    def candidates(output: Tensor, noise: Tensor) -> Candidates:
        """Return one reparameterised sample per state; output (B, 2A), noise (B, A) standard normal."""
        mean, log_std = output.chunk(2, -1)
        action, log_prob = equations.squashed_gaussian(mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX), noise)
        log_prob = log_prob.unsqueeze(-1)
        return Candidates(action, log_prob, torch.ones_like(log_prob))

    @staticmethod
    def sample(output: Tensor, noise: Tensor) -> Tensor:
        """Return the sampled actions alone, (B, A); without noise they are the deterministic ones, tanh(mean)."""
        return SquashedGaussian.candidates(output, noise).action
