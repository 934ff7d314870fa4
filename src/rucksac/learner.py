"""What takes gradient steps on an agent: random inputs, changing numbers and native code around the pure step."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rucksac.agent import Agent
from rucksac.algorithm.resets import resets_of
from rucksac.algorithm.update import Batch, write_back
from rucksac.compilation import Compiled
from rucksac.device import PROCESSOR, carried
from rucksac.streams import Stream, generator


class Update(NamedTuple):
    """What one gradient step told: its metrics by name, and the TD error of each transition, (B,)."""

    metrics: dict[str, float]
    td_error: np.ndarray


class Learner:
    """Learns: every `update` changes the tensors of `agent.state` in place.

    `functions` do the tensor work, by whether the policy is improved; `building.compile_steps` makes them native code.
    """

    STATE = ("noise",)

    def __init__(self, agent: Agent) -> None:
        self.agent, config = agent, agent.config
        self.noise = generator(config.seed, Stream.UPDATE)
        self._resets = resets_of(config)
        self._leaves, self._tree = pytree.tree_flatten(agent.state)
        self._batch_fields = len(Batch._fields) if config.priorities else len(Batch._fields) - 1
        self._laws = agent.algorithm.draws(config.batch_size, agent.spaces.action_size)
        self._draws: dict[str, Any] = {
            name: np.zeros(draw.shape, np.float32) if draw.law == "normal" else np.arange(draw.out_of)[: draw.shape[0]]
            for name, draw in self._laws.items()
        }
        self._scalar_names = {network: tuple(each) for network, each in agent.algorithm.scalars(1).items()}
        self._scalars = np.zeros(sum(map(len, self._scalar_names.values())), np.float32)
        self._inputs = [*map(torch.from_numpy, self._draws.values()), *torch.from_numpy(self._scalars).unbind()]
        self.functions: dict[bool, Compiled] = {improve: self._plain(improve) for improve in (True, False)}

    def update(self, batch: Batch) -> Update:
        """Take one gradient step on `batch`."""
        agent, algorithm = self.agent, self.agent.algorithm
        if self._resets and (number := self._resets.due(agent.grad_steps)):
            write_back(agent.state, agent.begin(number))
        agent.grad_steps += 1
        if agent.normaliser:
            see, scale = agent.normaliser.observations, agent.normaliser.rewards
            obs, next_obs = (torch.from_numpy(see(rows.numpy())) for rows in (batch.obs, batch.next_obs))
            batch = batch._replace(obs=obs, next_obs=next_obs, reward=torch.from_numpy(scale(batch.reward.numpy())))
        for name, draw in self._laws.items():
            if draw.law == "normal":
                self.noise.standard_normal(dtype=np.float32, out=self._draws[name])
            else:
                self._draws[name][:] = self.noise.permutation(draw.out_of)[: draw.shape[0]]
        scalars = algorithm.scalars(agent.grad_steps)
        self._scalars[:] = [number for each in scalars.values() for number in each.values()]
        improve = algorithm.improves(agent.grad_steps)
        metrics, td_error = self.functions[improve](self.arguments(batch))
        return Update(dict(zip(algorithm.metrics(improve), metrics.tolist(), strict=True)), td_error.numpy())

    def arguments(self, batch: Batch) -> list[Tensor]:
        """Return what `step_in_place` takes."""
        return [*self._leaves, *(each for each in batch if each is not None), *self._inputs]

    def step_in_place(self, *tensors: Tensor, improve: bool = True) -> Sequence[Tensor]:
        """Put the new state of `SAC.step` into the memory of the old one; return metrics (M,) and TD errors (B,)."""
        given = iter(tensors)
        state = pytree.tree_unflatten([*islice(given, len(self._leaves))], self._tree)
        batch, draws = Batch(*islice(given, self._batch_fields)), dict(zip(self._draws, given, strict=False))
        scalars = {network: dict(zip(names, given, strict=False)) for network, names in self._scalar_names.items()}
        algorithm = self.agent.algorithm
        new, (metrics, td_error) = algorithm.step(state, batch, draws, scalars, improve)
        write_back(state, new)
        return torch.stack([metrics[name] for name in algorithm.metrics(improve)]), td_error

    def _plain(self, improve: bool) -> Compiled:
        def step(tensors: list[Tensor]) -> Sequence[Tensor]:
            return self.step_in_place(*tensors, improve=improve)

        return step if self.agent.device == PROCESSOR else carried(step, self.agent.device)
