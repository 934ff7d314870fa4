"""The policy without a density: one action per state, plus noise where it explores or smooths its critics.

What the methods before SAC use (arXiv 1509.02971 and 1802.09477), and pranz24/pytorch-soft-actor-critic beside it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rucksac.algorithm.policies import Candidates


@dataclass(frozen=True)
class Deterministic:
    """tanh of the network's A outputs, plus Gaussian noise cut off at +-`clip`, kept within [-1, 1]; K = 1.

    Its log-probability counts as 0, so that every entropy term of the step vanishes and alpha has no effect.
    """

    noise: float = 0.0  # standard deviation
    clip: float = 0.0

    @staticmethod
    def outputs(action_size: int) -> int:
        """Return how many numbers the network must produce per state."""
        return action_size

    @staticmethod
    def entropies(action_size: int) -> tuple[float, float, float]:  # noqa: ARG004
        """Return lowest, usual and highest entropy: what counts as entropy here is 0."""
        return 0.0, 0.0, 0.0

    def candidates(self, output: Tensor, noise: Tensor) -> Candidates:
        """Return one action per state; output (B, A), noise (B, A) standard normal."""
        nothing = torch.zeros_like(output[:, :1])
        return Candidates(self.sample(output, noise), nothing, torch.ones_like(nothing))

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the actions alone, (B, A); noise of zeros gives the mean ones, tanh(output)."""
        if self.noise == 0.0:
            return output.tanh()
        return (output.tanh() + (self.noise * noise).clamp(-self.clip, self.clip)).clamp(-1.0, 1.0)
