"""One gradient step of Soft Actor-Critic as a pure function: critic, policy, temperature, targets ([2] Alg. 1).

Everything that changes comes in as a value and goes out as a value; everything random is an argument. Gradients are
taken with respect to the values handed in, so no part can leave a trace in another. `write_back` puts a new state
into the memory of the old one, which makes the same lines an in-place step that compiles to a single graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.utils import _pytree as pytree

from rucksac.algorithm import equations
from rucksac.algorithm.categorical import Categorical
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.policies import Candidates, Critic, SquashedGaussian
from rucksac.algorithm.state_value import StateValue

Parameters = dict[str, Tensor]
Distribution = type[SquashedGaussian] | type[Categorical] | Deterministic
METRICS = ("critic_loss", "policy_loss", "temperature_loss", "alpha", "entropy", "q", "target_q")


class Batch(NamedTuple):
    """B transitions; obs (B, O), action (B, A) in [-1, 1], reward and discount (B,)."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor  # gamma^n where the return goes on, 0 after a termination
    next_obs: Tensor


class Scales(NamedTuple):
    """The scalars of one step, each shape (): Adam's step sizes, its epsilon by two clocks, and the target's weight."""

    policy: Tensor
    critic: Tensor
    temperature: Tensor
    critic_epsilon: Tensor
    policy_epsilon: Tensor
    tau: Tensor


class Learner(NamedTuple):
    """One set of parameters under optimisation: its values and Adam's two moments, alike in shape."""

    value: Parameters
    mean: Parameters
    square: Parameters

    @classmethod
    def start(cls, value: Parameters) -> "Learner":
        """Return a learner with zero moments."""
        return cls(value, *({name: torch.zeros_like(tensor) for name, tensor in value.items()} for _ in range(2)))

    def descend(self, gradient: Parameters, step_size: Tensor, epsilon: Tensor) -> "Learner":
        """Return the learner after one Adam step."""
        moved = {
            name: equations.adam(value, gradient[name], self.mean[name], self.square[name], step_size, epsilon)
            for name, value in self.value.items()
        }
        return Learner(*({name: triple[part] for name, triple in moved.items()} for part in range(3)))


class State(NamedTuple):
    """All that learning changes. The temperature is alpha = exp(log_alpha), here and everywhere."""

    policy: Learner
    critic: Learner
    target: dict[str, Parameters]  # slow copies, by the name of the network
    temperature: Learner
    value: Learner  # empty where there is no state-value network

    @property
    def alpha(self) -> Tensor:
        """Return the temperature, shape ()."""
        return self.temperature.value["log_alpha"].exp()


