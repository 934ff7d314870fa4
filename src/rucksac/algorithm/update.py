"""One gradient step of Soft Actor-Critic as a pure function: critic, policy, temperature, target ([2] Alg. 1).

Everything that changes comes in as a value and goes out as a value; everything random is an argument. Gradients are
taken with respect to the values handed in, so no part can leave a trace in another. `write_back` puts a new state
into the memory of the old one, which makes the same lines an in-place step that compiles to a single graph.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.utils import _pytree as pytree

from rucksac.algorithm import equations
from rucksac.algorithm.categorical import Categorical
from rucksac.algorithm.policies import Candidates, Critic, SquashedGaussian

Parameters = dict[str, Tensor]
METRICS = ("critic_loss", "policy_loss", "temperature_loss", "alpha", "entropy", "q", "target_q")


class Batch(NamedTuple):
    """B transitions; obs (B, O), action (B, A) in [-1, 1], reward and discount (B,)."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor  # gamma^n where the return goes on, 0 after a termination
    next_obs: Tensor


class Scales(NamedTuple):
    """The scalars of one step, each shape (): Adam's step sizes and epsilon, and the target's weight."""

    policy: Tensor
    critic: Tensor
    temperature: Tensor
    epsilon: Tensor
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
    target: Parameters
    temperature: Learner

    @property
    def alpha(self) -> Tensor:
        """Return the temperature, shape ()."""
        return self.temperature.value["log_alpha"].exp()


@dataclass(frozen=True)
class SAC:
    """The parts of the step that do not change while learning. `target_entropy` None keeps alpha fixed."""

    policy: nn.Module  # (B, O) -> what the distribution needs
    critic: nn.Module  # as the distribution asks it
    target_entropy: float | None
    distribution: type[SquashedGaussian] | type[Categorical] = SquashedGaussian

    def start(self, alpha: float) -> State:
        """Return the state before the first step: the networks' own parameters, targets copied from the critics."""
        critic = _parameters(self.critic)
        return State(
            policy=Learner.start(_parameters(self.policy)),
            critic=Learner.start(critic),
            target={name: tensor.clone() for name, tensor in critic.items()},
            temperature=Learner.start({"log_alpha": torch.tensor(alpha).log()}),
        )

    def act(self, policy: Parameters, obs: Tensor, noise: Tensor) -> Tensor:
        """Return one action in [-1, 1] per observation (B, O), shape (B, A); noise (B, A) of zeros gives the mean."""
        return self.distribution.sample(functional_call(self.policy, policy, (obs,)), noise)

    def step(self, state: State, batch: Batch, noise: Tensor, scales: Scales) -> tuple[State, Tensor]:
        """Return the state after one gradient step and the metrics named in `METRICS`, shape (7,).

        `noise` is standard normal, (2, B, A): for the next states and for the states of the batch.
        """
        alpha = state.alpha

        distribution = self.distribution

        def critics(parameters: Parameters) -> Critic:
            return lambda *inputs: functional_call(self.critic, parameters, inputs)

        def candidates(policy: Parameters, obs: Tensor, noise: Tensor) -> Candidates:
            return distribution.candidates(functional_call(self.policy, policy, (obs,)), noise)

        following = candidates(state.policy.value, batch.next_obs, noise[0])
        answers = distribution.value_of_candidates(critics(state.target), batch.next_obs, following)
        next_q = equations.pessimistic(answers)
        next_value = equations.soft_value(next_q, following.log_prob, following.weight, alpha)
        target_q = equations.td_target(batch.reward, batch.discount, next_value)

        def critic_loss(critic: Parameters) -> tuple[Tensor, Tensor]:
            answers = distribution.value_of_taken(critics(critic), batch.obs, batch.action)
            return equations.critic_loss(answers, target_q), answers.mean()

        gradient, (critic_loss_now, q_mean) = grad_and_value(critic_loss, has_aux=True)(state.critic.value)
        critic = state.critic.descend(gradient, scales.critic, scales.epsilon)

        def policy_loss(policy: Parameters) -> tuple[Tensor, Tensor]:
            now = candidates(policy, batch.obs, noise[1])
            answers = distribution.value_of_candidates(critics(critic.value), batch.obs, now)
            loss = equations.policy_loss(equations.pessimistic(answers), now.log_prob, now.weight, alpha)
            return loss, equations.entropy(now.log_prob, now.weight)

        gradient, (policy_loss_now, entropy) = grad_and_value(policy_loss, has_aux=True)(state.policy.value)
        policy = state.policy.descend(gradient, scales.policy, scales.epsilon)

        temperature, temperature_loss_now = state.temperature, torch.zeros_like(alpha)
        if (target_entropy := self.target_entropy) is not None:

            def temperature_loss(temperature: Parameters) -> Tensor:
                return equations.temperature_loss(temperature["log_alpha"].exp(), entropy, target_entropy)

            gradient, temperature_loss_now = grad_and_value(temperature_loss)(state.temperature.value)
            temperature = state.temperature.descend(gradient, scales.temperature, scales.epsilon)

        target = {name: equations.polyak(state.target[name], critic.value[name], scales.tau) for name in state.target}

        metrics = (critic_loss_now, policy_loss_now, temperature_loss_now, alpha, entropy, q_mean, target_q.mean())
        return State(policy, critic, target, temperature), torch.stack(metrics)


def write_back(state: State, new: State) -> None:
    """Copy every tensor of `new` into the memory of `state`."""
    for old_tensor, new_tensor in zip(pytree.tree_leaves(state), pytree.tree_leaves(new), strict=True):
        if old_tensor is not new_tensor:
            old_tensor.copy_(new_tensor)


def _parameters(network: nn.Module) -> Parameters:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}
