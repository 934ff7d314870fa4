"""What the command line can do. Each command is a frozen dataclass: its fields are the flags, `run` does the work.

Importing this module needs no torch; what a command needs is imported when it runs.
"""

import contextlib
import dataclasses
import difflib
import io
import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import tyro

from rucksac.algorithm.recipes import recipe
from rucksac.config import Config, flag, with_settings
from rucksac.errors import TrainingStopped, UsageError

if TYPE_CHECKING:
    from rucksac.training.console import Console
    from rucksac.training.train import Result

Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


class Command(Protocol):
    """A parsed command."""

    def run(self) -> int:
        """Do it and return the exit code."""


@dataclass(frozen=True)
class Train:
    """Train an agent and write everything about it to a run folder."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Environment id, such as Pendulum-v1, or module:Name-v0 for your own."""
    recipe: str = "sac"
    """Named published settings to start from; see: rucksac recipes."""
    config: Path | None = None
    """TOML file with settings; it overrides the recipe, flags override it."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder to write to; runs/ENV-RECIPE-seedN if not given."""
    seeds: str | None = None
    """Several seeds, such as 1-10 or 1,3,5-7: a process and a folder for each, as many at once as processors allow."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print the summary as one JSON object on standard output."""
    settings: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=Config)

    def run(self) -> int:
        """Train."""
        from rucksac.training.console import Console
        from rucksac.training.folder import next_free
        from rucksac.training.train import Plan, train_run

        name = re.sub(r"[^\w.-]+", "-", self.env)
        if self.seeds is not None:
            return self._run_seeds(f"{name}-{self.recipe}-seeds{self.seeds.replace(',', '-')}")
        folder = self.run_folder or next_free(Path("runs") / f"{name}-{self.recipe}-seed{self.settings.seed}")
        console = None if self.quiet else Console(self.settings.steps)
        return _report(
            train_run(Plan(self.env, self.settings, self.recipe), folder, console), folder, self.json, console
        )

    def _run_seeds(self, name: str) -> int:
        from rucksac.training.folder import next_free
        from rucksac.training.seeds import parse_seeds, prepare_group

        seeds = parse_seeds(cast(str, self.seeds))
        folder = self.run_folder or next_free(Path("runs") / name)
        prepare_group(self.env, self.settings, self.recipe, folder, seeds)
        return _run_group(folder, self.quiet, self.json)


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run, exactly as if nothing had happened."""

    run_folder: Run
    """Folder of the run, or the common folder of several seeds."""
    steps: int | None = None
    """Environment steps to train for in all; gives a finished run more."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print the summary as one JSON object on standard output."""

    def run(self) -> int:
        """Resume."""
        from rucksac.training.console import Console
        from rucksac.training.seeds import extend_group, is_group
        from rucksac.training.train import plan_of, resume_run

        if is_group(self.run_folder):
            if self.steps is not None:
                extend_group(self.run_folder, self.steps)
            return _run_group(self.run_folder, self.quiet, self.json)
        plan = plan_of(self.run_folder, steps=self.steps)
        console = None if self.quiet else Console(plan.config.steps)
        return _report(resume_run(plan, self.run_folder, console), self.run_folder, self.json, console)


@dataclass(frozen=True)
class Info:
    """Say what is in a run folder, how far the run is and whether every file is whole."""

    run_folder: Run
    """Folder of the run."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Tell; the exit code is 1 when something is damaged."""
        from rucksac.training.info import info

        found = info(self.run_folder)
        if self.json:
            print(json.dumps(found))
        else:
            print("\n".join(_info_lines(found)))
        return 0 if found["whole"] else 1


@dataclass(frozen=True)
class Evaluate:
    """Run whole episodes with the mean action; episode i starts from reset(seed=SEED + i)."""

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
        """Evaluate."""
        from rucksac.training.checkpoint import load_agent
        from rucksac.training.evaluate import evaluate

        agent = load_agent(self.run_folder, best=self.best)
        result = evaluate(agent, _environment(self.run_folder, self.env), self.episodes, self.seed)
        figures = result.summary
        if self.json:
            lengths = [episode.length for episode in result.episodes]
            print(
                json.dumps(
                    {
                        "episodes": self.episodes,
                        **figures._asdict(),
                        "returns": result.returns.tolist(),
                        "lengths": lengths,
                    }
                )
            )
        else:
            print(f"episodes            {self.episodes}")
            print(f"mean return         {figures.mean:.2f}")
            print(f"standard deviation  {figures.std:.2f}")
            print(f"interquartile mean  {figures.iqm:.2f}")
            print(f"95 % interval       {figures.ci95[0]:.2f} to {figures.ci95[1]:.2f} (of the mean, bootstrap)")
        return 0


