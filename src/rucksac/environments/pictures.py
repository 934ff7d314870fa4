"""Pictures among observations: what counts as one, how its numbers are laid out, and stacks of the latest frames."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from rucksac.errors import UsageError

SMALLEST = 15  # pixels of a side, below which convolutions leave nothing


class Picture(NamedTuple):
    """A part of the flat observation that is a picture, or several frames of one, in the order of its numbers.

    It begins at the number `begin`; `channels_first` says that its channels come before height and width.
    """

    begin: int
    frames: int
    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return self.frames * self.frame

    @property
    def frame(self) -> int:
        """Return how many numbers one frame has."""
        return self.height * self.width * self.channels


def picture_of(space: gymnasium.Space[Any], begin: int = 0) -> Picture | None:
    """Return how an array of this space is a picture, None where it is none.

    A picture is a uint8 Box (H, W), (H, W, C) or (C, H, W) with sides of at least `SMALLEST`, or (N, H, W, C) and
    (N, C, H, W) for N frames. Channels are where there are fewest, at the end if in doubt.
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or not 2 <= len(space.shape) <= 4:
        return None
    frames, shape = (space.shape[0], space.shape[1:]) if len(space.shape) == 4 else (1, space.shape)
    first = len(shape) == 3 and shape[0] < shape[2]
    height, width = shape[1:] if first else shape[:2]
    channels = 1 if len(shape) == 2 else shape[0] if first else shape[2]
    return Picture(begin, frames, height, width, channels, first) if min(height, width) >= SMALLEST else None


def without_pictures(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return what is left of a space when its pictures are taken out, an empty Dict where that is nothing."""
    if isinstance(space, spaces.Dict):
        left = [(name, without_pictures(part)) for name, part in space.items()]
        return spaces.Dict([(name, part) for name, part in left if spaces.flatdim(part)])
    if isinstance(space, spaces.Tuple):
        parts = [without_pictures(part) for part in space.spaces]
        return spaces.Tuple([part for part in parts if spaces.flatdim(part)])
    return spaces.Dict() if picture_of(space) else space


def newest_frames(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return a space in which each stack of frames, as `FrameStack` makes it, is one picture."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(name, newest_frames(part)) for name, part in space.items()])
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([newest_frames(part) for part in space.spaces])
    picture = picture_of(space)
    return spaces.Box(0, 255, space.shape[1:], np.uint8) if picture and space.shape else space


class FrameStack(gymnasium.Wrapper):
    """Shows the latest `count` frames of each picture, oldest first; at first all of them are that of the reset.

    A picture of shape S becomes one of shape (count, *S), as in `gymnasium.wrappers.FrameStackObservation`; all else in
    an observation stays. Raises `UsageError` where there is no picture, or one that is a stack already.
    """

    def __init__(self, env: gymnasium.Env, count: int) -> None:
        super().__init__(env)
        self.count = count
        self._frames: dict[tuple[Any, ...], deque[np.ndarray]] = {}
        self.observation_space = self._stacked_space(env.observation_space)
        if self.observation_space == env.observation_space:
            raise UsageError(
                f"--frame-stack {count} is for pictures, but no part of the observation is one: a Box of type uint8 "
                f"and shape (H, W), (H, W, C) or (C, H, W), with sides of {SMALLEST} or more; leave it out"
            )

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode, whose first frame stands for those before it."""
        answer = self.env.reset(**kwargs)
        self._frames.clear()
        return (self._stacked(self.env.observation_space, answer[0], ()), *answer[1:])

    def step(self, action: Any) -> Any:
        """Act, and let the new frames take the place of the oldest."""
        obs, *others = self.env.step(action)
        return (self._stacked(self.env.observation_space, obs, ()), *others)

    def _stacked_space(self, space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
        if isinstance(space, spaces.Dict):
            return spaces.Dict([(name, self._stacked_space(part)) for name, part in space.items()])
        if isinstance(space, spaces.Tuple):
            return spaces.Tuple([self._stacked_space(part) for part in space.spaces])
        if not picture_of(space):
            return space
        assert space.shape is not None
        if len(space.shape) == 4:
            raise UsageError(
                f"--frame-stack {self.count} makes stacks of pictures, but here is one already, of shape "
                f"{space.shape}; leave out the wrapper that makes it, or --frame-stack"
            )
        return spaces.Box(0, 255, (self.count, *space.shape), np.uint8)

    def _stacked(self, space: gymnasium.Space[Any], obs: Any, path: tuple[Any, ...]) -> Any:
        """Return an observation with frames; what is not in the space stays as it is, for others to say so."""
        if isinstance(space, spaces.Dict) and isinstance(obs, Mapping):
            inside = space.spaces
            return {
                name: self._stacked(inside[name], part, (*path, name)) if name in inside else part
                for name, part in obs.items()
            }
        if isinstance(space, spaces.Tuple) and isinstance(obs, tuple | list):
            parts = enumerate(zip(space.spaces, obs, strict=False))
            return tuple(self._stacked(part, one, (*path, index)) for index, (part, one) in parts)
        if not picture_of(space):
            return obs
        frame = np.array(obs)
        if frame.shape != space.shape:
            return obs
        frames = self._frames.setdefault(path, deque([frame] * self.count, self.count))
        frames.append(frame)
        return np.stack(frames)
