import copy
import math

import numpy as np
import pytest
import torch

from rucksac.building import build, compile_steps
from rucksac.learner import Learner
from tests.algorithm.steps import SPACES, batch, config, draws, equal, learner, scalars


def test_targets_start_as_a_copy_and_not_as_the_same_memory():
    state = build(config(), SPACES).state
    assert list(state.target) == ["critic"]
    copies = state.target["critic"]
    assert equal(copies, state.critic.parameters)
    assert all(copies[name].data_ptr() != tensor.data_ptr() for name, tensor in state.critic.parameters.items())


@pytest.mark.parametrize(("settings", "alpha"), [({}, 1.0), ({"initial_alpha": 0.2}, 0.2), ({"alpha": 0.5}, 0.5)])
def test_alpha_is_exp_log_alpha_from_the_first_step_on(settings, alpha):
    agent = build(config(**settings), SPACES)
    assert agent.alpha == pytest.approx(alpha)
    metrics = Learner(agent).update(batch()).metrics
    assert metrics["alpha"] == pytest.approx(alpha)


@pytest.mark.parametrize("part", ["policy", "critic", "temperature"])
def test_each_part_moves_only_its_own_parameters(part):
    agent = build(config(), SPACES)
    before = agent.state
    still = {"policy": 0.0, "critic": 0.0, "temperature": 0.0, "tau": 0.0, part: 1e-3}
    after, _ = agent.algorithm.step(before, batch(), draws(), scalars(**still))
    for name in ("policy", "critic", "temperature"):
        moved = not equal(getattr(before, name).parameters, getattr(after, name).parameters)
        assert moved == (name == part), name
    assert equal(before.target, after.target)


def test_no_gradient_leaks_from_one_part_into_another():
    agent = build(config(), SPACES)
    alone, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars(policy=0.0, temperature=0.0))
    together, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars())
    assert equal(alone.critic, together.critic)
    changed = draws()
    changed["improvement"] += 1.0  # the policy's own sample must not touch the critics
    other, _ = agent.algorithm.step(agent.state, batch(), changed, scalars())
    assert equal(other.critic, together.critic)
    assert not equal(other.policy, together.policy)


def test_the_step_is_pure():
    agent = build(config(), SPACES)
    before = copy.deepcopy(agent.state)
    agent.algorithm.step(agent.state, batch(), draws(), scalars())
    assert equal(before, agent.state)


def test_fixed_temperature_never_moves():
    learns = learner(alpha=0.3)
    for index in range(3):
        learns.update(batch(index))
    assert learns.agent.grad_steps == 3
    assert learns.agent.alpha == pytest.approx(0.3)


def test_target_interval_counts_all_gradient_steps():
    learns = learner(target_every=3, tau=1.0)
    agent = learns.agent
    changed = []
    for index in range(9):
        before = copy.deepcopy(agent.state.target)
        learns.update(batch(index))
        changed.append(not equal(before, agent.state.target))
    assert changed == [False, False, True] * 3
    assert equal(agent.state.target["critic"], agent.state.critic.parameters)


@pytest.mark.parametrize("rows", [1, 7])
def test_batch_of_any_size_gives_scalar_losses(rows):
    metrics, td_error = learner(batch_size=rows).update(batch(rows=rows))
    assert all(map(math.isfinite, metrics.values()))
    assert td_error.shape == (rows,)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param(
            {"alpha": 0.3, "hidden": (8, 8, 8), "activation": "silu", "critics": 3, "target_every": 2},
            marks=pytest.mark.long,
        ),
    ],
)
def test_compiled_step_equals_eager_step(settings):
    eager, compiled = (learner(**settings, compile=mode) for mode in ("never", "auto"))
    assert compile_steps(compiled) is None
    for index in range(20):
        left, right = eager.update(batch(index)), compiled.update(batch(index))
        assert left.metrics == pytest.approx(right.metrics, rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(left.td_error, right.td_error, rtol=1e-4, atol=1e-5)
    assert compiled.agent.grad_steps == 20
    for name, tensor in eager.agent.tensors().items():
        torch.testing.assert_close(tensor, compiled.agent.tensors()[name], rtol=1e-3, atol=1e-5)


def test_acting_follows_the_update_whether_compiled_or_not():
    for mode in ("never", "auto"):
        learns = learner(compile=mode, lr=0.01)
        agent = learns.agent
        compile_steps(learns)
        obs = np.ones((1, 3), np.float32)
        before = agent.act(obs, deterministic=True)
        mean = agent.algorithm.policy(torch.ones(1, 3))[:, :2].tanh()
        np.testing.assert_allclose(before, mean, rtol=1e-6)
        learns.update(batch())
        assert not np.array_equal(before, agent.act(obs, deterministic=True))
