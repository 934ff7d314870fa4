"""Seeing an agent act: in a window, or as a video file."""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import imageio_ffmpeg
import numpy as np

from rucksac.agent import Agent
from rucksac.environments.making import EnvSource, closed_at_last, make_one, name_of
from rucksac.environments.opening import env_group_of
from rucksac.environments.reading import check_same
from rucksac.errors import UsageError
from rucksac.text import count
from rucksac.training.display import has_display
from rucksac.training.evaluate import evaluate
from rucksac.training.folder import path_of
from rucksac.training.loading import environment_of, load_agent

FORMATS = (".mp4", ".mkv", ".webm", ".mov")


class Video(NamedTuple):
    """Episodes that were filmed: their returns, and an MP4 file as bytes. A notebook plays it."""

    returns: list[float]
    data: bytes

    def save(self, path: str | Path) -> None:
        """Write the file, and folders on the way to it. Raises `OSError`."""
        file = Path(path).expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.data)

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self.data).decode()
        return f'<video controls autoplay loop muted src="data:video/mp4;base64,{encoded}"></video>'


def watch(
    agent: Agent | str | Path, env: EnvSource | None = None, *, episodes: int = 1, seed: int = 0, best: bool = False
) -> Video:
    """Film an agent, or that of a run, which acts with its mean action; a notebook plays what is returned.

    `env` is an id or a function; that of the run if not given. Episode i starts from reset(seed=seed + i). Raises
    `UsageError` for an environment that cannot be drawn.
    """
    if not isinstance(agent, Agent):
        env = env or environment_of(path_of(agent))
        agent = load_agent(agent, best=best)
    if env is None:
        raise UsageError("an agent alone does not say where it acts; give an environment too")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        returns = write_video(agent, env, episodes, seed, file, lambda _: None)
        return Video(returns, file.read_bytes())


def show(agent: Agent, source: EnvSource, episodes: int, seed: int, say: Callable[[str], None]) -> list[float]:
    """Run episodes in a window and return their returns; `say` gets a line after each."""
    with _rendering(agent, source, "human") as env:
        return evaluate(agent, _Telling(env, episodes, say), episodes, seed).returns.tolist()


def write_video(
    agent: Agent, source: EnvSource, episodes: int, seed: int, file: Path, say: Callable[[str], None]
) -> list[float]:
    """Write episodes to a video file, complete or not at all, and return their returns; `say` gets a line after each.

    Folders on the way to the file are made. Raises `UsageError` when it cannot be written.
    """
    if file.suffix not in FORMATS:
        raise UsageError(f"{file} is no video this can write; name a file ending in {', '.join(FORMATS)}")
    unfinished = file.with_name(f"unfinished-{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
        if file.is_dir():
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written ({error.strerror}); give a --video where you may write") from error
    try:
        with _rendering(agent, source, "rgb_array") as env:
            filming = _Filming(env, unfinished)
            try:
                returns = evaluate(agent, _Telling(filming, episodes, say), episodes, seed).returns.tolist()
            finally:
                filming.finish()
        unfinished.replace(file)
        return returns
    finally:
        unfinished.unlink(missing_ok=True)


class _Telling(gymnasium.Wrapper):
    """Says what came of each episode."""

    def __init__(self, env: gymnasium.Env, episodes: int, say: Callable[[str], None]) -> None:
        super().__init__(env)
        self._episodes, self._say = episodes, say
        self._number = self._steps = 0
        self._return = 0.0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        _, reward, terminated, truncated, _ = result
        self._steps += 1
        self._return += float(reward)
        if terminated or truncated:
            self._number += 1
            length = count(self._steps, "step")
            self._say(f"episode {self._number} of {self._episodes}: return {self._return:.1f}, {length}")
            self._steps, self._return = 0, 0.0
        return result


class _Filming(gymnasium.Wrapper):
    """Writes a frame after every reset and step."""

    def __init__(self, env: gymnasium.Env, file: Path) -> None:
        super().__init__(env)
        self.file = file
        self._writer: Any = None

    def reset(self, **kwargs: Any) -> Any:
        result = self.env.reset(**kwargs)
        self._film()
        return result

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._film()
        return result

    def finish(self) -> None:
        if self._writer:
            self._writer.close()

    def _film(self) -> None:
        frame = np.asarray(self.env.render())
        frame = np.ascontiguousarray(
            frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
        )  # codecs want even sizes
        if self._writer is None:
            fps = self.env.metadata.get("render_fps", 30)
            size = (frame.shape[1], frame.shape[0])
            self._writer = imageio_ffmpeg.write_frames(str(self.file), size, fps=fps, macro_block_size=2)
            self._writer.send(None)
        self._writer.send(frame)


@contextmanager
def _rendering(agent: Agent, source: EnvSource, mode: str) -> Iterator[gymnasium.Env]:
    if not has_display():
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo draws without a display only when told how
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    with closed_at_last(make_one(source, agent.config)) as plain:
        modes = plain.metadata.get("render_modes", [])
    if mode not in modes:
        raise UsageError(
            f"{name_of(source)} cannot draw itself as {mode!r}; it offers {', '.join(modes) or 'no way of drawing'}"
        )
    with closed_at_last(make_one(source, agent.config, render_mode=mode)) as env:
        try:
            check_same(env_group_of(agent.config, env).spaces, agent.spaces)
            env.reset(seed=0)
            env.render()
        except UsageError:
            raise
        except Exception as error:  # what a graphics stack raises has no common type
            raise UsageError(
                f"{name_of(source)} cannot be drawn here ({type(error).__name__}: {error}); install its renderer "
                '(pip install "rucksac[classic,mujoco]") and, without a screen, a software one such as the '
                "system packages libegl1 and libosmesa6"
            ) from error
        yield env
