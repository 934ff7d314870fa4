"""From replay memory to a batch: a pick chooses rows, a fold turns them into what a gradient step needs.

A fold says how each field of a `Batch` is read, and reads are made of reads: `after(column("obs"))` is the next
observation. They have no state, so that a fold may be taken apart and combined anew.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import torch

from rucksac.algorithm.update import Batch
from rucksac.experience.columns import Column
from rucksac.experience.kinds import Fold, Pick, Read, Transform
from rucksac.experience.replay import TERMINATED, TRANSITION, Replay


class UniformPick:
    """Chooses uniformly with replacement."""

    STATE: tuple[str, ...] = ("generator",)

    def __init__(self, replay: Replay, generator: np.random.Generator) -> None:
        self.replay, self.generator = replay, generator

    def rows(self, count: int) -> np.ndarray:
        """See `Pick`; rows that hold no transition are drawn again."""
        if len(self.replay) == 0:
            raise ValueError("the replay memory is empty")
        rows = self._draw(count)
        while (missing := np.flatnonzero((self.replay.kind.take(rows) & TRANSITION) == 0)).size:
            rows[missing] = self._draw(missing.size)
        return rows

    def learned(self, td_error: np.ndarray) -> None: ...  # see `Pick`; all stay alike

    def _draw(self, count: int) -> np.ndarray:
        replay = self.replay
        drawn = self.generator.integers(0, replay.used * replay.envs, count)
        if replay.envs == 1:
            return drawn
        env_index, position = np.divmod(drawn, replay.used)
        return env_index * replay.rows_per_env + position


def column(name: str) -> Read:
    """Return what reads a column, (B, *shape)."""
    return lambda replay, rows, out: replay.data[name].take(rows, 0, out, "clip")


def value(replay: Replay, name: str) -> Read:
    """Return what reads a value that is held by one column or by several, (..., B, *shape)."""
    held = [each for each in replay.columns if each.of == name]
    return column(name) if held[0].part is None else assembled(held)


def assembled(columns: Sequence[Column]) -> Read:
    """Return what puts the parts of a value together, as float32 (..., B, O); where one is a stack, all its frames.

    Before the first frame of an episode there is that frame again.
    """
    places = [(each, each.part) for each in columns if each.part]
    size, frames = max(part.stop for _, part in places), max(each.stack for each in columns)

    def read(replay: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        found = np.empty((*rows.shape, size), np.float32) if out is None else out
        for back in range(frames):
            rows = replay.preceding(rows) if back else rows
            for each, part in places:
                if back < each.stack:
                    begin = part.start - back * each.shape[0]
                    found[..., begin : begin + each.shape[0]] = replay.data[each.name].take(rows, 0)
        return found

    return read


def after(read: Read) -> Read:
    """Return what reads the same of the rows that follow."""
    return lambda replay, rows, out: read(replay, replay.following(rows), out)


def discount(gamma: float) -> Read:
    """Return what reads the factor of the next state's value, (B,): gamma, or 0 where the episode terminated."""
    return lambda replay, rows, out: np.multiply(
        gamma, (replay.kind.take(rows) & TERMINATED) == 0, out=out, dtype=np.float32
    )


def one_step(gamma: float, obs: Read | None = None) -> Fold:
    """Return the fold of single transitions; `obs` reads observations, from the column of that name if not given."""
    obs, action, reward = obs or column("obs"), column("action"), column("reward")
    return {"obs": obs, "action": action, "reward": reward, "discount": discount(gamma), "next_obs": after(obs)}


class Sampler:
    """Makes batches of a pick and a fold, which `transforms` change in turn. A batch is overwritten by the next one."""

    def __init__(
        self, replay: Replay, pick: Pick, fold: Fold, batch_size: int, transforms: Sequence[Transform] = ()
    ) -> None:
        self.replay, self.pick, self.fold, self.batch_size = replay, pick, fold, batch_size
        self.transforms = transforms
        anywhere = np.zeros(batch_size, np.int64)
        self.arrays = {name: read(replay, anywhere, None) for name, read in fold.items()}
        self.batch = Batch(**{name: torch.from_numpy(array) for name, array in self.arrays.items()})

    def sample(self) -> Batch:
        """Return one batch; raise `ValueError` when nothing is stored."""
        self.fill(self.arrays, self.batch_size)
        return self.batch

    def fill(self, arrays: Mapping[str, np.ndarray], count: int) -> None:
        """Put as many rows into arrays that a batch is made of; raise `ValueError` when nothing is stored."""
        rows = self.pick.rows(count)
        fold = reduce(lambda fold, transform: transform(self.replay, rows, fold), self.transforms, self.fold)
        for name, read in fold.items():
            read(self.replay, rows, arrays[name])

    def learned(self, td_error: np.ndarray) -> None:
        """Take in the TD errors of the rows drawn last, (B,)."""
        self.pick.learned(td_error)


class Mixture:
    """Makes batches whose last `count` rows are those of another sampler, with the same fold over its own replay."""

    def __init__(self, own: Sampler, other: Sampler, count: int) -> None:
        self.own, self.other, self.count, self.first = own, other, count, own.batch_size - count
        arrays = {name: np.zeros_like(array) for name, array in own.arrays.items()}
        self._own, self._other = (
            {name: array[part] for name, array in arrays.items()}
            for part in (slice(None, self.first), slice(self.first, None))
        )
        self.pick = own.pick
        self.batch = Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})

    def sample(self) -> Batch:
        """Return one batch; raise `ValueError` when one of both has nothing stored."""
        self.own.fill(self._own, self.first)
        self.other.fill(self._other, self.count)
        return self.batch

    def learned(self, td_error: np.ndarray) -> None:
        """Take in the TD errors of the rows drawn last, (B,)."""
        self.own.learned(td_error[: self.first])
        self.other.learned(td_error[self.first :])
