"""Every pair of the ways to choose and to read transitions, and of what else they meet, through whole trainings."""

import itertools

import pytest

from rucksac.learner import Learner
from rucksac.training.plan import Plan
from rucksac.training.train import train_run
from tests.runs import config
from tests.worlds import Reach, Steps

FEATURES = {
    "returns of 3 steps": {"n_step": 3},
    "priorities": {"priorities": 0.6},
    "hindsight": {"hindsight": 4},
    "normalised observations": {"normalise_observations": True},
    "normalised rewards": {"normalise_rewards": True},
    "3 environments": {"envs": 3},
    "a worker": {"workers": 1},
    "discrete actions": {"env": Steps},
    "quantiles": {"returns": "quantiles", "quantiles": 5},
    "a value network": {"value_network": True},
}
CHOOSING = ("returns of 3 steps", "priorities", "hindsight")
SENSELESS = ({"discrete actions", "quantiles"}, {"quantiles", "a value network"})  # refused, and tested elsewhere
PAIRS = [pair for pair in itertools.combinations(FEATURES, 2) if set(pair) not in SENSELESS]


@pytest.mark.parametrize("features", [*PAIRS, CHOOSING, tuple(FEATURES)[:8]], ids=" and ".join)
def test_they_train_together(trained, monkeypatch, features):
    settings = {}
    for name in features:
        settings |= FEATURES[name]
    env = settings.pop("env", Reach)
    steps = 30 if "envs" in settings else 32  # both take three gradient steps
    given, update = [], Learner.update

    def watched(learner, batch):
        given.append(type(batch)(*(None if each is None else each.clone() for each in batch)))
        return update(learner, batch)

    monkeypatch.setattr(Learner, "update", watched)
    settings |= {"steps": steps, "warmup": 30, "time_limit": 5, "gamma": 0.5}
    train_run(Plan(env, config(**settings), "sac"), None, None)
    (training,) = trained
    assert training.agent.grad_steps == len(given) == 3
    looks_ahead, weighs, relabels = (name in features for name in CHOOSING)
    memory, goals = training.replay.data, slice(2, 4)
    own = set(map(tuple, memory["obs"][:, goals].tolist()))
    for batch in given:
        assert set(batch.discount.tolist()) == ({0.5, 0.25, 0.125} if looks_ahead else {0.5})
        assert (batch.weight is not None) == weighs
        assert (not set(map(tuple, batch.obs[:, goals].tolist())) <= own) == relabels
        assert batch.obs[:, goals].equal(batch.next_obs[:, goals])
    if weighs:
        assert given[0].weight.eq(1.0).all()
        assert not given[2].weight.eq(1.0).all()
