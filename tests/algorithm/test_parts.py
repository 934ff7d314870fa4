"""The parts beside those of SAC itself, alone and together; `test_reference` has their values."""

import copy
import dataclasses
import itertools
import math

import gymnasium
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from rucksac.algorithm.architecture import architectures, multiply_adds
from rucksac.algorithm.critics import Critic
from rucksac.algorithm.recipes import RECIPES
from rucksac.algorithm.update import SAC
from rucksac.building import build
from rucksac.environments.opening import env_group_of
from rucksac.errors import UsageError
from rucksac.learner import Learner
from tests.algorithm.steps import ROWS, SPACES, batch, config, draws, equal, learner, scalars

TD3 = {"deterministic_policy": True, "target_policy": True, "policy_q": "first", "target_noise": 0.2, "noise_clip": 0.3}


def discrete_spaces():
    return env_group_of(config(), gymnasium.make("CartPole-v1")).spaces


def rows_for(spaces):
    generator = torch.Generator().manual_seed(5)
    obs, next_obs = torch.randn(2, ROWS, spaces.obs_size, generator=generator)
    action = torch.eye(spaces.action_size)[torch.arange(ROWS) % spaces.action_size]
    return batch()._replace(obs=obs, next_obs=next_obs, action=action)


def test_a_delayed_policy_moves_at_its_own_steps_only():
    learns = learner(policy_delay=3, policy_lr=2e-3, lr=1e-3)
    moved = []
    for index in range(9):
        before = copy.deepcopy(learns.agent.state)
        metrics = learns.update(batch(index)).metrics
        moved.append([not equal(before[part], learns.agent.state[part]) for part in (0, 1, 3)])
        assert ("policy_loss" in metrics) == ("entropy" in metrics) == (index % 3 == 2)
    assert moved == [[False, True, False], [False, True, False], [True, True, True]] * 3


def test_each_rate_is_its_own_and_falls_by_environment_steps():
    settings = {"lr": 1e-2, "policy_lr": 2e-2, "temperature_lr": 4e-2, "lr_schedule": "linear", "lr_end": 0.0}
    agent = learner(**settings, policy_delay=2, utd=0.5, warmup=100, steps=300).agent
    corrected = {name: each["step_size"] for name, each in agent.algorithm.scalars(41).items() if name != "target"}
    sizes = {name: size * (1 - 0.9**n) / (1 - 0.999**n) ** 0.5 for (name, size), n in zip(
        corrected.items(), [{"critic": 41}.get(name, 20) for name in corrected], strict=True
    )}  # fmt: skip
    assert sizes["critic"] == pytest.approx(1e-2 * (1 - (100 + 40 * 2) / 300))
    assert sizes["policy"] == pytest.approx(2e-2 * (1 - (100 + 19 * 4) / 300))
    assert sizes["temperature"] == pytest.approx(4e-2 * (1 - (100 + 19 * 4) / 300))


def test_more_steps_given_later_leave_the_rates_of_the_past_as_they_were():
    begun = config(lr_schedule="cosine", steps=300).settled()
    longer = dataclasses.replace(begun, steps=900).settled()
    assert (begun.lr_steps, longer.lr_steps) == (300, 300)
    assert config(steps=300).settled().lr_steps is None


def test_a_step_that_leaves_the_policy_alone_does_all_else_alike():
    agent = build(config(**TD3), SPACES)
    whole, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars())
    part, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars(), improve=False)
    assert equal(whole.critic, part.critic)
    assert equal(whole.target["critic"], part.target["critic"])
    assert equal(part.policy, agent.state.policy)
    assert equal(part.temperature, agent.state.temperature)


