"""Trackers beside the log files, read back with their own readers; the heavy ones are in test_heavy_trackers.py."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import imageio_ffmpeg
import pytest
from tensorboard.plugins.hparams import plugin_data_pb2

import rucksac
from rucksac.cli import main
from rucksac.errors import UsageError
from rucksac.training import tracking
from rucksac.training.checkpoint_layout import CHECKPOINT, checkpoints_in
from rucksac.training.trackers import TRACKERS
from tests.runs import SMALL, rows
from tests.training.curves import approximately, curves, logged, reader

SETTINGS = {**SMALL, "steps": 450, "log_every": 30, "eval_every": 100}


def tracked_by(run):
    return json.loads((run / "tracking.json").read_text())["track"]


@pytest.mark.parametrize("settings", [{}, {"envs": 3, "time_limit": 40}])
def test_tensorboard_shows_what_the_log_files_have(tmp_path, settings):
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], **SETTINGS, **settings)
    expected = logged(tmp_path)
    assert {"metrics/alpha", "metrics/grad_steps", "episodes/length", "evaluations/return"} <= expected.keys()
    assert curves(tmp_path) == approximately(expected)
    if settings:  # three episodes end at the same step and make one point
        assert len(rows(tmp_path, "episodes")) == 3 * len(expected["episodes/return"]) > 6


def test_settings_and_environment_are_there(tmp_path):
    rucksac.train("Pendulum-v1", run=tmp_path, track="tensorboard", recipe="sac", **SETTINGS)
    content = reader(tmp_path).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["environment"].string_value == "Pendulum-v1"
    assert told["recipe"].string_value == "sac"
    assert told["batch_size"].number_value == 16
    assert told["hidden"].string_value == "[16]"


def test_a_run_that_is_stopped_and_resumed_is_one_curve(tmp_path):
    def stop(event):
        return rucksac.STOP if event.kind == "metrics" and event.env_steps == 210 else None

    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], callbacks=[stop], **SETTINGS)
    assert curves(tmp_path)["metrics/alpha"][-1][0] == 210
    rucksac.resume(tmp_path)
    assert curves(tmp_path) == approximately(logged(tmp_path))


def test_what_was_logged_after_the_checkpoint_is_not_logged_twice(tmp_path):
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], video_every=2, **SETTINGS, time_limit=40)
    before = curves(tmp_path)
    shutil.rmtree(checkpoints_in(tmp_path, CHECKPOINT)[-1])  # as if the process had been killed before this one
    rucksac.resume(tmp_path, steps=480)
    after, expected = curves(tmp_path), logged(tmp_path)
    assert after["metrics/wall_seconds"][: len(before["metrics/wall_seconds"])] == before["metrics/wall_seconds"]
    del after["metrics/wall_seconds"], expected["metrics/wall_seconds"]  # the repeated steps took another time
    for name in (name for name in after if name.startswith("evaluations")):
        old_end = before[name][-1]  # the run that goes on does not stop to evaluate there
        assert old_end[0] == 450
        after[name].remove(old_end)
    assert after == approximately(expected)
    assert [each.step for each in reader(tmp_path).Images("evaluations/video")] == [200, 400, 450, 480]


def test_a_run_that_gets_a_tracker_later_shows_all_from_its_beginning(tmp_path):
    rucksac.train("Pendulum-v1", run=tmp_path, **{**SETTINGS, "steps": 240})
    assert not (tmp_path / "tracking.json").exists()
    rucksac.resume(tmp_path, steps=450, track=["tensorboard"])
    assert curves(tmp_path) == approximately(logged(tmp_path))
    rucksac.resume(tmp_path, steps=480, track=[])
    assert curves(tmp_path)["metrics/alpha"][-1][0] == 450
    rucksac.resume(tmp_path, steps=510, track=["tensorboard"])
    assert curves(tmp_path) == approximately(logged(tmp_path))


def test_a_killed_process_leaves_no_point_twice(tmp_path):
    words = "train Pendulum-v1 --track tensorboard --steps 100000 --warmup 20 --batch-size 16 --hidden 16 --quiet"
    more = f"--compile never --threads 1 --log-every 10 --checkpoint-every 200 --run {tmp_path / 'run'}"
    process = subprocess.Popen([sys.executable, "-m", "rucksac", *words.split(), *more.split()])
    memory, given = tmp_path / "run/tracking.json", 0
    while given < 400 and process.poll() is None:
        time.sleep(0.05)
        places = json.loads(memory.read_text())["places"] if memory.exists() else {}
        given = places.get("tensorboard", ["", {}])[1].get("metrics", 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    newest = int(checkpoints_in(tmp_path / "run", CHECKPOINT)[-1].name.split("-")[-1])
    rucksac.resume(tmp_path / "run", steps=newest + 600)
    found = [step for step, _ in curves(tmp_path / "run")["metrics/alpha"]]
    assert found == sorted(set(found))
    assert found[-1] == newest + 600 > given >= 400


@pytest.mark.long
def test_several_seeds_are_tracked_each_in_its_folder(tmp_path, capsys):
    words = (
        "--seeds 1-2 --steps 60 --warmup 20 --batch-size 16 --hidden 16 --compile never --threads 1 --eval-episodes 1"
    )
    logs = "--log-every 20 --track tensorboard --quiet"
    assert main(["train", "Pendulum-v1", "--run", str(tmp_path / "g"), *words.split(), *logs.split()]) == 0
    assert main(["resume", str(tmp_path / "g"), "--steps", "80", "--track", "--quiet"]) == 0
    for seed in (1, 2):
        run = tmp_path / f"g/seed{seed}"
        assert [step for step, _ in curves(run)["metrics/alpha"]] == [20, 40, 60]
        assert tracked_by(run) == []


def test_films_lie_in_the_folder_and_move_in_tensorboard(tmp_path):
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], video_every=2, **{**SETTINGS, "time_limit": 20})
    films = sorted((tmp_path / "videos").iterdir())
    assert [film.name for film in films] == ["step-000000200.mp4", "step-000000400.mp4", "step-000000450.mp4"]
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(films[0]))
    assert frames == 21
    shown = reader(tmp_path).Images("evaluations/video")
    assert [each.step for each in shown] == [200, 400, 450]
    assert all(each.encoded_image_string.startswith(b"GIF89a") and each.width == 240 for each in shown)


def test_films_leave_the_run_as_it_is(tmp_path):
    settings = {**SETTINGS, "steps": 240, "time_limit": 20}
    rucksac.train("Pendulum-v1", run=tmp_path / "filmed", video_every=1, **settings)
    rucksac.train("Pendulum-v1", run=tmp_path / "plain", **settings)
    assert rows(tmp_path / "filmed", "evaluations") == rows(tmp_path / "plain", "evaluations")
    assert not (tmp_path / "plain/videos").exists()


def test_what_cannot_be_filmed_is_told_once(tmp_path):
    from tests.worlds import Counter

    rucksac.train(Counter, run=tmp_path, video_every=1, **SETTINGS)
    assert (tmp_path / "warnings.txt").read_text().count("An evaluation could not be filmed") == 1
    assert len(rows(tmp_path, "evaluations")) > 2


def test_a_tracker_that_fails_is_told_of_once_and_the_run_goes_on(tmp_path):
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], **{**SETTINGS, "steps": 240})
    shutil.rmtree(tmp_path / "tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    rucksac.resume(tmp_path, steps=450)
    assert rows(tmp_path, "metrics")[-1]["env_steps"] == "450"
    warnings = (tmp_path / "warnings.txt").read_text()
    assert warnings.count("The tracker tensorboard failed and gets no more") == 1
    assert "Traceback" in warnings


class Slow:
    """Takes no points before it is let go."""

    go = threading.Event()
    known_as = "slow"

    def __init__(self, subject):
        self.folder = subject.folder

    def log(self, points):
        self.go.wait()
        with (self.folder / "got.txt").open("a") as stream:
            stream.writelines(f"{point.step}\n" for point in points)

    def close(self):
        (self.folder / "closed.txt").touch()


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setitem(TRACKERS, "tensorboard", Slow)
    monkeypatch.setattr(Slow, "go", threading.Event())
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_BATCHES", 0.01)
    yield Slow
    Slow.go.set()


def test_a_tracker_that_is_slow_holds_up_nothing_and_drops_what_is_too_much(tmp_path, slow, monkeypatch):
    monkeypatch.setattr(tracking, "MOST_WAITING", 5)
    monkeypatch.setattr(tracking, "SECONDS_AT_THE_END", 0.1)
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], **{**SETTINGS, "log_every": 10})
    assert rows(tmp_path, "metrics")[-1]["env_steps"] == "450"
    assert not (tmp_path / "got.txt").exists()
    assert (tmp_path / "warnings.txt").read_text().count("tensorboard") == 1
    assert "is too slow and gets only some of what comes" in (tmp_path / "warnings.txt").read_text()


def test_the_end_of_a_run_waits_for_its_trackers_for_some_time_only(tmp_path, slow, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_AT_THE_END", 0.1)
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], **{**SETTINGS, "steps": 60})
    assert "was not done when the run ended" in (tmp_path / "warnings.txt").read_text()
    assert not (tmp_path / "closed.txt").exists()


def test_the_end_of_a_run_waits_for_what_is_left(tmp_path, slow):
    threading.Timer(1.0, slow.go.set).start()
    rucksac.train("Pendulum-v1", run=tmp_path, track=["tensorboard"], **{**SETTINGS, "steps": 60})
    assert (tmp_path / "closed.txt").exists()
    assert set((tmp_path / "got.txt").read_text().split()) == {"30", "60"}
    assert not (tmp_path / "warnings.txt").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"track": ["tensorbord"]},
            r"--track is \['tensorbord'\], but must be a list of names from tensorboard, wandb",
        ),
        ({"track": 3}, "--track is 3, but must be a list"),
        ({"track": [["wandb"]]}, "must be a list of names"),
        ({"video_every": -1}, "--video-every is -1, but must be a whole number"),
        ({"video_every": True}, "--video-every is True"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(tmp_path, asked, says):
    with pytest.raises(UsageError, match=says):
        rucksac.train("Pendulum-v1", run=tmp_path / "run", **asked, **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_tracking_needs_a_folder():
    for asked in ({"track": ["tensorboard"]}, {"video_every": 1}):
        with pytest.raises(UsageError, match="write to the folder of a run; give run"):
            rucksac.train("Pendulum-v1", **asked, **SETTINGS)


def test_a_missing_package_is_told_in_one_line_that_names_the_extra(tmp_path, capsys, monkeypatch):
    missing = next(name for name in TRACKERS if importlib.util.find_spec(name) is None)
    monkeypatch.chdir(tmp_path)
    os.mkdir(missing)  # a folder of that name, which W&B makes, is no package
    words = ["train", "Pendulum-v1", "--track", "tensorboard", missing, "--run", "run"]
    for more in ([], ["--seeds", "1-2"]):
        assert main([*words, *more]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        assert f'pip install "rucksac[{missing}]"' in told[0]
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"track": ["tensorboard"], "video_every": 0, "places": {"a": [1, {}]}}']
)
def test_a_damaged_memory_is_refused(tmp_path, content):
    rucksac.train("Pendulum-v1", run=tmp_path, **{**SETTINGS, "steps": 60})
    (tmp_path / "tracking.json").write_text(content)
    with pytest.raises(UsageError, match=r"tracking\.json is damaged or foreign"):
        rucksac.resume(tmp_path, steps=90)


def test_importing_and_plain_training_load_no_tracker(tmp_path):
    script = (
        "import sys, rucksac; rucksac.train('Pendulum-v1', steps=40, warmup=20, batch_size=16, hidden=(16,), "
        f"compile='never', eval_episodes=1, run={str(tmp_path / 'run')!r}); "
        "print({'tensorboard', 'wandb', 'mlflow', 'trackio', 'imageio_ffmpeg'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
