"""Learning begins anew every so many gradient steps (arXiv 2205.07802): what does, what does not, and when."""

import copy

import pytest

from rucksac.algorithm.recipes import RECIPES
from rucksac.algorithm.resets import resets_of
from rucksac.algorithm.update import write_back
from rucksac.building import build
from rucksac.config import with_settings
from rucksac.errors import UsageError
from tests.algorithm.steps import SPACES, batch, config, equal, learner
from tests.exporting.cases import OwnCritic, OwnPolicy

EVERY = 4


def settings_of(name):
    recipe = with_settings(RECIPES[name].config, {}).to_json()
    kept = (
        "steps",
        "reset_every",
        "reset_at",
        "hidden",
        "critic_hidden",
        "batch_size",
        "compile",
        "seed",
        "utd",
        "lr_schedule",
        "lr_steps",
        "lr_end",
    )
    small = {key: value for key, value in recipe.items() if key not in kept}
    return {**small, "hidden": (8, 8), "policy_delay": min(2, small["policy_delay"])}


@pytest.mark.parametrize("name", RECIPES)
def test_after_a_reset_every_recipe_learns_as_a_new_agent_would(name):
    settings = settings_of(name)
    resets, new = learner(**settings, reset_every=EVERY), learner(**settings)
    for number in range(EVERY):
        resets.update(batch(number))
    write_back(new.agent.state, resets.agent.begin(1))
    new.noise = copy.deepcopy(resets.noise)
    for number in range(EVERY, 2 * EVERY):
        assert resets.update(batch(number)).metrics == new.update(batch(number)).metrics
    assert equal(resets.agent.state, new.agent.state)
    assert resets.agent.grad_steps == 2 * EVERY  # and what was learned last is still there


def test_what_begins_anew_is_drawn_from_the_seed_and_the_number_of_the_reset():
    agent, twin, other = (learner(reset_every=EVERY, seed=seed).agent for seed in (3, 3, 4))
    first = copy.deepcopy(agent.state)
    begun = [agent.begin(number) for number in (1, 2)]
    assert equal(begun[0], twin.begin(1))
    assert equal(first, agent.state)
    for left, right in ((first, begun[0]), (first, begun[1]), (begun[0], begun[1]), (begun[0], other.begin(1))):
        for part in ("policy", "critic"):
            assert not equal(getattr(left, part).parameters, getattr(right, part).parameters)
    for state in begun:
        assert equal(state.target["critic"], state.critic.weights)
        assert state.alpha.item() == 1.0
        moments = [each for kind in state.critic.moments.values() for each in kind.values()]
        assert moments
        assert not any(each.any() for each in moments)


@pytest.mark.parametrize(
    ("resets", "begins"), [({"reset_every": 7}, range(1, 60, 7)), ({"reset_at": (5, 9, 40)}, (6, 10, 41))]
)
def test_bias_corrections_begin_anew_and_learning_rates_go_on(resets, begins):
    settings = {"policy_delay": 3, "lr_schedule": "linear", "lr_end": 0.0, "steps": 100, "warmup": 10, "lr": 1e-2}
    algorithm = learner(**settings, **resets).agent.algorithm
    critic_age = policy_age = 0
    for count in range(1, 60):
        if count in begins:
            critic_age = policy_age = 0
        critic_age += 1
        rates = {"critic": (critic_age, count)}
        if count % 3 == 0:
            policy_age += 1
            rates["policy"] = policy_age, count - 2
        for name, (age, at) in rates.items():
            size = algorithm.scalars(count)[name]["step_size"]
            rate = 1e-2 * (1 - (10 + at - 1) / 100)
            assert size == pytest.approx(rate * (1 - 0.999**age) ** 0.5 / (1 - 0.9**age)), (name, count)


def test_resets_come_after_the_steps_that_are_named_and_after_every_so_many():
    resets = resets_of(config(reset_at=(3, 7, 8), reset_every=4))
    assert [resets.due(done) for done in range(10)] == [0, 0, 0, 1, 2, 0, 0, 3, 5, 0]
    assert [resets.last(done) for done in range(10)] == [0, 0, 0, 3, 4, 4, 4, 7, 8, 8]
    assert resets_of(config()) is None
    learns, last = learner(reset_at=3), learner(reset_at=(3, 5))
    assert learns.agent.config.reset_at == (3,)
    for number in range(5):
        assert learns.update(batch(number)).metrics == last.update(batch(number)).metrics
    assert learns.update(batch()).metrics != last.update(batch()).metrics
    for wrong in ((0,), (3, 3), (5, 4), (), "3"):
        with pytest.raises(UsageError, match="--reset-at is .*, but must be left out or one or more rising whole num"):
            config(reset_at=wrong)


def test_the_memory_of_the_state_stays_the_same():
    learns = learner(reset_every=2)
    leaves = {name: tensor.data_ptr() for name, tensor in learns.agent.tensors().items()}
    for number in range(5):
        learns.update(batch(number))
    assert leaves == {name: tensor.data_ptr() for name, tensor in learns.agent.tensors().items()}


def test_networks_of_a_persons_own_cannot_begin_anew():
    for name, value in (("every", 5), ("at", (5, 9))):
        with pytest.raises(UsageError, match=f"--reset-{name} is for rucksac's own networks, .* leave it out with mod"):
            build(config(**{f"reset_{name}": value}), SPACES, OwnPolicy(), OwnCritic())
