"""Train on an environment of your own: a trolley on a rail that is to stand still at a mark.

An episode is cut after 100 steps by the time limit, which is no end of the task: the value of what would have come
still counts. Leaving the rail is one. `rucksac doctor own_environment:Trolley` checks such an environment.
"""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import rucksac

DT, LARGEST = 0.05, 3.0  # seconds a step, m/s^2


class Trolley(gymnasium.Env):
    """Observed are position (m) and speed (m/s); the action is a share of the largest acceleration."""

    observation_space = Box(-20.0, 20.0, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.speed = self.np_random.uniform(-1.0, 1.0), 0.0
        return self.seen(), {}

    def step(self, action):
        self.speed += DT * LARGEST * float(action[0])
        self.position += DT * self.speed
        left = abs(self.position) > 2.0
        return self.seen(), -abs(self.position) - 10.0 * left, left, False, {}

    def seen(self):
        return np.array([self.position, self.speed], np.float32)


if __name__ == "__main__":
    trained = rucksac.train(Trolley, time_limit=100, steps=10_000, run="runs/trolley", quiet=False)
    print(rucksac.evaluate(trained, lambda: gymnasium.wrappers.TimeLimit(Trolley(), 100), episodes=10).summary)