@dataclass(frozen=True)
class SAC:
    """The parts of the step that do not change while learning. `target_entropy` None keeps alpha fixed.

    `acting` makes actions in the environment, `evaluation` where states are valued, `improvement` in the policy's loss.
    """

    policy: nn.Module  # (B, O) -> what the distributions need
    critic: nn.Module  # as the distributions ask it
    target_entropy: float | None
    acting: Distribution = SquashedGaussian
    evaluation: Distribution = SquashedGaussian
    improvement: Distribution = SquashedGaussian
    value: StateValue | None = None
    targets: tuple[str, ...] = ("critic",)  # the networks with a slow copy, which then answers for the next states
    policy_q: Callable[[Tensor], Tensor] = equations.pessimistic  # how N critics become the one that the policy climbs
    temperature_loss: Callable[[Tensor, Tensor, float], Tensor] = equations.temperature_loss
    entropy_to_come: bool = True  # counts where states are valued ([1] Eq. 3); not so in SACLite (arXiv 2201.12434)

    def start(self, alpha: float) -> State:
        """Return the state before the first step: the networks' own parameters, and copies of them as targets."""
        networks = {"policy": self.policy, "critic": self.critic, "value": self.value.network if self.value else None}
        start = {name: Learner.start(_parameters(network)) for name, network in networks.items()}
        target = {name: {key: tensor.clone() for key, tensor in start[name].value.items()} for name in self.targets}
        temperature = Learner.start({"log_alpha": torch.tensor(alpha).log()})
        return State(start["policy"], start["critic"], target, temperature, start["value"])

    def act(self, policy: Parameters, obs: Tensor, noise: Tensor) -> Tensor:
        """Return one action in [-1, 1] per observation (B, O), shape (B, A); noise (B, A) of zeros gives the mean."""
        return self.acting.sample(functional_call(self.policy, policy, (obs,)), noise)

    def step(
        self, state: State, batch: Batch, noise: Tensor, scales: Scales, improve: bool = True
    ) -> tuple[State, Tensor]:
        """Return the state after one gradient step and the metrics named in `METRICS`, shape (7,).

        `noise` is standard normal, (2, B, A): for valuing states and for improving the policy. Without `improve`
        policy and temperature stay as they are.
        """
        alpha = state.alpha
        slow = {"policy": state.policy.value, "critic": state.critic.value} | state.target
        if self.value is None:
            value = state.value
            next_value = self._soft_value(slow["policy"], slow["critic"], batch.next_obs, noise[0], alpha)
        else:
            expected = self._soft_value(slow["policy"], slow["critic"], batch.obs, noise[0], alpha)
            gradient = self.value.gradient(state.value.value, batch.obs, expected)
            value = state.value.descend(gradient, scales.critic, scales.critic_epsilon)
            next_value = self.value(slow["value"], batch.next_obs)
        target_q = equations.td_target(batch.reward, batch.discount, next_value)

        def critic_loss(critic: Parameters) -> tuple[Tensor, Tensor]:
            answers = self.improvement.value_of_taken(self._critics(critic), batch.obs, batch.action)
            return equations.critic_loss(answers, target_q), answers.mean()

        gradient, (critic_loss_now, q_mean) = grad_and_value(critic_loss, has_aux=True)(state.critic.value)
        critic = state.critic.descend(gradient, scales.critic, scales.critic_epsilon)

        policy, policy_loss_now, entropy = state.policy, torch.zeros_like(alpha), torch.zeros_like(alpha)
        if improve:

            def policy_loss(policy: Parameters) -> tuple[Tensor, Tensor]:
                answers, now = self._judged(self.improvement, policy, critic.value, batch.obs, noise[1])
                loss = equations.policy_loss(self.policy_q(answers), now.log_prob, now.weight, alpha)
                return loss, equations.entropy(now.log_prob, now.weight)

            gradient, (policy_loss_now, entropy) = grad_and_value(policy_loss, has_aux=True)(state.policy.value)
            policy = state.policy.descend(gradient, scales.policy, scales.policy_epsilon)

        temperature, temperature_loss_now = state.temperature, torch.zeros_like(alpha)
        if improve and (target_entropy := self.target_entropy) is not None:

            def temperature_loss(temperature: Parameters) -> Tensor:
                return self.temperature_loss(temperature["log_alpha"], entropy, target_entropy)

            gradient, temperature_loss_now = grad_and_value(temperature_loss)(state.temperature.value)
            temperature = state.temperature.descend(gradient, scales.temperature, scales.policy_epsilon)

        online = {"policy": policy.value, "critic": critic.value, "value": value.value}
        target = {
            name: {key: equations.polyak(old, online[name][key], scales.tau) for key, old in copy.items()}
            for name, copy in state.target.items()
        }
        metrics = (critic_loss_now, policy_loss_now, temperature_loss_now, alpha, entropy, q_mean, target_q.mean())
        return State(policy, critic, target, temperature, value), torch.stack(metrics)

    def _soft_value(self, policy: Parameters, critic: Parameters, obs: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
        answers, now = self._judged(self.evaluation, policy, critic, obs, noise)
        bonus = alpha if self.entropy_to_come else torch.zeros_like(alpha)
        return equations.soft_value(equations.pessimistic(answers), now.log_prob, now.weight, bonus)

    def _judged(
        self, how: Distribution, policy: Parameters, critic: Parameters, obs: Tensor, noise: Tensor
    ) -> tuple[Tensor, Candidates]:
        """Return the N critics' answers (N, B, K) to the policy's candidates, and these."""
        candidates = how.candidates(functional_call(self.policy, policy, (obs,)), noise)
        return how.value_of_candidates(self._critics(critic), obs, candidates), candidates

    def _critics(self, parameters: Parameters) -> Critic:
        return lambda *inputs: functional_call(self.critic, parameters, inputs)


def write_back(state: State, new: State) -> None:
    """Copy every tensor of `new` into the memory of `state`."""
    for old_tensor, new_tensor in zip(pytree.tree_leaves(state), pytree.tree_leaves(new), strict=True):
        if old_tensor is not new_tensor:
            old_tensor.copy_(new_tensor)


def _parameters(network: nn.Module | None) -> Parameters:
    return {name: parameter.detach() for name, parameter in network.named_parameters()} if network else {}
