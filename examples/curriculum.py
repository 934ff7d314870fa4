"""Make the environment harder while the agent learns: gravity grows from half to all of what it is on earth.

The function that makes environments keeps them in a list, through which the callback reaches them. The first one
evaluates and stays as hard as it is at the end. "start" comes before the first step of a resumed run too.
"""

import gymnasium

import rucksac


class Pendulums:
    """Makes pendulums and changes their gravity between episodes."""

    def __init__(self, steps):
        self.steps, self.made = steps, []

    def make(self, **arguments):
        """Return a new one."""
        self.made.append(gymnasium.make("Pendulum-v1", g=10.0, **arguments))
        return self.made[-1]

    def harder(self, event):
        """Set the gravity for this step of the run; it is full after half of all steps."""
        if event.kind in ("start", "episodes"):
            for env in self.made[1:]:
                env.unwrapped.g = min(10.0, 5.0 + 10.0 * event.env_steps / self.steps)


def main(steps=20_000, run="runs/curriculum", **settings):
    """Train on ever harder pendulums."""
    pendulums = Pendulums(steps)
    return rucksac.train(pendulums.make, steps=steps, run=run, callbacks=[pendulums.harder], **settings)


if __name__ == "__main__":
    main(quiet=False)
