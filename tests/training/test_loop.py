import functools
import os
import random
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

import rucksac
from rucksac.config import Config
from rucksac.environments.making import name_of
from rucksac.errors import TrainingStopped, UsageError
from rucksac.experience.replay import TERMINATED, TRUNCATED
from rucksac.resources import available_threads
from rucksac.training.console import Console
from rucksac.training.loop import crossed
from rucksac.training.needs import threads_for
from rucksac.training.plan import Plan, plan_of
from rucksac.training.train import resume_run, train_run
from tests.runs import COMPILED, SMALL, config, rows
from tests.worlds import Counter, Failing, Faulty, Forever, InItsOwnOrder, OnlyInWorkers, OutOfStep, World


@pytest.mark.parametrize(("utd", "updates"), [(1.0, 81), (0.25, 20), (0.1, 8), (3.0, 243)])
def test_gradient_steps_are_utd_times_transitions_after_warmup(utd, updates):
    result = train_run(Plan("Pendulum-v1", config(utd=utd), "sac"), None, None)
    assert result.summary["env_steps"] == 100
    assert result.summary["grad_steps"] == result.agent.grad_steps == updates


def test_without_warmup_learning_starts_when_more_than_a_batch_is_stored():
    result = train_run(Plan("Pendulum-v1", config(warmup=0), "sac"), None, None)
    assert result.summary["grad_steps"] == 100 - 16


def test_crossing_counts_absolute_steps():
    assert [step for step in range(0, 30, 4) if crossed(step, step + 4, 10)] == [8, 16, 28]


def test_same_seed_gives_the_same_files_and_the_global_generators_are_left_alone(tmp_path):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    for name in ("a", "b"):
        train_run(Plan("Pendulum-v1", config(**COMPILED, steps=340), "sac"), tmp_path / name, None)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    for name in ("metrics", "episodes", "evaluations"):
        first, second = (
            [{k: v for k, v in row.items() if k != "wall_seconds"} for row in rows(tmp_path / run, name)]
            for run in "ab"
        )
        assert first == second
    assert len(rows(tmp_path / "a", "metrics")) == 9


def test_another_seed_gives_another_run(tmp_path):
    for seed in (1, 2):
        train_run(Plan("Pendulum-v1", config(seed=seed), "sac"), tmp_path / str(seed), None)
    assert rows(tmp_path / "1", "metrics") != rows(tmp_path / "2", "metrics")


def test_evaluation_leaves_training_as_it_was():
    scaled = {"normalise_observations": True, "normalise_rewards": True}
    often, never = (
        train_run(Plan("Pendulum-v1", config(eval_every=every, **scaled), "sac"), None, None).agent.tensors()
        for every in (7, 10_000)
    )
    assert all(torch.equal(tensor, never[name]) for name, tensor in often.items())


def test_nothing_global_is_left_changed():
    torch.set_num_threads(2)
    train_run(Plan("Pendulum-v1", config(precision="bf16"), "sac"), None, None)
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"
    assert (torch.tensor([1e-39]) * 1.0).item() != 0.0


def test_the_run_folder_tells_everything(tmp_path):
    import json

    train_run(Plan("Pendulum-v1", config(), "sac"), tmp_path / "run", None)
    told = json.loads((tmp_path / "run/config.json").read_text())
    assert told["environment"] == "Pendulum-v1"
    assert told["settings"]["batch_size"] == 16
    assert {"python", "torch", "gymnasium", "rucksac"} <= set(told["versions"])
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["env_steps"] == 100
    assert {"act", "environment", "sample", "update", "compile"} <= set(summary["wall_seconds"])
    evaluations = rows(tmp_path / "run", "evaluations")
    assert [(row["env_steps"], row["seed"]) for row in evaluations] == [
        ("60", "0"),
        ("60", "1"),
        ("100", "0"),
        ("100", "1"),
    ]
    returns = [float(row["return"]) for row in evaluations[2:]]
    assert summary["final_evaluation"]["mean"] == pytest.approx(np.mean(returns))


def test_every_training_episode_is_on_record(tmp_path):
    train_run(Plan(Counter, config(steps=70), "sac"), tmp_path / "run", None)
    episodes = rows(tmp_path / "run", "episodes")
    assert [(int(row["length"]), float(row["return"])) for row in episodes] == [(3, 6.0), (4, 10.0)] * 10
    assert [int(row["env_steps"]) for row in episodes][:4] == [3, 7, 10, 14]


