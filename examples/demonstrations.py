"""Record a controller as a Minari data set and learn from it too; it takes pip install "rucksac[minari]"."""

import gymnasium
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

import rucksac


def swing_up(obs):
    """Return the torque that gives the pendulum the energy of standing, and holds it there."""
    cosine, sine, speed = obs
    if cosine > 0.9:
        return np.clip([-10.0 * np.arctan2(sine, cosine) - 3.0 * speed], -2.0, 2.0).astype(np.float32)
    return np.float32([2.0 * np.sign(speed * (5.0 - speed**2 / 6.0 - 5.0 * cosine)) or 2.0])


def record(env, seed):
    """Return one episode of the controller."""
    seen, actions, rewards, over = [env.reset(seed=seed)[0]], [], [], False
    while not over:
        actions.append(swing_up(seen[-1]))
        obs, reward, _, over, _ = env.step(actions[-1])
        seen, rewards = [*seen, obs], [*rewards, reward]
    last = np.arange(1, len(rewards) + 1) == len(rewards)
    return EpisodeBuffer(None, seed, None, np.stack(seen), np.stack(actions), rewards, last & False, last)


def main(name="pendulum/controller-v0", episodes=10, run="runs/demonstrations", **settings):
    """Record the controller and train with it."""
    buffers = [record(gymnasium.make("Pendulum-v1"), seed) for seed in range(episodes)]
    minari.create_dataset_from_buffers(name, buffers, "Pendulum-v1")
    return rucksac.train("Pendulum-v1", run=run, demonstrations=f"minari:{name}", **settings)


if __name__ == "__main__":
    main(quiet=False)
