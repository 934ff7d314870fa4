import pytest
import torch

from rucksac.building import build
from rucksac.training.console import Console
from rucksac.training.diagnosis import Watchdog, divergence, first_not_finite
from rucksac.training.health import Health
from rucksac.training.plan import Plan
from rucksac.training.train import train_run
from tests.algorithm.steps import SPACES, batch, config
from tests.runs import config as run_config
from tests.worlds import World


def row(**values):
    return {"env_steps": 1_000, "grad_steps": 0, "episodes": 3, "q": 0.0, "alpha": 1.0, "entropy": -1.0, **values}


def watchdog_of(said, envs=1, largest_reward=2.0, seconds=lambda: 0.0):
    return Watchdog(Health(0.9, None, lambda: largest_reward), envs, seconds, said.append)


@pytest.fixture
def said():
    return []


def test_q_beyond_what_rewards_allow_is_told_once(said):
    watchdog = watchdog_of(said)
    watchdog.record("metrics", [row(q=29.0)])
    watchdog.record("metrics", [row(q=-300.0)])
    assert said == []  # at most (2 + 1 * 1) / (1 - 0.9) = 30, and ten times that is still let pass
    watchdog.record("metrics", [row(q=-301.0)])
    watchdog.record("metrics", [row(q=1e9)])
    assert len(said) == 1
    assert "Q is -301 at step 1,000" in said[0]
    assert "at most 30" in said[0]
    assert "--lr" in said[0]


def test_an_alpha_that_drowns_the_rewards_is_told_once(said):
    watchdog = watchdog_of(said, largest_reward=0.5)
    watchdog.record("metrics", [row(alpha=60.0)])  # so from the beginning, and perhaps on its way down
    watchdog.record("metrics", [row(alpha=599.0)])
    assert said == []
    watchdog.record("metrics", [row(alpha=601.0)])
    watchdog.record("metrics", [row(alpha=700.0)])
    assert len(said) == 1
    assert "alpha has grown to 601" in said[0]
    assert "--target-entropy" in said[0]


def test_episodes_that_do_not_end_are_told_once_each_environment_has_had_its_time(said):
    watchdog = watchdog_of(said, envs=4)
    for steps, episodes in ((5_000, 0), (19_999, 0), (30_000, 1)):
        watchdog.record("metrics", [row(env_steps=steps, episodes=episodes)])
    assert said == []
    watchdog.record("metrics", [row(env_steps=20_000, episodes=0)])
    watchdog.record("metrics", [row(env_steps=30_000, episodes=0)])
    (text,) = said
    assert "no episode has ended after 20,000 steps" in text
    assert "--time-limit 1000" in text


def test_gradient_steps_that_become_many_times_slower_are_told_once(said):
    clock = [0.0]
    watchdog = watchdog_of(said, seconds=lambda: clock[0])
    for number, each in enumerate((0.9, 0.010, 0.002, 0.015, 0.017, 0.5), 1):  # the first stretch has no beginning
        clock[0] += 100 * each
        watchdog.record("metrics", [row(env_steps=500 * number, grad_steps=100 * number)])
        watchdog.record("metrics", [row(env_steps=500 * number, grad_steps=100 * number)])  # nothing learned in between
        assert len(said) == (number >= 5)
    assert "gradient steps take 8 times as long at step 2,500 as they did" in said[0]


def test_a_real_run_whose_alpha_explodes_is_told(said):
    class Faint(World):
        def step(self, action):
            self.steps += 1
            return self.seen(), 1e-9, False, self.steps == 10, {}

    console = Console(200)
    console.note = said.append
    settings = run_config(steps=200, lr=0.1, target_entropy=0.69, initial_alpha=1e-3)  # the uniform policy has 0.693
    train_run(Plan(Faint, settings, "sac"), None, console)
    assert any("alpha has grown to" in text for text in said)


@pytest.mark.parametrize("name", ["reward", "obs", "next_obs", "critic.moments.square.mlp.layers.0.weight"])
def test_the_first_tensor_that_is_not_finite_is_named(name, tmp_path):
    agent, data = build(config(), SPACES), batch()
    everything = {**data._asdict(), **agent.tensors()}
    everything[name].view(-1)[2] = torch.nan
    assert first_not_finite(agent, data).startswith(name)
    text = divergence(agent, data, 700, tmp_path)
    assert text.startswith(f"not finite at environment step 700, gradient step 0: {name}")
    assert (tmp_path / "diverged.safetensors").exists()
