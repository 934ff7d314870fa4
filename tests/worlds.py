"""Small real environments whose right answers are known."""

import os
import sys
import time
from collections import OrderedDict

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class World(gymnasium.Env):
    """One number in, one action out; subclasses say what happens."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self):
        return np.zeros(1, np.float32)


class Forever(World):
    """Reward 1 for ever, cut by a time limit of 5: Q = 1 / (1 - gamma)."""

    def step(self, action):
        self.steps += 1
        return self.seen(), 1.0, False, self.steps == 5, {}


class Once(World):
    """Reward 1, then a termination that comes together with a time limit: Q = 1."""

    def step(self, action):
        return self.seen(), 1.0, True, True, {}


class Delayed(World):
    """Reward 1 at the second and last step: Q = gamma, then 1."""

    def seen(self):
        return np.array([self.steps], np.float32)

    def step(self, action):
        self.steps += 1
        return self.seen(), float(self.steps == 2), self.steps == 2, False, {}


class Counter(World):
    """Shows episode number * 100 + step; episodes end in turn by termination and by truncation, after 3 and 4 steps."""

    episodes = -1

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed)

    def seen(self):
        return np.array([100 * self.episodes + self.steps], np.float32)

    def step(self, action):
        self.steps += 1
        even = self.episodes % 2 == 0
        return self.seen(), float(self.steps), even and self.steps == 3, not even and self.steps == 4, {}


class OutOfStep(Counter):
    """A counter that begins with the episode of 4 steps, so that beside the other it does not end at the same time."""

    episodes = 0


class Bandit(World):
    """One step; the reward is alpha log p(a), so that the best soft policy has density p, and V = 0."""

    alpha, mean, std = 0.5, 0.4, 0.6

    def step(self, action):
        return self.seen(), self.alpha * squashed_log_density(action[0], self.mean, self.std), True, False, {}


class Chain(World):
    """Three states in a row; in each, the reward is a bonus plus alpha log p_s(a) with a mean of its own."""

    alpha, means, std, bonus = 0.3, (-0.6, 0.0, 0.6), 0.5, (0.5, -1.0, 2.0)

    def seen(self):
        return np.array([self.steps - 1.0], np.float32)

    def step(self, action):
        log_density = squashed_log_density(action[0], self.means[self.steps], self.std)
        reward = self.bonus[self.steps] + self.alpha * log_density
        self.steps += 1
        return self.seen(), reward, self.steps == 3, False, {}


class Scaled(World):
    """Wants the action in the middle of its bounds, whatever they are; two such differ by scale alone."""

    def __init__(self, low, high):
        self.low, self.high = low, high
        self.action_space = Box(np.array([low], np.float32), np.array([high], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1.0, 1.0)
        self.steps = 0
        return np.array([self.position], np.float32), {}

    def step(self, action):
        unit = 2.0 * (float(action[0]) - self.low) / (self.high - self.low) - 1.0
        self.position = 0.9 * self.position + 0.5 * round(unit, 4)
        self.steps += 1
        return np.array([self.position], np.float32), -abs(self.position), False, self.steps == 20, {}


class Faulty(World):
    """Does one thing wrong at its third step."""

    def __init__(self, fault):
        self.fault = fault

    def step(self, action):
        self.steps += 1
        wrong = self.steps == 3
        obs = {"nan": np.array([np.nan], np.float32), "shape": np.zeros(2, np.float32)}.get(self.fault, self.seen())
        if wrong and self.fault == "raises":
            raise ZeroDivisionError("the motor is at rest")
        if wrong and self.fault == "exits":
            sys.exit("bye")
        if wrong and self.fault == "array":
            return self.seen(), 0.0, np.array([True, False]), False, {}
        if wrong and self.fault == "four":
            return self.seen(), 0.0, False, {}
        reward = {"none": None, "infinite": np.inf}.get(self.fault, 0.0)
        return (obs, reward, False, self.steps == 5, {}) if wrong else (self.seen(), 0.0, False, False, {})


def squashed_log_density(action, mean, std):
    """Log-density of tanh(N(mean, std)) at an action, in float64."""
    action = np.clip(np.float64(action), -1 + 1e-6, 1 - 1e-6)
    u = np.arctanh(action)
    return float(-0.5 * ((u - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi)) - np.log1p(-(action**2)))


class Failing(World):
    """Fails in one method; only the first time if `once` names a file, which then remembers it."""

    def __init__(self, where, how="raises", once=None):
        self.where, self.how, self.once = where, how, once
        self._maybe_fail("constructor")

    def reset(self, *, seed=None, options=None):
        self._maybe_fail("reset")
        return super().reset(seed=seed)

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            self._maybe_fail("step")
        return np.array([self.steps], np.float32), 1.0, False, self.steps == 5, {}

    def _maybe_fail(self, method):
        if method != self.where:
            return
        if self.once:
            try:
                open(self.once, "x").close()
            except FileExistsError:
                return
        if self.how == "raises":
            raise ZeroDivisionError("the motor is at rest")
        if self.how == "dies":
            os._exit(7)
        time.sleep(60)


class OnlyInWorkers:
    """Makes what it is given in workers, and a harmless world in the process that made it."""

    def __init__(self, source):
        self.source, self.parent = source, os.getpid()

    def __call__(self, **arguments):
        return self.source(**arguments) if os.getpid() != self.parent else Forever()


class InItsOwnOrder(World):
    """Observations whose parts are not sorted by name, at either level."""

    observation_space = Dict(b=Box(-9, 9, (1,)), a=Dict(OrderedDict(d=Box(-9, 9, (2,)), c=Discrete(2))))
    flat = (-5.0, 1.0, 2.0, 0.0, 1.0)

    def seen(self):
        return {"a": {"c": 1, "d": np.array([1.0, 2.0])}, "b": np.array([-5.0])}

    def step(self, action):
        self.steps += 1
        return self.seen(), float(action[0]), False, self.steps == 5, {}


class Random(World):
    """Each episode is one random walk of its own, from the seed it is given."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(3, 9))
        self.where = self.np_random.normal(size=2)
        return self.where.copy(), {}

    def step(self, action):
        self.steps += 1
        self.where += self.np_random.normal(size=2) + action[0]
        over = self.steps == self.length
        return self.where.copy(), float(self.where.sum()), over and self.length % 2 == 0, over, {}


