"""Agents of every kind, trained for a few steps, and observations from harmless to extreme for them."""

import copy
import functools

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from torch import nn

import rucksac
from rucksac.environments.choices import Choices
from rucksac.environments.spaces import Numbers
from rucksac.exporting import c_header, numpy_file, onnx_file, torch_program
from rucksac.exporting.checking import random_parts
from rucksac.exporting.pipeline import pipeline_of
from tests.spaces import NESTED
from tests.worlds import World

FORMATS = {".onnx": onnx_file, ".pt2": torch_program, ".npz": numpy_file, ".h": c_header}
HIDDEN = (16, 24, 16)


class Anything(World):
    """Shows random observations, and wants the action to be small."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = copy.deepcopy(observations), actions
        self.observation_space.seed(0)

    def seen(self):
        return self.observation_space.sample()

    def step(self, action):
        self.steps += 1
        return self.seen(), -float(np.square(action, dtype=np.float64).mean()), False, self.steps == 20, {}


class OwnPolicy(nn.Module):
    """A person's own network: two ways side by side."""

    def __init__(self):
        super().__init__()
        self.wide, self.straight = nn.Linear(3, 32), nn.Linear(3, 4)
        self.norm, self.last = nn.LayerNorm(32), nn.Linear(32, 4)

    def forward(self, obs):
        return self.last(torch.sigmoid(self.norm(self.wide(obs)))) + self.straight(obs)


class OwnCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = (nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(2))

    def forward(self, obs, action):
        both = torch.cat([obs, action], -1)
        return torch.stack([self.one(both).squeeze(-1), self.other(both).squeeze(-1)])


def bounded(low, high, dtype=np.float32):
    return Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


FAR = bounded([999.9, -1e4, 0.0], [1000.1, 1e4, 1e-3])  # normalising these needs more digits than a float32 has
THREE = Box(-1, 1, (3,))
UNEQUAL = bounded([0, -3], [5, 1])
CASES = {  # what is seen, the actions, settings, own networks
    "normalised": (FAR, UNEQUAL, {"normalise_observations": True, "activation": "silu"}),
    "nested": (NESTED, bounded([[-1, 0.1]], [[0.1, 7]], np.float64), {"activation": "elu", "hidden": 16}),
    "image": (Box(0, 255, (2, 3), np.uint8), Box(-2, 2, ()), {"normalise_observations": True, "activation": "tanh"}),
    "choice": (Discrete(4, start=2), Discrete(3, start=-1), {}),
    "choices": (Tuple([MultiDiscrete([2, 3]), THREE]), MultiDiscrete([[2], [3]]), {"activation": "gelu"}),
    "switches": (Dict(a=MultiBinary(3), b=Box(-1, 1, ())), MultiBinary(2), {"normalise_observations": True}),
    "td3": (THREE, UNEQUAL, {"recipe": "td3"}),
    "whole": (THREE, Box(-3, 12, (2,), np.int32), {}),
    "bf16": (THREE, UNEQUAL, {"precision": "bf16"}),
    "gsde": (THREE, UNEQUAL, {"gsde": True, "noise_every": 4}),
    "layer norm": (THREE, UNEQUAL, {"policy_norm": "layer", "log_std": "tanh"}),
    "batch norm": (FAR, UNEQUAL, {"policy_norm": "batch", "activation": "tanh"}),
    "batch norm before": (FAR, UNEQUAL, {"policy_norm": "batch-before", "weight_norm": True}),
    "blocks": (FAR, UNEQUAL, {"recipe": "simba", "hidden": (16, 16), "critic_hidden": (16,)}),
    "bro": (FAR, UNEQUAL, {"blocks": "post-norm", "hidden": (16, 16), "weight_decay": 0.1}),
    "flash": (FAR, UNEQUAL, {"blocks": "batch-norm", "hidden": (16, 16), "weight_norm": True}),
    "sphere": (FAR, UNEQUAL, {"recipe": "simbav2", "hidden": (16, 16), "critic_hidden": (16,)}),
    "own": (THREE, UNEQUAL, {"policy": OwnPolicy, "critic": OwnCritic}),
}
OURS = [case for case in CASES if case not in ("blocks", "bro", "flash", "sphere", "own")]  # what every format holds
LARGE = 1e6  # observations that no network was made for


