"""Give a figure of your own to the trackers: how many of the policy's actions lie at their bounds.

pip install "rucksac[tensorboard]"
tensorboard --logdir runs        # shows it as custom/saturation
"""

import gymnasium
import numpy as np

import rucksac

BOUND = 2.0  # of the torque on the pendulum


def saturation(event):
    """Log the share of mean actions within 1 % of a bound, over states in which episodes begin."""
    if event.kind == "evaluations":
        env = gymnasium.make("Pendulum-v1")
        observations = np.stack([env.reset(seed=seed)[0] for seed in range(100)])
        actions, _ = event.agent.predict(observations)
        event.log(saturation=float(np.mean(np.abs(actions) > 0.99 * BOUND)))


def main(run="runs/saturation", track=("tensorboard",), **settings):
    """Train with the figure beside the others."""
    return rucksac.train("Pendulum-v1", run=run, track=track, callbacks=[saturation], **settings)


if __name__ == "__main__":
    main(quiet=False)
