"""Minari data sets, real ones on disk: what a run kept goes out and comes back, and what does not fit is refused."""

import json
import re
import sys
import warnings

import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

import rucksac
from rucksac.cli import main
from rucksac.config import Config
from rucksac.environments.making import make
from rucksac.environments.reading import spaces_of
from rucksac.errors import UsageError
from rucksac.experience.history import episodes_of, transitions_of
from rucksac.training.memory import memory_of
from rucksac.training.minari_data import export_replay, read_minari
from tests.runs import SMALL, config
from tests.worlds import World

RUNS = {
    "numbers": ("Pendulum-v1", {"time_limit": 30}),
    "terminations and choices": ("CartPole-v1", {"envs": 3}),
    "a Dict, overwritten": ("tests.worlds:Reach", {"buffer_size": 77}),
    "parts in their own order": ("tests.worlds:InItsOwnOrder", {"envs": 2}),
    "bounds of its own": ("Pendulum-v1", {"action_low": (-0.7,), "action_high": (1.9,), "frame_skip": 2}),
}


@pytest.fixture(autouse=True)
def local(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, (env, settings) in RUNS.items():
        rucksac.train(env, run=folder / name, **{**SMALL, "steps": 130, **settings})
    return folder


def at(part, index):
    if isinstance(part, dict):
        return {name: at(each, index) for name, each in part.items()}
    return tuple(at(each, index) for each in part) if isinstance(part, tuple) else part[index]


@pytest.mark.parametrize("name", RUNS)
def test_what_a_run_kept_goes_out_and_comes_back_the_same(runs, name):
    _, kept, settings, spaces = memory_of(runs / name)
    done = export_replay(runs / name, "minari:me/some-v3")
    data = minari.load_dataset("me/some-v3")
    assert (done.episodes, done.steps) == (data.total_episodes, data.total_steps)
    assert done.steps == len(kept)
    assert done.open == sum(kept.in_episode)
    assert (done.overwritten > 0) == (name == "a Dict, overwritten")
    stored = [each for env_index in range(kept.envs) for each in transitions_of(kept, env_index)]
    episodes = [each for env_index in range(kept.envs) for each in episodes_of(kept, env_index)]
    row = 0
    for episode, own in zip(data.iterate_episodes(), episodes, strict=True):
        assert len(episode) == own.steps
        for step in range(len(episode)):
            right = stored[row]
            last = step + 1 == len(episode)
            assert np.array_equal(spaces.flatten(at(episode.observations, step)), right["obs"])
            assert np.array_equal(spaces.flatten(at(episode.observations, step + 1)), right["next_obs"])
            assert np.array_equal(episode.actions[step], spaces.actions.to_env(right["action"]))
            assert episode.rewards[step] == right["reward"]
            assert episode.terminations[step] == right["terminated"]
            assert episode.truncations[step] == (last and not right["terminated"])
            assert last or not right["truncated"]
            row += 1
        assert data.action_space.contains(episode.actions[0])
    assert row == len(stored)
    back = read_minari("me/some-v3", spaces, settings)
    assert back.written == [done.steps + done.episodes]
    for own, again in zip(episodes, episodes_of(back, 0), strict=True):
        assert own.terminated == again.terminated
        for column in ("obs", "reward"):
            assert np.array_equal(own.values[column], again.values[column])
        assert np.array_equal(*(spaces.actions.to_env(each.values["action"]) for each in (own, again)))
        np.testing.assert_allclose(own.values["action"], again.values["action"], rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize(("numbers", "rows"), [(True, 1_000), (False, 50)])
def test_pictures_go_out_as_single_frames_and_come_back_in_stacks(tmp_path, numbers, rows):
    settings = {**SMALL, "steps": 70, "warmup": 60, "frame_stack": 3, "buffer_size": rows, "hidden": 8, "batch_size": 8}
    settings |= {"env_args": {"numbers": numbers}, "recipe": "plain"}
    rucksac.train("tests.worlds:Screen", run=tmp_path / "run", **settings)
    _, kept, made_with, spaces = memory_of(tmp_path / "run")
    done = export_replay(tmp_path / "run", "minari:eyes-v0")
    data = minari.load_dataset("eyes-v0")
    seen = data.observation_space["eye"] if numbers else data.observation_space
    assert (seen.shape, seen.dtype) == ((16, 16, 3), np.uint8)
    assert data.observation_space.contains(at(next(data.iterate_episodes()).observations, 0))
    back = read_minari("eyes-v0", spaces, made_with)
    spent = 0 if rows == 1_000 else 2  # transitions that lost frames of theirs, but have what later ones need
    assert (len(kept), len(back)) == (done.steps - spent, done.steps)
    assert done.overwritten == (0 if rows == 1_000 else 29)
    pairs = zip([*transitions_of(back, 0)][spent:], transitions_of(kept, 0), strict=True)
    for again, own in pairs:
        for name in ("obs", "next_obs", "reward", "terminated"):
            assert np.array_equal(again[name], own[name]), name
    more = {**settings, "demonstrations": "minari:eyes-v0", "offline_steps": 2, "frame_stack": 2}
    assert rucksac.train("tests.worlds:Screen", **more).grad_steps == 13


def test_a_data_set_knows_its_environment_and_how_it_was_made(runs):
    for name, env in (("numbers", "Pendulum-v1"), ("a Dict, overwritten", None)):
        export_replay(runs / name, "minari:some-v0")
        data = minari.load_dataset("some-v0")
        if env:
            recovered = data.recover_environment()
            assert (recovered.spec.id, recovered.spec.max_episode_steps) == (env, 30)
            recovered.close()
        else:
            assert data.spec.env_spec is None
        assert data.storage.metadata["algorithm_name"] == "rucksac, recipe rucksac"
        minari.delete_dataset("some-v0")


def test_the_command_says_what_is_there_and_what_is_not(runs, capsys):
    assert main(["replay", "export", str(runs / "a Dict, overwritten"), "--to", "minari:me/reach-v0"]) == 0
    first, lost, unfinished = capsys.readouterr().out.splitlines()
    assert first.startswith("minari:me/reach-v0: 6 episodes, 71 steps; in ")
    assert lost == ("62 older rows of the replay memory had been overwritten, so an episode may lack its beginning.")
    assert unfinished == "1 episode had not ended: the last step counts as a truncation."
    assert main(["replay", "export", str(runs / "numbers"), "--to", "minari:p-v0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 130


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["export", "RUN", "--to", "minari:me/taken-v0"],
            "there is a Minari data set 'me/taken-v0' already, in .*give",
        ),
        (
            ["export", "RUN", "--to", "minari:nameless"],
            "'nameless' cannot be the name of a Minari data set; it must be",
        ),
        (["export", "RUN", "--to", "minari:../../up-v0"], "cannot be the name of a Minari data set"),
        (["export", "RUN", "--to", "folder"], "exported to minari:NAME, such as .*, not to 'folder'"),
        (["export", "RUN"], "replay export needs --to: minari: and a name"),
        (["import", "RUN"], "replay does not 'import'; it takes export"),
        (["export", "NOWHERE", "--to", "minari:p-v0"], "is not the folder of a run"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(runs, tmp_path, capsys, words, says):
    export_replay(runs / "numbers", "minari:me/taken-v0")
    places = {"RUN": str(runs / "numbers"), "NOWHERE": str(tmp_path)}
    assert main(["replay", *(places.get(word, word) for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line), line


def test_without_the_package_a_sentence_says_how_to_get_it(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    for call in (
        lambda: export_replay(runs / "numbers", "minari:p-v0"),
        lambda: rucksac.train("Pendulum-v1", demonstrations="minari:p-v0", **SMALL),
    ):
        with pytest.raises(UsageError, match=r'package that is not installed .*; pip install "rucksac\[minari\]"$'):
            call()


STEPS = 4
GOOD = {
    "observations": np.zeros((STEPS + 1, 1), np.float32), "actions": np.zeros((STEPS, 1), np.float32),
    "rewards": np.zeros(STEPS), "terminations": np.arange(STEPS) == STEPS - 1, "truncations": np.zeros(STEPS, bool),
}  # fmt: skip


def handmade(name="hand-v0", env=World, **values):
    """Write a data set as other people do, of one episode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody is named as the author
        minari.create_dataset_from_buffers(
            name, [EpisodeBuffer(**{**GOOD, **values})],
            action_space=env.action_space, observation_space=env.observation_space,
        )  # fmt: skip
    return spaces_of(make(env, config()))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"observations": np.zeros((STEPS + 1, 2), np.float32)}, r"an observation has shape \(2,\)"),
        ({"observations": np.full((STEPS + 1, 1), np.nan, np.float32)}, "an observation is not finite"),
        ({"actions": np.full((STEPS, 1), 1.5, np.float32)}, "an action is 1.5 in dimension 0, .* from -1 to 1"),
        ({"actions": np.zeros((STEPS, 3), np.float32)}, r"an action has shape \(3,\), but here it must have \(1,\)"),
        ({"rewards": np.full(STEPS, np.inf)}, "episode 0 has a reward that is not a finite number"),
        ({"truncations": np.arange(STEPS) == 1}, "episode 0 goes on after its end"),
    ],
)
def test_what_does_not_fit_the_environment_is_refused(wrong, says):
    spaces = handmade(**wrong)
    with pytest.raises(UsageError, match=f"minari:hand-v0 does not fit this environment: {says}.*leave --demonst"):
        read_minari("hand-v0", spaces, Config())


def test_an_episode_without_an_end_ends_as_truncated_and_missing_or_damaged_data_is_told(runs):
    spaces = handmade(terminations=np.zeros(STEPS, bool))
    (episode,) = episodes_of(read_minari("hand-v0", spaces, Config()), 0)
    assert not episode.terminated
    assert [each["truncated"] for each in transitions_of(read_minari("hand-v0", spaces, Config()), 0)] == [
        False
    ] * 3 + [True]
    with pytest.raises(UsageError, match="no Minari data set 'other-v0', which would be in .*minari download"):
        read_minari("other-v0", spaces, Config())
    file = next(minari.storage.datasets_root_dir.get_dataset_path("hand-v0").glob("data/*.hdf5"))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UsageError, match="the Minari data set 'hand-v0' cannot be read"):
        read_minari("hand-v0", spaces, Config())
    export_replay(runs / "bounds of its own", "minari:skips-v0")
    with pytest.raises(UsageError, match="minari:skips-v0 has steps of --frame-skip 2, not 1; keep that or leave"):
        read_minari("skips-v0", memory_of(runs / "numbers").spaces, Config())


def test_a_data_set_that_could_not_be_written_leaves_nothing_behind(runs, monkeypatch):
    def full(*arguments, **named):
        folder = minari.storage.datasets_root_dir.get_dataset_path("me/p-v0")
        folder.mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(minari, "create_dataset_from_buffers", full)
    with pytest.raises(UsageError, match="cannot be written to .*No space left"):
        export_replay(runs / "numbers", "minari:me/p-v0")
    assert not minari.storage.datasets_root_dir.get_dataset_path("me/p-v0").exists()
