"""Bringing an environment back to the middle of an episode, by its seed and the actions taken since."""

import numpy as np

from rucksac.environments.rollout import Rollout


def reenact(rollout: Rollout, lane: int, obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> bool:
    """Play the lane's open episode again; return whether it went exactly as it was stored.

    obs (n, O) and reward (n,) are what was seen before and after each of the n actions (n, A). When the environment
    answers otherwise, it is left where the comparison failed.
    """
    env = rollout.envs[lane]
    seen = env.reset(rollout.seeds[lane])
    for step in range(len(action)):
        if not np.array_equal(seen, obs[step]):
            return False
        seen, given, terminated, truncated = env.step(action[step])
        if np.float32(given) != reward[step] or terminated or truncated:
            return False
    return np.array_equal(seen, rollout.obs[lane])
