"""How a network's output becomes actions: K weighted candidates per state with their log-probabilities."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rucksac.algorithm import equations

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
LOG_STD_MIDDLE, LOG_STD_REACH = -4.0, 6.0  # by tanh


class Candidates(NamedTuple):
    """What a policy proposes in each state; see the table in `equations`."""

    action: Tensor | None  # (B, A) for K = 1; None where the candidates are simply all K actions
    log_prob: Tensor  # (B, K), nats
    weight: Tensor  # (B, K), sums to 1 over K


class Distribution(Protocol):
    """What a policy's network output means."""

    def outputs(self, action_size: int) -> int:
        """Return how many numbers the network must produce per state."""

    def entropies(self, action_size: int) -> tuple[float, float, float]:
        """Return lowest, usual target and highest entropy, in nats."""

    def candidates(self, output: Tensor, noise: Tensor) -> Candidates:
        """Return the candidates in each state; output (B, outputs), noise (B, A) standard normal."""

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return one action per state, (B, A); noise of zeros gives the deterministic ones."""


@dataclass(frozen=True)
class SquashedGaussian:
    """A diagonal Gaussian squashed by tanh into the cube [-1, 1]^A ([1] App. C); one sampled candidate, K = 1.

    The network's 2A outputs are the mean and the log standard deviation. The latter is clamped to [-20, 2] or, if so
    `by_tanh`, -4 + 6 tanh of it: between -10 and 2, with a gradient everywhere (denisyarats/pytorch_sac).
    """

    by_tanh: bool = False

    @staticmethod
    def outputs(action_size: int) -> int:
        """Return how many numbers the network must produce per state."""
        return 2 * action_size

    @staticmethod
    def entropies(action_size: int) -> tuple[float, float, float]:
        """Return lowest, usual target ([2] App. D: -A) and highest entropy (of the uniform density), in nats."""
        return -math.inf, -float(action_size), action_size * math.log(2.0)

    def candidates(self, output: Tensor, noise: Tensor) -> Candidates:
        """Return one reparameterised sample per state; output (B, 2A), noise (B, A) standard normal."""
        action, log_prob = self._sample(output, noise)
        log_prob = log_prob.unsqueeze(-1)
        return Candidates(action, log_prob, torch.ones_like(log_prob))

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the sampled actions alone, (B, A); noise of zeros gives the deterministic ones, tanh(mean)."""
        return self._sample(output, noise)[0]

    def _sample(self, output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = output.chunk(2, -1)
        return equations.squashed_gaussian(mean, self.log_std(log_std), noise)

    def log_std(self, raw: Tensor) -> Tensor:
        """Return the log standard deviations that the network's raw outputs for them, (B, A), stand for."""
        return LOG_STD_MIDDLE + LOG_STD_REACH * raw.tanh() if self.by_tanh else raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
