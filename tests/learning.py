"""Training until values are right."""

import dataclasses

import torch

from rucksac.algorithm.networks import call
from rucksac.config import Config
from rucksac.training.plan import Plan
from rucksac.training.train import train_run

QUICK = Config(
    steps=3_000, warmup=64, batch_size=64, hidden=(32, 32), lr=3e-3, tau=0.05, gamma=0.9, alpha=1e-6,
    threads=1, eval_every=100_000, eval_episodes=1, checkpoint_every=100_000, buffer_size=4_000,
)  # fmt: skip


def learn(world, **settings):
    return train_run(Plan(world, dataclasses.replace(QUICK, **settings), "sac"), None, None).agent


def q_of(agent, obs, actions=(-0.5, 0.0, 0.5)):
    """Return what the critics expect of these actions, (N, K)."""
    rows, critic = torch.tensor([[float(obs)]]).expand(len(actions), 1), agent.algorithm.critic
    actions = torch.tensor(actions, dtype=torch.float32).unsqueeze(1)
    with torch.no_grad():
        return critic.returns.expected(call(critic.network, agent.state.critic.weights, rows, actions)).numpy()
