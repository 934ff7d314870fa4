"""A small task that is learned within two thousand steps, and the same with one fault each."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Cart(gymnasium.Env):
    """A cart on a line that is to stand at the origin; episodes are cut off after 50 steps."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(
        self,
        reward_scale=1.0,
        obs_scales=(1.0, 1.0),
        terminates=False,
        near=None,
        blind=False,
        nan=False,
        push=False,
        limit=50,
    ):
        self.reward_scale, self.obs_scales, self.terminates = reward_scale, np.array(obs_scales), terminates
        self.near, self.blind, self.nan, self.push, self.limit = near, blind, nan, push, limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.position, self.speed = 0, self.np_random.uniform(-1.0, 1.0), 0.0
        return self.seen(), {}

    def seen(self):
        broken = self.nan and self.steps == 3
        seen = self.obs_scales * (self.position, np.nan if broken else 0.0 if self.blind else self.speed)
        return seen.astype(np.float32)

    def step(self, action):
        self.steps += 1
        self.speed = 0.8 * self.speed + 0.1 * float(action[0])
        self.position = float(np.clip(self.position + self.speed, -2.0, 2.0))
        reward = -(self.position**2) if self.near is None else float(abs(self.position - 1.9) < self.near)
        reward += 10.0 * float(action[0]) * self.push
        over = self.steps == self.limit
        return self.seen(), self.reward_scale * reward, over and self.terminates, over and not self.terminates, {}
