"""What each experiment tracker wants: a run opened or found again, points handed over, the run closed.

Every library is imported when its tracker is opened. Each of these runs in a thread of its own, see `tracking`.
"""

import logging
import netrc
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

PROJECT = "rucksac"
SECONDS_AT_THE_END = 30.0  # that a run waits for its trackers
MOST_AT_ONCE = 1_000  # metrics that MLflow takes in one request
GIF = "fps=15,scale=240:-2"  # TensorBoard shows no other moving pictures


class Point(NamedTuple):
    """What is known at one environment step: figures by name, and files of videos."""

    step: int
    figures: dict[str, float]
    videos: dict[str, Path]


@dataclass(frozen=True)
class Subject:
    """The run that is tracked: its folder, and its settings, environment and recipe as `facts`.

    `known_as` is what an earlier session has called it, None the first time.
    """

    folder: Path
    facts: dict[str, Any]
    known_as: str | None

    @property
    def name(self) -> str:
        """Return what people call the run: its folder, with the common one in front if it is one of several seeds."""
        parts = self.folder.parts[-2:] if re.fullmatch(r"seed\d+", self.folder.name) else self.folder.parts[-1:]
        return "-".join(parts)


class Tracker(Protocol):
    """One run in one tracker; `known_as` is what finds it again."""

    known_as: str

    def log(self, points: Sequence[Point]) -> None:
        """Hand over points in the order of their steps."""

    def close(self) -> None:
        """Complete what was handed over."""


class TensorBoard:
    """Event files in RUN/tensorboard, another one for each session; TensorBoard reads them as one run."""

    def __init__(self, subject: Subject) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.known_as = "tensorboard"
        self._writer = cast(Any, SummaryWriter(str(subject.folder / self.known_as)))
        if subject.known_as is None:
            facts = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in subject.facts.items()}
            for summary in hparams(facts, {"evaluations/return": None}):  # type: ignore[no-untyped-call]
                self._writer.file_writer.add_summary(summary)

    def log(self, points: Sequence[Point]) -> None:
        for step, figures, videos in points:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
            for name, file in videos.items():
                self._writer.file_writer.add_summary(_moving_picture(name, file), step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _moving_picture(name: str, video: Path) -> Any:
    import imageio_ffmpeg
    from tensorboard.compat.proto.summary_pb2 import Summary

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video), "-vf", GIF, "-f", "gif", "-"]
    gif = subprocess.run(command, capture_output=True, check=True).stdout
    width, height = (int.from_bytes(gif[at : at + 2], "little") for at in (6, 8))
    image = Summary.Image(encoded_image_string=gif, width=width, height=height, colorspace=3)
    return Summary(value=[Summary.Value(tag=name, image=image)])


class Mlflow:
    """A run in RUN/mlflow.db, or where MLFLOW_TRACKING_URI leads; only the client's interface, nothing global."""

    def __init__(self, subject: Subject) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        for name in ("mlflow", "alembic"):  # they tell how they make the tables
            logging.getLogger(name).setLevel(logging.WARNING)
        self._metric = Metric
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(uri or f"sqlite:///{subject.folder / 'mlflow.db'}")
        if subject.known_as is None:
            place = None if uri else (subject.folder / "mlflow-files").as_uri()
            experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), place)
            self.known_as = self._client.create_run(experiment, run_name=subject.name).info.run_id
            self._client.log_batch(self.known_as, params=[Param(k, str(v)) for k, v in subject.facts.items()])
        else:
            self.known_as = subject.known_as
            self._client.update_run(self.known_as, status="RUNNING")

    def _experiment(self, name: str, place: str | None) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.create_experiment(name, artifact_location=place)
        except MlflowException:  # also when another run makes it at the same moment
            if found := self._client.get_experiment_by_name(name):
                return found.experiment_id
            raise

    def log(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, p.step) for p in points for name, value in p.figures.items()]
        for first in range(0, len(metrics), MOST_AT_ONCE):
            self._client.log_batch(self.known_as, metrics=metrics[first : first + MOST_AT_ONCE])
        for point in points:
            for name, file in point.videos.items():
                self._client.log_artifact(self.known_as, str(file), name)

    def close(self) -> None:
        self._client.set_terminated(self.known_as)


class Wandb:
    """A run of Weights & Biases with its files in RUN/wandb: online with an API key, else offline."""

    def __init__(self, subject: Subject) -> None:
        import wandb

        self._wandb = wandb
        self.known_as = subject.known_as or uuid.uuid4().hex[:8]
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
        settings = wandb.Settings(silent=True, console="off", finish_timeout=SECONDS_AT_THE_END)
        wandb.setup(settings)  # else it greets before it is told to be silent
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=subject.name,
            id=self.known_as,
            config=subject.facts,
            dir=subject.folder,
            mode=mode,
            resume="allow" if mode == "online" else None,  # offline, equal ids become one run when they are synced
            reinit="create_new",
            settings=settings,
        )

    def log(self, points: Sequence[Point]) -> None:
        for step, figures, videos in points:
            films = {name: self._wandb.Video(str(file), format="mp4") for name, file in videos.items()}
            self._run.log({**figures, **films}, step=step)

    def close(self) -> None:
        self._run.finish()


def _has_key() -> bool:
    """Return whether an API key is known, from WANDB_API_KEY or `wandb login`; W&B itself would ask for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class Trackio:
    """A run in Trackio's own database on this machine, or where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL lead."""

    def __init__(self, subject: Subject) -> None:
        import trackio
        import trackio.run
        import trackio.utils

        for module in (trackio, trackio.run, trackio.utils):  # standard output is for results
            module.print = lambda *_, **__: None
        self._video = trackio.Video
        self.known_as = subject.known_as or f"{subject.name}-{uuid.uuid4().hex[:8]}"  # it knows runs by name
        self._run = trackio.init(
            os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=self.known_as,
            config=subject.facts,
            resume="never" if subject.known_as is None else "must",
            private=True,
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, points: Sequence[Point]) -> None:
        for step, figures, videos in points:
            self._run.log({**figures, **{name: self._video(file, format="mp4") for name, file in videos.items()}}, step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Subject], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}
"""Trackers by the name of their package, which is that of the extra too."""
