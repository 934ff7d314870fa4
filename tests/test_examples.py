"""Every example runs, and does what it is there for."""

import csv
import runpy
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

import rucksac
from rucksac.experience.history import episodes_of
from tests.runs import SMALL
from tests.training.curves import curves

EXAMPLES = Path(__file__).parent.parent / "examples"
SETTINGS = {**SMALL, "steps": 480, "eval_every": 120}


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def evaluations(run):
    with (run / "evaluations.csv").open(newline="") as stream:
        return [int(row["env_steps"]) for row in csv.DictReader(stream)]


def test_every_example_is_short_and_tested():
    tested = {name.removeprefix("test_example_") for name in globals() if name.startswith("test_example_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
    assert all(len(path.read_text().splitlines()) <= 40 for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize(("target", "ends"), [(-10_000.0, 120), (0.0, 480)])
def test_example_early_stop(tmp_path, target, ends):
    example("early_stop")["main"](target, tmp_path / "run", **SETTINGS)
    assert evaluations(tmp_path / "run")[-1] == ends
    rucksac.resume(tmp_path / "run")
    assert evaluations(tmp_path / "run") == [120, 120, 240, 240, 360, 360, 480, 480]


def test_example_copy_checkpoints(tmp_path):
    agent = example("copy_checkpoints")["main"](tmp_path / "copies", tmp_path / "run", **SETTINGS)
    assert len(list((tmp_path / "copies/checkpoints").iterdir())) > SETTINGS.get("keep", 2)
    obs = np.zeros(3, np.float32)
    assert rucksac.load(tmp_path / "copies").predict(obs)[0] == agent.predict(obs)[0]


def test_example_own_environment(tmp_path):
    trolley = example("own_environment")["Trolley"]
    check_env(trolley(), skip_render_check=True)
    agent = rucksac.train(trolley, run=tmp_path / "run", time_limit=40, **SETTINGS)
    played = rucksac.evaluate(agent, lambda: TimeLimit(trolley(), 40), episodes=3).episodes
    assert max(episode.length for episode in played) == 40


def test_example_own_network(tmp_path):
    settings = {key: value for key, value in SETTINGS.items() if key != "hidden"}
    agent = example("own_network")["main"](tmp_path / "run", **settings)
    assert "mlp" not in " ".join(agent.tensors())
    assert len(evaluations(tmp_path / "run")) == 8


def test_example_export_and_run(tmp_path):
    returns = example("export_and_run")["main"](tmp_path, **SETTINGS)
    agent = rucksac.train("Pendulum-v1", **SETTINGS)
    assert returns == pytest.approx(rucksac.evaluate(agent, "Pendulum-v1", episodes=3).returns, rel=1e-3)


def test_example_tuning(tmp_path):
    main, storage = example("tuning")["main"], f"sqlite:///{tmp_path}/study.db"
    for trials in (2, 1):
        study = main(trials, storage, **SETTINGS)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert study.best_value == max(trial.value for trial in study.trials)


def test_example_custom_metric(tmp_path):
    example("custom_metric")["main"](tmp_path / "run", **SETTINGS)
    found = curves(tmp_path / "run")["custom/saturation"]
    assert [step for step, _ in found] == [120, 240, 360, 480]
    assert all(0.0 <= share <= 1.0 for _, share in found)


def test_example_demonstrations(tmp_path, monkeypatch, trained):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    module = example("demonstrations")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody is named as the author
        module["main"](episodes=3, run=tmp_path / "run", **{**SETTINGS, "steps": 120, "time_limit": 30})
    prior = trained[0].demonstrations.replay
    assert (len(prior), prior.written) == (600, [603])
    returns = [episode.values["reward"].sum() for episode in episodes_of(prior, 0)]
    assert min(returns) > -600.0  # a controller that does nothing has about -1,200


def test_example_curriculum(tmp_path, monkeypatch):
    made, seen = [], []
    original = gymnasium.make

    def make(*arguments, **named):
        made.append(original(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(gymnasium, "make", make)

    def look(event):
        seen.append((event.kind, event.env_steps, [env.unwrapped.g for env in made]))

    module = example("curriculum")
    pendulums = module["Pendulums"](480)
    settings = {**SETTINGS, "time_limit": 60}
    rucksac.train(pendulums.make, run=tmp_path / "run", callbacks=[pendulums.harder, look], **settings)
    assert seen[0] == ("start", 0, [10.0, 5.0])
    by_step = {env_steps: training for kind, env_steps, (_, training) in seen if kind == "episodes"}
    assert by_step == {60: 6.25, 120: 7.5, 180: 8.75, **dict.fromkeys((240, 300, 360, 420, 480), 10.0)}
    assert all(evaluating == 10.0 for _, _, (evaluating, _) in seen)
    module["main"](120, tmp_path / "whole", **{key: value for key, value in settings.items() if key != "steps"})


def test_example_robot(tmp_path, capfd):
    settings = {**SETTINGS, "steps": 60, "warmup": 20, "eval_every": 30, "eval_episodes": 1, "time_limit": 5}
    example("robot")["main"](tmp_path / "run", **settings)
    assert len(evaluations(tmp_path / "run")) >= 1
    assert capfd.readouterr().out.count("the motor is off") >= 1
    with (tmp_path / "run/metrics.csv").open(newline="") as stream:
        assert all(float(row["late_by_more"]) < 1.0 for row in csv.DictReader(stream))
