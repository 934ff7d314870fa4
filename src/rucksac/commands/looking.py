"""The commands that look at what there is: at runs, at their agents, at recipes, at compiled steps."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from rucksac.commands import wording
from rucksac.commands.parsing import Command, TakesEnvArgs, with_env_args
from rucksac.text import count, size

if TYPE_CHECKING:
    from rucksac.agent import Agent

Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]


@dataclass(frozen=True)
class Info(Command):
    """Say what is in a run folder, how far the run is and whether every file is whole."""

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Tell; the exit code is 1 when something is damaged."""
        from rucksac.training.info import info

        found = info(self.run_folder)
        print(json.dumps(found) if self.json else wording.info(found))
        return 0 if found["whole"] else 1


@dataclass(frozen=True)
class Evaluate(TakesEnvArgs):
    """Run whole episodes with the mean action and print their returns with an interval.

    Episode i starts from reset(seed=SEED + i).
    """

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run."""
    episodes: int = 10
    """Number of episodes."""
    seed: int = 0
    """Seed of the first episode."""
    best: bool = False
    """Take the agent with the best evaluation instead of the newest one."""
    env: str | None = None
    """Environment id, for a run that was trained from Python with a function."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from rucksac.training.evaluate import evaluate
        from rucksac.training.loading import load_agent

        agent = _with_env_args(load_agent(self.run_folder, best=self.best), self.env_args)
        result = evaluate(agent, _environment(self.run_folder, self.env), self.episodes, self.seed)
        figures = result.summary
        if self.json:
            lengths = [episode.length for episode in result.episodes]
            told = {**figures._asdict(), "returns": result.returns.tolist(), "lengths": lengths}
            print(json.dumps({"episodes": self.episodes, **told}))
        else:
            print(wording.evaluation(figures, self.episodes))
        return 0


@dataclass(frozen=True)
class Plot(Command):
    """Draw returns over environment steps; seeds of one setting become one line with an interval.

    A second picture beside the first shows temperature, entropy, Q and losses.
    """

    takes: ClassVar[str] = "RUN [RUN ...]"
    runs: Runs
    """Folders of the runs."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """Picture to write, as its ending says (.png, .svg, .pdf), in a folder that may be missing; curve.png in the run's
    folder, or here for several runs, if not given."""
    size: tuple[float, float] = (8.0, 5.0)
    """Width and height of the first picture in inches."""

    def run(self) -> int:
        from rucksac.tools.plot import write_pictures

        output = self.output or (self.runs[0] if len(self.runs) == 1 else Path()) / "curve.png"
        for picture in write_pictures(self.runs, output, self.size):
            print(picture)
        return 0


@dataclass(frozen=True)
class Watch(TakesEnvArgs):
    """Show the trained agent in a window where there is a display, else write a video.

    It acts with its mean action; episode i starts from reset(seed=SEED + i).
    """

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run."""
    video: Path | None = None
    """Video file to write instead of opening a window, in a folder that may be missing."""
    episodes: int = 3
    """Number of episodes."""
    seed: int = 0
    """Seed of the first episode."""
    best: bool = False
    """Take the agent with the best evaluation instead of the newest one."""
    env: str | None = None
    """Environment id, for a run that was trained from Python with a function."""

    def run(self) -> int:
        from rucksac.training.display import has_display
        from rucksac.training.loading import load_agent
        from rucksac.training.watch import show, write_video

        def say(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        agent, env, video = (
            _with_env_args(load_agent(self.run_folder, best=self.best), self.env_args),
            _environment(self.run_folder, self.env),
            self.video,
        )
        if video is None and not has_display():
            video = self.run_folder / "video.mp4"
            say(f"No display answers here, so the episodes go to {video}.")
        if video is None:
            where, returns = "window", show(agent, env, self.episodes, self.seed, say)
        else:
            where, returns = str(video), write_video(agent, env, self.episodes, self.seed, video, say)
        print(f"{where}: {count(self.episodes, 'episode')}, returns {', '.join(f'{value:.1f}' for value in returns)}")
        return 0


@dataclass(frozen=True)
class Recipes(Command):
    """List the named settings that --recipe accepts, or explain one: its source, cost and differences from sac."""

    takes: ClassVar[str] = "[NAME]"
    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = None
    """Recipe to explain; all in short if not given."""
    json: bool = False
    """Print one JSON object with every setting, of the recipe or of all."""

    def run(self) -> int:
        from rucksac.tools.recipes import as_json, explanation, listing

        if self.json:
            print(json.dumps(as_json(self.name)))
        else:
            print(explanation(self.name) if self.name else listing())
        return 0


@dataclass(frozen=True)
class Cache(Command):
    """Show where compiled gradient steps are kept and how much they take; --clear removes them."""

    takes: ClassVar[str] = ""
    clear: bool = False
    """Remove them; the next run compiles again."""

    def run(self) -> int:
        from rucksac.compilation import cache_folder, cached_bytes, clear_cache

        taken = size(clear_cache() if self.clear else cached_bytes())
        print(f"{cache_folder()}: {taken}{' removed' if self.clear else ''}")
        return 0


def _with_env_args(agent: "Agent", env_args: dict[str, Any]) -> "Agent":
    agent.config = dataclasses.replace(agent.config, env_args=with_env_args(agent.config.env_args, env_args))
    return agent


def _environment(run: Path, given: str | None) -> str:
    from rucksac.training.loading import environment_of

    return given or environment_of(run)
