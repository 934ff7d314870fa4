"""Every format acts as the agent does: 10,000 observations each, from harmless to extreme."""

import numpy as np
import onnx
import pytest
from torch import nn

import rucksac
from rucksac.building import build
from rucksac.environments.spaces import Continuous
from rucksac.exporting.checking import TOLERANCE, answers, random_noise, random_parts
from rucksac.exporting.pipeline import pipeline_of
from tests.exporting.cases import (
    CASES,
    FORMATS,
    OURS,
    agent_of,
    discrete,
    exact_actions,
    exact_outputs,
    extremes,
)

HALF_PRECISION = 0.05  # of the action range: what rounding to bf16 may cost
SLOW = ("bro", "flash", "sphere")  # kinds of blocks beside the one that stands for all
COMBINATIONS = [
    pytest.param(case, suffix, marks=pytest.mark.long if case in SLOW else ())
    for case in CASES
    for suffix in FORMATS
    if case in OURS or suffix in (".onnx", ".pt2")
]
SAMPLED = [(case, suffix) for case in ("normalised", "choices", "td3") for suffix in FORMATS]


def exported(case, suffix, folder, **options):
    done = rucksac.export(agent_of(case), folder / f"policy{suffix}", **options)
    return done, FORMATS[suffix].opened(done.files[0], pipeline_of(agent_of(case), options.get("sample", False)))


@pytest.mark.parametrize(("case", "suffix"), COMBINATIONS)
def test_the_likeliest_action_is_that_of_the_agent(case, suffix, tmp_path):
    done, act = exported(case, suffix, tmp_path)
    assert done.check.observations == 1000
    assert not done.suspicious
    assert done.bytes == done.files[0].stat().st_size
    for group, (parts, wanted) in extremes(case).items():
        given = act(*parts)
        assert (given.shape, given.dtype) == (wanted.shape, wanted.dtype), group
        np.testing.assert_array_equal(act(*(part[:1] for part in parts)).shape, (1, *wanted.shape[1:]))
        if discrete(case):
            different = (given != wanted).reshape(len(wanted), -1).any(-1)
            logits = np.sort(exact_outputs(case, parts), -1)
            assert ((logits[:, -1] - logits[:, -2]) / (1 + np.abs(logits).max(-1)))[different].max(initial=0) < 1e-5
            assert different.mean() <= 0.001
        else:
            compare(case, group, parts, given, wanted)


def compare(case, group, parts, given, wanted):
    actions = agent_of(case).spaces.actions
    assert isinstance(actions, Continuous)
    low, high = (bound.astype(wanted.dtype).reshape(wanted.shape[1:]) for bound in (actions.low, actions.high))
    assert ((given >= low) & (given <= high)).all()
    rows = len(wanted)
    exact, whole_range = exact_actions(case, parts), 2 * actions.half_range
    if actions.dtype.kind != "f":
        different = (given != wanted).reshape(rows, -1)
        from_half = np.abs(exact - np.floor(exact) - 0.5) / whole_range
        assert from_half[different].max(initial=0) < TOLERANCE
        assert different.any(-1).mean() <= 0.001
        return
    off = (np.abs(given.reshape(rows, -1) - exact) / whole_range).max()  # from the agent in float64 throughout
    agents_own = (np.abs(wanted.reshape(rows, -1) - exact) / whole_range).max()
    apart = (np.abs(given.reshape(rows, -1).astype(np.float64) - wanted.reshape(rows, -1)) / whole_range).max()
    if case == "bf16":
        assert group == "huge" or (apart < HALF_PRECISION and off < TOLERANCE)
    elif group == "huge" and not agent_of(case).normaliser:  # where float32 itself knows no better
        assert off <= max(TOLERANCE, 10 * agents_own)
    else:
        assert apart < TOLERANCE, group


@pytest.mark.parametrize(("case", "suffix"), SAMPLED)
def test_noise_gives_the_sample_that_the_agent_would_draw(case, suffix, tmp_path):
    agent, generator = agent_of(case), np.random.default_rng(2)
    before = agent.acting_noise.bit_generator.state
    done, act = exported(case, suffix, tmp_path, sample=True)
    assert agent.acting_noise.bit_generator.state == before
    assert done.inputs[-1]["name"] == "noise"
    pipeline = pipeline_of(agent, True)
    parts = random_parts(agent, pipeline, 2000, generator)
    normal, noise = random_noise(agent, pipeline, 2000, generator)
    wanted, given = answers(agent, parts, normal), act(*parts, *noise)
    likeliest = act(*parts, np.zeros_like(normal))
    assert (wanted != likeliest).reshape(2000, -1).any(-1).mean() > 0.3
    if discrete(case):
        assert (given == wanted).reshape(2000, -1).all(-1).mean() >= 0.999
    else:
        assert (np.abs(given - wanted) / (2 * agent.spaces.actions.half_range)).max() < TOLERANCE


def test_gumbel_noise_draws_by_the_policys_probabilities(tmp_path):
    """What the documentation says of noise for discrete actions: numpy's own `gumbel` is right."""
    agent = agent_of("choice")
    _, act = exported("choice", ".npz", tmp_path, sample=True)
    noise = np.random.default_rng(3).gumbel(size=(40_000, 3)).astype(np.float32)
    drawn = act(np.full(40_000, 4), noise)
    logits = exact_outputs("choice", [np.array([4])])[0]
    probabilities = np.exp(logits) / np.exp(logits).sum()
    counts = np.bincount(drawn + 1, minlength=3) / 40_000  # the choices begin at -1
    assert np.abs(counts - probabilities).max() < 4 * np.sqrt(0.25 / 40_000)
    assert agent.spaces.actions.size == 3


@pytest.mark.parametrize("case", ["normalised", "own"])
def test_eight_bits_between_hidden_layers_cost_little(case, tmp_path):
    agent = agent_of(case)
    if case == "own":
        layers = nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
        agent = build(agent.config, agent.spaces, nn.Sequential(*layers))
    done = rucksac.export(agent, tmp_path / "policy.onnx", int8=True)
    assert TOLERANCE < done.check.largest < 0.05
    assert (done.rounded, done.suspicious) == ("inner layers in 8 bits", False)
    weights = {each.name: each for each in onnx.load(done.files[0]).graph.initializer}
    types = [each.data_type for name, each in weights.items() if "weight" in name and len(each.dims) == 2]
    assert types.count(onnx.TensorProto.FLOAT) == 2  # the outer ones
    assert types.count(onnx.TensorProto.UINT8) == len(types) - 2 >= 1
