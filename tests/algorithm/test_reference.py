"""Fifty gradient steps of every kind against the textbook: modules, autograd and PyTorch's optimisers, in float64.

The reference shares networks' first values, batches and noise with the step, and not one line of it.
"""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from torch.distributions import Normal, TanhTransform

from rucksac.algorithm.update import Batch
from rucksac.building import build
from rucksac.environments.choices import Choices
from rucksac.environments.opening import env_group_of
from rucksac.learner import Learner
from tests.algorithm.steps import SEEING, SPACES, config

STEPS, ROWS = 50, 7
PARTS = ("policy", "critic", "state_value")
SLOPE = TanhTransform().log_abs_det_jacobian


class Reference:
    """Soft Actor-Critic and its relatives, written as one would write them in a notebook."""

    def __init__(self, agent):
        self.config, parts, state = agent.config, agent.algorithm, agent.state
        self.target_entropy, self.discrete = parts.target_entropy, isinstance(agent.spaces.actions, Choices)
        networks = {"policy": parts.policy, "critic": parts.critic.network, "state_value": parts.state_value}
        self.networks = {name: copy.deepcopy(each).requires_grad_(True) for name, each in networks.items() if each}
        self.slow = {name: copy.deepcopy(self.networks[name]) for name in state.target}
        self.log_alpha = torch.tensor(agent.alpha).log().requires_grad_(True)
        rates = {"policy": self.config.policy_lr or self.config.lr}
        self.adam = {
            name: torch.optim.AdamW(
                network.parameters(),
                rates.get(name, self.config.lr),
                (self.config.adam_beta, 0.999),
                weight_decay=self.config.weight_decay,
            )
            for name, network in self.networks.items()
        }
        self.adam["temperature"] = torch.optim.Adam([self.log_alpha], self.config.lr, (self.config.adam_beta, 0.999))
        self.joint = "batch-before" in self.config.critic_norm or "batch" in self.config.blocks
        self.steps = 0
        self.share()

    def share(self):
        """Let all see pictures through the convolutions of the critics."""
        learned = dict(self.networks["critic"].named_parameters())
        for network in self.networks.values():
            for name, buffer in network.named_buffers():
                if name.startswith("convolutions"):
                    buffer.copy_(learned[name].detach())

    def soft_value(self, policy, critic, obs, noise, spread, pick, alpha):
        """Return E_a[Q - alpha log pi] per state, and the entropy."""
        output = policy(obs)
        if self.discrete:
            log_prob = output.log_softmax(-1)
            q = pick(critic(obs))
            return (log_prob.exp() * (q - alpha * log_prob)).sum(-1), -(log_prob.exp() * log_prob).sum(-1).mean()
        if self.config.deterministic_policy:
            clip = self.config.noise_clip
            action = (output.tanh() + (spread * noise).clamp(-clip, clip)).clamp(-1, 1)
            return pick(critic(obs, action)), torch.tensor(0.0)
        mean, log_std = output.chunk(2, -1)
        normal = Normal(mean, log_std.clamp(-20, 2).exp())
        u = mean + normal.stddev * noise
        log_prob = (normal.log_prob(u) - SLOPE(u, None)).sum(-1)
        return pick(critic(obs, u.tanh())) - alpha * log_prob, -log_prob.mean()

    def joint_target(self, policy, critic, batch, noise, alpha):
        """Return target and answers from one pass of the critics over both states."""
        with torch.no_grad():
            mean, log_std = policy(batch.next_obs).chunk(2, -1)
            u = mean + log_std.clamp(-20, 2).exp() * noise
            log_prob = (Normal(mean, log_std.clamp(-20, 2).exp()).log_prob(u) - SLOPE(u, None)).sum(-1)
        critic.train()
        both = critic(torch.cat([batch.obs, batch.next_obs]), torch.cat([batch.action, u.tanh()]))
        next_q = both[:, ROWS:].detach().min(0).values
        return batch.reward + batch.discount * (next_q - alpha * log_prob), both[:, :ROWS]

    def quantile_target(self, policy, batch, noise, alpha):
        with torch.no_grad():
            mean, log_std = policy(batch.next_obs).chunk(2, -1)
            u = mean + log_std.clamp(-20, 2).exp() * noise
            log_prob = (Normal(mean, log_std.clamp(-20, 2).exp()).log_prob(u) - SLOPE(u, None)).sum(-1)
            found = []
            for row, each in enumerate(self.slow["critic"](batch.next_obs, u.tanh()).transpose(0, 1)):
                kept = sorted(each.flatten().tolist())[: -self.config.critics * self.config.dropped_quantiles]
                if self.config.target_q == "mean":
                    kept = [sum(quantile) / len(quantile) for quantile in zip(*each.tolist(), strict=True)]
                value = torch.tensor(kept) - alpha * log_prob[row]
                found.append(batch.reward[row] + batch.discount[row] * value)
            return torch.stack(found)

    def mixed_target(self, policy, batch, alpha):
        """Return the distribution that a policy over choices gives, laid out one probability at a time."""
        count, bound = self.config.categories, self.config.largest_return
        width = 2 * bound / (count - 1)
        values = torch.linspace(-bound, bound, count)
        found = torch.zeros(ROWS, count)
        with torch.no_grad():
            chances, answers = policy(batch.next_obs).softmax(-1), self.slow["critic"](batch.next_obs).softmax(-1)
            for row, action in np.ndindex(*chances.shape):
                judged = min(answers[:, row, action], key=lambda p: (p * values).sum())
                for probability, value in zip(judged, values, strict=True):
                    soft = value - alpha * chances[row, action].log()
                    place = ((batch.reward[row] + batch.discount[row] * soft).clamp(-bound, bound) + bound) / width
                    lower = min(int(place), count - 2)
                    found[row, lower] += chances[row, action] * probability * (lower + 1 - place)
                    found[row, lower + 1] += chances[row, action] * probability * (place - lower)
        return found

    def category_target(self, policy, batch, noise, alpha):
        """Return the distribution over the values of the return, laid out one probability at a time."""
        count, bound = self.config.categories, self.config.largest_return
        width = 2 * bound / (count - 1)
        with torch.no_grad():
            mean, log_std = policy(batch.next_obs).chunk(2, -1)
            u = mean + log_std.clamp(-20, 2).exp() * noise
            log_prob = (Normal(mean, log_std.clamp(-20, 2).exp()).log_prob(u) - SLOPE(u, None)).sum(-1)
            slow = copy.deepcopy(self.slow["critic"])
            if self.joint:
                both = torch.cat([batch.obs, batch.next_obs]), torch.cat([batch.action, u.tanh()])
                logits = slow.train()(*both)[:, ROWS:]
            else:
                logits = slow(batch.next_obs, u.tanh())
            found = torch.zeros(ROWS, count)
            for row in range(ROWS):
                each = [answer.softmax(-1) for answer in logits[:, row]]
                chosen = min(each, key=lambda p: sum(p[i] * (i * width - bound) for i in range(count)))
                if self.config.target_q == "mean":
                    chosen = sum(each) / len(each)
                for index, probability in enumerate(chosen):
                    value = index * width - bound - alpha * log_prob[row]
                    place = (min(bound, max(-bound, batch.reward[row] + batch.discount[row] * value)) + bound) / width
                    lower = min(int(place), count - 2)
                    found[row, lower] += probability * (lower + 1 - place)
                    found[row, lower + 1] += probability * (place - lower)
            return found

    def quantile_loss(self, quantiles, target):
        losses = []
        for row in range(len(target)):
            for index in range(quantiles.shape[1]):
                share = (index + 0.5) / quantiles.shape[1]
                for goal in target[row]:
                    huber = torch.nn.functional.huber_loss(quantiles[row, index], goal, delta=1.0)
                    losses.append((1 - share if goal < quantiles[row, index] else share) * huber)
        return sum(losses) / len(losses)

    def action_to_come(self, policy, batch, noise):
        with torch.no_grad():
            mean, log_std = policy(batch.next_obs).chunk(2, -1)
            return (mean + log_std.clamp(-20, 2).exp() * noise).tanh()

    def descend(self, name, loss):
        self.adam[name].zero_grad()
        loss.backward(inputs=self.adam[name].param_groups[0]["params"])
        self.adam[name].step()
        if self.config.weight_norm and name in self.networks:
            for layer, weight in self.networks[name].named_parameters():
                if "layers" in layer and "weight" in layer:
                    weight.data = torch.nn.functional.normalize(weight.data, dim=-2)
            if self.config.blocks == "batch-norm":
                network = getattr(self.networks[name], "mlp", self.networks[name])
                for norm in (*network.norms, network.final):
                    both = [parameter.data for parameter in norm.parameters()]
                    length = torch.cat(both, -1).square().sum(-1, keepdim=True).sqrt()
                    for each in both:
                        each *= each.shape[-1] ** 0.5 / length

    def update(self, batch, noise):
        self.steps += 1
        config, alpha = self.config, self.log_alpha.detach().exp()
        smallest = lambda q: q.min(0).values  # noqa: E731
        average = lambda q: q.mean(0)  # noqa: E731
        to_come = config.entropy_to_come == "always" or (config.entropy_to_come == "auto" and not self.discrete)
        policy, critic, value = (self.networks.get(name) for name in PARTS)
        for network in (*self.networks.values(), *self.slow.values()):
            network.eval()
        if config.critic_norm == "batch":
            target, answers = self.joint_target(policy, critic, batch, noise[0], alpha)
        elif config.returns == "categories" and self.discrete:
            target = self.mixed_target(policy, batch, alpha * to_come)
            answers = (critic(batch.obs) * batch.action.unsqueeze(-1)).sum(-2)
        elif config.returns == "categories":
            target, answers = self.category_target(policy, batch, noise[0], alpha), critic(batch.obs, batch.action)
            if self.joint:
                next_action = self.action_to_come(policy, batch, noise[0])
                both = torch.cat([batch.obs, batch.next_obs]), torch.cat([batch.action, next_action])
                answers = critic.train()(*both)[:, :ROWS]
        elif config.returns == "quantiles":
            target, answers = self.quantile_target(policy, batch, noise[0], alpha), critic(batch.obs, batch.action)
        else:
            with torch.no_grad():
                judge = self.slow.get("policy", policy), self.slow.get("critic", critic)
                obs = batch.obs if value else batch.next_obs
                one = average if config.target_q == "mean" else smallest
                one = (lambda q: q[noise[2]].min(0).values) if config.target_critics else one
                soft, _ = self.soft_value(*judge, obs, noise[0], config.target_noise, one, alpha * to_come)
                next_value = self.slow["state_value"](batch.next_obs).squeeze(-1) if value else soft
                target = batch.reward + batch.discount * next_value
            answers = (critic(batch.obs) * batch.action).sum(-1) if self.discrete else critic(batch.obs, batch.action)
        if value:
            self.descend("state_value", ((value(batch.obs).squeeze(-1) - soft) ** 2).mean() / 2)
        if config.returns == "quantiles":
            self.descend("critic", sum(self.quantile_loss(z, target) for z in answers))
        elif config.returns == "categories":
            self.descend("critic", sum(torch.nn.functional.cross_entropy(logits, target) for logits in answers))
        else:
            self.descend("critic", sum(((q - target) ** 2).mean() / 2 for q in answers))
        self.share()
        if self.steps % config.policy_delay == 0:
            pick = {"first": lambda q: q[0], "smallest": smallest, "mean": average}[config.policy_q]
            support = torch.linspace(-config.largest_return, config.largest_return, config.categories)
            judge = {
                "expected": critic,
                "quantiles": lambda *inputs: critic(*inputs).mean(-1),
                "categories": lambda *inputs: (critic(*inputs).softmax(-1) * support).sum(-1),
            }[config.returns]
            policy.train(), critic.eval()
            soft, entropy = self.soft_value(policy, judge, batch.obs, noise[1], config.improvement_noise, pick, alpha)
            self.descend("policy", -soft.mean())
            if self.target_entropy is not None:
                factor = self.log_alpha if config.temperature_loss == "log" else self.log_alpha.exp()
                self.descend("temperature", factor * (entropy.detach() - self.target_entropy))
        if self.steps % config.target_every == 0:
            for name, slow in self.slow.items():
                for old, new in zip(slow.parameters(), self.networks[name].parameters(), strict=True):
                    old.data += config.tau * (new.data - old.data)
                for key, old in slow.named_buffers():
                    if key.startswith("convolutions"):
                        old += config.tau * (self.networks[name].get_buffer(key) - old)