class Pair(World):
    """Two states in a row, each with a bonus, a best action of its own and gamma = 0.9 between them.

    With entropy the reward is the bonus plus alpha log p_s(a), so that the best soft policy has density p_s and
    V = bonus from there on; without, it falls with the square of the distance from the best action before squashing.
    """

    alpha, means, std, bonus = 0.5, (-0.4, 0.4), 0.5, (0.5, 1.0)

    def __init__(self, entropy):
        self.entropy = entropy

    def seen(self):
        return np.array([2.0 * self.steps - 1.0], np.float32)

    def step(self, action):
        mean = self.means[self.steps]
        reward = self.bonus[self.steps]
        if self.entropy:
            reward += self.alpha * squashed_log_density(action[0], mean, self.std)
        else:
            reward -= 2.0 * (np.arctanh(np.clip(np.float64(action[0]), -0.999, 0.999)) - mean) ** 2
        self.steps += 1
        return self.seen(), float(reward), self.steps == 2, False, {}

    @classmethod
    def q(cls, state, entropy):
        """The value of the best action in a state."""
        at_best = cls.alpha * squashed_log_density(np.tanh(cls.means[state]), cls.means[state], cls.std)
        return cls.bonus[state] + (0.9 * cls.bonus[1] if state == 0 else 0.0) + (at_best if entropy else 0.0)


