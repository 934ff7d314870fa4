"""Does an exported policy act as its agent does? Both are asked on the same random observations."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces as kinds

from rucksac.agent import Agent
from rucksac.environments.observations import Composite
from rucksac.environments.spaces import Continuous
from rucksac.exporting.pipeline import Pipeline

TOLERANCE = 1e-5  # of the range of each action, in float32
EQUAL = 0.999  # of choices and other whole numbers
OBSERVATIONS = 1_000
Act = Callable[..., np.ndarray]  # arrays with a batch in front, as `Pipeline.inputs` names them, to actions


class Check(NamedTuple):
    """How far a file is from its agent: the largest difference as a share of the action's range, and equal actions."""

    observations: int
    largest: float | None  # None where actions are whole numbers
    equal: int

    @property
    def passed(self) -> bool:
        """Return whether they differ by no more than float32 explains, which may turn a choice between equals."""
        return self.equal >= EQUAL * self.observations if self.largest is None else self.largest <= TOLERANCE


def check(act: Act, agent: Agent, pipeline: Pipeline, count: int = OBSERVATIONS) -> Check:
    """Compare an exported policy with `agent` on `count` random observations; the agent's random streams stay."""
    generator = np.random.default_rng(0)
    arrays = random_parts(agent, pipeline, count, generator)
    normal, noise = random_noise(agent, pipeline, count, generator)
    wanted = answers(agent, arrays, normal)
    return compared(act(*arrays, *noise), wanted, agent)


def one_by_one(act: Act) -> Act:
    """Return `act` for a batch, asked row by row: where it rounds, it does so by the largest number of its batch."""

    def asked(*arrays: np.ndarray) -> np.ndarray:
        rows = range(len(arrays[0]))
        return np.concatenate([act(*(array[row : row + 1] for array in arrays)) for row in rows])

    return asked


def compared(given: np.ndarray, wanted: np.ndarray, agent: Agent) -> Check:
    """Return how far actions (n, *shape) are from those that the agent wants."""
    rows = len(wanted)
    equal = int((given == wanted).reshape(rows, -1).all(-1).sum())
    actions = agent.spaces.actions
    if not isinstance(actions, Continuous) or actions.dtype.kind != "f":
        return Check(rows, None, equal)
    apart = np.abs(given.astype(np.float64) - wanted.astype(np.float64)).reshape(rows, -1)
    return Check(rows, float((0.5 * apart / actions.half_range).max()), equal)


def random_parts(agent: Agent, pipeline: Pipeline, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return `count` observations, part by part: normal numbers as they were seen in training, or standard ones.

    What is discrete has all its options equally often.
    """
    seen = agent.normaliser.seen if agent.normaliser else None
    found, at = [], 0
    for part in pipeline.parts:
        columns = slice(at, at + part.columns)
        at += 0 if part.picture else part.columns
        if part.index is not None and part.value is not None:
            picked = [generator.choice(part.value[part.index == each], count) for each in range(part.size)]
            array = np.stack(picked, -1)
        elif part.dtype == "float32":
            array = generator.standard_normal((count, part.size))
            if seen:
                array = seen.mean[columns] + seen.spread[columns] * array
        else:
            array = generator.integers(0, 256 if part.picture else 2, (count, part.size))
        found.append(array.astype(part.dtype).reshape(count, *part.shape))
    return found


def random_noise(
    agent: Agent, pipeline: Pipeline, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return noise (count, noise_size) as the agent takes it, and the same as the exported policy does, if it does."""
    shape = (count, agent.noise_size)
    if not pipeline.sample:
        return np.zeros(shape, np.float32), ()
    normal = generator.standard_normal(shape, np.float32)
    if pipeline.head != "choice":
        return normal, (normal,)
    uniform = torch.special.ndtr(torch.from_numpy(normal).double()).numpy()
    return normal, ((-np.log(-np.log(uniform))).astype(np.float32),)


def answers(agent: Agent, arrays: list[np.ndarray], noise: np.ndarray) -> np.ndarray:
    """Return the agent's actions (n, *shape) for observations given part by part and noise (n, noise_size)."""
    seen = agent.spaces.observations
    space = seen.space if isinstance(seen, Composite) else None
    flat = np.stack([agent.spaces.flatten(_nested(space, iter(row))) for row in zip(*arrays, strict=True)])
    obs = agent.normaliser.observations(flat) if agent.normaliser else flat
    with torch.inference_mode():
        unit = agent.act_in_order(*agent.act_arguments(obs, noise))[0].cpu().numpy()
    return agent.spaces.actions.to_env(unit)


def _nested(space: Any, arrays: Iterator[Any]) -> Any:
    if isinstance(space, kinds.Dict):
        return {key: _nested(part, arrays) for key, part in space.items()}
    if isinstance(space, kinds.Tuple):
        return tuple(_nested(part, arrays) for part in space)
    return next(arrays)