@dataclass(frozen=True)
class Plot:
    """Draw returns over environment steps; seeds of one setting become one line with an interval.

    A second picture beside the first shows temperature, entropy, Q and losses.
    """

    runs: Runs
    """Folders of the runs."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """Picture to write; curve.png in the run's folder, or here for several runs, if not given."""

    def run(self) -> int:
        """Plot."""
        from rucksac.tools.plot import plot
        from rucksac.training.seeds import members

        if not self.runs:
            raise UsageError("plot needs at least one run; give the folder that `rucksac train` wrote")
        output = self.output or (self.runs[0] if len(self.runs) == 1 else Path()) / "curve.png"
        for picture in plot([each for run in self.runs for each in members(run) or [run]], output):
            print(picture)
        return 0


@dataclass(frozen=True)
class Watch:
    """Show the trained agent acting with its mean action: in a window where there is a display, else as a video."""

    run_folder: Run
    """Folder of the run."""
    video: Path | None = None
    """Video file to write instead of opening a window."""
    episodes: int = 3
    """Number of episodes."""
    seed: int = 0
    """Seed of the first episode."""
    best: bool = False
    """Take the agent with the best evaluation instead of the newest one."""
    env: str | None = None
    """Environment id, for a run that was trained from Python with a function."""

    def run(self) -> int:
        """Watch."""
        from rucksac.tools.watch import has_display, show, write_video
        from rucksac.training.checkpoint import load_agent

        agent, env = load_agent(self.run_folder, best=self.best), _environment(self.run_folder, self.env)
        if self.video is None and has_display():
            where, returns = "window", show(agent, env, self.episodes, self.seed)
        else:
            video = self.video or self.run_folder / "video.mp4"
            where, returns = str(video), write_video(agent, env, self.episodes, self.seed, video)
        print(f"{where}: {self.episodes} episodes, returns {', '.join(f'{value:.1f}' for value in returns)}")
        return 0


@dataclass(frozen=True)
class Recipes:
    """List the named settings that --recipe accepts, or explain one: its source, cost and differences from sac."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = None
    """Recipe to explain; all in short if not given."""
    json: bool = False
    """Print one JSON object with all settings of all recipes."""

    def run(self) -> int:
        """List or explain."""
        from rucksac.tools.recipes import as_json, explanation, listing

        if self.json:
            print(json.dumps(as_json()))
        else:
            print(explanation(self.name) if self.name else listing())
        return 0


@dataclass(frozen=True)
class Cache:
    """Show where compiled gradient steps are kept and how much they take; --clear removes them."""

    clear: bool = False
    """Remove them; the next run compiles again."""

    def run(self) -> int:
        """Show or remove."""
        from rucksac.compilation import cache_folder, cached_bytes, clear_cache

        size = clear_cache() if self.clear else cached_bytes()
        print(f"{cache_folder()}: {size / 2**20:.1f} MiB{' removed' if self.clear else ''}")
        return 0


COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "resume": Resume,
    "info": Info,
    "evaluate": Evaluate,
    "plot": Plot,
    "watch": Watch,
    "recipes": Recipes,
    "cache": Cache,
}


def run_command(name: str, words: list[str]) -> int:
    """Parse and run one command; raise `UsageError` in one sentence for words that do not fit."""
    command = COMMANDS[name]
    default = Train(env=tyro.MISSING, settings=_settings(words)) if command is Train else None
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed, unknown = tyro.cli(
                command, prog=f"rucksac {name}", args=words, default=default, return_unknown_args=True
            )
    except SystemExit as exit_request:
        if not exit_request.code:
            return 0
        said = _first_sentence(complaint.getvalue())
        if said.startswith("Missing"):
            said = f"{name} needs {'ENV' if command is Train else 'RUN'} as its first word"
        raise UsageError(f"{said}; see rucksac {name} --help") from None
    if unknown:
        raise UsageError(f"{_unknown(command, unknown[0])}; see rucksac {name} --help")
    return cast(Command, parsed).run()


def _settings(words: list[str]) -> Config:
    config = recipe(_value_of("--recipe", words) or "sac").config
    file = _value_of("--config", words)
    if file is None:
        return config
    try:
        values = tomllib.loads(Path(file).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"the settings file {file} cannot be read ({error})") from error
    return with_settings(config, {key.replace("-", "_"): value for key, value in values.items()})


def _value_of(name: str, words: list[str]) -> str | None:
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None


def _first_sentence(complaint: str) -> str:
    """Return the parser's complaint up to its first rule, without the box around it."""
    lines: list[str] = []
    for line in complaint.splitlines():
        text = line.strip("│╭╮╰╯─ \t")
        if lines and (not text or "───" in line):
            break
        if text and "───" not in line and not line.startswith("╭"):
            lines.append(text)
    return " ".join(lines).rstrip(".")


