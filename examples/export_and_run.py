"""Train, write the policy to files of numbers, and act with NumPy alone, as a program without rucksac would.

`numpy_policy.py` is written beside the file; those two are all that has to be copied.
"""

import runpy
from pathlib import Path

import gymnasium

import rucksac


def play(policy, env, seed):
    """Return the sum of rewards of one episode."""
    obs, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(policy(obs))
        total, over = total + float(reward), terminated or truncated
    return total


def main(folder="exported", **settings):
    """Return the sums of rewards of three episodes."""
    agent = rucksac.train("Pendulum-v1", **settings)
    file = Path(folder) / "policy.npz"
    rucksac.export(agent, file)
    policy = runpy.run_path(str(file.with_name("numpy_policy.py")))["Policy"](file)
    return [play(policy, gymnasium.make("Pendulum-v1"), seed) for seed in range(3)]


if __name__ == "__main__":
    print(main(steps=10_000, quiet=False))
