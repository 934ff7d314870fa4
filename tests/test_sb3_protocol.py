"""The agent where Stable-Baselines3 expects a model of its own."""

import pytest

import rucksac
from tests.beside_sb3 import ROOT, told
from tests.runs import SMALL

EVALUATED = """
import json, sys, warnings
import gymnasium
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
import rucksac

warnings.simplefilter("error")
agent = rucksac.load(sys.argv[1])
envs = DummyVecEnv([lambda: gymnasium.make(sys.argv[2])] * 2)
envs.seed(0)
returns, lengths = evaluate_policy(agent, envs, n_eval_episodes=2, return_episode_rewards=True, warn=False)
print(json.dumps([list(map(float, returns)), list(map(int, lengths))]))
"""


@pytest.mark.sb3
@pytest.mark.parametrize("env", ["Pendulum-v1", "CartPole-v1"])
def test_its_evaluate_policy_measures_what_evaluate_does(tmp_path, env):
    agent = rucksac.train(env, steps=60, **SMALL)
    agent.save(tmp_path / "agent")
    ours = rucksac.evaluate(agent, env, episodes=2)
    found = sorted(zip(*told(EVALUATED, tmp_path / "agent", env), strict=True))  # they come in the order of their ends
    for (total, length), episode in zip(found, sorted(ours.episodes, key=lambda each: each.total_return), strict=True):
        assert total == pytest.approx(episode.total_return, rel=1e-5)
        assert length == episode.length


ARGUMENTS = """
import inspect, json
from stable_baselines3 import SAC
print(json.dumps(list(inspect.signature(SAC).parameters)))
"""


@pytest.mark.sb3
def test_the_page_on_migrating_has_every_argument():
    page = (ROOT / "docs/migrating.md").read_text()
    lacking = [name for name in told(ARGUMENTS) if not name.startswith("_") and f"`{name}`" not in page]
    assert lacking == []
