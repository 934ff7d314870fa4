"""Environments with goals: where a goal is in the observation, and what the reward would be for another one.

Such an environment shows a `Dict` with `achieved_goal` and `desired_goal`, and says by `compute_reward`, and perhaps
`compute_terminated`, what a step that achieved this is worth to someone who desired that (arXiv 1802.09464). M is a
number of transitions, G the size of a goal.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as kinds

from rucksac.config import Config
from rucksac.environments.making import EnvSource, closed_at_last, make, name_of
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import without_pictures
from rucksac.environments.reading import check_same, spaces_of
from rucksac.environments.spaces import EnvAdapter, Spaces, Stepped
from rucksac.errors import ANYTHING, UsageError, environment_failed

Compute = Callable[..., Any]
"""Takes goals that were achieved, others that were desired, and infos: of one step, or of many along the first axis."""
STEPS_TO_COMPARE = 3
TOLERANCE = 1e-4  # of a reward, as goals are kept in float32


class GoalTask:
    """The goals of an environment: `achieved` and `desired` are their places in a flat observation.

    Raises `UsageError` where rewards for other goals cannot be computed; what is computed for a few steps of the
    environment must be what these gave.
    """

    def __init__(self, env: gymnasium.Env, spaces: Spaces) -> None:
        (self.achieved, achieved), (self.desired, self._space) = (
            _part(spaces, name) for name in ("achieved_goal", "desired_goal")
        )
        if achieved.shape != self._space.shape:
            raise UsageError(
                f"--hindsight makes goals of what was achieved, but achieved_goal has shape {achieved.shape} and "
                f"desired_goal {self._space.shape}; leave out --hindsight, or give both one shape"
            )
        if not env.has_wrapper_attr("compute_reward"):
            raise UsageError(
                "--hindsight asks what a step is worth for another goal, but the environment has no compute_reward; "
                "leave out --hindsight, or give it one"
            )
        self._compute_reward: Compute = env.get_wrapper_attr("compute_reward")
        self._compute_terminated: Compute | None = None
        if env.has_wrapper_attr("compute_terminated"):
            self._compute_terminated = env.get_wrapper_attr("compute_terminated")
        seen, rewards = _a_few_steps(EnvAdapter(env, spaces))
        self._check_rewards(seen[:, self.achieved], seen[:, self.desired], rewards)
        self._one_by_one = not self._takes_a_batch(seen[:, self.achieved], seen[:, self.desired])

    def reward(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the rewards (M,) of steps that achieved this and desired that, both (M, G) float32."""
        rewards = np.asarray(self._ask_all(self._compute_reward, achieved, desired), np.float32)
        if rewards.shape != (len(achieved),):
            raise UsageError(f"compute_reward returned shape {rewards.shape} for {len(achieved)} goals")
        return rewards

    def terminated(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray | None:
        """Return which of these steps end an episode, (M,); None where the environment does not say."""
        compute = self._compute_terminated
        if compute is None:
            return None
        if self._one_by_one:
            pairs = zip(self._as_given(achieved), self._as_given(desired), strict=True)
            return np.array([bool(_ask(compute, *pair, {})) for pair in pairs])
        return np.asarray(self._ask_all(compute, achieved, desired), bool)

    def _ask_all(self, compute: Compute, achieved: np.ndarray, desired: np.ndarray) -> Any:
        return _ask(compute, self._as_given(achieved), self._as_given(desired), [{} for _ in achieved])

    def _as_given(self, goals: np.ndarray) -> np.ndarray:
        return goals.reshape(len(goals), *self._space.shape).astype(self._space.dtype)

    def _check_rewards(self, achieved: np.ndarray, desired: np.ndarray, given: np.ndarray) -> None:
        try:
            computed = self.reward(achieved, desired)
        except UsageError as many:
            try:
                _ask(self._compute_reward, self._as_given(achieved)[0], self._as_given(desired)[0], {})
            except UsageError as one:
                raise UsageError(
                    "--hindsight needs rewards that follow from the goals alone, but compute_reward does not work with "
                    f"an empty info ({one.__cause__!r}); leave out --hindsight"
                ) from one
            raise UsageError(
                "--hindsight asks for many rewards at once, but compute_reward does not answer for a batch of goals "
                f"({many}); leave out --hindsight, or let compute_reward work along the last axis"
            ) from many
        if not np.allclose(given, computed, rtol=TOLERANCE, atol=TOLERANCE):
            at = np.abs(given - computed).argmax()
            raise UsageError(
                f"--hindsight needs rewards that follow from the goals alone, but a step gave {given[at]:g} where "
                f"compute_reward gives {computed[at]:g}; leave out --hindsight, or what changes rewards outside of it"
            )

    def _takes_a_batch(self, achieved: np.ndarray, desired: np.ndarray) -> bool:
        """Return whether `compute_terminated` answers for many goals; some give one truth value for all."""
        try:
            return self._compute_terminated is not None and np.shape(
                self._ask_all(self._compute_terminated, achieved, desired)
            ) == (len(achieved),)
        except UsageError:
            return False


def open_goals(source: EnvSource, config: Config, spaces: Spaces, cleanup: ExitStack) -> GoalTask:
    """Return the goals of an environment by one more of its kind, in this process, which `cleanup` closes.

    Raises `UsageError` when it has none that hindsight can work with.
    """
    if config.frame_skip > 1:
        raise UsageError(
            f"--frame-skip {config.frame_skip} adds the rewards of several steps, but --hindsight can compute only "
            "that of the last; leave out one of them"
        )
    env = cleanup.enter_context(closed_at_last(make(source, config)))
    if not isinstance(env, gymnasium.Env):
        raise UsageError(
            f"--hindsight computes rewards by an environment of its own, but {name_of(source)} makes a VectorEnv; give "
            "what makes a single one, and --envs"
        )
    check_same(spaces_of(env, config.action_low, config.action_high), spaces)
    return GoalTask(env, spaces)


def _ask(compute: Compute, *arguments: Any) -> Any:
    try:
        return compute(*arguments)
    except ANYTHING as error:
        raise environment_failed("computing what a step is worth for another goal", error) from error


def _a_few_steps(adapter: EnvAdapter) -> tuple[np.ndarray, np.ndarray]:
    """Return the observations (M, O) and rewards (M,) that random actions lead to."""
    random = np.random.default_rng(0)
    steps: list[Stepped] = []
    adapter.reset(0)
    while len(steps) < STEPS_TO_COMPARE and not (steps and (steps[-1].terminated or steps[-1].truncated)):
        steps.append(adapter.step(adapter.spaces.actions.random(random, 1)[0]))
    return np.stack([each.next_obs for each in steps]), np.array([each.reward for each in steps])


def _part(spaces: Spaces, name: str) -> tuple[slice, kinds.Box]:
    """Return where a part of a Dict is in the flat observation, and its space."""
    seen, begin = spaces.observations, 0
    if isinstance(seen, Composite) and isinstance(seen.space, kinds.Dict):
        for each, part in seen.space.items():
            if each == name and isinstance(part, kinds.Box):
                return slice(begin, begin + kinds.flatdim(part)), part
            begin += kinds.flatdim(without_pictures(part))
    raise UsageError(
        "--hindsight is for environments with goals, whose observations are a Dict with a Box achieved_goal and a Box "
        f"desired_goal, but here is no such {name}; leave out --hindsight"
    )
