"""Train an arm by the clock: ten steps a second, whatever learning does; `close` stops it, whatever ends the run."""

import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import rucksac


class Arm(gymnasium.Env):
    """A joint to hold at zero, simulated in the time that passes; a robot sends its torque and reads its angle here."""

    observation_space, action_space = Box(-np.inf, np.inf, (2,), np.float32), Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.joint, self.seen = np.array([self.np_random.uniform(-1.0, 1.0), 0.0], np.float32), time.monotonic()
        return self.joint, {}

    def step(self, action):
        time.sleep(0.09)  # the torque acts; it goes on until the next one is sent
        passed, self.seen = time.monotonic() - self.seen, time.monotonic()
        angle, speed = self.joint
        self.joint = np.array([angle + speed * passed, speed + (action[0] - speed) * passed], np.float32)
        return self.joint, -float(angle**2), False, False, {}

    def close(self):
        print("the motor is off", flush=True)


def main(run="runs/arm", **settings):
    """Train for ten minutes."""
    return rucksac.train(Arm, run=run, **{"control_rate": 10, "collectors": 1, "time_limit": 100, **settings})


if __name__ == "__main__":
    main(steps=6_000, quiet=False)