CHOICES = {
    "deterministic_policy": (False, True),
    "gsde": (False, True),
    "critics": (1, 2, 3),
    "policy_q": ("smallest", "first", "mean"),
    "target_critics": (None, 1),
    "target_network": (True, False),
    "returns": ("expected", "quantiles", "categories"),
    "critic_norm": ("none", "layer", "batch", "batch-before"),
    "policy_norm": ("none", "layer", "batch", "batch-before"),
    "weight_norm": (False, True),
    "target_entropy": (None, "half"),
    "dropout": (0.0, 0.1),
    "blocks": ("none", "pre-norm", "post-norm", "hyperspherical", "batch-norm"),
    "reset_every": (None, 2),
    "reset_at": (None, (1, 2)),
    "target_q": ("smallest", "mean"),
    "critic_hidden": (None, (5, 3)),
    "weight_decay": (0.0, 0.01),
    "clip_gradients": (None, 0.5),
    "value_network": (False, True),
    "target_policy": (False, True),
    "policy_delay": (1, 2),
    "target_every": (1, 3),
    "alpha": ("learned", 0.2),
    "temperature_loss": ("alpha", "log"),
    "entropy_to_come": ("auto", "always", "never"),
    "policy_lr": (None, 1e-4),
    "temperature_lr": (None, 1e-4),
    "lr_schedule": ("constant", "linear", "cosine"),
    "improvement_noise": (0.0, 0.1),
    "initialisation": ("default", "xavier", "orthogonal"),
    "log_std": ("clamp", "tanh"),
}
PAIRS = [
    {first: left, second: right}
    for first, second in itertools.combinations(CHOICES, 2)
    for left in CHOICES[first][1:]
    for right in CHOICES[second][1:]
]


def refusal(settings, discrete):
    if "improvement_noise" in settings and not settings.get("deterministic_policy"):
        return "a stochastic policy .* no other noise, so --improvement-noise 0.1 would do nothing"
    if {"gsde", "log_std"} <= set(settings):
        return "with --gsde standard deviations follow from noise of weights, so --log-std tanh would do nothing"
    if discrete and "gsde" in settings and not settings.get("deterministic_policy"):
        return "--gsde is for continuous actions, but here are 2 choices"
    if "blocks" in settings and {"critic_norm", "policy_norm", "initialisation", "dropout"} & set(settings):
        return "blocks have norms and initial weights of their own, so --.* would do nothing; .* give --blocks none"
    if "blocks" in settings and "critic_hidden" in settings:
        return "must be as wide as the block; give equal widths, or --blocks none"
    if settings.get("value_network") and settings.get("target_policy"):
        return "so --target-policy would do nothing; leave that out, or give --no-value-network"
    if settings.get("value_network") and {"target_network", "target_critics", "returns"} & set(settings):
        return "target comes from that network, so --.* would do nothing"
    if settings.get("returns") == "quantiles" and settings.get("target_critics"):
        return "quantiles of all critics make the target together"
    if settings.get("returns") == "quantiles" and discrete and not settings.get("deterministic_policy"):
        return "quantiles of the return are for continuous actions, but here are 2 choices"
    if "target_entropy" in settings and settings.get("deterministic_policy"):
        return "a deterministic policy has no entropy, so --target-entropy half would do nothing"
    if "target_entropy" in settings and "alpha" in settings:
        return "--alpha is fixed, so --target-entropy half would do nothing"
    if settings.get("deterministic_policy") and "entropy_to_come" in settings:
        return "a deterministic policy has no entropy, so --entropy-to-come (always|never) would do nothing"
    if "temperature_lr" in settings and settings.get("deterministic_policy"):
        return "a deterministic policy has no entropy, so --temperature-lr 0.0001 would do nothing"
    if "temperature_lr" in settings and "alpha" in settings:
        return "--alpha is fixed, so --temperature-lr 0.0001 would do nothing"
    if settings.get("deterministic_policy") and "log_std" in settings:
        return "a deterministic policy has no distribution over actions, so --log-std tanh would do nothing"
    if settings.get("deterministic_policy") and "gsde" in settings:
        return "a deterministic policy has no distribution over actions, so --gsde would do nothing"
    return "continuous actions" if discrete and {"deterministic_policy", "gsde"} & set(settings) else None


