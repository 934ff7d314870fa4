import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rucksac
from rucksac.building import build
from rucksac.errors import UsageError
from rucksac.training.checkpoint import load_agent, load_tensors, save_agent, tensors_of
from tests.algorithm.test_update import SPACES, batch, config


@pytest.fixture
def run(tmp_path):
    agent = build(config(target_entropy=-3.0), SPACES)
    for index in range(3):
        agent.update(batch(index))
    save_agent(agent, tmp_path / "run/checkpoint", env_steps=50)
    return tmp_path / "run", agent


def test_everything_that_learning_changed_comes_back(run):
    path, agent = run
    again = rucksac.load(path)
    assert again.grad_steps == 3
    assert again.alpha == agent.alpha != 1.0
    assert again.config == agent.config
    assert again.algorithm.target_entropy == -3.0
    for name, tensor in tensors_of(agent).items():
        assert torch.equal(tensor, tensors_of(again)[name]), name
    obs = np.ones(3, np.float32)
    assert np.array_equal(agent.predict(obs)[0], again.predict(obs)[0])


def test_a_new_checkpoint_replaces_the_old_and_leaves_nothing_behind(run):
    path, agent = run
    agent.update(batch(9))
    save_agent(agent, path / "checkpoint", env_steps=60)
    assert sorted(p.name for p in (path / "checkpoint").iterdir()) == ["agent.json", "tensors-60.safetensors"]
    assert rucksac.load(path).grad_steps == 4


def test_a_save_cut_short_leaves_the_old_checkpoint(run):
    path, _ = run
    before = tensors_of(rucksac.load(path))
    (path / "checkpoint/tensors-60.safetensors").write_bytes(b"half")
    (path / "checkpoint/agent.json.new").write_text("{")
    after = tensors_of(rucksac.load(path))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        load_agent(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no checkpoint"):
        load_agent(tmp_path)


def edited(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text[:50], "damaged or foreign"),
        (lambda text: "[]", "not a checkpoint"),
        (edited(version=99), "format version 99"),
        (edited(tensors="../../secret.safetensors"), "outside the checkpoint"),
        (edited(sha256="0" * 64), "not the one that was saved"),
        (edited(config={}), "must name exactly"),
        (
            edited(
                spaces={"obs_shape": [9], "action_shape": [2], "action_dtype": "float32", "low": [0, 0], "high": [1, 1]}
            ),
            "but must be",
        ),
        (edited(spaces={"obs_shape": "x"}), "damaged or foreign"),
        (edited(grad_steps="__import__('os').system('true')"), "damaged or foreign"),
    ],
)
def test_damaged_and_malicious_manifests_are_refused_in_one_sentence(run, edit, says):
    path, _ = run
    file = path / "checkpoint/agent.json"
    file.write_text(edit(file.read_text()))
    with pytest.raises(UsageError, match=says) as caught:
        load_agent(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_byte_is_noticed(run, data):
    path, _ = run
    file = path / "checkpoint/tensors-50.safetensors"
    good = file.read_bytes()
    index = data.draw(st.integers(0, len(good) - 1))
    file.write_bytes(good[:index] + bytes([good[index] ^ data.draw(st.integers(1, 255))]) + good[index + 1 :])
    try:
        with pytest.raises(UsageError, match="not the one that was saved"):
            load_agent(path)
    finally:
        file.write_bytes(good)


def test_tensors_of_another_shape_are_refused(run):
    _, agent = run
    tensors = {name: tensor.clone() for name, tensor in tensors_of(agent).items()}
    name = next(iter(tensors))
    with pytest.raises(ValueError, match="differ in name"):
        load_tensors(agent, {"other": tensors[name]})
    with pytest.raises(ValueError, match="must be"):
        load_tensors(agent, {**tensors, name: torch.zeros(1)})
    with pytest.raises(ValueError, match="not finite"):
        load_tensors(agent, {**tensors, name: torch.full_like(tensors[name], torch.nan)})