def batches(spaces, count):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        obs, next_obs = torch.randn(2, ROWS, spaces.obs_size, generator=generator)
        obs[:, spaces.numbers :], next_obs[:, spaces.numbers :] = torch.randint(
            256, (2, ROWS, spaces.obs_size - spaces.numbers), generator=generator
        )
        action = torch.rand(ROWS, spaces.action_size, generator=generator) * 2 - 1
        if isinstance(spaces.actions, Choices):
            action = torch.eye(spaces.action_size)[action.argmax(-1)]
        reward = torch.randn(ROWS, generator=generator)
        discount = 0.99 * (torch.rand(ROWS, generator=generator) > 0.2)
        yield Batch(obs, action, reward, discount, next_obs)


TD3 = {"deterministic_policy": True, "target_policy": True, "policy_q": "first", "noise_clip": 0.3}
KINDS = {
    "sac": {},
    "log-temperature": {"temperature_loss": "log", "initial_alpha": 0.2},
    "fixed-temperature": {"alpha": 0.3, "critics": 3, "tau": 1.0, "target_every": 3},
    "state-value": {"value_network": True, "alpha": 0.7},
    "delayed": {"policy_delay": 3, "policy_lr": 2e-3},
    "no-entropy-to-come": {"entropy_to_come": "never", "initial_alpha": 3.0},
    "td3": {**TD3, "policy_delay": 2, "target_every": 2},
    "ddpg": {"deterministic_policy": True, "target_policy": True, "critics": 1, "target_noise": 0.0, "tau": 0.1},
    "noisy-improvement": {"deterministic_policy": True, "improvement_noise": 0.1, "target_noise": 0.1},
    "random-critics": {"critics": 4, "target_critics": 2, "policy_q": "mean"},
    "quantiles": {"returns": "quantiles", "quantiles": 5, "critics": 3, "policy_q": "mean", "critic_hidden": (8,)},
    "categories": {"returns": "categories", "categories": 11, "largest_return": 2.0, "policy_lr": 2e-3},
    "xqc": {
        "returns": "categories", "categories": 9, "largest_return": 3.0, "critic_norm": "batch-before",
        "policy_norm": "batch-before", "weight_norm": True, "policy_delay": 3, "target_entropy": "half",
    },
    "simba": {
        "blocks": "pre-norm", "hidden": (8,), "critic_hidden": (6, 6), "weight_decay": 0.5, "target_entropy": "half",
    },
    "bro": {
        "blocks": "post-norm", "hidden": (4,), "critic_hidden": (6, 6), "weight_decay": 0.5, "target_entropy": "half",
        "returns": "quantiles", "quantiles": 5, "target_q": "mean", "policy_q": "mean",
    },
    "mean-target": {"target_q": "mean", "critics": 3, "temperature_loss": "log"},
    "mean-categories": {"target_q": "mean", "returns": "categories", "categories": 9, "largest_return": 3.0},
    "simbav2": {
        "blocks": "hyperspherical", "hidden": (8,), "critic_hidden": (6, 6), "weight_norm": True, "adam_beta": 0.5,
        "returns": "categories", "categories": 9, "largest_return": 3.0, "target_entropy": "half",
    },
    "flashsac": {
        "blocks": "batch-norm", "hidden": (4, 4), "critic_hidden": (6,), "weight_norm": True, "policy_delay": 2,
        "returns": "categories", "categories": 9, "largest_return": 3.0, "target_entropy": "half", "tau": 0.01,
    },
    "layer-norm": {"critic_norm": "layer", "policy_norm": "layer"},
    "joint-batch-norm": {"critic_norm": "batch", "policy_norm": "batch", "target_network": False, "adam_beta": 0.5},
    "pictures": {"pictures": True, "temperature_loss": "log", "target_every": 2, "policy_lr": 2e-3},
    "pictures-by-random-critics": {"pictures": True, "critics": 3, "target_critics": 2, "policy_delay": 2},
    "pictures-state-value": {"pictures": True, "value_network": True, "weight_norm": True},
    "discrete-layer-norm": {"discrete": True, "critic_norm": "layer"},
    "discrete": {"discrete": True},
    "discrete-categories": {
        "discrete": True, "returns": "categories", "categories": 7, "largest_return": 2.0, "entropy_to_come": "always",
        "target_entropy": "half",
    },
    "discrete-entropy-to-come": {"discrete": True, "entropy_to_come": "always", "policy_delay": 2},
    "discrete-state-value": {"discrete": True, "value_network": True, "temperature_loss": "log"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_equals_the_textbook(kind):
    settings = dict(KINDS[kind])
    discrete = settings.pop("discrete", False)
    spaces = env_group_of(config(), gymnasium.make("CartPole-v1")).spaces if discrete else SPACES
    spaces = SEEING if settings.pop("pictures", False) else spaces
    steps, near = (5, 1e-6) if spaces is SEEING else (STEPS, 1e-8)  # Adam divides by gradients that are almost 0
    agent = build(config(batch_size=ROWS, **{"lr": 1e-3, **settings}), spaces)
    learner = Learner(agent)
    exact = np.zeros_like(learner._scalars, np.float64)  # the rest follows PyTorch's default type
    learner._scalars, learner._inputs[len(learner._draws) :] = exact, torch.from_numpy(exact).unbind()
    reference = Reference(agent)
    for batch in batches(spaces, steps):
        learner.update(batch)
        reference.update(batch, [torch.from_numpy(each) for each in learner._draws.values()])
    for name, network in reference.networks.items():
        assert_same(getattr(agent.state, name).parameters, network, near)
        for buffer, value in getattr(agent.state, name).statistics.items():
            torch.testing.assert_close(value, network.get_buffer(buffer), rtol=0, atol=near)
    for name, network in reference.slow.items():
        assert_same(agent.state.target[name], network, near)
    torch.testing.assert_close(
        agent.state.temperature.parameters["log_alpha"], reference.log_alpha.detach(), rtol=0, atol=near
    )


def assert_same(learned, network, near):
    for name, parameter in network.named_parameters():
        assert learned[name].dtype == torch.float64
        torch.testing.assert_close(learned[name], parameter.detach(), rtol=0, atol=near)
