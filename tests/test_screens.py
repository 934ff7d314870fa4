"""The help of commands that take settings."""

import re

import pytest

from rucksac import cli
from rucksac.config import DECLARED, Config, flag


def shown(capsys, monkeypatch, width, *words):
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "doctor"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_fits_its_width_and_the_first_screen_is_short(capsys, monkeypatch, command, width):
    short, whole = (shown(capsys, monkeypatch, width, command, "--help", *more) for more in ([], ["all"]))
    assert len(short.splitlines()) <= 45
    for text in (short, whole):
        assert max(map(len, text.splitlines())) <= width
    for name in DECLARED:
        called = (
            "--env.NAME" if name == "env_args" else flag(name).replace("--", "--[no-]") if name in FLAGS else flag(name)
        )
        assert re.search(rf"^  {re.escape(called)}( |$)", whole, re.M), name


FLAGS = {name for name, value in Config().to_json().items() if isinstance(value, bool)}


def test_defaults_are_those_of_the_recipe(capsys, monkeypatch):
    assert re.search(r"--batch-size INT .*\[256\]", shown(capsys, monkeypatch, 80, "train", "--help"))
    assert re.search(
        r"--batch-size INT .*\[64\]", shown(capsys, monkeypatch, 80, "train", "--recipe", "ddpg", "--help")
    )


def test_help_for_help_is_the_list_of_commands(capsys):
    assert cli.main(["help", "help"]) == 0
    assert "rucksac COMMAND" in capsys.readouterr().out


def test_resume_says_what_can_be_done_instead_of_changing_a_setting(capsys):
    assert cli.main(["resume", "runs/x", "--lr", "1e-4"]) == 2
    says = "a run keeps its settings; begin a new one with its agent: rucksac train ENV --start-from RUN --lr"
    assert says in capsys.readouterr().err
