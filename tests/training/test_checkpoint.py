import json
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rucksac
from rucksac import files
from rucksac.building import build
from rucksac.environments.making import make
from rucksac.environments.opening import env_group_of
from rucksac.errors import UsageError
from rucksac.training.agent_file import load_tensors
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.checkpoint_layout import UNREADABLE
from rucksac.training.folder import RunFolder
from rucksac.training.info import info
from rucksac.training.loading import load_agent
from rucksac.training.parts import prepare
from rucksac.training.plan import Plan, plan_of
from rucksac.training.progress import Progress
from rucksac.training.train import resume_run, train_run
from tests.runs import SMALL, config
from tests.worlds import World

STEPS = 60


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of 60 steps whose replay memory has been filled more than once."""
    folder = tmp_path_factory.mktemp("original") / "run"
    plan = Plan("Pendulum-v1", config(steps=STEPS, checkpoint_every=20, buffer_size=40, keep=2), "sac")
    return folder, train_run(plan, folder, None).agent


@pytest.fixture
def run(original, tmp_path):
    """A copy of that run, to be spoilt."""
    shutil.copytree(original[0], tmp_path / "run")
    return tmp_path / "run"


def newest(run):
    return max(path for path in (run / "checkpoints").glob("0*") if path.suffix != ".new")


def fresh_training(run):
    """What `resume` restores into."""
    plan = plan_of(run)
    envs = env_group_of(plan.config, make(plan.env, plan.config))
    return prepare(build(plan.config, envs.spaces), envs, Progress())


def restore(run):
    return Checkpoints(run, 2).restore(fresh_training(run))


def test_everything_that_learning_changed_comes_back(original):
    path, agent = original
    again = rucksac.load(path)
    assert again.grad_steps == agent.grad_steps == 41
    assert again.alpha == agent.alpha != 1.0
    assert again.config == agent.config
    assert again.algorithm.target_entropy == -1.0
    for name, tensor in agent.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name
    obs = np.ones(3, np.float32)
    assert np.array_equal(agent.predict(obs)[0], again.predict(obs)[0])


def test_the_last_checkpoints_and_the_best_agent_are_kept_with_just_the_segments_they_need(original):
    path, _ = original
    names = sorted(each.name for each in (path / "checkpoints").iterdir())
    assert names == ["000002-step-40", "000003-step-60", "best-step-60"]
    named = [{each["file"] for each in content(newest(path) / "run.json")["segments"]}]
    named.append({each["file"] for each in content(path / "checkpoints/000002-step-40/run.json")["segments"]})
    assert {each.name for each in (path / "replay").iterdir()} == set.union(*named)
    assert not any(name.startswith("000001") for name in named[0])  # all its rows have been overwritten
    assert rucksac.load(path, best=True).grad_steps == 41


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        load_agent(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no checkpoint"):
        load_agent(tmp_path)
    with pytest.raises(UsageError, match="is not the folder of a run"):
        rucksac.resume(tmp_path)
    for wrong in (rucksac.load, rucksac.resume):
        with pytest.raises(UsageError, match="given as NoneType, but must be the path of a folder"):
            wrong(None)


def test_what_a_killed_process_left_is_removed(run):
    (run / "checkpoints/000004-step-80.new").mkdir()
    (run / "checkpoints/000004-step-80.new/agent.json").write_text("{")
    (run / "replay/000004-0.safetensors").write_bytes(b"half")
    before = sorted(path.name for path in newest(run).parent.iterdir() if path.suffix != ".new")
    _, notes = restore(run)
    assert notes == []
    assert sorted(path.name for path in newest(run).parent.iterdir()) == before
    assert not (run / "replay/000004-0.safetensors").exists()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(run):
    (newest(run) / "run.json").write_text("{")
    assert [each["problem"] is None for each in info(run)["checkpoints"]] == [True, False, True]
    assert not info(run)["whole"]
    _, notes = restore(run)
    assert len(notes) == 1
    assert "000003-step-60 is damaged" in notes[0]
    assert newest(run).name == "000002-step-40"
    assert info(run)["whole"]


def test_a_checkpoint_with_other_priorities_than_it_says_is_damaged(tmp_path):
    plan = Plan("Pendulum-v1", config(steps=STEPS, checkpoint_every=20, keep=2, priorities=0.6), "sac")
    train_run(plan, tmp_path / "run", None)
    file = newest(tmp_path / "run") / "arrays.safetensors"
    saved = safetensors.numpy.load_file(file)
    assert saved["sampler.priorities"].shape == (1, STEPS + 1)
    for array in (saved["sampler.priorities"][:, 1:].copy(), np.full((1, STEPS + 1), np.nan)):
        digest = files.write(file, safetensors.numpy.save({"sampler.priorities": array}))
        rewrite(newest(tmp_path / "run") / "run.json", arrays=digest)
        with pytest.raises(ValueError, match="sampler.priorities has another shape or type, or is not finite"):
            Checkpoints(tmp_path / "run", 2).read(fresh_training(tmp_path / "run"), newest(tmp_path / "run"))
    file.write_bytes(b"")
    assert [each["problem"] is None for each in info(tmp_path / "run")["checkpoints"]] == [True, False, True]
    assert "000003-step-60 is damaged" in restore(tmp_path / "run")[1][0]


def test_without_a_whole_checkpoint_nothing_is_resumed(run):
    for folder in (run / "checkpoints").glob("0*"):
        (folder / "agent.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="no whole checkpoint to resume from .* is not the file that was saved"):
        restore(run)


def content(file):
    return json.loads(file.read_text())["content"]


def rewrite(file, **changes):
    """Change a manifest and sign it again, as an attacker would."""
    files.write_manifest(file, {**content(file), **changes})


BOUNDS = {"dtype": "float32", "low": [0, 0], "high": [1, 1]}
FOREIGN_SPACES = {
    "observation": {"kind": "Box", "shape": [9]},
    "action": {"kind": "Continuous", "shape": [2], **BOUNDS},
}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.write_text(file.read_text()[:50]), "damaged or foreign"),
        (lambda file: file.write_text("[]"), "not a manifest"),
        (lambda file: file.write_text("[" * 100_000), "damaged or foreign"),
        (lambda file: file.write_text(file.read_text().replace("41", "42")), "not the file that was saved"),
        (lambda file: rewrite(file, version=99), "format version 99"),
        (lambda file: rewrite(file, format="other"), "another format"),
        (lambda file: rewrite(file, sha256="0" * 64), "not the file that was saved"),
        (lambda file: rewrite(file, config={"shoe_size": 43}), "there is no setting 'shoe_size'"),
        (lambda file: rewrite(file, spaces=FOREIGN_SPACES), "but must be|larger networks"),
        (lambda file: rewrite(file, spaces={"observation": "x"}), "damaged or foreign"),
        (lambda file: rewrite(file, grad_steps="__import__('os').system('true')"), "damaged or foreign"),
        (
            lambda file: rewrite(file, config={**content(file)["config"], "hidden": [16384] * 40, "critics": 100}),
            "larger networks than were saved",
        ),
    ],
)
def test_damaged_and_malicious_agents_are_refused_in_one_sentence(run, spoil, says):
    spoil(newest(run) / "agent.json")
    with pytest.raises(UsageError, match=says) as caught:
        load_agent(run)
    assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_the_tensors_is_not_run(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    data = pickle.dumps(Evil())
    digest = files.write(newest(run) / "agent.safetensors", data)
    rewrite(newest(run) / "agent.json", sha256=digest)
    with pytest.raises(UsageError, match="damaged or foreign"):
        load_agent(run)
    assert not (tmp_path / "pwned").exists()


def test_a_header_that_announces_too_much_is_refused(run):
    data = (2**62).to_bytes(8, "little") + b"{}"
    rewrite(newest(run) / "agent.json", sha256=files.write(newest(run) / "agent.safetensors", data))
    with pytest.raises(UsageError, match="damaged or foreign"):
        load_agent(run)


@pytest.mark.parametrize("name", ["../config.json", "/etc/hostname", "a/b", "..", "", 7, None])
def test_segments_outside_the_folder_are_not_read(run, name):
    for folder in (run / "checkpoints").glob("0*"):
        listed = content(folder / "run.json")["segments"]
        rewrite(folder / "run.json", segments=[{**listed[0], "file": name}])
    with pytest.raises(UsageError, match="outside the folder"):
        restore(run)


def test_a_link_in_place_of_a_file_is_not_followed(run, tmp_path):
    for folder in (run / "checkpoints").glob("0*"):
        (folder / "agent.safetensors").rename(tmp_path / folder.name)
        (folder / "agent.safetensors").symlink_to(tmp_path / folder.name)
    with pytest.raises(UsageError, match="missing"):
        load_agent(run)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.data())
def test_any_flipped_or_lost_byte_is_noticed(run, data):
    names = ["agent.json", "agent.safetensors", "run.json", "segment"]
    name = data.draw(st.sampled_from(names))
    segment = run / "replay" / content(newest(run) / "run.json")["segments"][-1]["file"]
    file = segment if name == "segment" else newest(run) / name
    good = file.read_bytes()
    index = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:index] + bytes([good[index] ^ data.draw(st.integers(1, 255))]) + good[index + 1 :]
    file.write_bytes(good[:index] if data.draw(st.booleans()) else flipped)
    try:
        problems = [each["problem"] for each in info(run)["checkpoints"] if each["name"] == newest(run).name]
        unchanged = name.endswith("json") and json.loads(file.read_bytes()) == json.loads(good)
    except ValueError:
        unchanged = False
    finally:
        file.write_bytes(good)
    assert (problems == [None]) == unchanged  # JSON may differ in white space alone


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def places(value, path=()):
    """Return the paths to everything inside a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@settings(FUZZ, max_examples=400)
