"""A person's own `VectorEnv` as lanes: the only code that knows of autoreset.

An environment in it that has ended begins anew by one of three rules (Gymnasium's `AutoresetMode`):

- disabled: when it is told to, so episodes start from the seeds of the run;
- same step: within the step that ended the episode, whose true last observation comes aside;
- next step: in the step after, which ignores the action taken.
"""

from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import iterate

from rucksac.environments.lanes import Began, Lost, nothing_played
from rucksac.environments.spaces import Spaces, Stepped, finite_reward, truth
from rucksac.errors import ANYTHING, UsageError, environment_failed


class VectorLanes:
    """The environments of one `VectorEnv`, which steps all of them or none."""

    def __init__(self, envs: VectorEnv, spaces: Spaces) -> None:
        self.envs, self.spaces = envs, spaces
        try:
            self.mode = AutoresetMode(envs.metadata.get("autoreset_mode"))
        except ValueError:
            raise UsageError(
                "the VectorEnv does not say how its environments begin anew; set metadata['autoreset_mode'] to a "
                "gymnasium.vector.AutoresetMode"
            ) from None
        self._a_seed_each = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv)  # others promise to take one
        self.seeded = self.mode is AutoresetMode.DISABLED and self._a_seed_each
        self._first: list[np.ndarray] = []  # by lane, what `reset` returns
        self._ended = np.zeros(envs.num_envs, bool)

    def __len__(self) -> int:
        return self.envs.num_envs

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """Return the first observations (O,) of the next episodes in these lanes.

        Where lanes begin anew by themselves, seeds count only when all lanes are named, and in the mode of the next
        step what is returned for some is the last observation, which stands until the lane has `Began`.
        """
        if len(seeds) == len(self):
            self._first = self._flat(self._call("reset", seed=self._seeds(seeds))[0])
            self._ended[:] = False
        elif self.mode is AutoresetMode.DISABLED:
            mask = np.array([lane in seeds for lane in range(len(self))])
            self._first = self._flat(self._call("reset", seed=self._seeds(seeds), options={"reset_mask": mask})[0])
        return {lane: self._first[lane] for lane in seeds}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """Act once in every lane, actions (E, A)."""
        obs, rewards, terminated, truncated, infos = self._call("step", self.spaces.actions.to_env(actions))
        next_obs = self._flat(obs)
        began = self._ended if self.mode is AutoresetMode.NEXT_STEP else np.zeros(len(self), bool)
        self._ended = np.asarray(terminated, bool) | np.asarray(truncated, bool)
        self._first = list(next_obs)
        outcomes: list[Stepped | Began | Lost] = []
        for lane in range(len(self)):
            if began[lane]:
                outcomes.append(Began(next_obs[lane]))
                continue
            if self._ended[lane] and self.mode is AutoresetMode.SAME_STEP:
                next_obs[lane] = self.spaces.flatten(infos["final_obs"][lane])
            final, cut = truth("terminated", terminated[lane]), truth("truncated", truncated[lane])
            outcomes.append(Stepped(next_obs[lane], finite_reward(rewards[lane]), final, cut and not final))
        return outcomes

    def play(self, lane: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:  # noqa: ARG002
        """See `Lanes`; one lane cannot be stepped alone, so nothing is played."""
        return nothing_played(self.spaces)

    def _seeds(self, seeds: dict[int, int]) -> list[int | None] | int:
        return [seeds.get(lane) for lane in range(len(self))] if self._a_seed_each else seeds[min(seeds)]

    def _flat(self, obs: Any) -> list[np.ndarray]:
        return [self.spaces.flatten(each) for each in iterate(self.envs.observation_space, obs)]

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.envs, method)(*args, **kwargs)
        except ANYTHING as error:
            raise environment_failed(method, error) from error
