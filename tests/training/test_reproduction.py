"""What `rucksac config` prints makes the same run again."""

import json
import shlex
import tomllib

import pytest

import rucksac
from rucksac import cli
from tests.runs import SMALL, logs

RECIPES = {
    "rucksac": {"hidden": (16, 8), "alpha": 0.2},
    "simba": {"hidden": 8, "critic_hidden": None, "target_entropy": None},
    "td3": {"lr": 1e-3, "target_network": False, "env_args": {"g": 5.0}},
}


def shown(capsys, *words):
    assert cli.main(["config", *map(str, words)]) == 0
    return capsys.readouterr().out


@pytest.fixture(params=RECIPES)
def run(request, tmp_path):
    settings = {**SMALL, **RECIPES[request.param]}
    rucksac.train("Pendulum-v1", recipe=request.param, run=tmp_path / "run", **{**settings, "steps": 80})
    return tmp_path / "run"


def test_the_command_and_the_file_make_the_run_again(run, tmp_path, capsys):
    text = shown(capsys, run)
    found = json.loads(shown(capsys, run, "--json"))
    (tmp_path / "settings.toml").write_text(text)
    first, second, third, *_ = text.splitlines()
    assert first == f"# {found['command']}"
    assert second.endswith(found["command_with_file"])
    assert f"torch {found['versions']['torch']}" in third
    assert tomllib.loads(text) == tomllib.loads(found["toml"])
    for number, command in enumerate((found["command"], found["command_with_file"])):
        words = shlex.split(command.replace("settings.toml", str(tmp_path / "settings.toml")))[1:]
        assert cli.main([*words, "--quiet", "--run", str(tmp_path / f"again{number}")]) == 0
        assert logs(tmp_path / f"again{number}") == logs(run)
        saved = [json.loads((each / "config.json").read_text()) for each in (run, tmp_path / f"again{number}")]
        assert saved[0]["recipe"] == saved[1]["recipe"]


def test_a_run_from_an_agent_names_it(run, tmp_path, capsys):
    words = ["train", "Pendulum-v1", "--start-from", str(run), "--start-with-replay", "--gamma", "0.9", "--quiet"]
    assert cli.main([*words, "--run", str(tmp_path / "next")]) == 0
    found = json.loads(shown(capsys, tmp_path / "next", "--json"))
    assert f"--start-from {run} --start-with-replay" in found["command"]
    assert "--recipe" not in found["command"]
    assert cli.main([*shlex.split(found["command"])[1:], "--quiet", "--run", str(tmp_path / "again")]) == 0
    assert logs(tmp_path / "again") == logs(tmp_path / "next")


def test_several_seeds_are_one_command(tmp_path, capsys):
    flags = "--steps 60 --warmup 20 --batch-size 16 --hidden 8 --compile never --eval-episodes 1".split()
    assert cli.main(["train", "Pendulum-v1", "--seeds", "3,5", *flags, "--run", str(tmp_path / "g"), "--quiet"]) == 0
    found = json.loads(shown(capsys, tmp_path / "g", "--json"))
    assert "--seeds 3,5" in found["command"]
    assert "seed" not in tomllib.loads(found["toml"])


def test_an_environment_of_a_function_is_told(tmp_path, capsys):
    import gymnasium

    rucksac.train(lambda: gymnasium.make("Pendulum-v1"), run=tmp_path / "run", **SMALL, steps=40)
    assert "ENV stands for an environment that was made by a function" in shown(capsys, tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lrr = 1", "settings.toml has 'lrr', but there is no such setting; did you mean lr?"),
        ("lr = 'fast'", "settings.toml has lr = 'fast', but it must be a number from 1e-12 to 1"),
        ("hidden = []", "settings.toml has hidden = [], but it must be one or more whole numbers"),
        ("critics = 1\ntarget_critics = 2", "settings.toml: --target-critics is 2 of 1 critics"),
    ],
)
def test_mistakes_in_a_settings_file_name_file_and_key(tmp_path, capsys, text, says):
    (tmp_path / "settings.toml").write_text(text)
    assert cli.main(["train", "Pendulum-v1", "--config", str(tmp_path / "settings.toml")]) == 2
    assert says in capsys.readouterr().err
