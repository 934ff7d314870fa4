"""What the critics expect of episodes beside what then comes of them: the discounted soft return.

The soft return after the action in step t is r_t + gamma (alpha h_(t+1) + r_(t+1)) + ..., with the entropy h of the
policy in each later state: what Q(s, a) estimates (arXiv 1801.01290, Eq. 2 and 3), in rewards as the critics see them.
"""

from typing import NamedTuple

import gymnasium
import numpy as np
import torch

from rucksac.agent import Agent
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.networks import call
from rucksac.algorithm.policies import Candidates
from rucksac.environments.reading import check_same, spaces_of
from rucksac.environments.spaces import EnvAdapter, Stepped
from rucksac.stats import Summary, summarise
from rucksac.streams import Stream, generator

EPISODES, MOST_STEPS = 10, 10_000  # of play, if not said otherwise
NO_NOISE = Deterministic()


class Played(NamedTuple):
    """One episode of T steps: observations (T, O), actions (T, A) in [-1, 1], rewards (T,) as the critics see them.

    Of each step it has the soft return that the critics estimated and the one obtained, (T,).

    Where the episode was cut off, what the critics expect of its last state stands for the rest of `obtained`, as in
    learning; `beyond` is what it counts at the start: gamma^T, 0 where the episode ended by itself.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    estimated: np.ndarray
    obtained: np.ndarray
    total_return: float  # plain sum of rewards as the environment gave them
    beyond: float


class Estimates(NamedTuple):
    """The critics' estimates at the starts of episodes, and the discounted soft returns obtained from there, (E,).

    `beyond` is how much of an error in the critics is in `obtained` too, see `Played`.
    """

    estimated: np.ndarray
    obtained: np.ndarray
    beyond: np.ndarray

    @property
    def error(self) -> Summary:
        """Return the summary of the critics' errors: estimated minus obtained, made up for what lies beyond."""
        return summarise((self.estimated - self.obtained) / (1.0 - self.beyond))


def at_starts(played: list[Played]) -> Estimates:
    """Return estimates and what was obtained at the start of each episode."""
    estimated, obtained = (np.array([getattr(each, name)[0] for each in played]) for name in Estimates._fields[:2])
    return Estimates(estimated, obtained, np.array([each.beyond for each in played]))


def play(
    agent: Agent, env: gymnasium.Env, episodes: int = EPISODES, seed: int = 0, most_steps: int = MOST_STEPS
) -> list[Played]:
    """Play episodes as the agent does in training, without noise where it is deterministic; the agent stays as it is.

    Episode i starts from reset(seed=seed + i). The last one is cut off, and no other begins, after `most_steps` steps
    of all. Raises `UsageError` when the environment is not the agent's, or fails.
    """
    adapter = EnvAdapter(env, spaces_of(env, agent.config.action_low, agent.config.action_high))
    check_same(adapter.spaces, agent.spaces)
    noise, played = generator(seed, Stream.ACTING), list[Played]()
    while len(played) < episodes and most_steps > 0:
        played.append(_episode(agent, adapter, seed + len(played), noise, most_steps))
        most_steps -= len(played[-1].obs)
    return played


def _episode(agent: Agent, env: EnvAdapter, seed: int, noise: np.random.Generator, most_steps: int) -> Played:
    all_obs, actions, entropies, stepped = [env.reset(seed)], [], [], list[Stepped]()
    while len(stepped) < most_steps:
        action, entropy = _act(agent, all_obs[-1][None], noise)
        actions.append(action[0])
        entropies.append(entropy[0])
        stepped.append(env.step(action[0]))
        all_obs.append(stepped[-1].next_obs)
        if stepped[-1].terminated or stepped[-1].truncated:
            break
    obs, taken = np.stack(all_obs), np.stack(actions)
    last_action, last_entropy = _act(agent, obs[-1:], noise)
    estimated = _expected(agent, obs, np.concatenate([taken, last_action]))
    reward = np.array([each.reward for each in stepped], np.float32)
    if agent.normaliser:
        reward = agent.normaliser.rewards(reward)
    bonus = agent.alpha * np.array([*entropies, *last_entropy]) * agent.algorithm.entropy_to_come
    to_come = 0.0 if stepped[-1].terminated else float(estimated[-1] + bonus[-1])
    obtained = np.empty(len(stepped))
    for step in reversed(range(len(stepped))):
        obtained[step] = reward[step] + agent.config.gamma * to_come
        to_come = obtained[step] + bonus[step]
    total = float(sum(each.reward for each in stepped))
    beyond = 0.0 if stepped[-1].terminated else agent.config.gamma ** len(stepped)
    return Played(obs[:-1], taken, reward, estimated[:-1], obtained, total, beyond)


@torch.inference_mode()
def _act(agent: Agent, obs: np.ndarray, noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return actions (B, A) for observations (B, O), and the entropy estimate of each, (B,), in nats."""
    algorithm = agent.algorithm
    policy = NO_NOISE if agent.config.deterministic_policy else algorithm.evaluation
    drawn = torch.from_numpy(noise.standard_normal((len(obs), agent.spaces.action_size), np.float32)).to(agent.device)
    output = call(algorithm.policy, agent.state.policy.weights, _seen(agent, obs))
    candidates = policy.candidates(output, drawn)
    action = policy.sample(output, drawn)
    return action.cpu().numpy(), -(candidates.weight * candidates.log_prob).sum(-1).cpu().numpy()


@torch.inference_mode()
def _expected(agent: Agent, obs: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return the return that the critics expect of actions (B, A) in states (B, O), as the policy is told it, (B,)."""
    critic, taken = agent.algorithm.critic, torch.from_numpy(action).to(agent.device)
    nothing = torch.zeros_like(taken[:, :1])
    answers = critic.of_candidates(
        agent.state.critic.weights, _seen(agent, obs), Candidates(None if critic.choices else taken, nothing, nothing)
    )
    q = critic.for_policy(critic.returns.expected(answers))  # (B, K)
    return (q * taken if critic.choices else q).sum(-1).cpu().numpy().astype(np.float64)


def _seen(agent: Agent, obs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(agent.normaliser.observations(obs) if agent.normaliser else obs).to(agent.device)
