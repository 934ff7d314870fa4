"""Completion scripts, in the shells that read them."""

import shutil
import subprocess

import pytest

from rucksac import cli
from rucksac.commands import COMMANDS
from rucksac.config import DECLARED, flag
from tests.runs import COMMAND

BASH = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_rucksac
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")

    def written(shell):
        done = subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True)
        (folder / shell).write_text(done.stdout)
        return folder / shell

    return written


@pytest.fixture(scope="module")
def completed(script):
    """Return what bash offers for the last of some words."""
    file = script("bash")

    def offered(*words):
        command = ["bash", "--norc", "-c", BASH, "bash", file, "rucksac", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    return offered


def test_bash_completes_commands_flags_and_values(completed, tmp_path):
    assert set(completed("")) >= set(COMMANDS)
    assert completed("train", "Pendulum-v1", "--recipe", "t") == ["tqc", "td3"]
    assert completed("train", "Pendul") == ["Pendulum-v1"]
    assert completed("train", "Pendulum-v1", "--activation", "s") == ["silu"]
    assert completed("train", "Pendulum-v1", "--gamma", "0.9", "--normalise-r") == ["--normalise-rewards"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]
    assert completed("help", "reci") == ["recipes"]
    (tmp_path / "run-of-mine").mkdir()
    assert [word.rstrip("/") for word in completed("info", f"{tmp_path}/run-")] == [f"{tmp_path}/run-of-mine"]


def test_bash_knows_every_setting(completed):
    offered = set(completed("train", "Pendulum-v1", "--"))
    assert offered >= {flag(name) for name in DECLARED if name != "env_args"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_scripts(script, shell):
    file = script(shell)
    assert "policy-delay" in file.read_text()
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_shells_without_completion_are_told(capsys):
    assert cli.main(["completion", "tcsh"]) == 2
    assert "no completion for 'tcsh'; the shells are bash, zsh, fish" in capsys.readouterr().err
