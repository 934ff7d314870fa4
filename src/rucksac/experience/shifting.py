"""Pictures moved at random by a few pixels, so that critics do not learn where exactly things are.

Random shifts of DrQ (arXiv 2004.13649, Sec. 3) with one shift for each observation, as in DrQ-v2 (arXiv 2107.09645).
B is the batch, O the size of a flat observation.
"""

from collections.abc import Sequence

import numpy as np

from rucksac.algorithm.architecture import Pixels
from rucksac.experience.kinds import Fold, Read
from rucksac.experience.replay import Replay

FARTHEST = 4  # pixels, in each direction


class Shift:
    """Moves each picture of each observation; all frames of a picture alike, `obs` otherwise than `next_obs`."""

    def __init__(self, generator: np.random.Generator, pictures: Sequence[Pixels]) -> None:
        self.generator, self.pictures = generator, pictures

    def __call__(self, replay: Replay, rows: np.ndarray, fold: Fold) -> Fold:  # noqa: ARG002
        """See `Transform`."""
        by = self.generator.integers(-FARTHEST, FARTHEST + 1, (2, len(self.pictures), 2, rows.size))
        return {**fold, "obs": self._moved(fold["obs"], by[0]), "next_obs": self._moved(fold["next_obs"], by[1])}

    def _moved(self, read: Read, by: np.ndarray) -> Read:
        def moved(replay: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
            found = read(replay, rows, out)
            for picture, (down, right) in zip(self.pictures, by, strict=True):
                shift(found, picture, down, right)
            return found

        return moved


def shift(obs: np.ndarray, picture: Pixels, down: np.ndarray, right: np.ndarray) -> None:
    """Move a picture in each of the observations (B, O) by so many pixels, (B,) each; its edges are repeated."""
    frames, height, width, channels = picture.frames, picture.height, picture.width, picture.channels
    planes, depth = (frames * channels, 1) if picture.channels_first else (frames, channels)
    numbers = slice(picture.begin, picture.begin + planes * height * width * depth)
    pixels = obs[:, numbers].reshape(len(obs), planes, height, width, depth)
    row = (np.arange(height) - down[:, None]).clip(0, height - 1)[:, None, :, None]
    column = (np.arange(width) - right[:, None]).clip(0, width - 1)[:, None, None, :]
    each, plane = np.arange(len(obs))[:, None, None, None], np.arange(planes)[None, :, None, None]
    obs[:, numbers] = pixels[each, plane, row, column].reshape(len(obs), -1)
