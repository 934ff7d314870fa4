"""Train with networks of your own: inputs are seen as waves too, which helps with angles.

A policy for A actions answers observations (B, O) with means and logarithms of standard deviations, (B, 2A); a critic
answers (B, O) and (B, A) with one value for each of its N networks, (N, B).
"""

import torch
from torch import nn

import rucksac


class Network(nn.Sequential):
    """Two hidden layers over waves of the inputs, which are put side by side."""

    def __init__(self, inputs, outputs):
        super().__init__(nn.Linear(3 * inputs, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, outputs))

    def forward(self, *inputs):
        x = torch.cat(inputs, -1)
        return super().forward(torch.cat([x, (2 * x).sin(), (2 * x).cos()], -1))


class Twins(nn.ModuleList):
    """Two critics."""

    def forward(self, obs, action):
        return torch.stack([critic(obs, action).squeeze(-1) for critic in self])


def main(run="runs/waves", **settings):
    """Train on the pendulum."""
    torch.manual_seed(settings.get("seed", 1))
    policy, critic = Network(3, 2), Twins(Network(4, 1) for _ in range(2))
    return rucksac.train("Pendulum-v1", run=run, policy=policy, critic=critic, **settings)


if __name__ == "__main__":
    print(rucksac.evaluate(main(quiet=False), "Pendulum-v1", episodes=10).summary)