def test_a_used_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"already in use; give another --run, or remove it"):
        train_run(Plan("Pendulum-v1", config(), "sac"), tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_refusals_come_before_any_folder_exists(tmp_path):
    for env, says in ((lambda: 3, "gymnasium.Env"), (World(), "an id or a function")):
        with pytest.raises(UsageError, match=says):
            train_run(Plan(env, config(), "sac"), tmp_path / "run", None)
        assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="lies between -inf and 0.693 nats"):
        train_run(Plan("Pendulum-v1", config(target_entropy=0.7), "sac"), tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


class Explosive(World):
    """Rewards so large that the loss overflows float32."""

    def step(self, action):
        self.steps += 1
        return self.seen(), 3e30, False, self.steps == 10, {}


def test_values_that_are_not_finite_stop_the_run_and_keep_the_last_good_checkpoint_and_the_batch(tmp_path):
    says = r"not finite at environment step 20, gradient step 1: critic.moments.square\.\S+\. The last checkpoint"
    with pytest.raises(TrainingStopped, match=says):
        train_run(Plan(Explosive, config(checkpoint_every=5), "sac"), tmp_path / "run", None)
    assert all(tensor.isfinite().all() for tensor in rucksac.load(tmp_path / "run").tensors().values())
    batch = safetensors.torch.load_file(tmp_path / "run/diverged.safetensors")
    assert set(batch) == {"obs", "action", "reward", "discount", "next_obs"}
    assert (batch["reward"] == 3e30).all()


def test_own_networks_are_trained_and_loaded_again(tmp_path):
    def networks():
        class Critic(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)

            def forward(self, obs, action):
                return self.second(torch.tanh(self.first(torch.cat([obs, action], -1)))).T

        return {
            "policy": torch.nn.Sequential(
                torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
            ),
            "critic": Critic(),
        }

    own = networks()
    before = own["policy"][0].weight.clone()
    agent = rucksac.train("Pendulum-v1", run=tmp_path / "run", steps=60, **SMALL, **own)
    assert not torch.equal(before, own["policy"][0].weight)
    assert own["policy"][1].num_batches_tracked == agent.grad_steps > 0
    with pytest.raises(UsageError, match="policy=..., critic=..."):
        rucksac.load(tmp_path / "run")
    obs = np.zeros(3, np.float32)
    assert rucksac.load(tmp_path / "run", **networks()).predict(obs)[0] == agent.predict(obs)[0]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (torch.nn.Linear(3, 5), r"returned shape \(3, 5\) for a batch of 3, but must return \(3, 2\)"),
        (torch.nn.Linear(4, 2), "cannot take a batch of 3"),
    ],
)
def test_own_networks_that_do_not_fit_are_refused(policy, says):
    with pytest.raises(UsageError, match=says):
        rucksac.train("Pendulum-v1", steps=60, **SMALL, policy=policy)


def test_unknown_settings_and_recipes_are_refused():
    with pytest.raises(UsageError, match="there is no setting 'learning_rate'"):
        rucksac.train("Pendulum-v1", learning_rate=1e-3)
    with pytest.raises(UsageError, match="did you mean 'notebook'"):
        rucksac.train("Pendulum-v1", recipe="notebok")


def test_predict_takes_one_observation_or_a_batch_and_speaks_the_environments_units():
    agent = rucksac.train("Pendulum-v1", steps=40, **SMALL)
    one, nothing = agent.predict(np.zeros(3), deterministic=True)
    many, _ = agent.predict(np.zeros((5, 3), np.float32))
    assert nothing is None
    assert one.shape == (1,)
    assert many.shape == (5, 1)
    np.testing.assert_allclose(many, np.tile(one, (5, 1)), rtol=1e-5)  # a batch may be summed in another order
    samples = np.array([agent.predict(np.zeros(3), deterministic=False)[0] for _ in range(200)])
    assert samples.std() > 0.1
    assert 1.0 < np.abs(samples).max() <= 2.0
    with pytest.raises(UsageError, match=r"shape \(4,\).* must be numbers of shape \(3,\)"):
        agent.predict(np.zeros(4))
    with pytest.raises(UsageError, match="state is False, but must be None"):
        agent.predict(np.zeros(3), False)


