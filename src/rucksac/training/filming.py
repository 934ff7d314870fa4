"""Videos of evaluations, while the run goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rucksac.agent import Agent
from rucksac.environments.making import EnvSource
from rucksac.errors import ANYTHING
from rucksac.training.record import Recorder, Row
from rucksac.training.tracking import VIDEOS

FOLDER = "videos"


def films(
    every: int, agent: Agent, env: EnvSource, run: Path, record: Recorder, say: Callable[[str], None]
) -> Recorder:
    """Return a recorder that films the first episode of every so many evaluations and of the last, to RUN/videos.

    `record` gets a row for each file. The first film that fails is the last one, and `say` is told.
    """
    failed = False

    def film(kind: str, rows: Sequence[Row]) -> None:
        nonlocal failed
        if kind != "evaluations" or failed:
            return
        config, env_steps = agent.config, rows[0]["env_steps"]
        if env_steps // config.eval_every % every and env_steps < config.steps:
            return
        from rucksac.training.watch import write_video  # not needed by a run without films

        file = run / FOLDER / f"step-{env_steps:09d}.mp4"
        try:
            write_video(agent, env, 1, 0, file, lambda _: None)
        except ANYTHING as error:
            failed = True
            say(f"An evaluation could not be filmed ({type(error).__name__}: {error}); there will be no more videos.")
        else:
            record(VIDEOS, [{"env_steps": env_steps, "file": file}])

    return film
