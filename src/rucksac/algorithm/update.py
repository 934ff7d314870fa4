"""One gradient step of Soft Actor-Critic as a pure function: critic, policy, temperature, targets ([2] Alg. 1).

Everything that changes comes in as a value and goes out as a value; everything random is an argument. Gradients are
taken with respect to the values handed in, so no part can leave a trace in another. `write_back` puts a new state
into the memory of the old one, which makes the same lines an in-place step that compiles to a single graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad_and_value
from torch.utils import _pytree as pytree

from rucksac.algorithm import equations
from rucksac.algorithm.critics import Critic
from rucksac.algorithm.networks import Weights, call, weights_of
from rucksac.algorithm.optimisers import Moments, Optimiser
from rucksac.algorithm.policies import Candidates, Distribution, SquashedGaussian

Scalars = dict[str, dict[str, Tensor]]
Draws = dict[str, Tensor]
Metrics = dict[str, Tensor]


class Batch(NamedTuple):
    """B transitions; obs (B, O), action (B, A) in [-1, 1], reward, discount and weight (B,)."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor  # gamma^n where the return goes on, 0 after a termination
    next_obs: Tensor
    weight: Tensor | None = None  # how much each counts in the critics' loss, where they do not all count alike


class Draw(NamedTuple):
    """A random input of the step: standard normal numbers, or a subset, without repetition, of `out_of` indices."""

    law: Literal["normal", "subset"]
    shape: tuple[int, ...]
    out_of: int = 0


class Trained(NamedTuple):
    """One network under optimisation: what gradients move, what its layers keep count of, and the optimiser's state."""

    parameters: Weights
    statistics: Weights
    moments: Moments

    @property
    def weights(self) -> Weights:
        """Return all that the network computes with."""
        return self.parameters | self.statistics


class State(NamedTuple):
    """All that learning changes. The temperature is alpha = exp(log_alpha), here and everywhere."""

    policy: Trained
    critic: Trained
    state_value: Trained  # empty where there is no such network
    temperature: Trained
    target: dict[str, Weights]  # slow copies, by the name of the network

    @property
    def alpha(self) -> Tensor:
        """Return the temperature, shape ()."""
        return self.temperature.parameters["log_alpha"].exp()

    def slow(self, name: str) -> Weights:
        """Return the network's slow copy, or the network itself where it has none."""
        return self.target[name] if name in self.target else getattr(self, name).weights


class Report(NamedTuple):
    """What one gradient step tells: metrics by name, shape (), and the TD error of each transition, (B,)."""

    metrics: Metrics
    td_error: Tensor


