"""What lies between a raw observation and the environment's action, as plain arrays: every format is made of them.

O is the size of the flat observation, A that of the action: its dimensions, or the number of choices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces as kinds

from rucksac.agent import Agent
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.policies import SquashedGaussian
from rucksac.environments.choices import Choices
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import picture_of
from rucksac.environments.spaces import Continuous, Numbers
from rucksac.errors import UsageError
from rucksac.normalisation import Moments

Head = Literal["mean", "gaussian", "noisy", "choice"]
OBSERVATION, NOISE, ACTION = "obs", "noise", "action"


@dataclass(frozen=True, eq=False)
class Part:
    """One array of a raw observation and the columns of the flat one that it becomes.

    Numbers are taken as they are, pictures too, whose columns come behind all others. A discrete part has a column for
    each option: column i is 1 where the number at `index[i]` is `value[i]`, else 0.
    """

    path: tuple[str | int, ...]  # the keys and indices that lead to it, through Dict and Tuple
    shape: tuple[int, ...]
    dtype: str
    index: np.ndarray | None = None
    value: np.ndarray | None = None

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path)) or OBSERVATION

    @property
    def size(self) -> int:
        """Return how many numbers it holds."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def picture(self) -> bool:
        return self.dtype == "uint8"

    @property
    def columns(self) -> int:
        """Return how many numbers of the flat observation it becomes."""
        return self.size if self.value is None else len(self.value)


class Normalisation(NamedTuple):
    """(obs - mean - rest) / spread of what is no picture, float32 (V,); `rest` is what the mean loses in float32."""

    mean: np.ndarray
    rest: np.ndarray
    spread: np.ndarray


class Scaling(NamedTuple):
    """middle + unit * half_range, rounded if `whole`, then kept from `low` to `high`; float32 (A,)."""

    middle: np.ndarray
    half_range: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: bool


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The stages of an exported policy: parts, normalisation, network, head, then scaling or a table of choices.

    The head makes actions in [-1, 1] of the network's outputs: "mean" by tanh, "gaussian" by a sample, "noisy" by tanh
    and noise; or one of A choices, "choice".
    """

    parts: list[Part]
    normalisation: Normalisation | None
    head: Head
    sample: bool
    action_size: int  # A
    action_shape: tuple[int, ...]
    action_dtype: str
    scaling: Scaling | None = None
    options: np.ndarray | None = None  # (A, *action_shape): what each choice is in the environment
    distribution: SquashedGaussian | Deterministic | None = None  # of sampled continuous actions

    @property
    def outputs(self) -> int:
        """Return how many of the network's outputs matter, the first ones."""
        return 2 * self.action_size if self.head == "gaussian" else self.action_size

    @property
    def noise_kind(self) -> str:
        """Return what the noise must be drawn from."""
        return "standard Gumbel" if self.head == "choice" else "standard normal"

    def inputs(self) -> list[dict[str, Any]]:
        """Return name, shape and dtype of every input, without the batch, and where in an observation it is."""
        found: list[dict[str, Any]] = [
            {"name": part.name, "path": list(part.path), "shape": list(part.shape), "dtype": part.dtype}
            for part in self.parts
        ]
        if self.sample:
            shape = [self.action_size]
            found.append({"name": NOISE, "shape": shape, "dtype": "float32", "drawn_from": self.noise_kind})
        return found

    def output(self) -> dict[str, Any]:
        """Return name, shape and dtype of the action, without the batch."""
        return {"name": ACTION, "shape": list(self.action_shape), "dtype": self.action_dtype}


def pipeline_of(agent: Agent, sample: bool) -> Pipeline:
    """Return how `agent` acts: deterministically, or by a sample that noise of the caller decides.

    Raises `UsageError` when nothing can be sampled, two parts of the observation have one name, or float32 cannot hold
    the bounds of the actions.
    """
    seen, actions, acting = agent.spaces.observations, agent.spaces.actions, agent.algorithm.acting
    assert isinstance(seen, Composite | Numbers)
    parts = list(_parts(seen.space)) if isinstance(seen, Composite) else [Part((), seen.shape, "float32")]
    names = [part.name for part in parts] + [NOISE, ACTION]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"two arrays of the exported policy would have the name {twice!r}; rename that part of the observation"
        )
    seen_so_far = agent.normaliser.seen if agent.normaliser else None
    normalisation = _normalisation(seen_so_far) if seen_so_far else None
    if isinstance(actions, Choices):
        options = actions.to_env(np.eye(actions.size))
        shape, dtype = options.shape[1:], options.dtype.name
        return Pipeline(parts, normalisation, "choice", sample, actions.size, shape, dtype, options=options)
    assert isinstance(actions, Continuous)
    if sample and agent.config.gsde:
        raise UsageError(
            "with --gsde noise belongs to a hidden layer, which no file has as an input; leave --sample out"
        )
    assert isinstance(acting, SquashedGaussian | Deterministic)
    distribution = acting if sample else None
    head: Head = "noisy" if isinstance(distribution, Deterministic) else "gaussian" if distribution else "mean"
    if isinstance(distribution, Deterministic) and distribution.noise == 0.0:
        raise UsageError(
            "the policy is deterministic and --exploration-noise is 0, so --sample would do nothing; leave it out"
        )
    shape, dtype, scaling = actions.shape, actions.dtype.name, _scaling(actions)
    return Pipeline(parts, normalisation, head, sample, actions.size, shape, dtype, scaling, distribution=distribution)


def _parts(space: Any, path: tuple[str | int, ...] = ()) -> Iterator[Part]:
    if isinstance(space, kinds.Dict):
        for key, part in space.items():
            yield from _parts(part, (*path, key))
    elif isinstance(space, kinds.Tuple):
        for index, part in enumerate(space):
            yield from _parts(part, (*path, index))
    elif isinstance(space, kinds.Discrete):
        yield Part(path, (), "int64", np.zeros(space.n, np.int64), space.start + np.arange(space.n, dtype=np.int64))
    elif isinstance(space, kinds.MultiDiscrete):
        counts, starts = (np.asarray(each, np.int64).reshape(-1) for each in (space.nvec, space.start))
        value = np.concatenate([start + np.arange(n) for start, n in zip(starts, counts, strict=True)])
        yield Part(path, space.nvec.shape, "int64", np.repeat(np.arange(len(counts)), counts), value)
    else:
        dtype = "int8" if isinstance(space, kinds.MultiBinary) else "uint8" if picture_of(space) else "float32"
        yield Part(path, tuple(space.shape), dtype)


def _normalisation(seen: Moments) -> Normalisation:
    mean = seen.mean.astype(np.float32)
    return Normalisation(mean, (seen.mean - mean).astype(np.float32), seen.spread.astype(np.float32))


def _scaling(actions: Continuous) -> Scaling:
    widest = max(abs(actions.low.min()), abs(actions.high.max()))
    if widest > np.finfo(np.float32).max:
        raise UsageError(
            f"actions reach {widest:g}, more than float32 can hold; train with smaller --action-low and --action-high"
        )
    low, high = actions.low.astype(np.float32), actions.high.astype(np.float32)
    low = np.where(low < actions.low, np.nextafter(low, np.float32(np.inf)), low)  # rounded, a bound could lie outside
    high = np.where(high > actions.high, np.nextafter(high, np.float32(-np.inf)), high)
    middle = (0.5 * actions.low + 0.5 * actions.high).astype(np.float32)
    return Scaling(middle, actions.half_range.astype(np.float32), low, high, actions.dtype.kind in "iub")
