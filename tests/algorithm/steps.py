"""A small step to test: spaces, settings, batches, draws and scalars."""

import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from torch.utils import _pytree as pytree

from rucksac.algorithm.update import Batch
from rucksac.building import build
from rucksac.config import Config, with_settings
from rucksac.environments.observations import Composite
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.learner import Learner

ACTIONS = Continuous((2,), np.dtype(np.float32), np.array([-1.0, -2.0]), np.array([1.0, 5.0]))


SPACES = Spaces(Numbers((3,)), ACTIONS)
PICTURES = Dict(a=Box(0, 255, (2, 15, 15, 1), np.uint8), b=Box(-1.0, 1.0, (3,)), c=Box(0, 255, (2, 16, 15), np.uint8))
SEEING = Spaces(Composite(PICTURES), ACTIONS)


ROWS = 7


def config(**settings):
    small = {"batch_size": ROWS, "hidden": (16, 8), "compile": "never", "seed": 3}
    return with_settings(Config(), {**small, **settings})


def learner(**settings):
    return Learner(build(config(**settings), SPACES))


def batch(seed=0, rows=ROWS):
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, rows, 3, generator=generator)
    action = torch.rand(rows, 2, generator=generator) * 2 - 1
    reward = torch.randn(rows, generator=generator)
    discount = 0.99 * (torch.rand(rows, generator=generator) > 0.2)
    return Batch(obs, action, reward, discount, next_obs)


def draws(seed=1, rows=ROWS):
    names = ("evaluation", "improvement")
    noise = torch.randn(2, rows, 2, generator=torch.Generator().manual_seed(seed))
    return {**dict(zip(names, noise, strict=True)), "subset": torch.tensor([0, 1])}


def scalars(policy=1e-3, critic=1e-3, temperature=1e-3, tau=0.1):
    rates = {"policy": policy, "critic": critic, "state_value": critic, "temperature": temperature}
    found = {
        name: {"step_size": torch.tensor(rate), "epsilon": torch.tensor(1e-8), "decay": torch.tensor(0.01 * rate)}
        for name, rate in rates.items()
    }
    return {**found, "target": {"tau": torch.tensor(tau)}}


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(left), pytree.tree_leaves(right), strict=True))
