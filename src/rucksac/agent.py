"""What a person holds: an agent that acts and learns. No training loop, no files."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rucksac.algorithm.equations import adam_scales
from rucksac.algorithm.update import SAC, Batch, Scales, State, write_back
from rucksac.compilation import Compiled
from rucksac.config import Config
from rucksac.environments.spaces import Spaces
from rucksac.errors import TrainingStopped, UsageError
from rucksac.normalisation import Normaliser
from rucksac.streams import Stream, generator


class Agent:
    """A policy, its critics and all that learning them needs, for one pair of spaces; `building.build` makes one.

    `act_function`, `step_function` and, for gradient steps that leave the policy alone, `critic_step_function` do the
    tensor work; `building.compile_agent` replaces them by native code.
    """

    STATE = ("grad_steps", "_acting_noise", "_update_noise")  # beside the tensors in `state` and the normaliser's

    def __init__(
        self, config: Config, spaces: Spaces, algorithm: SAC, normaliser: Normaliser | None, default_networks: bool
    ) -> None:
        self.config, self.spaces, self.algorithm, self.normaliser = config, spaces, algorithm, normaliser
        self.default_networks, self.device = default_networks, next(algorithm.policy.parameters()).device
        self.grad_steps = 0
        with self.device:
            self.state: State = algorithm.start(config.initial_alpha if config.alpha == "learned" else config.alpha)
        self._acting_noise = generator(config.seed, Stream.ACTING)
        self._update_noise = generator(config.seed, Stream.UPDATE)
        self._state_leaves, self._state_tree = pytree.tree_flatten(self.state)
        self._noise = np.zeros((2, config.batch_size, spaces.action_size), np.float32)
        self._scales = np.zeros(len(Scales._fields), np.float32)
        self._scalars = list(torch.from_numpy(self._scales).unbind())
        self._policy_leaves = list(self.state.policy.value.values())
        self.step_function: Compiled = lambda tensors: self.step_in_place(*tensors)
        self.critic_step_function: Compiled = lambda tensors: self.step_in_place(*tensors, improve=False)
        self.act_function: Compiled | None = None  # for as many observations as there are environments

    def __repr__(self) -> str:
        sizes = f"obs_size={self.spaces.obs_size}, action_size={self.spaces.action_size}"
        return f"Agent({sizes}, grad_steps={self.grad_steps}, alpha={self.alpha:.3g})"

    @property
    def alpha(self) -> float:
        """Return the temperature in use."""
        return self.state.alpha.item()

    @property
    def acting_noise(self) -> np.random.Generator:
        """Return the stream of random numbers behind `act`."""
        return self._acting_noise

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Return actions (E, A) in [-1, 1] for flat observations (E, O): samples, or the policy's mean actions."""
        rows, shape = len(obs), (len(obs), self.spaces.action_size)
        noise = np.zeros(shape, np.float32) if deterministic else self._acting_noise.standard_normal(shape, np.float32)
        if self.normaliser:
            obs = self.normaliser.observations(obs)
        if self.act_function and rows <= self.config.envs:
            if more := self.config.envs - rows:
                obs, noise = (np.pad(array, ((0, more), (0, 0))) for array in (obs, noise))
            actions = self.act_function(self.act_arguments(obs, noise)).numpy()[:rows]
        else:
            with torch.inference_mode():
                actions = self.act_in_order(*self.act_arguments(obs, noise)).cpu().numpy()
        if not np.isfinite(actions).all():
            raise TrainingStopped("the policy's action is not finite: learning diverged; a smaller --lr usually helps")
        return actions

    def predict(self, obs: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:
        """Return the action for one observation or a batch, in the environment's own units and shape.

        The second value is always None: the policy has no memory. Raises `UsageError` for a wrong shape.
        """
        if hasattr(obs, "__array__"):  # also a tensor
            obs = np.asarray(obs)
        try:
            flat, one = self.spaces.flatten(obs)[None], True
        except UsageError as not_one:
            if not isinstance(obs, np.ndarray | list) or not len(obs):
                raise
            try:
                flat, one = np.stack([self.spaces.flatten(row) for row in obs]), False
            except UsageError:
                raise not_one from None
        action = self.spaces.actions.to_env(self.act(flat, deterministic))
        return (action[0] if one else action), None

    def update(self, batch: Batch) -> Tensor:
        """Take one gradient step on `batch`; return the metrics named in `algorithm.update.METRICS`."""
        self.grad_steps += 1
        if self.normaliser:
            see, scale = self.normaliser.observations, self.normaliser.rewards
            obs, next_obs = (torch.from_numpy(see(rows.numpy())) for rows in (batch.obs, batch.next_obs))
            batch = batch._replace(obs=obs, next_obs=next_obs, reward=torch.from_numpy(scale(batch.reward.numpy())))
        self._update_noise.standard_normal(dtype=np.float32, out=self._noise)
        config, improvements = self.config, max(1, self.grad_steps // self.config.policy_delay)
        critic, critic_epsilon = adam_scales(config.lr, self.grad_steps)
        policy, policy_epsilon = adam_scales(config.policy_lr or config.lr, improvements)
        temperature, _ = adam_scales(config.lr, improvements)
        tau = config.tau if self.grad_steps % config.target_every == 0 else 0.0
        self._scales[:] = policy, critic, temperature, critic_epsilon, policy_epsilon, tau
        improve = self.grad_steps % config.policy_delay == 0
        return (self.step_function if improve else self.critic_step_function)(self.step_arguments(batch))

    def act_arguments(self, obs: np.ndarray, noise: np.ndarray) -> list[Tensor]:
        """Return what `act_in_order` takes, for observations (E, O) and noise (E, A)."""
        return [*self._policy_leaves, *(torch.from_numpy(array).to(self.device) for array in (obs, noise))]

    def act_in_order(self, *tensors: Tensor) -> Tensor:
        """Return actions (E, A): `SAC.act` with all it needs as one list of tensors."""
        policy = dict(zip(self.state.policy.value, tensors, strict=False))
        return self.algorithm.act(policy, *tensors[len(policy) :])

    def step_arguments(self, batch: Batch) -> list[Tensor]:
        """Return what `step_in_place` takes."""
        return [*self._state_leaves, *batch, torch.from_numpy(self._noise), *self._scalars]

    def step_in_place(self, *tensors: Tensor, improve: bool = True) -> Tensor:
        """Return the metrics of `SAC.step` and put its new state into the memory of the old one."""
        count = len(self._state_leaves)
        state = pytree.tree_unflatten(list(tensors[:count]), self._state_tree)
        batch, (noise, *scalars) = Batch(*tensors[count : count + 5]), tensors[count + 5 :]
        new, metrics = self.algorithm.step(state, batch, noise, Scales(*scalars), improve)
        write_back(state, new)
        return metrics