def _unknown(command: type[Any], word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is one word too many"
    flags = [flag(field.name) for field in dataclasses.fields(command)]
    if command is Train:
        flags += [flag(field.name) for field in dataclasses.fields(Config)]
    near = difflib.get_close_matches(word.partition("=")[0], flags, n=1)
    return f"there is no flag {word}" + (f"; did you mean {near[0]}?" if near else "")


def _environment(run: Path, given: str | None) -> str:
    from rucksac.training.folder import RunFolder

    env = given or RunFolder.open(run).read_config()["environment"]
    if not isinstance(env, str):
        raise UsageError(
            f"{run} was trained with an environment made by a function; name one with --env, or use rucksac.evaluate"
        )
    return env


def _report(result: "Result", folder: Path, as_json: bool, console: "Console | None") -> int:
    if as_json:
        print(json.dumps({"run": str(folder), **result.summary}))
    if not result.summary["saved"]:
        raise TrainingStopped(f"it is over, but the last state could not be saved to {folder}")
    if console:
        console.note(_closing(result.summary, folder))
    return result.stop.exit_code


def _run_group(folder: Path, quiet: bool, as_json: bool) -> int:
    from rucksac.training.seeds import Group

    summary, code = Group(folder, quiet).run()
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        for seed, state in summary["seeds"].items():
            final = summary["final_returns"].get(seed)
            print(f"{seed:8} {state}" + (f", return {final:.1f}" if final is not None else ""))
        if over := summary["over_seeds"]:
            low, high = over["ci95"]
            print(f"mean over seeds {over['mean']:.1f}, 95 % interval {low:.1f} to {high:.1f}")
        print(f"Next:  rucksac {'plot' if code == 0 else 'resume'} {shlex.quote(str(folder))}")
    return code


def _info_lines(found: dict[str, Any]) -> list[str]:
    state = "finished" if found["finished"] else "can go on with rucksac resume"
    if not found["resumable"]:
        state = "no checkpoint is whole, so it cannot go on"
    if found["training_process"]:
        state = f"being trained by process {found['training_process']}"
    lines = [
        f"environment  {found['environment'] or 'made by a function'}",
        f"recipe       {found['recipe']}, seed {found['seed']}",
        f"progress     {found['env_steps']:,} of {found['steps']:,} steps; {state}",
        f"on disk      {found['bytes'] / 2**20:.1f} MiB, of which replay memory {found['bytes_of_replay'] / 2**20:.1f}",
    ]
    for each in found["checkpoints"]:
        what = "best agent  " if each["best"] else "checkpoint  "
        lines.append(f"{what} {each['name']}: {each['problem'] or 'whole'}")
    return lines


def _closing(summary: dict[str, Any], folder: Path) -> str:
    evaluation = summary["final_evaluation"]
    result = (
        f"Return {evaluation['mean']:.1f}, 95 % interval {evaluation['ci95'][0]:.1f} to {evaluation['ci95'][1]:.1f} "
        f"({evaluation['episodes']} episodes, mean action)."
        if evaluation
        else "Not evaluated."
    )
    run = shlex.quote(str(folder))
    state = "Done" if summary["finished"] else "Stopped early"
    first = "rucksac plot" if summary["finished"] else "rucksac resume"
    return (
        f"{state}: {summary['env_steps']:,} steps, {summary['grad_steps']:,} gradient steps, "
        f"{summary['env_steps_per_second']:,.0f} steps/s. {result}\n"
        f"Next:  {first} {run}\n"
        f"       rucksac watch {run}\n"
        f"       rucksac evaluate {run} --episodes 100"
    )
