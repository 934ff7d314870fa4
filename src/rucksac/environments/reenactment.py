"""Bringing an environment back to the middle of an episode, by its seed and the actions taken since."""

import numpy as np

from rucksac.environments.rollout import Rollout


def reenact(rollout: Rollout, lane: int, obs: np.ndarray, reward: np.ndarray) -> bool:
    """Play the lane's open episode again; return whether it went exactly as it was stored.

    obs (n, O) and reward (n,) are what was seen before and after each of the last n actions. When the environment
    answers otherwise, it is left where the comparison failed.
    """
    env, actions = rollout.envs[lane], rollout.actions[lane]
    unknown = len(actions) - len(reward)
    seen = env.reset(rollout.seeds[lane])
    for step, action in enumerate(actions):
        known = step - unknown
        if known >= 0 and not np.array_equal(seen, obs[known]):
            return False
        seen, given, terminated, truncated = env.step(action)
        if terminated or truncated or (known >= 0 and np.float32(given) != reward[known]):
            return False
    return np.array_equal(seen, rollout.obs[lane])
