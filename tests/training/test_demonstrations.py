"""Runs that learn from demonstrations: which rows, when, exactly the same after a stop, and to what end."""

import dataclasses
import json
import shutil
import warnings

import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

import rucksac
from rucksac.building import build
from rucksac.errors import UsageError
from rucksac.learner import Learner
from rucksac.training.checkpoint_layout import CHECKPOINT, checkpoints_in, manifest_of
from rucksac.training.info import info
from rucksac.training.loop import Loop
from rucksac.training.memory import memory_of
from rucksac.training.plan import Plan, plan_of
from rucksac.training.train import resume_run, train_run
from tests.algorithm.steps import SPACES
from tests.attributes import differences
from tests.runs import SMALL, config, logs
from tests.training.test_combinations import CHOOSING, FEATURES
from tests.worlds import Lock, Reach, Steps

HALFWAY, END = 80, 120
OFFLINE_BATCH = ("training.sampler.other.arrays", "training.sampler.other.batch")  # the last one, of no use any more
OFTEN = {"steps": END, "eval_every": 20, "eval_episodes": 1, "time_limit": 30, "checkpoint_every": 30, "log_every": 10}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Return the folder of former runs, by environment, the last of their episodes still open."""
    folder = tmp_path_factory.mktemp("old")
    for name, env, settings in (
        ("Pendulum-v1", "Pendulum-v1", {"time_limit": 30}),
        ("Reach", "tests.worlds:Reach", {"envs": 2}),
        ("Steps", Steps, {"buffer_size": 70}),
    ):
        rucksac.train(env, run=folder / name, **{**SMALL, "steps": 100, "eval_every": 1_000, "seed": 7, **settings})
    return folder


@pytest.fixture
def given(monkeypatch):
    """Collect the batches of every gradient step of the test."""
    seen, update = [], Learner.update

    def watched(learner, batch):
        seen.append(type(batch)(*(None if each is None else each.clone() for each in batch)))
        return update(learner, batch)

    monkeypatch.setattr(Learner, "update", watched)
    return seen


def plan(env="Pendulum-v1", **settings):
    return Plan(env, config(**{**OFTEN, **settings}), "sac")


def states(replay):
    return set(map(tuple, replay.data["obs"].tolist()))


@pytest.mark.parametrize(("share", "rows"), [(0.5, 8), (0.3, 5), (0.95, 15)])
def test_each_batch_has_its_share_of_demonstrations(old, trained, given, share, rows):
    settings = {"demonstration_share": share, "offline_steps": 7, "steps": 40}
    summary = train_run(plan(demonstrations=old / "Pendulum-v1", **settings), None, None).summary
    (training,) = trained
    prior = states(memory_of(old / "Pendulum-v1").replay)
    own = states(training.replay)
    assert (summary["grad_steps"], summary["offline_grad_steps"]) == (len(given), 7) == (28, 7)
    for number, batch in enumerate(given):
        for column in (batch.obs, batch.next_obs):
            found = [tuple(row) in prior for row in column.tolist()]
            assert found == ([True] * 16 if number < 7 else [False] * (16 - rows) + [True] * rows)
            assert all(tuple(row) in own for row in column[: 16 - rows].tolist()) or number < 7
    assert len({tuple(row) for batch in given for row in batch.obs.tolist()} & prior) > 60


CASES = {
    "plain": ("Pendulum-v1", {"offline_steps": 25}),
    "priorities": ("Pendulum-v1", {"priorities": 0.6, "n_step": 3, "envs": 2, "buffer_size": 70, "offline_steps": 12}),
    "hindsight": ("tests.worlds:Reach", {"hindsight": 4, "envs": 2}),
    "normalised": ("Pendulum-v1", {"normalise_observations": True, "normalise_rewards": True, "offline_steps": 12}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_the_uninterrupted_one(old, tmp_path, monkeypatch, trained, case):
    env, settings = CASES[case]
    name = env.split(":")[-1]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    settings = {**settings, "demonstrations": str(old / name)}
    if case in ("priorities", "normalised"):
        rucksac.export_replay(old / name, "minari:me/data-v0")
        settings["demonstrations"] = "minari:me/data-v0"
    train_run(plan(env, **settings), tmp_path / "whole", None)
    train_run(plan(env, **settings, steps=HALFWAY), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=END), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert resumed.agent.grad_steps == whole.agent.grad_steps > 100
    overwritten = [f"training.replay.data.{column}" for column in ("obs", "action", "reward")]
    found = {each for each in differences(whole, resumed) if not each.startswith(OFFLINE_BATCH)}
    assert found <= {"training.progress.saved", *overwritten}  # the first half ends with a checkpoint of its own
    assert logs(tmp_path / "whole") == logs(tmp_path / "halves")


@pytest.mark.parametrize("at", [4, 13, 20, 25])
def test_a_stop_in_the_offline_steps_changes_nothing(old, tmp_path, monkeypatch, trained, at):
    """At 20 a row of metrics and at 25 the evaluation is due, which are left to the run that goes on."""
    settings = {"demonstrations": str(old / "Pendulum-v1"), "offline_steps": 25, "checkpoint_every": 7, "steps": 50}
    train_run(plan(**settings), tmp_path / "whole", None)
    update, run, loops = Learner.update, Loop.run, []

    def stopping(learner, batch):
        if learner.agent.grad_steps + 1 == at:
            loops[0].stop.set()
        return update(learner, batch)

    def watched(loop):
        loops.append(loop)
        run(loop)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "update", stopping)
        patched.setattr(Loop, "run", watched)
        stopped = train_run(plan(**settings), tmp_path / "halves", None).summary
    assert (stopped["env_steps"], stopped["grad_steps"], stopped["offline_grad_steps"]) == (0, at, at)
    resume_run(plan_of(tmp_path / "halves"), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert all(each.startswith(OFFLINE_BATCH) for each in differences(whole, resumed))
    found = logs(tmp_path / "whole")
    assert found == logs(tmp_path / "halves")
    offline = [(row["env_steps"], row["grad_steps"]) for row in found["metrics"] if row["env_steps"] == "0"]
    assert offline == [("0", "10"), ("0", "20"), ("0", "25")]
    assert [row["env_steps"] for row in found["evaluations"]] == ["0", "20", "40", "50"]


def test_a_checkpoint_has_a_digest_of_the_demonstrations_and_no_copy(old, tmp_path):
    prior, run = tmp_path / "prior", tmp_path / "run"
    shutil.copytree(old / "Pendulum-v1", prior)
    train_run(plan(demonstrations=str(prior), steps=60), run, None)
    recorded = manifest_of(checkpoints_in(run, CHECKPOINT)[-1])["demonstrations"]
    assert (recorded["source"], recorded["transitions"]) == (str(prior), 100)
    assert len(recorded["sha256"]) == 64
    saved = sum(file.stat().st_size for file in (run / "replay").iterdir())
    train_run(plan(steps=60), tmp_path / "without", None)
    assert saved == sum(file.stat().st_size for file in (tmp_path / "without/replay").iterdir())
    assert info(run)["obstacle"] is None
    rucksac.resume(prior, steps=110)
    for says in (
        "prior are not those that this run has learned from; put those back, or train anew",
        "is not the folder",
    ):
        with pytest.raises(UsageError, match=says):
            rucksac.resume(run, steps=80)
        assert info(run)["obstacle"]
        shutil.rmtree(prior, ignore_errors=True)
    shutil.copytree(old / "Pendulum-v1", prior)
    assert rucksac.resume(run, steps=80).grad_steps == 61
    assert json.loads((run / "config.json").read_text())["settings"]["demonstrations"] == str(prior)


TOGETHER = {**FEATURES, "collectors": {"collectors": 2, "most_lag": 0}}
SLOW = pytest.param(["collectors"], marks=pytest.mark.long)


@pytest.mark.parametrize("features", [*([name] for name in FEATURES), CHOOSING, SLOW], ids=" and ".join)
def test_demonstrations_go_together_with(old, trained, given, features):
    settings = {}
    for name in features:
        settings |= TOGETHER[name]
    env = settings.pop("env", Reach)
    prior = memory_of(old / env.__name__).replay
    settings |= {"steps": 32, "warmup": 30, "time_limit": 5, "gamma": 0.5, "demonstrations": old / env.__name__}
    train_run(Plan(env, config(**settings, offline_steps=2), "sac"), None, None)
    (training,) = trained
    assert training.agent.grad_steps == len(given) >= 4
    points, goals = slice(4, 6), slice(2, 4)  # the latter are changed by hindsight
    theirs, own = (set(map(tuple, each.data["obs"][:, points].tolist())) for each in (prior, training.replay))
    wanted = set(map(tuple, prior.data["obs"][:, goals].tolist()))
    looks_ahead, weighs, relabels = (name in features for name in CHOOSING)
    for number, batch in enumerate(given):
        first = 0 if number < 2 else 8
        assert {tuple(row) for row in batch.obs[first:, points].tolist()} <= theirs
        assert {tuple(row) for row in batch.obs[:first, points].tolist()} <= own
        assert ((batch.discount[first:] < 0.4).any()) == looks_ahead
        assert (not {tuple(row) for row in batch.obs[first:, goals].tolist()} <= wanted) == relabels
        assert (batch.weight is not None) == weighs
    if weighs:
        assert not given[-1].weight[8:].eq(1.0).all()


def test_the_normaliser_has_seen_the_demonstrations_first(old, tmp_path, trained):
    both = {"normalise_observations": True, "normalise_rewards": True, "demonstrations": str(old / "Pendulum-v1")}
    train_run(plan(**both, steps=20, offline_steps=1), tmp_path / "run", None)
    normaliser, kept = trained[0].agent.normaliser, memory_of(old / "Pendulum-v1").replay
    assert normaliser.seen.count == normaliser.returns.count == 100 + 20
    rows = kept.data["obs"][np.flatnonzero(kept.kind & 1)]
    own = trained[0].replay
    seen = np.concatenate([rows, own.data["obs"][np.flatnonzero(own.kind & 1)]])
    np.testing.assert_allclose(normaliser.seen.mean, seen.mean(0), rtol=1e-5, atol=1e-6)
    rucksac.train("Pendulum-v1", start_from=tmp_path / "run", steps=10)
    assert trained[1].agent.normaliser.seen.count == 130
    assert trained[1].agent.config.offline_steps == 0


def test_learning_rates_fall_from_the_first_environment_step_on():
    settings = {"lr_schedule": "linear", "lr_end": 0.0, "warmup": 100, "steps": 300, "policy_delay": 2}
    falls = {"demonstrations": "old", "offline_steps": 10}
    with_them, without = (build(config(**settings, **more), SPACES).algorithm.scalars for more in (falls, {}))

    def rates(scalars, count):
        updates = {"critic": count, "policy": max(1, count // 2), "temperature": max(1, count // 2)}
        return [scalars(count)[name]["step_size"] * (1 - 0.9**n) / (1 - 0.999**n) ** 0.5 for name, n in updates.items()]

    for count in (2, 11, 60):
        np.testing.assert_allclose(rates(with_them, count + 10), rates(without, count), rtol=1e-6)
    for count in (2, 10):
        np.testing.assert_allclose(rates(with_them, count), rates(without, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"action_high": (1.5,)}, "holds other observations or actions .*action high.*; leave --demonstrations out"),
        ({"frame_skip": 2}, "has steps of --frame-skip 1, not 2; keep that or leave --demonstrations out"),
        ({"env": "CartPole-v1"}, "holds other observations or actions .*leave --demonstrations out"),
        ({"demonstrations": "nowhere"}, "nowhere is not the folder of a run"),
        ({"demonstrations": "agent"}, "agent is an agent without a replay memory; name its run"),
        ({"demonstrations": "damaged"}, "the replay memory of .*damaged cannot be read"),
        ({"demonstrations": "minari:me/x"}, "'me/x' cannot be the name of a Minari data set"),
    ],
)
def test_demonstrations_that_do_not_fit_are_refused_before_the_run_begins(old, tmp_path, monkeypatch, settings, says):
    monkeypatch.chdir(tmp_path)
    rucksac.load(old / "Pendulum-v1").save(tmp_path / "agent")
    shutil.copytree(old / "Pendulum-v1", tmp_path / "damaged")
    next((tmp_path / "damaged/replay").iterdir()).write_bytes(b"nothing")
    given = {"env": "Pendulum-v1", "demonstrations": old / "Pendulum-v1", **settings}
    with pytest.raises(UsageError, match=says):
        rucksac.train(given.pop("env"), run=tmp_path / "run", **SMALL, **given)
    assert not (tmp_path / "run").exists()


def lock_picked(name, attempts=20):
    """Write a data set of someone who knows the code, and of as many attempts that fail."""
    random, episodes = np.random.default_rng(0), []
    for attempt in range(2 * attempts):
        env, actions, rewards, ends = Lock(), [], [], []
        seen = [env.reset()[0]]
        while not (ends and ends[-1]):
            good = attempt % 2 or random.random() > 0.3
            actions.append(np.float32([env.code[env.steps] * random.uniform(0.4, 1.0) * (1 if good else -1)]))
            obs, reward, ended, *_ = env.step(actions[-1])
            seen, rewards, ends = [*seen, obs], [*rewards, reward], [*ends, ended]
        no = np.zeros(len(ends), bool)
        episodes.append(EpisodeBuffer(observations=np.stack(seen), actions=np.stack(actions), rewards=rewards,
                                      terminations=ends, truncations=no))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody is named as the author
        minari.create_dataset_from_buffers(
            name, episodes, action_space=Lock.action_space, observation_space=Lock.observation_space
        )


def opened(seed=1, **settings):
    """Return the share of evaluation episodes in which the lock opens after a short training."""
    small = {"warmup": 50, "batch_size": 50, "hidden": (32, 32), "lr": 5e-3, "tau": 0.2, "gamma": 0.9, "seed": seed,
             "alpha": 0.01, "eval_every": 10_000, "steps": 350}  # fmt: skip
    result = train_run(Plan(Lock, dataclasses.replace(config(), **{**small, **settings}), "sac"), None, None)
    return result.summary["final_evaluation"]["mean"]


def test_demonstrations_open_a_lock_that_chance_does_not(tmp_path, monkeypatch):
    """With each of seeds 1 to 15 the lock opened with demonstrations, and with neither of seeds 1 and 2 without them.

    So fewer than 18 in 100 seeds would fail, with 95 % confidence; this one is fixed. An attempt at random opens it
    once in 4,400 times.
    """
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    lock_picked("lock-v0")
    assert opened() == 0.0
    assert opened(demonstrations="minari:lock-v0") == 1.0