@given(st.data())
def test_manifests_with_any_other_content_are_restored_or_refused_in_a_sentence(run, data):
    """Signed anew, so that nothing but the checks of each value stands between the file and the training."""
    name = data.draw(st.sampled_from(["agent.json", "run.json"]))
    file = newest(run) / name
    good = file.read_bytes()
    old = content(file)
    path = data.draw(st.sampled_from(list(places(old))[1:]))
    changed = replaced(old, path, data.draw(JSON_VALUES))
    training = fresh_training(run)
    files.write_manifest(file, changed)
    try:
        if name == "agent.json":
            load_agent(run)
        else:
            Checkpoints(run, 2).read(training, newest(run))
    except (UsageError, *UNREADABLE):
        pass  # anything else fails the test
    finally:
        file.write_bytes(good)


def test_tensors_of_another_shape_are_refused(original):
    _, agent = original
    tensors = {name: tensor.clone() for name, tensor in agent.tensors().items()}
    name = next(iter(tensors))
    with pytest.raises(ValueError, match="differ in name"):
        load_tensors(agent, {"other": tensors[name]})
    with pytest.raises(ValueError, match="must be"):
        load_tensors(agent, {**tensors, name: torch.zeros(1)})
    with pytest.raises(ValueError, match="not finite"):
        load_tensors(agent, {**tensors, name: torch.full_like(tensors[name], torch.nan)})


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(run):
    holder = "import sys, time; from pathlib import Path; from rucksac.training.folder import RunFolder\n"
    holder += "with RunFolder(Path(sys.argv[1])).alone():\n print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holder, run], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            assert info(run)["training_process"] == process.pid
            with pytest.raises(UsageError, match=f"in use by process {process.pid}"):
                rucksac.resume(run, steps=70)
        finally:
            process.kill()
    assert info(run)["training_process"] is None
    assert rucksac.resume(run, steps=70).grad_steps == 51