def env_of(case):
    observations, actions, _ = CASES[case]
    return Anything(observations, actions)


@functools.cache
def agent_of(case):
    """Return the trained agent of a case; nobody changes it."""
    settings = dict(CASES[case][2])
    torch.manual_seed(0)
    for name in ("policy", "critic"):
        if name in settings:
            settings[name] = settings[name]()
    small = {"recipe": "plain", "steps": 80, "warmup": 40, "batch_size": 32, "eval_episodes": 1, "compile": "never"}
    return rucksac.train(lambda: env_of(case), **{"hidden": HIDDEN, **small, **settings})


@functools.cache
def extremes(case):
    """Return groups of observations part by part, and the agent's likeliest actions for them.

    They are as in training, bounds and zero, tiny, large and huge.
    """
    agent, generator = agent_of(case), np.random.default_rng(1)
    pipeline = pipeline_of(agent, False)
    groups = {}
    count = 10_000 if isinstance(agent.spaces.observations, Numbers) else 1_000  # the others take Gymnasium long
    for name, scale in {"seen": 1.0, "bounds": 1.0, "tiny": 1e-30, "large": 100.0, "huge": LARGE}.items():
        parts = random_parts(agent, pipeline, count // 5, generator)
        for number, part in enumerate(pipeline.parts):
            if part.dtype == "float32":
                if name == "bounds":
                    parts[number] = generator.choice([-1.0, 0.0, 1.0, 255.0], parts[number].shape).astype(np.float32)
                parts[number] = parts[number] * np.float32(scale)
        groups[name] = parts, agent.predict(nested(case, parts))[0]
    return groups


def exact_outputs(case, parts):
    """Return what the policy's network says in float64, and half the range of the actions before rounding."""
    agent = agent_of(case)
    pipeline = pipeline_of(agent, False)
    rows = []
    for part, array in zip(pipeline.parts, parts, strict=True):
        flat = array.reshape(len(array), -1)
        rows.append(flat if part.value is None else flat[:, part.index] == part.value)
    obs = np.concatenate(rows, -1, dtype=np.float64, casting="unsafe")
    if agent.normaliser and agent.normaliser.seen:
        seen = agent.normaliser.seen
        obs = ((obs - seen.mean) / seen.spread).clip(-10, 10)
    policy = copy.deepcopy(agent.algorithm.policy).double().eval()
    for layer in getattr(policy, "layers", []):
        layer.product = None  # where the agent rounds to bf16
    with torch.no_grad():
        return policy(torch.from_numpy(obs)).numpy()[:, : agent.spaces.action_size]


def exact_actions(case, parts):
    """Return the likeliest actions (n, A) in float64, before rounding to whole numbers."""
    actions = agent_of(case).spaces.actions
    return 0.5 * (actions.low + actions.high) + np.tanh(exact_outputs(case, parts)) * actions.half_range


def discrete(case):
    return isinstance(agent_of(case).spaces.actions, Choices)


def nested(case, parts):
    """Return observations as the environment gives them, for arrays part by part."""
    pipeline = pipeline_of(agent_of(case), False)
    space = CASES[case][0]

    def at(space, path, row):
        if isinstance(space, Dict):
            return {key: at(part, (*path, key), row) for key, part in space.items()}
        if isinstance(space, Tuple):
            return tuple(at(part, (*path, index), row) for index, part in enumerate(space))
        return parts[[part.path for part in pipeline.parts].index(path)][row]

    return [at(space, (), row) for row in range(len(parts[0]))]
