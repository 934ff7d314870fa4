"""Critics that learn the distribution of the return rather than its expectation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rucksac.algorithm import equations
from rucksac.algorithm.critics import Reduction
from rucksac.algorithm.policies import Candidates


@dataclass(frozen=True)
class Quantiles:
    """M quantiles per critic, at the middles of M equal shares of the return's distribution (TQC, arXiv 2005.04269).

    The target's quantiles are those of all critics together without the largest, `dropped` for each critic, or with
    `averaged` the critics' means of each (BRO, arXiv 2405.16158). They are for continuous actions alone: K is 1.
    """

    dropped: int
    averaged: bool = False

    metrics = ("q", "target_q", "q_spread")

    def expected(self, answers: Tensor) -> Tensor:
        """Return the mean of the quantiles."""
        return answers.mean(-1)

    def target(
        self, answers: Tensor, candidates: Candidates, alpha: Tensor, reward: Tensor, discount: Tensor, __: Reduction
    ) -> Tensor:
        """Return r + discount (z - alpha log pi) for each quantile z that is kept (Eq. 10 to 12)."""
        critics, _, _, quantiles = answers.shape
        if self.averaged:
            kept = equations.mean(answers.squeeze(2))
        else:
            pooled = answers.squeeze(2).transpose(0, 1).flatten(1).sort(-1).values
            kept = pooled[:, : critics * (quantiles - self.dropped)]
        return equations.quantile_target(reward, discount, kept, alpha * candidates.log_prob)

    def loss(self, answers: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the quantile Huber loss, summed over critics (Eq. 13)."""
        return equations.quantile_loss(answers, target, weight)

    def report(self, answers: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute error over critics, mean answers and targets, and the quantiles' deviation."""
        q, mean = answers.mean(-1), target.mean(-1)
        metrics = {"q": q.mean(), "target_q": mean.mean(), "q_spread": answers.std(-1).mean()}
        return (q - mean).abs().mean(0), metrics


@dataclass(frozen=True)
class Categories:
    """Probabilities of M values from -bound to bound, at equal distances, as logits (C51, arXiv 1707.06887).

    The target is the whole distribution of the critic with the smaller expectation (XQC), or with `averaged` the mean
    of the critics' distributions (BRC, arXiv 2505.23150); discrete actions have one each, mixed as the policy chooses
    them. Returns must lie within the bound, so rewards are normalised as a rule.
    """

    count: int
    bound: float
    averaged: bool = False

    metrics = ("q", "target_q", "q_spread", "q_at_bound")

    def expected(self, answers: Tensor) -> Tensor:
        """Return the expectations."""
        return answers.softmax(-1) @ self._support(answers)

    def target(
        self, answers: Tensor, candidates: Candidates, alpha: Tensor, reward: Tensor, discount: Tensor, __: Reduction
    ) -> Tensor:
        """Return the distribution of r + discount (z - alpha log pi), (B, M)."""
        if self.averaged:
            probabilities = equations.mean(answers.softmax(-1))
        else:
            lowest = self.expected(answers).argmin(0).unsqueeze(-1).expand(1, *answers.shape[1:])
            probabilities = answers.gather(0, lowest).squeeze(0).softmax(-1)
        cost = alpha * candidates.log_prob
        return equations.categorical_target(reward, discount, probabilities, candidates.weight, cost, self.bound)

    def loss(self, answers: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the cross-entropy, summed over critics."""
        return equations.categorical_loss(answers.log_softmax(-1), target, weight)

    def report(self, answers: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute error over critics and metrics.

        They are means of answers and targets, the answers' deviation, and how much of the targets is at the bounds.
        """
        support, q = self._support(answers), self.expected(answers)
        mean, variance = target @ support, answers.softmax(-1) @ support.square() - q.square()
        metrics = {
            "q": q.mean(),
            "target_q": mean.mean(),
            "q_spread": variance.clamp(min=0.0).sqrt().mean(),
            "q_at_bound": (target[:, 0] + target[:, -1]).mean(),
        }
        return (q - mean).abs().mean(0), metrics

    def _support(self, like: Tensor) -> Tensor:
        return torch.linspace(-self.bound, self.bound, self.count, device=like.device, dtype=like.dtype)
