"""How critics are asked, and what their answers say of the return.

N critics judge B states at once. Their network answers for an action, or for each of A choices, with what a
`ReturnModel` understands: a single number for the expected return, or M numbers for its distribution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from rucksac.algorithm import equations
from rucksac.algorithm.networks import Weights, call
from rucksac.algorithm.policies import Candidates

Reduction = Callable[[Tensor], Tensor]
"""Makes one judgement of N: (N, B, ...) -> (B, ...)."""


class ReturnModel(Protocol):
    """What the answers of critics mean. `...` stands for the numbers of one answer: none here, or M of them."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics that `report` returns."""

    def expected(self, answers: Tensor) -> Tensor:
        """Return the expected returns, (N, B, K), that answers (N, B, K, ...) stand for."""

    def target(
        self, answers: Tensor, candidates: Candidates, alpha: Tensor, reward: Tensor, discount: Tensor, one: Reduction
    ) -> Tensor:
        """Return what to learn, (B, ...), from answers (N, B, K, ...) for the candidates in the next states."""

    def loss(self, answers: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss, shape (), of answers (N, B, ...) for the actions taken; weight (B,) is 1 if not given."""

    def report(self, answers: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the TD error of each transition, (B,), and metrics of shape ()."""


class ExpectedReturn:
    """One number per critic, Q(s, a), learned by squared error ([1] Eq. 5 to 8; [1] is arXiv 1801.01290)."""

    metrics = ("q", "target_q")

    def expected(self, answers: Tensor) -> Tensor:
        """Return the answers as they are."""
        return answers

    def target(
        self, answers: Tensor, candidates: Candidates, alpha: Tensor, reward: Tensor, discount: Tensor, one: Reduction
    ) -> Tensor:
        """Return r + discount E_a[Q - alpha log pi], (B,), with one Q of N."""
        value = equations.soft_value(one(answers), candidates.log_prob, candidates.weight, alpha)
        return equations.td_target(reward, discount, value)

    def loss(self, answers: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the squared error, halved, summed over critics."""
        return equations.critic_loss(answers, target, weight)

    def report(self, answers: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute error over critics, and mean answers and targets."""
        return (answers - target).abs().mean(0), {"q": answers.mean(), "target_q": target.mean()}


EXPECTED_RETURN = ExpectedReturn()


@dataclass(frozen=True)
class Critic:
    """N critics: their network, the meaning of its answers, and how N answers become one.

    The network maps (B, O), (B, A) to (N, B, ...), or, for choices, (B, O) to (N, B, A, ...). `joint` critics judge the
    actions taken and those to come in one pass, in which layers see the statistics of both (CrossQ, arXiv 1902.05605).
    """

    network: nn.Module
    choices: bool = False
    returns: ReturnModel = EXPECTED_RETURN
    for_target: Reduction = equations.smallest
    for_policy: Reduction = equations.smallest
    joint: bool = False
    count: int = 2
    subset: int | None = None  # how many critics, drawn anew for each step, answer for the target (arXiv 2101.05982)
    stacked: bool = False  # whether the network's weights are N of each along the first dimension

    def of_candidates(self, weights: Weights, obs: Tensor, candidates: Candidates) -> Tensor:
        """Return the answers (N, B, K, ...) for a policy's candidates."""
        if candidates.action is None:
            return call(self.network, weights, obs)
        return call(self.network, weights, obs, candidates.action).unsqueeze(2)

    def of_some(self, weights: Weights, obs: Tensor, candidates: Candidates, chosen: Tensor) -> Tensor:
        """Return what `of_candidates` does from the critics of these numbers; stacked ones are the only ones asked."""
        if not self.stacked:
            return self.of_candidates(weights, obs, candidates)[chosen]
        some = {name: each[chosen] if each.dim() > 1 else each for name, each in weights.items()}
        return self.of_candidates(some, obs, candidates)

    def of_taken(self, weights: Weights, obs: Tensor, action: Tensor) -> Tensor:
        """Return the answers (N, B, ...) for the actions taken, (B, A), as they are learned."""
        if not self.choices:
            return call(self.network, weights, obs, action, learning=True)
        answers = call(self.network, weights, obs, learning=True)
        return self._taken(answers, action)

    def of_both(
        self, weights: Weights, obs: Tensor, action: Tensor, next_obs: Tensor, candidates: Candidates
    ) -> tuple[Tensor, Tensor]:
        """Return what `of_taken` and `of_candidates` do, from one pass over both."""
        inputs = [torch.cat([obs, next_obs])]
        if candidates.action is not None:
            inputs.append(torch.cat([action, candidates.action]))
        taken, to_come = call(self.network, weights, *inputs, learning=True).chunk(2, 1)
        if candidates.action is None:
            return self._taken(taken, action), to_come
        return taken, to_come.unsqueeze(2)

    @staticmethod
    def _taken(answers: Tensor, action: Tensor) -> Tensor:
        taken = action.view(*action.shape, *(1 for _ in answers.shape[3:]))
        return (answers * taken).sum(2)
