"""The parts beside those of SAC itself, one by one against textbooks written with autograd, then all together."""

import copy
import itertools

import gymnasium
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from rucksac.algorithm.cost import multiply_adds, networks
from rucksac.algorithm.recipes import RECIPES
from rucksac.algorithm.update import METRICS, SAC, Scales
from rucksac.building import build
from rucksac.environments.opening import lanes_of
from rucksac.errors import UsageError
from tests.algorithm.test_update import ROWS, SPACES, batch, config, equal, noise, scales

LR = 1e-3
FIRST_STEP = Scales(*map(torch.tensor, (*[LR * 0.001**0.5 / 0.1] * 3, 1e-8 * 0.001**0.5, 0.1)))  # as Adam corrects it
TD3 = {"deterministic_policy": True, "target_policy": True, "policy_q": "first", "target_noise": 0.2, "noise_clip": 0.3}


def discrete_spaces():
    return lanes_of(config(), gymnasium.make("CartPole-v1")).spaces


def rows_for(spaces):
    generator = torch.Generator().manual_seed(5)
    obs, next_obs = torch.randn(2, ROWS, spaces.obs_size, generator=generator)
    action = torch.eye(spaces.action_size)[torch.arange(ROWS) % spaces.action_size]
    return batch()._replace(obs=obs, next_obs=next_obs, action=action)


def trainable(network):
    twin = copy.deepcopy(network).requires_grad_(True)
    return twin, torch.optim.Adam(twin.parameters(), LR)


