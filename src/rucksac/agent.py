"""What a person holds: an agent that acts and learns. No training loop, no files."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rucksac import compilation
from rucksac.algorithm.equations import adam_scales
from rucksac.algorithm.update import SAC, Batch, Scales, State, write_back
from rucksac.config import Config
from rucksac.environments.spaces import Spaces
from rucksac.errors import TrainingStopped, UsageError
from rucksac.streams import Stream, generator


class Agent:
    """A policy, its critics and all that learning them needs, for one pair of spaces; `building.build` makes one."""

    STATE = ("grad_steps", "_acting_noise", "_update_noise")  # beside the tensors in `state`

    def __init__(self, config: Config, spaces: Spaces, algorithm: SAC, default_networks: bool) -> None:
        self.config, self.spaces, self.algorithm, self.default_networks = config, spaces, algorithm, default_networks
        self.grad_steps = 0
        self.state: State = algorithm.start(config.initial_alpha if config.alpha == "learned" else config.alpha)
        self._acting_noise = generator(config.seed, Stream.ACTING)
        self._update_noise = generator(config.seed, Stream.UPDATE)
        self._state_leaves, self._state_tree = pytree.tree_flatten(self.state)
        self._noise = np.zeros((2, config.batch_size, spaces.action_size), np.float32)
        self._scales = np.zeros(len(Scales._fields), np.float32)
        self._scalars = list(torch.from_numpy(self._scales).unbind())
        self._policy_leaves = list(self.state.policy.value.values())
        self._step: compilation.Compiled = lambda tensors: self._step_in_place(*tensors)
        self._acts: dict[int, compilation.Compiled] = {}  # by number of observations

    @property
    def alpha(self) -> float:
        """Return the temperature in use."""
        return self.state.alpha.item()

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Return actions (E, A) in [-1, 1] for flat observations (E, O): samples, or the policy's mean actions."""
        shape = (len(obs), self.spaces.action_size)
        noise = np.zeros(shape, np.float32) if deterministic else self._acting_noise.standard_normal(shape, np.float32)
        inputs = torch.from_numpy(obs), torch.from_numpy(noise)
        if compiled := self._acts.get(len(obs)):
            actions = compiled([*self._policy_leaves, *inputs]).numpy()
        else:
            with torch.inference_mode():
                actions = self.algorithm.distribution.sample(self.algorithm.policy(inputs[0]), inputs[1]).numpy()
        if not np.isfinite(actions).all():
            raise TrainingStopped("the policy's action is not finite: learning diverged; a smaller --lr usually helps")
        return actions

    def predict(self, obs: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:
        """Return the action for one observation or a batch, in the environment's own units and shape.

        The second value is always None: the policy has no memory. Raises `UsageError` for a wrong shape.
        """
        obs, shape = np.asarray(obs), self.spaces.obs_shape
        one = obs.shape == shape
        if not one and (obs.shape[1:] != shape or not len(obs)):
            raise UsageError(f"the observation has shape {obs.shape}, but must be {shape}, alone or in a batch")
        flat = np.stack([self.spaces.flatten(row) for row in (obs[None] if one else obs)])
        action = self.spaces.to_env(self.act(flat, deterministic))
        return (action[0] if one else action), None

    def update(self, batch: Batch) -> Tensor:
        """Take one gradient step on `batch`; return the metrics named in `algorithm.update.METRICS`."""
        self.grad_steps += 1
        self._update_noise.standard_normal(dtype=np.float32, out=self._noise)
        step_size, epsilon = adam_scales(self.config.lr, self.grad_steps)
        tau = self.config.tau if self.grad_steps % self.config.target_every == 0 else 0.0
        self._scales[:] = step_size, step_size, step_size, epsilon, tau
        return self._step(self._step_arguments(batch))

    def compile(self) -> str | None:
        """Compile step and acting to native code; return None, or in a few words why they stay as they are."""
        if self.config.compile == "never":
            return "--compile never was given"
        rows, obs, action = self.config.batch_size, self.spaces.obs_size, self.spaces.action_size
        batch = Batch(*map(torch.zeros, ((rows, obs), (rows, action), (rows,), (rows,), (rows, obs))))
        one = [*self._policy_leaves, torch.zeros(1, obs), torch.zeros(1, action)]
        try:
            self._acts[1] = compilation.compile_ahead(self._act_in_order, one)
            self._step = compilation.compile_ahead(self._step_in_place, self._step_arguments(batch))
        except compilation.CompilerMissing as error:
            return str(error)
        return None

    def _act_in_order(self, *tensors: Tensor) -> Tensor:
        policy = dict(zip(self.state.policy.value, tensors, strict=False))
        return self.algorithm.act(policy, *tensors[len(policy) :])

    def _step_arguments(self, batch: Batch) -> list[Tensor]:
        return [*self._state_leaves, *batch, torch.from_numpy(self._noise), *self._scalars]

    def _step_in_place(self, *tensors: Tensor) -> Tensor:
        count = len(self._state_leaves)
        state = pytree.tree_unflatten(list(tensors[:count]), self._state_tree)
        batch, (noise, *scalars) = Batch(*tensors[count : count + 5]), tensors[count + 5 :]
        new, metrics = self.algorithm.step(state, batch, noise, Scales(*scalars))
        write_back(state, new)
        return metrics
