"""Bringing an environment back to the middle of an episode, by its seed and the actions taken since."""

import numpy as np

from rucksac.environments.collector import Episodes


def reenact(collector: Episodes, env_index: int, obs: np.ndarray, reward: np.ndarray) -> bool:
    """Play the environment's open episode again; return whether it went exactly as it was stored.

    obs (n, O) and reward (n,) are what was seen before and after each of the last n actions. When the environment
    answers otherwise, or cannot be started from a seed, it is left where it is.
    """
    actions = collector.actions[env_index]
    first, steps = collector.envs.play(env_index, collector.seeds[env_index], np.array(actions))
    if len(steps) < len(actions) or any(step.terminated or step.truncated for step in steps):
        return False
    seen = np.array([first, *(step.next_obs for step in steps)])
    given = np.array([step.reward for step in steps], np.float32)
    unknown = len(actions) - len(reward)
    return (
        np.array_equal(seen[unknown:-1], obs)
        and np.array_equal(given[unknown:], reward)
        and np.array_equal(seen[-1], collector.obs[env_index])
    )