def descend(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def assert_same(learned, network):
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(learned[name], parameter.detach(), rtol=1e-4, atol=2e-6)


def test_the_step_with_a_value_network_equals_the_textbook():
    agent = build(config(value_network=True, alpha=0.7), SPACES)
    parts, data, eps = agent.algorithm, batch(), noise()
    new, _ = parts.step(agent.state, data, eps, FIRST_STEP)
    (policy, policy_optimizer), (critic, critic_optimizer) = trainable(parts.policy), trainable(parts.critic)
    value, value_optimizer = trainable(parts.value.network)

    def sample(epsilon):
        mean, log_std = policy(data.obs).chunk(2, -1)
        u = mean + log_std.exp() * epsilon
        normal = torch.distributions.Normal(mean, log_std.exp())
        return u.tanh(), (normal.log_prob(u) - torch.log(1 - u.tanh() ** 2)).sum(-1)

    with torch.no_grad():
        target = data.reward + data.discount * parts.value.network(data.next_obs).squeeze(
            -1
        )  # its slow copy starts the same
        action, log_prob = sample(eps[0])
        expected = critic(data.obs, action).min(0).values - 0.7 * log_prob
    descend(((value(data.obs).squeeze(-1) - expected) ** 2).mean() / 2, value_optimizer)
    descend(sum(((q - target) ** 2).mean() / 2 for q in critic(data.obs, data.action)), critic_optimizer)
    action, log_prob = sample(eps[1])
    descend((0.7 * log_prob - critic(data.obs, action).min(0).values).mean(), policy_optimizer)
    for learned, network in ((new.value.value, value), (new.critic.value, critic), (new.policy.value, policy)):
        assert_same(learned, network)
    assert set(new.target) == {"value"}
    for name, old in agent.state.value.value.items():
        torch.testing.assert_close(new.target["value"][name], 0.9 * old + 0.1 * new.value.value[name])


def test_the_step_of_a_deterministic_policy_with_a_slow_copy_equals_the_textbook():
    agent = build(config(**TD3), SPACES)
    parts, data, eps = agent.algorithm, batch(), noise()
    for copies in agent.state.target.values():  # let the copies differ from the networks they follow
        for tensor in copies.values():
            tensor += 0.05
    new, metrics = parts.step(agent.state, data, eps, FIRST_STEP)
    (policy, policy_optimizer), (critic, critic_optimizer) = trainable(parts.policy), trainable(parts.critic)
    slow_policy, slow_critic = copy.deepcopy(parts.policy), copy.deepcopy(parts.critic)
    slow_policy.load_state_dict(agent.state.target["policy"])
    slow_critic.load_state_dict(agent.state.target["critic"])

    with torch.no_grad():
        smoothed = (slow_policy(data.next_obs).tanh() + (0.2 * eps[0]).clamp(-0.3, 0.3)).clamp(-1, 1)
        target = data.reward + data.discount * slow_critic(data.next_obs, smoothed).min(0).values
    descend(sum(((q - target) ** 2).mean() / 2 for q in critic(data.obs, data.action)), critic_optimizer)
    loss = -critic(data.obs, policy(data.obs).tanh())[0].mean()
    descend(loss, policy_optimizer)
    assert_same(new.critic.value, critic)
    assert_same(new.policy.value, policy)
    assert metrics[METRICS.index("policy_loss")].item() == pytest.approx(loss.item(), rel=1e-5)
    for name in ("policy", "critic"):
        for key, old in agent.state.target[name].items():
            torch.testing.assert_close(new.target[name][key], 0.9 * old + 0.1 * getattr(new, name).value[key])


@pytest.mark.parametrize(
    ("discrete", "choice", "counts"),
    [(False, "auto", True), (False, "never", False), (True, "auto", False), (True, "always", True)],
)
def test_the_entropy_to_come_counts_in_the_critics_target_or_not_at_all(discrete, choice, counts):
    spaces = discrete_spaces() if discrete else SPACES
    agent = build(config(entropy_to_come=choice, initial_alpha=3.0), spaces)
    parts, data, eps = agent.algorithm, rows_for(spaces) if discrete else batch(), noise()
    _, metrics = parts.step(agent.state, data, eps, FIRST_STEP)
    output = parts.policy(data.next_obs)
    if discrete:
        probability = output.softmax(-1)
        soft = parts.critic(data.next_obs).amin(0) - 3.0 * counts * probability.log()
        value = (probability * soft).sum(-1)
    else:
        mean, log_std = output.chunk(2, -1)
        u = mean + log_std.exp() * eps[0]
        normal = torch.distributions.Normal(mean, log_std.exp())
        log_prob = (normal.log_prob(u) - torch.log(1 - u.tanh() ** 2)).sum(-1)
        value = parts.critic(data.next_obs, u.tanh()).amin(0) - 3.0 * counts * log_prob
    expected = (data.reward + data.discount * value).mean()
    found = metrics[METRICS.index("target_q")].item()
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_a_delayed_policy_moves_at_its_own_steps_only_and_as_its_own_adam_has_it():
    agent = build(config(policy_delay=3, policy_lr=2e-3, lr=1e-3), SPACES)
    moved, sizes = [], []
    for index in range(9):
        before = copy.deepcopy(agent.state)
        metrics = dict(zip(METRICS, agent.update(batch(index)).tolist(), strict=True))
        moved.append([not equal(before[part], agent.state[part]) for part in (0, 1, 3)])
        assert (metrics["policy_loss"] != 0.0) == (metrics["entropy"] != 0.0) == (index % 3 == 2)
        sizes.append(agent._scales[:3].copy())
    assert moved == [[False, True, False], [False, True, False], [True, True, True]] * 3
    first = 0.001**0.5 / 0.1
    assert sizes[2][[0, 2]] == pytest.approx([2e-3 * first, 1e-3 * first])
    assert sizes[0][1] == pytest.approx(1e-3 * first)


def test_a_step_that_leaves_the_policy_alone_does_all_else_alike():
    agent = build(config(**TD3), SPACES)
    whole, _ = agent.algorithm.step(agent.state, batch(), noise(), scales())
    part, _ = agent.algorithm.step(agent.state, batch(), noise(), scales(), improve=False)
    assert equal(whole.critic, part.critic)
    assert equal(whole.target["critic"], part.target["critic"])
    assert equal(part.policy, agent.state.policy)
    assert equal(part.temperature, agent.state.temperature)


CHOICES = {
    "deterministic_policy": (False, True),
    "critics": (1, 2, 3),
    "policy_q": ("smallest", "first"),
    "value_network": (False, True),
    "target_policy": (False, True),
    "policy_delay": (1, 2),
    "target_every": (1, 3),
    "alpha": ("learned", 0.2),
    "entropy_to_come": ("auto", "always", "never"),
    "policy_lr": (None, 1e-4),
    "improvement_noise": (0.0, 0.1),
    "initialisation": ("default", "xavier"),
}
PAIRS = [
    {first: left, second: right}
    for first, second in itertools.combinations(CHOICES, 2)
    for left in CHOICES[first][1:]
    for right in CHOICES[second][1:]
]


def refusal(settings, discrete):
    if settings.get("value_network") and settings.get("target_policy"):
        return "give --no-target-policy or --no-value-network"
    if settings.get("deterministic_policy") and "entropy_to_come" in settings:
        return "a deterministic policy has no entropy, so --entropy-to-come (always|never) would do nothing"
    return "continuous actions" if discrete and settings.get("deterministic_policy") else None


@pytest.mark.parametrize("discrete", [False, True])
def test_every_pair_of_parts_trains_for_three_steps_or_is_refused_with_a_sentence(discrete):
    spaces = discrete_spaces() if discrete else SPACES
    rows = rows_for(spaces)
    trained = 0
    for settings in PAIRS:
        if says := refusal(settings, discrete):
            with pytest.raises(UsageError, match=says):
                build(config(**settings), spaces)
            continue
        agent = build(config(hidden=(4,), **settings), spaces)
        first = copy.deepcopy(agent.state)
        for _ in range(3):
            assert agent.update(rows).isfinite().all(), settings
        assert agent.grad_steps == 3
        assert not equal(first.critic.value, agent.state.critic.value), settings
        assert not equal(first.policy.value, agent.state.policy.value), settings
        assert (not agent.state.value.value) == (not settings.get("value_network")), settings
        assert not equal(first.target, agent.state.target), settings
        trained += 1
    assert trained == len(PAIRS) - sum(bool(refusal(settings, discrete)) for settings in PAIRS) > 50


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("settings", [*({}, TD3, {"value_network": True}, {"critics": 3, "hidden": (8, 8, 8)})])
def test_products_in_a_step_are_those_that_its_parts_need_and_the_cost_says(settings, discrete):
    if discrete and settings is TD3:
        settings = {"policy_delay": 2}
    spaces = discrete_spaces() if discrete else SPACES
    obs, actions = spaces.obs_size, spaces.action_size
    chosen, rows = config(**settings), rows_for(spaces)
    agent = build(chosen, spaces)
    counted = []
    for improve in (True, False):
        with FlopCounterMode(display=False) as counter:
            agent.step_in_place(*agent.step_arguments(rows), improve=improve)
        counted.append(counter.get_total_flops() / 2)
    mean = (counted[0] + (chosen.policy_delay - 1) * counted[1]) / chosen.policy_delay
    described = networks(chosen, obs, actions, discrete)
    assert multiply_adds(chosen, obs, actions, discrete) == pytest.approx(mean + described["policy"].weights)
    for name, network in described.items():
        weights = (tensor for key, tensor in getattr(agent.state, name).value.items() if key.endswith("weight"))
        assert sum(tensor.numel() for tensor in weights) == network.weights


def test_parts_that_are_not_used_leave_nothing_in_the_graph_of_the_default_step():
    def graph(algorithm):
        agent = build(RECIPES["sac"].config, SPACES)
        agent.algorithm = algorithm or agent.algorithm
        rows = batch(rows=agent.config.batch_size)
        return make_fx(agent.step_in_place)(*(tensor.clone() for tensor in agent.step_arguments(rows)))

    parts = build(RECIPES["sac"].config, SPACES).algorithm
    default = graph(None)
    assert default.code == graph(SAC(parts.policy, parts.critic, parts.target_entropy)).code
    inputs = [node for node in default.graph.nodes if node.op == "placeholder"]
    layers = 6
    assert (
        len(inputs) == 3 * layers + 3 * layers + layers + 3 + 5 + 1 + 5
    )  # networks, copy, alpha, batch, noise, scales
    products = [node for node in default.graph.nodes if "mm" in str(node.target)]
    assert len(products) == 3 * 3 + (3 + 5) + (3 + 5 + 3)  # next value, critics, policy and critics before it