class Reach(World):
    """A point in the square that must reach a goal somewhere in it; the reward is -1 until it has."""

    def __init__(self, terminates=False, size=2, near=0.06):
        self.terminates, self.size, self.near = terminates, size, near
        goal = Box(-1.0, 1.0, (size,), np.float64)
        parts = {"achieved_goal": goal, "desired_goal": goal, "observation": Box(-1.0, 1.0, (size,), np.float32)}
        self.observation_space, self.action_space = Dict(parts), Box(-1.0, 1.0, (size,), np.float32)

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.steps, self.point = 0, np.zeros(self.size)
        self.goal = self.np_random.uniform(-1.0, 1.0, self.size)
        return self.seen(), {}

    def seen(self):
        return {"observation": self.point, "achieved_goal": self.point, "desired_goal": self.goal}

    def step(self, action):
        self.steps += 1
        self.point = np.clip(self.point + 0.25 * np.asarray(action), -1.0, 1.0)
        seen, info = self.seen(), {}
        terminated = self.terminates and bool(self.compute_terminated(self.point, self.goal, info))
        return seen, float(self.compute_reward(self.point, self.goal, info)), terminated, self.steps == 15, info

    def compute_reward(self, achieved_goal, desired_goal, info):
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > self.near).astype(float)

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return self.terminates & (np.linalg.norm(achieved_goal - desired_goal, axis=-1) <= self.near)


class Steps(Reach):
    """The same with a choice of directions."""

    def __init__(self):
        super().__init__()
        self.action_space = Discrete(4)

    def step(self, action):
        return super().step(((1, 0), (-1, 0), (0, 1), (0, -1))[action])


class Lock(World):
    """Opens, for a reward of 1, after eight turns in the right directions; any other turn ends the attempt."""

    code = (1, -1, -1, 1, -1, 1, 1, -1)
    observation_space = Box(0.0, 1.0, (8,), np.float32)

    def seen(self):
        return np.eye(9, 8, dtype=np.float32)[self.steps]

    def step(self, action):
        right = float(action[0]) * self.code[self.steps] > 0.3
        self.steps += right
        return self.seen(), float(self.steps == 8), not right or self.steps == 8, False, {}


class Robot(World):
    """Writes down what it is told to do, so that a test sees it from another process; episodes take 7 steps."""

    def __init__(self, log):
        self.log = log

    def reset(self, *, seed=None, options=None):
        self._write("reset")
        return super().reset(seed=seed)

    def step(self, action):
        self._write("step")
        self.steps += 1
        return np.array([self.steps], np.float32), float(action[0]), False, self.steps == 7, {}

    def close(self):
        self._write("closed")

    def _write(self, word):
        with open(self.log, "a") as file:
            file.write(word + "\n")


class Screen(World):
    """Shows a bright column in a picture; the reward says how near the action was to its place, then it moves.

    Frames differ by their first pixel, which counts them. With `numbers` the observation is a Dict with the place too.
    """

    def __init__(self, order="HWC", numbers=False, size=16, length=8):
        self.order, self.numbers, self.size, self.length = order, numbers, size, length
        shape = {"HWC": (size, size, 3), "CHW": (2, size, size), "HW": (size, size)}[order]
        self.observation_space = Box(0, 255, shape, np.uint8)
        if numbers:
            self.observation_space = Dict(eye=self.observation_space, place=Box(-1.0, 1.0, (1,), np.float32))

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.steps, self.frames = 0, int(self.np_random.integers(100))
        self.place = self.np_random.uniform(-0.9, 0.9)
        return self.seen(), {}

    def seen(self):
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        picture[:, round((self.place + 1.0) / 2.0 * (self.size - 1))] = 200
        picture[0, 0] = self.frames
        picture = {"HWC": picture, "CHW": picture[..., :2].transpose(2, 0, 1), "HW": picture[..., 0]}[self.order]
        return {"eye": picture, "place": np.array([self.place], np.float32)} if self.numbers else picture

    def step(self, action):
        reward = 1.0 - abs(float(action[0]) - self.place)
        self.steps, self.frames, self.place = self.steps + 1, self.frames + 1, self.np_random.uniform(-0.9, 0.9)
        return self.seen(), reward, False, self.steps == self.length, {}
