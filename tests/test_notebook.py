"""What a program or a notebook does with an agent: keep it, draw its run, see it act."""

import sys

import huggingface_hub.constants
import imageio_ffmpeg
import numpy as np
import pytest
import torch

import rucksac
from rucksac.cli import main
from rucksac.errors import UsageError
from tests.runs import SMALL

SHA = "0123456789abcdef0123456789abcdef01234567"
OBS = np.array([[0.5, -0.5, 2.0], [1.0, 0.0, -1.0]], np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook") / "run"
    rucksac.train("Pendulum-v1", run=folder, **{**SMALL, "steps": 120, "normalise_observations": True})
    return folder


def test_an_agent_on_the_hub_is_read_from_what_was_downloaded_before(run, tmp_path, monkeypatch):
    """The hub's own package finds the files, laid out as it keeps them; there is no network to ask."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    agent, repository = rucksac.load(run), tmp_path / "models--me--pendulum"
    agent.save(repository / "snapshots" / SHA)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(SHA)
    for address in ("hf://me/pendulum", f"hf://me/pendulum@{SHA}"):
        assert np.array_equal(rucksac.load(address).predict(OBS)[0], agent.predict(OBS)[0])
    for address in ("hf://me/cheetah", "hf://me/pendulum@v2", "hf://", "hf://a/b/c"):
        with pytest.raises(UsageError, match=rf"^{address} cannot be had from the hub \(.+\)$"):
            rucksac.load(address)


def test_without_the_hubs_package_its_name_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r'huggingface_hub; pip install "rucksac\[hub\]"'):
        rucksac.load("hf://me/pendulum")


def test_an_agent_saved_and_loaded_is_the_same(run, tmp_path):
    agent = rucksac.load(run)
    agent.save(tmp_path / "deep/down/agent")
    again = rucksac.load(tmp_path / "deep/down/agent")
    assert np.array_equal(again.predict(OBS)[0], agent.predict(OBS)[0])
    for name, tensor in agent.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
    assert again.grad_steps == agent.grad_steps == 101


def test_an_agent_takes_the_place_of_another_and_of_nothing_else(run, tmp_path, monkeypatch):
    agent = rucksac.load(run)
    agent.save(tmp_path / "agent")
    agent.grad_steps = 7
    agent.save(tmp_path / "agent")
    assert rucksac.load(tmp_path / "agent").grad_steps == 7
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years of work")
    for taken in (tmp_path / "thesis", tmp_path / "thesis/chapter.tex", run):
        before = sorted(taken.parent.rglob("*"))
        with pytest.raises(UsageError, match="holds something else than an agent"):
            agent.save(taken)
        assert sorted(taken.parent.rglob("*")) == before
    with pytest.raises(UsageError, match="cannot be written"):
        agent.save("/proc/agent")
    for path in ("agents/\0", 5, None, b"x"):
        with pytest.raises(UsageError, match="cannot be (the path of a folder|written)"):
            agent.save(path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    agent.save(".")
    assert rucksac.load(".").grad_steps == 7


def test_commands_take_an_agent_that_was_saved(run, tmp_path, capsys):
    agent = str(tmp_path / "agent")
    rucksac.load(run).save(agent)
    answers = []
    for words in ([agent, "--env", "Pendulum-v1"], [str(run)]):
        assert main(["evaluate", *words, "--episodes", "2"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert main(["export", agent, "-o", str(tmp_path / "policy.npz")]) == 0
    assert main(["evaluate", agent]) == 2
    assert "saved without its environment; name one" in capsys.readouterr().err
    assert main(["evaluate", agent, "--best", "--env", "Pendulum-v1"]) == 2
    assert "is an agent, not a run" in capsys.readouterr().err


def test_a_notebook_shows_the_curve(run):
    returns, inside = rucksac.plot(run), rucksac.plot(str(run), inside=True)
    assert len(returns.axes) == 1
    assert len(inside.axes) == 6
    for picture in (returns, inside):
        assert picture._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="at least one run"):
        rucksac.plot()
    with pytest.raises(UsageError, match="cannot be the path of a folder"):
        rucksac.plot("a\0b")
    with pytest.raises(UsageError, match="is empty; name a folder"):
        rucksac.plot("")


def test_a_notebook_plays_the_film(run, tmp_path):
    film = rucksac.watch(run, episodes=2)
    assert film.returns == rucksac.evaluate(rucksac.load(run), "Pendulum-v1", episodes=2).returns.tolist()
    film.save(tmp_path / "films/film.mp4")
    frames = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "films/film.mp4"))[0]
    assert frames == 2 * 201
    assert "data:video/mp4;base64," in film._repr_html_()
    with pytest.raises(UsageError, match="give an environment too"):
        rucksac.watch(rucksac.load(run))
