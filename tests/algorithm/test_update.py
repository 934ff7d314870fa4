import copy

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from rucksac.algorithm.update import METRICS, Batch, Scales
from rucksac.building import build, compile_agent
from rucksac.config import Config
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.training.agent_file import tensors_of

ACTIONS = Continuous((2,), np.dtype(np.float32), np.array([-1.0, -2.0]), np.array([1.0, 5.0]))
SPACES = Spaces(Numbers((3,)), ACTIONS)
ROWS = 7


def config(**settings):
    return Config(**{"batch_size": ROWS, "hidden": (16, 8), "compile": "never", "seed": 3, **settings})


def batch(seed=0, rows=ROWS):
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, rows, 3, generator=generator)
    action = torch.rand(rows, 2, generator=generator) * 2 - 1
    reward = torch.randn(rows, generator=generator)
    discount = 0.99 * (torch.rand(rows, generator=generator) > 0.2)
    return Batch(obs, action, reward, discount, next_obs)


def noise(seed=1, rows=ROWS):
    return torch.randn(2, rows, 2, generator=torch.Generator().manual_seed(seed))


def scales(policy=1e-3, critic=1e-3, temperature=1e-3, tau=0.1):
    return Scales(*map(torch.tensor, (policy, critic, temperature, 1e-8, 1e-8, tau)))


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(left), pytree.tree_leaves(right), strict=True))


def test_targets_start_as_a_copy_and_not_as_the_same_memory():
    state = build(config(), SPACES).state
    assert list(state.target) == ["critic"]
    copies = state.target["critic"]
    assert equal(copies, state.critic.value)
    assert all(copies[name].data_ptr() != tensor.data_ptr() for name, tensor in state.critic.value.items())


@pytest.mark.parametrize(("settings", "alpha"), [({}, 1.0), ({"initial_alpha": 0.2}, 0.2), ({"alpha": 0.5}, 0.5)])
def test_alpha_is_exp_log_alpha_from_the_first_step_on(settings, alpha):
    agent = build(config(**settings), SPACES)
    assert agent.alpha == pytest.approx(alpha)
    metrics = dict(zip(METRICS, agent.update(batch()).tolist(), strict=True))
    assert metrics["alpha"] == pytest.approx(alpha)


@pytest.mark.parametrize("part", ["policy", "critic", "temperature"])
def test_each_part_moves_only_its_own_parameters(part):
    agent = build(config(), SPACES)
    before = agent.state
    still = {"policy": 0.0, "critic": 0.0, "temperature": 0.0, "tau": 0.0, part: 1e-3}
    after, _ = agent.algorithm.step(before, batch(), noise(), scales(**still))
    for name in ("policy", "critic", "temperature"):
        moved = not equal(getattr(before, name).value, getattr(after, name).value)
        assert moved == (name == part), name
    assert equal(before.target, after.target)


def test_no_gradient_leaks_from_one_part_into_another():
    agent = build(config(), SPACES)
    alone, _ = agent.algorithm.step(agent.state, batch(), noise(), scales(policy=0.0, temperature=0.0))
    together, _ = agent.algorithm.step(agent.state, batch(), noise(), scales())
    assert equal(alone.critic, together.critic)
    changed_noise = noise()
    changed_noise[1] += 1.0  # the policy's own sample must not touch the critics
    other, _ = agent.algorithm.step(agent.state, batch(), changed_noise, scales())
    assert equal(other.critic, together.critic)
    assert not equal(other.policy, together.policy)


def test_the_step_is_pure():
    agent = build(config(), SPACES)
    before = copy.deepcopy(agent.state)
    agent.algorithm.step(agent.state, batch(), noise(), scales())
    assert equal(before, agent.state)


def test_fixed_temperature_never_moves():
    agent = build(config(alpha=0.3), SPACES)
    for index in range(3):
        agent.update(batch(index))
    assert agent.grad_steps == 3
    assert agent.alpha == pytest.approx(0.3)


def test_target_interval_counts_all_gradient_steps():
    agent = build(config(target_every=3, tau=1.0), SPACES)
    changed = []
    for index in range(9):
        before = copy.deepcopy(agent.state.target)
        agent.update(batch(index))
        changed.append(not equal(before, agent.state.target))
    assert changed == [False, False, True] * 3
    assert equal(agent.state.target["critic"], agent.state.critic.value)


@pytest.mark.parametrize("rows", [1, 7])
def test_batch_of_any_size_gives_scalar_losses(rows):
    agent = build(config(batch_size=rows), SPACES)
    metrics = agent.update(batch(rows=rows))
    assert metrics.shape == (len(METRICS),)
    assert metrics.isfinite().all()


@pytest.mark.parametrize(
    "settings", [{}, {"alpha": 0.3, "hidden": (8, 8, 8), "activation": "silu", "critics": 3, "target_every": 2}]
)
def test_compiled_step_equals_eager_step(settings):
    eager, compiled = (build(config(**settings, compile=mode), SPACES) for mode in ("never", "auto"))
    assert compile_agent(compiled) is None
    for index in range(20):
        left, right = eager.update(batch(index)), compiled.update(batch(index))
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    assert compiled.grad_steps == 20
    for name, tensor in tensors_of(eager).items():
        torch.testing.assert_close(tensor, tensors_of(compiled)[name], rtol=1e-3, atol=1e-5)


def test_acting_follows_the_update_whether_compiled_or_not():
    for mode in ("never", "auto"):
        agent = build(config(compile=mode, lr=0.01), SPACES)
        compile_agent(agent)
        obs = np.ones((1, 3), np.float32)
        before = agent.act(obs, deterministic=True)
        mean = agent.algorithm.policy(torch.ones(1, 3))[:, :2].tanh()
        np.testing.assert_allclose(before, mean, rtol=1e-6)
        agent.update(batch())
        assert not np.array_equal(before, agent.act(obs, deterministic=True))