@dataclass(frozen=True)
class SAC:
    """The parts of the step that do not change while learning. `target_entropy` None keeps alpha fixed.

    `acting` makes actions in the environment, `evaluation` where states are valued, `improvement` in the policy's loss.
    """

    policy: nn.Module  # (B, O) -> what the distributions need
    critic: Critic
    optimisers: Mapping[str, Optimiser]  # of policy, critic, temperature and, where there is one, state_value
    target_entropy: float | None
    acting: Distribution = field(default_factory=SquashedGaussian)
    evaluation: Distribution = field(default_factory=SquashedGaussian)
    improvement: Distribution = field(default_factory=SquashedGaussian)
    state_value: nn.Module | None = None  # (B, O) -> (B, 1), answers for the next states ([1] Sec. 4.2)
    targets: tuple[str, ...] = ("critic",)  # the networks with a slow copy, which then answers for the next states
    tau: float = 0.005  # weight of the networks in each update of their slow copies
    target_every: int = 1  # gradient steps between these
    policy_delay: int = 1  # gradient steps for each that also improves policy and temperature
    temperature_loss: Callable[[Tensor, Tensor, float], Tensor] = equations.temperature_loss
    shared: tuple[str, ...] = ()  # parameters of the critics that are statistics of the others, who only read them
    noise_by_state: int = 0  # numbers of noise that the policy takes itself when it acts, see `state_noise`
    entropy_to_come: bool = True  # counts where states are valued ([1] Eq. 3); not so in SACLite (arXiv 2201.12434)

    def start(self, alpha: float) -> State:
        """Return the state before the first step: the networks' own parameters, and copies of them as targets."""
        networks = {"policy": self.policy, "critic": self.critic.network, "state_value": self.state_value}
        weights = {name: weights_of(network) for name, network in networks.items()}
        for name in self.shared:
            for network in ("policy", "state_value")[: 1 + (self.state_value is not None)]:
                weights[network][1][name].copy_(weights["critic"][0][name])
        weights["temperature"] = {"log_alpha": torch.tensor(alpha).log()}, {}
        trained = {
            name: Trained(parameters, statistics, self.optimisers[name].init(parameters) if parameters else {})
            for name, (parameters, statistics) in weights.items()
        }
        target = {name: {key: each.clone() for key, each in trained[name].weights.items()} for name in self.targets}
        return State(**trained, target=target)

    def draws(self, rows: int, action_size: int) -> dict[str, Draw]:
        """Return the random inputs that `step` takes, by name."""
        noise = Draw("normal", (rows, action_size))
        subset = {"subset": Draw("subset", (self.critic.subset,), self.critic.count)} if self.critic.subset else {}
        return {"evaluation": noise, "improvement": noise, **subset}

    def improves(self, count: int) -> bool:
        """Return whether gradient step number `count`, from 1, also improves policy and temperature."""
        return count % self.policy_delay == 0

    def scalars(self, count: int) -> dict[str, dict[str, float]]:
        """Return the numbers that change from one gradient step to the next, for number `count` (from 1)."""
        of_policy = max(1, count // self.policy_delay)
        scalars = {
            name: optimiser.scalars(of_policy if name in ("policy", "temperature") else count)
            for name, optimiser in self.optimisers.items()
        }
        scalars["target"] = {"tau": self.tau if count % self.target_every == 0 else 0.0}
        return scalars

    def metrics(self, improve: bool = True) -> tuple[str, ...]:
        """Return the names of the metrics that a step with or without `improve` reports."""
        of_policy = ("policy_loss", "temperature_loss", "alpha", "entropy") if improve else ("alpha",)
        return ("critic_loss", *of_policy, *self.critic.returns.metrics)

    def act(self, weights: Weights, obs: Tensor, noise: Tensor) -> Tensor:
        """Return actions in [-1, 1] (B, A) for (B, O); noise (B, A) or (B, `noise_by_state`), of zeros for the mean."""
        inputs, rest = ((obs, noise), torch.zeros(1, 1)) if self.noise_by_state else ((obs,), noise)
        return self.acting.sample(call(self.policy, weights, *inputs), rest)

    def step(
        self, state: State, batch: Batch, draws: Draws, scalars: Scalars, improve: bool = True
    ) -> tuple[State, Report]:
        """Return the state after one gradient step, and what it tells; `improve` is for policy and temperature."""
        alpha = state.alpha
        state, td_error, metrics = self._learn_critic(state, batch, draws, scalars)
        state = self._share(state) if self.shared else state
        metrics["alpha"] = alpha
        if improve:
            state, metrics["policy_loss"], metrics["entropy"] = self._improve_policy(state, batch, draws, scalars)
            state, metrics["temperature_loss"] = self._adjust_temperature(state, metrics["entropy"], scalars)
        return self._follow(state, scalars), Report(metrics, td_error)

    def _answers_and_target(
        self, state: State, batch: Batch, draws: Draws, scalars: Scalars
    ) -> tuple[State, Callable[[Weights], tuple[Tensor, Tensor]]]:
        """Return what gives the critics' answers (N, B, ...) and what these learn, (B, ...), for the critics' weights.

        The state is the one in which a network for the values of states has learned, where there is one.
        """
        critic = self.critic
        if self.state_value is not None:
            state, target = self._target_by_state_value(self.state_value, state, batch, draws, scalars)
        elif critic.joint:
            candidates = self._candidates_to_come(state, batch.next_obs, draws)
            both = batch.obs, batch.action, batch.next_obs, candidates
            slow = self._of_slow_copies(state, *both) if "critic" in state.target else None

            def jointly(weights: Weights) -> tuple[Tensor, Tensor]:
                answers, to_come = critic.of_both(weights, *both)
                return answers, self._backup(to_come.detach() if slow is None else slow, candidates, state, batch)

            return state, jointly
        else:
            candidates = self._candidates_to_come(state, batch.next_obs, draws)
            weights = state.slow("critic")
            if critic.subset:
                answers = critic.of_some(weights, batch.next_obs, candidates, draws["subset"])
            else:
                answers = critic.of_candidates(weights, batch.next_obs, candidates)
            target = self._backup(answers, candidates, state, batch)
        return state, lambda weights: (critic.of_taken(weights, batch.obs, batch.action), target)

    def _of_slow_copies(
        self, state: State, obs: Tensor, action: Tensor, next_obs: Tensor, candidates: Candidates
    ) -> Tensor:
        """Return the slow copies' answers for what is to come, with the statistics of both states (XQC)."""
        statistics = {name: state.target["critic"][name].clone() for name in state.critic.statistics}
        weights = state.target["critic"] | statistics
        return self.critic.of_both(weights, obs, action, next_obs, candidates)[1]

    def _target_by_state_value(
        self, network: nn.Module, state: State, batch: Batch, draws: Draws, scalars: Scalars
    ) -> tuple[State, Tensor]:
        """Return the critics' target by a network for the values of states, which learns from them ([1] Eq. 5 to 8)."""
        candidates = self._candidates_to_come(state, batch.obs, draws)
        answers = self.critic.of_candidates(state.slow("critic"), batch.obs, candidates)
        q = self.critic.for_target(self.critic.returns.expected(answers))
        soft_value = equations.soft_value(q, candidates.log_prob, candidates.weight, self._bonus(state))

        def loss(weights: Weights) -> tuple[Tensor, tuple[()]]:
            value = call(network, weights, batch.obs, learning=True).squeeze(-1)
            return equations.value_loss(value, soft_value), ()

        next_value = call(network, state.slow("state_value"), batch.next_obs).squeeze(-1)
        state, _, _ = self._descend("state_value", state, loss, scalars)
        return state, equations.td_target(batch.reward, batch.discount, next_value)

    def _candidates_to_come(self, state: State, obs: Tensor, draws: Draws) -> Candidates:
        """Return what the policy would do in these states, (B, O)."""
        return self.evaluation.candidates(call(self.policy, state.slow("policy"), obs), draws["evaluation"])

    def _backup(self, answers: Tensor, candidates: Candidates, state: State, batch: Batch) -> Tensor:
        """Return what the critics learn from answers (N, B, K, ...) for the candidates in the next states."""
        critic, bonus = self.critic, self._bonus(state)
        return critic.returns.target(answers, candidates, bonus, batch.reward, batch.discount, critic.for_target)

    def _bonus(self, state: State) -> Tensor:
        """Return what an unlikely action adds to the value of a state, reward units per nat, shape ()."""
        return state.alpha if self.entropy_to_come else torch.zeros_like(state.alpha)

    def _learn_critic(
        self, state: State, batch: Batch, draws: Draws, scalars: Scalars
    ) -> tuple[State, Tensor, Metrics]:
        """Return the state with critics closer to their target, the TD errors before that, and metrics."""
        returns = self.critic.returns
        state, answers_and_target = self._answers_and_target(state, batch, draws, scalars)

        def loss(weights: Weights) -> tuple[Tensor, tuple[Tensor, Metrics]]:
            answers, target = answers_and_target(weights)
            return returns.loss(answers, target, batch.weight), returns.report(answers, target)

        state, critic_loss, (td_error, metrics) = self._descend("critic", state, loss, scalars)
        return state, td_error, {"critic_loss": critic_loss, **metrics}

    def _share(self, state: State) -> State:
        """Return the state in which all read what the critics have learned of pictures."""
        learned = {name: state.critic.parameters[name] for name in self.shared}
        readers = {"policy": state.policy, **({"state_value": state.state_value} if self.state_value else {})}
        shared = {name: each._replace(statistics=each.statistics | learned) for name, each in readers.items()}
        return State(**{**state._asdict(), **shared})

    def _improve_policy(
        self, state: State, batch: Batch, draws: Draws, scalars: Scalars
    ) -> tuple[State, Tensor, Tensor]:
        """Return the state with a better policy, its loss and the entropy before that."""
        alpha, critic = state.alpha, state.critic.weights

        def loss(weights: Weights) -> tuple[Tensor, Tensor]:
            output = call(self.policy, weights, batch.obs, learning=True)
            candidates = self.improvement.candidates(output, draws["improvement"])
            answers = self.critic.of_candidates(critic, batch.obs, candidates)
            q = self.critic.for_policy(self.critic.returns.expected(answers))
            entropy = equations.entropy(candidates.log_prob, candidates.weight)
            return equations.policy_loss(q, candidates.log_prob, candidates.weight, alpha), entropy

        return self._descend("policy", state, loss, scalars)

    def _adjust_temperature(self, state: State, entropy: Tensor, scalars: Scalars) -> tuple[State, Tensor]:
        """Return the state with a temperature that brings the entropy closer to its target, and its loss."""
        if (target := self.target_entropy) is None:
            return state, torch.zeros_like(entropy)

        def loss(weights: Weights) -> tuple[Tensor, tuple[()]]:
            return self.temperature_loss(weights["log_alpha"], entropy, target), ()

        state, temperature_loss, _ = self._descend("temperature", state, loss, scalars)
        return state, temperature_loss

    def _follow(self, state: State, scalars: Scalars) -> State:
        """Return the state with slow copies closer to their networks."""
        tau = scalars["target"]["tau"]
        target = {}
        for name, copy in state.target.items():
            online = getattr(state, name).weights
            target[name] = {
                key: equations.polyak(old, online[key], tau) if old.is_floating_point() else online[key]
                for key, old in copy.items()
            }
        return state._replace(target=target)

    def _descend(
        self, name: str, state: State, loss: Callable[[Weights], tuple[Tensor, Any]], scalars: Scalars
    ) -> tuple[State, Tensor, Any]:
        """Return the state after one update of a network by its optimiser, its loss, and what `loss` gave beside it."""
        trained, optimiser = getattr(state, name), self.optimisers[name]

        def of_parameters(parameters: Weights) -> tuple[Tensor, tuple[Any, Weights]]:
            statistics = {key: tensor.clone() for key, tensor in trained.statistics.items()}  # layers change them
            value, aside = loss(parameters | statistics)
            return value, (aside, statistics)

        gradient, (value, (aside, statistics)) = grad_and_value(of_parameters, has_aux=True)(trained.parameters)
        change, moments = optimiser.update(gradient, trained.moments, trained.parameters, scalars[name])
        parameters = {key: tensor + change[key] for key, tensor in trained.parameters.items()}
        changed: dict[str, Any] = {name: Trained(parameters, statistics, moments)}
        return state._replace(**changed), value, aside


def write_back(state: State, new: State) -> None:
    """Copy every tensor of `new` into the memory of `state`."""
    for old_tensor, new_tensor in zip(pytree.tree_leaves(state), pytree.tree_leaves(new), strict=True):
        if old_tensor is not new_tensor:
            old_tensor.copy_(new_tensor)
