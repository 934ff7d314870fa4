"""A person's own `VectorEnv` as a group: the only code that knows of autoreset.

An environment in it that has ended begins anew by one of three rules (Gymnasium's `AutoresetMode`):

- disabled: when it is told to, so episodes start from the seeds of the run;
- same step: within the step that ended the episode, whose true last observation comes aside;
- next step: in the step after, which ignores the action taken.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import iterate

from rucksac.environments.env_group import Began, Lost, nothing_played
from rucksac.environments.spaces import RESET_GIVES, STEP_GIVES, Spaces, Stepped, finite_reward, parts, truth
from rucksac.errors import ANYTHING, UsageError, environment_failed
from rucksac.text import shortened


class VectorEnvGroup:
    """The environments of one `VectorEnv`, which steps all of them or none."""

    def __init__(self, envs: VectorEnv, spaces: Spaces) -> None:
        self.envs, self.spaces = envs, spaces
        if not isinstance(getattr(envs, "num_envs", None), int) or envs.num_envs < 1:
            raise UsageError(
                "the VectorEnv does not say how many environments it has; set num_envs, a whole number from 1"
            )
        try:
            self.mode = AutoresetMode(envs.metadata.get("autoreset_mode"))
        except (ValueError, AttributeError):
            raise UsageError(
                "the VectorEnv does not say how its environments begin anew; set metadata['autoreset_mode'] to a "
                "gymnasium.vector.AutoresetMode"
            ) from None
        self._a_seed_each = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv)  # others promise to take one
        self.seeded = self.mode is AutoresetMode.DISABLED and self._a_seed_each
        self._first: list[np.ndarray] = []  # by environment, what `reset` returns
        self._ended = np.zeros(envs.num_envs, bool)

    def __len__(self) -> int:
        return self.envs.num_envs

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """Return the first observations (O,) of the next episodes in these environments.

        Where environments begin anew by themselves, seeds count only when all are named, and in the mode of the next
        step what is returned for some is the last observation, which stands until the environment has `Began`.
        """
        if len(seeds) == len(self):
            self._first = self._reset(seed=self._seeds(seeds))
            self._ended[:] = False
        elif self.mode is AutoresetMode.DISABLED:
            mask = np.array([env_index in seeds for env_index in range(len(self))])
            self._first = self._reset(seed=self._seeds(seeds), options={"reset_mask": mask})
        return {env_index: self._first[env_index] for env_index in seeds}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """Act once in every environment, actions (E, A)."""
        answer = self._call("step", self.spaces.actions.to_env(actions))
        obs, rewards, terminated, truncated, infos = parts("step", answer, STEP_GIVES)
        next_obs = self._flat(obs)
        rewards, terminated, truncated = (
            self._rows(name, rows) for name, rows in zip(STEP_GIVES[1:4], (rewards, terminated, truncated), strict=True)
        )
        final = [truth("terminated", each) for each in terminated]
        cut = [truth("truncated", each) for each in truncated]
        began = self._ended if self.mode is AutoresetMode.NEXT_STEP else np.zeros(len(self), bool)
        self._ended = np.array(final) | np.array(cut)
        self._first = list(next_obs)
        outcomes: list[Stepped | Began | Lost] = []
        for env_index in range(len(self)):
            if began[env_index]:
                outcomes.append(Began(next_obs[env_index]))
                continue
            if self._ended[env_index] and self.mode is AutoresetMode.SAME_STEP:
                next_obs[env_index] = self._last_obs(infos, env_index)
            ended, stopped = final[env_index], cut[env_index] and not final[env_index]
            outcomes.append(Stepped(next_obs[env_index], finite_reward(rewards[env_index]), ended, stopped))
        return outcomes

    def play(self, env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:  # noqa: ARG002
        """See `EnvGroup`; one environment cannot be stepped alone, so nothing is played."""
        return nothing_played(self.spaces)

    def _seeds(self, seeds: dict[int, int]) -> list[int | None] | int:
        return [seeds.get(env_index) for env_index in range(len(self))] if self._a_seed_each else seeds[min(seeds)]

    def _reset(self, **arguments: Any) -> list[np.ndarray]:
        return self._flat(parts("reset", self._call("reset", **arguments), RESET_GIVES)[0])

    def _flat(self, obs: Any) -> list[np.ndarray]:
        """Return the observation (O,) of each environment; raise `UsageError` unless there is one for each."""
        space = self.envs.observation_space
        try:
            rows = list(iterate(space, obs))
        except ANYTHING as error:
            raise UsageError(
                f"the VectorEnv gave the observations {shortened(obs)}, which are not in {shortened(space)}; correct it"
            ) from error
        return [self.spaces.flatten(each) for each in self._rows("obs", rows)]

    def _rows(self, name: str, values: Any) -> Sequence[Any]:
        """Return what is given for each environment; raise `UsageError` unless it is a row for each."""
        try:
            count = None if isinstance(values, Mapping | Set | str) else len(values)
        except TypeError:
            count = None
        if count != len(self):
            what = shortened(values) if count is None else count
            raise UsageError(
                f"the VectorEnv gave {name} for {what} environments, but it has {len(self)}; correct the VectorEnv"
            )
        return values

    def _last_obs(self, infos: Any, env_index: int) -> np.ndarray:
        """Return the observation that ended the episode in this environment, which the reset one has replaced."""
        found: Any = infos.get("final_obs") if isinstance(infos, dict) else None
        rows = isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.ndim > 0)
        if not rows or len(found) != len(self) or found[env_index] is None:
            raise UsageError(
                f"the VectorEnv resets within the step, but its infos have no final_obs for environment {env_index}, "
                "which ended; give infos['final_obs'] as Gymnasium does, or another autoreset mode"
            )
        return self.spaces.flatten(found[env_index])

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.envs, method)(*args, **kwargs)
        except ANYTHING as error:
            raise environment_failed(method, error) from error