def test_a_replay_memory_that_cannot_fit_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"rows takes .* MiB, but only .* MiB are free; use --buffer-size \d+ or less"):
        train_run(Plan("Pendulum-v1", config(buffer_size=10**13), "sac"), tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", ["nan", "raises"])
def test_an_environment_that_fails_loses_nothing_of_what_came_before(tmp_path, fault):
    run = tmp_path / "run"
    with pytest.raises(UsageError, match=f"at environment step 2; what came before is saved, and rucksac resume {run}"):
        train_run(Plan(lambda: Faulty(fault), config(), "sac"), run, None)
    result = resume_run(plan_of(run, Forever), run, None)
    assert result.summary["env_steps"] == 100


def test_an_environment_that_cannot_even_begin_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="failed in reset"):
        train_run(Plan(lambda: Failing("reset"), config(), "sac"), tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


def test_an_environment_may_change_the_current_folder_and_fail_to_close(tmp_path, monkeypatch):
    class Wandering(World):
        def step(self, action):
            self.steps += 1
            os.chdir("/")
            return self.seen(), 0.0, False, self.steps == 5, {}

        def close(self):
            raise OSError("the door is stuck")

    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="could not be closed .*the door is stuck"):
        train_run(Plan(Wandering, config(steps=40), "sac"), Path("run"), None)
    assert (tmp_path / "run/summary.json").exists()


def test_the_same_environment_twice_is_refused():
    env = World()
    with pytest.raises(UsageError, match="the same environment twice"):
        train_run(Plan(lambda: env, config(), "sac"), None, None)


def test_an_evaluation_that_never_ends_is_refused_after_the_agent_is_saved(tmp_path, monkeypatch):
    class Endless(World):
        def step(self, action):
            return self.seen(), 0.0, False, False, {}

    monkeypatch.setattr("rucksac.training.evaluate.LONGEST_EPISODE", 500)
    with pytest.raises(UsageError, match="has not ended after 500 steps"):
        train_run(Plan(Endless, config(), "sac"), tmp_path / "run", None)
    assert rucksac.load(tmp_path / "run").grad_steps > 0


def test_divergence_is_not_blamed_on_the_environment():
    with pytest.raises(TrainingStopped, match="learning diverged|became|not finite"):
        wild = config(lr=1.0, initial_alpha=1e30, steps=1_000, log_every=1_000)
        train_run(Plan("Pendulum-v1", wild, "sac"), None, None)


def test_settings_may_be_numbers_of_another_library():
    settings = Config(steps=np.int64(120), lr=np.float32(0.5), hidden=[np.int32(8)])
    assert (settings.steps, settings.lr, settings.hidden) == (120, 0.5, (8,))
    assert type(settings.steps) is int
    with pytest.raises(UsageError, match="--hidden is 6.5, but must be one or more whole numbers"):
        Config(hidden=6.5)


def test_names_list_themselves_and_agents_say_what_they_are():
    assert dir(rucksac) == sorted(rucksac.__all__)
    agent = rucksac.train("Pendulum-v1", **{**SMALL, "steps": 50, "hidden": 16})
    assert repr(agent).startswith("Agent(obs_size=3, action_size=1, grad_steps=31, alpha=0.")
    assert name_of(functools.partial(Counter)) == "Counter"


def test_statistics_outside_of_the_agent_are_warned_of(tmp_path):
    def env():
        return NormalizeReward(NormalizeObservation(gymnasium.make("Pendulum-v1")))

    said, console = [], Console(30)
    console.note = said.append
    train_run(Plan(env, config(steps=30), "sac"), tmp_path / "run", console)
    assert sum("whose statistics are no part of the agent" in text for text in said) == 2
    assert any("use --normalise-rewards in its place" in text for text in said)


def test_an_evaluation_that_waits_for_a_long_episode_says_so(monkeypatch):
    monkeypatch.setattr("rucksac.training.evaluate.LONG_EPISODE", 3)
    said, console = [], Console(50)
    console.note = said.append
    train_run(Plan(Forever, config(steps=50, eval_episodes=1), "sac"), None, console)
    assert said[-1] == "An evaluation waits for the end of an episode that has taken 3 steps so far."