@pytest.mark.parametrize("discrete", [False, True])
def test_every_pair_of_parts_trains_for_three_steps_or_is_refused_with_a_sentence(discrete):
    spaces = discrete_spaces() if discrete else SPACES
    rows = rows_for(spaces)
    trained = 0
    for settings in PAIRS:
        if says := refusal(settings, discrete):
            with pytest.raises(UsageError, match=says):
                build(config(hidden=(4,), **settings), spaces)
            continue
        agent = build(config(hidden=(4,), **settings), spaces)
        learns = Learner(agent)
        first = copy.deepcopy(agent.state)
        for _ in range(3):
            assert all(map(math.isfinite, learns.update(rows).metrics.values())), settings
        assert agent.grad_steps == 3
        assert not equal(first.critic.parameters, agent.state.critic.parameters), settings
        assert not equal(first.policy.parameters, agent.state.policy.parameters), settings
        assert (not agent.state.state_value.parameters) == (not settings.get("value_network")), settings
        slow = bool(settings.get("target_network", True) or settings.get("target_policy"))
        assert slow == (not equal(first.target, agent.state.target)), settings
        trained += 1
    assert trained == len(PAIRS) - sum(bool(refusal(settings, discrete)) for settings in PAIRS) > 50


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        *({}, TD3, {"value_network": True}, {"gsde": True, "policy_delay": 2}, {"critics": 3, "hidden": (8, 8, 8)}),
        *({"critic_norm": "layer", "dropout": 0.1, "critic_hidden": (9,)}, {"critic_norm": "batch"}),
        {"critic_norm": "batch", "policy_norm": "batch", "target_network": False, "policy_delay": 3},
        *({"returns": "quantiles", "critics": 3}, {"critics": 4, "target_critics": 2, "critic_norm": "layer"}),
        {"blocks": "pre-norm", "hidden": (6,), "critic_hidden": (9, 9), "critics": 3},
        {"blocks": "batch-norm", "hidden": (6,), "critic_hidden": (9, 9), "policy_delay": 2},
        {"blocks": "post-norm", "hidden": (6,), "critic_hidden": (9, 9), "target_q": "mean"},
        {"blocks": "hyperspherical", "hidden": (6,), "critic_hidden": (9, 9), "weight_norm": True},
    ],
)
def test_products_in_a_step_are_those_that_its_parts_need_and_the_cost_says(settings, discrete):
    if discrete and settings is TD3:
        settings = {"policy_delay": 2}
    if discrete:
        settings = {name: value for name, value in settings.items() if name not in ("returns", "gsde")}
    spaces = discrete_spaces() if discrete else SPACES
    obs, actions = spaces.obs_size, spaces.action_size
    chosen, rows = config(**settings), rows_for(spaces)
    agent = build(chosen, spaces)
    learns = Learner(agent)
    counted = []
    for improve in (True, False):
        with FlopCounterMode(display=False) as counter:
            learns.step_in_place(*learns.arguments(rows), improve=improve)
        counted.append(counter.get_total_flops() / 2)
    mean = (counted[0] + (chosen.policy_delay - 1) * counted[1]) / chosen.policy_delay
    described = architectures(chosen, obs, actions, discrete)
    assert multiply_adds(chosen, obs, actions, discrete) == pytest.approx(mean + described["policy"].weights)
    for name, network in described.items():
        weights = (
            tensor
            for key, tensor in getattr(agent.state, name).parameters.items()
            if ("layers" in key and "weight" in key) or key == "log_std"
        )
        assert sum(tensor.numel() for tensor in weights) == network.weights


def test_parts_that_are_not_used_leave_nothing_in_the_graph_of_the_default_step():
    def graph(algorithm):
        agent = build(RECIPES["sac"].config, SPACES)
        agent.algorithm = algorithm or agent.algorithm
        learns, rows = Learner(agent), batch(rows=agent.config.batch_size)
        return make_fx(learns.step_in_place)(*(tensor.clone() for tensor in learns.arguments(rows)))

    parts = build(RECIPES["sac"].config, SPACES).algorithm
    default = graph(None)
    assert (
        default.code
        == graph(SAC(parts.policy, Critic(parts.critic.network), parts.optimisers, parts.target_entropy)).code
    )
    inputs = [node for node in default.graph.nodes if node.op == "placeholder"]
    layers = 6
    # networks with moments, copy, alpha with moments; batch, noise, numbers that change
    assert len(inputs) == 3 * layers + 3 * layers + layers + 3 + 5 + 2 + 7
    products = [node for node in default.graph.nodes if "mm" in str(node.target)]
    assert len(products) == 3 * 3 + (3 + 5) + (3 + 5 + 3)  # next value, critics, policy and critics before it
