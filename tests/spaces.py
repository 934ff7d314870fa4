"""Spaces to test with."""

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from rucksac.environments import reading
from tests.worlds import World


def spaces_of(action_space, observation_space=World.observation_space):
    env = World()
    env.action_space, env.observation_space = action_space, observation_space
    return reading.spaces_of(env)


NESTED = Dict(
    arm=Dict(angle=Box(-1, 1, (2, 2), np.float64), grip=Discrete(3, start=-1)),
    lamps=MultiBinary(2),
    modes=MultiDiscrete([2, 3]),
    pair=Tuple([Discrete(2), Box(0, 255, (1,), np.uint8)]),
)