def test_a_run_that_is_not_quiet_ends_with_a_summary(tmp_path, capfd):
    rucksac.train("Pendulum-v1", **{**SMALL, "steps": 40}, quiet=False)
    assert capfd.readouterr().err.splitlines()[-1].startswith("Done: 40 steps, 21 gradient steps, ")
    rucksac.train("Pendulum-v1", **{**SMALL, "steps": 40}, run=tmp_path / "a run", quiet=False)
    assert f"rucksac plot '{tmp_path / 'a run'}'" in capfd.readouterr().err


def test_a_run_keeps_its_settings(tmp_path):
    with pytest.raises(UsageError, match="resume takes no envs; begin a new one .*start_from=run"):
        rucksac.resume(tmp_path, envs=2)


def test_numbers_and_arrays_of_other_libraries_are_taken():
    agent = rucksac.train("Pendulum-v1", **{**SMALL, "steps": 40})
    one, batch = np.ones(3, np.float32), np.ones((2, 3), np.float32)
    assert (agent.predict(torch.from_numpy(one))[0] == agent.predict(one)[0]).all()
    assert (agent.predict(torch.from_numpy(batch))[0] == agent.predict(batch)[0]).all()
    assert len(rucksac.evaluate(agent, "Pendulum-v1", episodes=np.int64(2), seed=np.int32(1)).episodes) == 2


def test_small_networks_get_one_thread():
    assert threads_for(config(threads=None)) == 1
    assert threads_for(Config()) == available_threads()


def test_more_threads_than_processors_are_warned_of(tmp_path):
    train_run(Plan("Pendulum-v1", config(threads=available_threads() + 1), "sac"), tmp_path / "run", None)
    assert "which is much slower than one each" in (tmp_path / "run/warnings.txt").read_text()


@pytest.mark.parametrize("settings", [{}, {"workers": 2}])
def test_gradient_steps_count_transitions_whatever_the_number_of_environments(settings):
    for envs in (1, 4, 7):
        workers = {"workers": min(envs, settings["workers"])} if settings else {}
        result = train_run(Plan("Pendulum-v1", config(envs=envs, utd=0.5, steps=140, **workers), "sac"), None, None)
        first = -(-20 // envs) * envs  # the step at which the warm-up is over, which counts
        assert result.summary["env_steps"] == 140
        assert result.summary["grad_steps"] == int(0.5 * (140 - first + envs))


def test_resets_that_take_a_step_are_no_transitions(trained):
    def source():
        return SyncVectorEnv([Counter, OutOfStep, Counter], autoreset_mode=AutoresetMode.NEXT_STEP)

    summary = train_run(Plan(source, config(envs=3, steps=120), "sac"), None, None).summary
    assert 120 <= summary["env_steps"] <= 122
    assert len(trained[0].replay) == summary["env_steps"]
    assert summary["grad_steps"] == pytest.approx(summary["env_steps"] - 20, abs=3)


def test_a_failed_environment_closes_its_episode_in_the_replay_memory(tmp_path, trained):
    arguments = {"where": "step", "how": "dies", "once": str(tmp_path / "failed")}
    settings = config(envs=2, workers=2, steps=40, env_args=arguments, normalise_rewards=True)
    train_run(Plan(OnlyInWorkers(Failing), settings, "sac"), None, None)
    replay = trained[0].replay
    by_env = replay.kind.reshape(2, replay.rows_per_env)
    cut_short = [np.flatnonzero(each & (TERMINATED | TRUNCATED))[0] for each in by_env]
    assert sorted(cut_short) == [1, 4]  # the third step of one environment never came; five are an episode


@pytest.mark.parametrize("workers", [0, 1])
def test_parts_of_observations_keep_the_order_of_their_space_wherever_it_goes(tmp_path, workers):
    run = tmp_path / "run"
    agent = rucksac.train(InItsOwnOrder, **{**SMALL, "steps": 60, "eval_every": 30}, workers=workers, run=run)
    obs, loaded = InItsOwnOrder().reset()[0], rucksac.load(run)
    assert loaded.predict(obs)[0] == agent.predict(obs)[0]
    for own in (agent, loaded, rucksac.resume(run, env=InItsOwnOrder, steps=70)):
        assert own.spaces.flatten(obs).tolist() == list(InItsOwnOrder.flat)
