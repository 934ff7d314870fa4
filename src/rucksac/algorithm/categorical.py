"""The policy of discrete actions: all of them, each with its probability (Christodoulou 2019, arXiv 1910.07207).

An action is its one-hot row (A,), so replay and step treat it like any other.
"""

import math

import torch
from torch import Tensor

from rucksac.algorithm.policies import Candidates

SHARE_OF_HIGHEST_ENTROPY = 0.8  # the paper has 0.98 (Sec. 5); docs/adr/0010-discrete-actions.md says why not here


class Categorical:
    """A probability for each of A actions; every action is a candidate, K = A. The network's A outputs are logits."""

    @staticmethod
    def outputs(action_size: int) -> int:
        """Return how many numbers the network must produce per state."""
        return action_size

    @staticmethod
    def entropies(action_size: int) -> tuple[float, float, float]:
        """Return lowest, usual target and highest entropy (of the uniform distribution), in nats."""
        highest = math.log(action_size)
        return 0.0, SHARE_OF_HIGHEST_ENTROPY * highest, highest

    @staticmethod
    def candidates(output: Tensor, noise: Tensor) -> Candidates:  # noqa: ARG004 (an expectation needs no sample)
        """Return every action with its probability; output (B, A). The expectations are exact, the noise unused."""
        log_prob = output.log_softmax(-1)
        return Candidates(None, log_prob, log_prob.exp())

    @staticmethod
    def sample(output: Tensor, noise: Tensor) -> Tensor:
        """Return one-hot actions (B, A), the most probable ones for noise of zeros.

        Standard normal noise (B, A) becomes Gumbel noise, whose largest sum with the logits is a sample (Gumbel 1954).
        """
        uniform = torch.special.ndtr(noise.double()).clamp(1e-300, 1.0 - 1e-16)
        choice = (output - (-uniform.log()).log()).argmax(-1, keepdim=True)
        return (torch.arange(output.shape[-1], device=output.device) == choice).to(output.dtype)