def test_resume_refuses_fewer_steps_than_are_done(run):
    with pytest.raises(UsageError, match="has 60 steps behind it, but --steps is 50"):
        rucksac.resume(run, steps=50)
    assert RunFolder.open(run).read_config()["settings"]["steps"] == 60


@pytest.mark.long
def test_folders_damaged_at_random_are_refused_or_whole():
    fuzz = Path(__file__).parents[2] / "benchmarks/fuzz.py"
    done = subprocess.run([sys.executable, fuzz, "--cases", "1000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("1000 cases, ")


def test_what_is_not_a_folder_is_no_checkpoint(run):
    shutil.rmtree(newest(run))
    (run / "checkpoints/000003-step-60").write_text("x")
    assert restore(run)[1] == []
    assert load_agent(run).grad_steps == 21


def test_exchanged_checkpoints_are_noticed(run):
    first, second = run / "checkpoints/000002-step-40", run / "checkpoints/000003-step-60"
    first.rename(run / "other")
    second.rename(first)
    (run / "other").rename(second)
    assert [each["problem"] for each in info(run)["checkpoints"]][:2] == ["run.json is that of another checkpoint"] * 2


def test_lost_checkpoints_are_not_taken_for_a_beginning(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UsageError, match="lost its checkpoints"):
        rucksac.resume(run)


def test_settings_changed_by_hand_are_named(run):
    file = run / "config.json"
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 7'))
    with pytest.raises(UsageError, match="config.json has --seed 7, but the run was trained with 1; put it back"):
        rucksac.resume(run)


def test_a_read_only_lock_is_a_sentence_and_no_hindrance_to_info(run):
    (run / "lock").unlink()
    (run / "lock").mkdir()
    assert info(run)["whole"]
    with pytest.raises(UsageError, match="cannot be written"):
        rucksac.resume(run, steps=70)


def test_a_lost_best_agent_is_replaced(run):
    shutil.rmtree(next((run / "checkpoints").glob("best-*")))
    rucksac.resume(run, steps=80)
    assert rucksac.load(run, best=True).grad_steps == 61


def test_a_damaged_best_agent_is_told_and_replaced(run):
    best = next((run / "checkpoints").glob("best-*"))
    (best / "agent.safetensors").write_bytes(b"")
    _, notes = restore(run)
    assert len(notes) == 1
    assert "best-step-60, is damaged (agent.safetensors is not the file that was saved)" in notes[0]
    rucksac.resume(run, steps=80)
    assert rucksac.load(run, best=True).grad_steps == 61


def test_a_log_changed_by_hand_is_told(run):
    good = (run / "evaluations.csv").read_text()
    (run / "evaluations.csv").write_text(good.replace("-", "+", 1))
    assert "evaluations.csv has been changed since the checkpoint" in info(run)["checkpoints"][1]["problem"]
    with pytest.raises(UsageError, match=r"evaluations.csv has been changed since the checkpoint; put"):
        restore(run)
    (run / "evaluations.csv").write_text(good + "what came after the checkpoint\n")
    assert info(run)["whole"]
    rucksac.resume(run, steps=70)
    assert info(run)["whole"]
    assert (run / "evaluations.csv").read_text().startswith(good)


def test_a_run_stopped_in_its_last_evaluation_is_not_finished(tmp_path):
    class Interrupted(World):
        stops = 1

        def reset(self, *, seed=None, options=None):
            self.evaluated = seed == 1  # the second start of an evaluation
            return super().reset(seed=seed)

        def step(self, action):
            self.steps += 1
            if self.evaluated and Interrupted.stops:
                Interrupted.stops = 0
                signal.raise_signal(signal.SIGTERM)
            return self.seen(), 0.0, False, self.steps == 5, {}

    settings = {**SMALL, "steps": 40, "eval_every": 1_000}
    rucksac.train(Interrupted, run=tmp_path / "run", **settings)
    found = info(tmp_path / "run")
    assert (found["env_steps"], found["steps"], found["finished"]) == (40, 40, False)
    assert evaluations(tmp_path / "run") == 0
    rucksac.resume(tmp_path / "run", env=Interrupted)
    assert info(tmp_path / "run")["finished"]
    assert evaluations(tmp_path / "run") == 2


def test_a_folder_of_seeds_says_which_folder_to_give(run, tmp_path):
    shutil.copytree(run, tmp_path / "group/seed3")
    with pytest.raises(UsageError, match=r"group holds several seeds; give one of them, such as .*seed3"):
        load_agent(tmp_path / "group")


def evaluations(run):
    return len((run / "evaluations.csv").read_text().splitlines()) - 1


def test_info_counts_the_whole_checkpoints_also_when_the_settings_are_lost(run):
    (newest(run) / "run.json").write_text("{")
    (run / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config.json cannot be read .*; checkpoints: 1 of 2 whole, put config.json"):
        info(run)


def test_a_shortened_log_is_told(run):
    (run / "metrics.csv").write_text("")
    assert "metrics.csv is shorter" in info(run)["checkpoints"][0]["problem"]
    with pytest.raises(UsageError, match=r"metrics.csv is shorter than the checkpoint says"):
        resume_run(plan_of(run, steps=70), run, None)


@pytest.mark.parametrize("name", ["lock", "metrics.csv", "replay"])
def test_links_out_of_the_folder_are_refused_and_what_they_lead_to_is_left_alone(run, tmp_path, name):
    outside = tmp_path / "outside"
    (run / name).rename(outside)
    (run / name).symlink_to(outside)
    before = sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes()
    for attempt in (info, lambda folder: plan_of(folder, steps=STEPS + 5)):
        with pytest.raises(UsageError, match="is a link, but a run folder holds none"):
            attempt(run)
    assert before == (sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes())


def test_info_says_what_resume_would_say(run):
    assert info(run)["obstacle"] is None
    config = json.loads((run / "config.json").read_text())
    config["settings"]["gamma"] = 0.5
    (run / "config.json").write_text(json.dumps(config))
    assert "config.json has --gamma 0.5, but the run was trained with 0.99" in info(run)["obstacle"]
    shutil.rmtree(run / "checkpoints")
    assert info(run)["obstacle"] == "its checkpoints are lost"


def test_another_environment_in_config_json_is_not_blamed_on_the_checkpoints(run):
    plan = Plan("MountainCarContinuous-v0", plan_of(run, steps=STEPS + 5).config, "sac")
    with pytest.raises(
        UsageError, match=r"made for an environment with observation shape \[3\], but this one has \[2\]"
    ):
        resume_run(plan, run, None)


def test_other_versions_are_told(run):
    config = json.loads((run / "config.json").read_text())
    config["versions"]["torch"] = "1.0"
    (run / "config.json").write_text(json.dumps(config))
    resume_run(plan_of(run, steps=STEPS + 5), run, None)
    assert f"torch was 1.0 and is {torch.__version__}" in (run / "warnings.txt").read_text()
    resume_run(plan_of(run, steps=STEPS + 10), run, None)
    assert (run / "warnings.txt").read_text().count("torch was") == 1
