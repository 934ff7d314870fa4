"""The command line as a person uses it; in a process of its own where the subject is what a process has or does."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rucksac.cli import main
from tests.runs import COMMAND, SMALL_FLAGS, run_command


def in_a_process(*words, cwd=None, **kwargs):
    return subprocess.run(
        [*COMMAND, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **kwargs
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        done = run_command("train", "Pendulum-v1", *SMALL_FLAGS, "--seed", seed, "--run", folder / f"p{seed}")
        assert done.returncode == 0, done.stderr
    return folder


WELL_KNOWN = "steps seed run recipe warmup batch-size hidden lr gamma tau alpha utd precision quiet json".split()


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--help"], ["rucksac train Pendulum-v1"]), (["train", "--help", "all"], [f"--{name}" for name in WELL_KNOWN])],
)
def test_help_answers_without_torch_and_numpy(words, says):
    script = f"import sys; from rucksac.cli import main; main({words}); print({{'torch', 'numpy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert [text for text in says if text not in done.stdout] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--learning-rate", "3"], "did you mean --lr?"),
        (["--total_timesteps=5"], "did you mean --steps?"),
        (["--run-folder", "x"], "did you mean --run?"),
        (["--output", "x"], "did you mean --run?"),
        (["--stesp", "5"], "did you mean --steps?"),
        (["--run=~nobody-of-this-name/x"], "cannot be the path of a folder"),
        (["--run", "a" * 300], "cannot be the path of a folder (File name too long)"),
    ],
)
def test_words_of_other_libraries_and_paths_that_are_none_are_understood(words, says, capsys):
    assert main(["train", "Pendulum-v1", *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1


def test_help_is_a_command_too(capsys):
    assert main(["help", "train"]) == 0
    assert "rucksac train --help all has every one" in capsys.readouterr().out
    assert main(["help"]) == 0
    assert "rucksac help COMMAND explains a command" in capsys.readouterr().out


def test_training_shows_progress_and_names_the_next_commands(tmp_path):
    done = in_a_process("train", "Pendulum-v1", *SMALL_FLAGS, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "3 observations, 1 action; 300 steps" in done.stderr
    assert "Preparing" not in done.stderr  # nothing is compiled
    assert "cuda" not in done.stderr.lower()  # of no interest without a graphics card
    folder = tmp_path / "runs/Pendulum-v1-rucksac-seed1"
    assert "evaluate runs/Pendulum-v1-rucksac-seed1 --episodes 100" in done.stderr
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints", "config.json", "episodes.csv", "evaluations.csv", "lock", "metrics.csv", "replay",
        "summary.json",
    }  # fmt: skip
    again = run_command("train", "Pendulum-v1", *SMALL_FLAGS, "--quiet", "--json", cwd=tmp_path)
    assert again.stderr == ""
    assert json.loads(again.stdout)["run"] == "runs/Pendulum-v1-rucksac-seed1-2"


def on_a_terminal(run, *words, interrupt_at=None):
    """Train with a terminal of 120 columns; return the exit code and what was shown, without colours and cursor."""
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "train", "Pendulum-v1", *SMALL_FLAGS, "--log-every", "100", "--run", str(run), *words],
        stderr=follower, stdout=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        shown += part
        if interrupt_at and interrupt_at in shown:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
        if not part:
            break
    return process.wait(), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_a_terminal_shows_how_the_run_stands(tmp_path):
    code, text = on_a_terminal(tmp_path / "run", "--eval-every", "150")
    assert code == 0
    last = text.rpartition("300 of 300 steps")[2]
    for name in ("return  ", "evaluation  ", "alpha ", "entropy ", "Q ", "critic loss ", "(target -0.50)", "steps/s"):
        assert name in last, name


def test_an_interrupted_run_leaves_standing_how_far_it_came(tmp_path):
    code, text = on_a_terminal(tmp_path / "run", "--steps", "1000000", interrupt_at=b"critic loss")
    assert code == 130
    steps = json.loads((tmp_path / "run/summary.json").read_text())["env_steps"]
    *_, last = re.findall(r"([\d,]+) of 1,000,000 steps(.*)", text)
    assert last[0] == f"{steps:,}"
    assert "left" not in last[1]


def test_evaluate_prints_and_speaks_json(runs):
    done = run_command("evaluate", runs / "p1", "--episodes", 5, "--seed", 7)
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        "episodes", "mean return", "standard deviation", "interquartile mean", "of the mean",
    ]  # fmt: skip
    told = json.loads(run_command("evaluate", runs / "p1", "--episodes", 5, "--seed", 7, "--json").stdout)
    assert set(told) == {"episodes", "mean", "std", "iqm", "ci95", "returns", "lengths"}
    assert told["lengths"] == [200] * 5
    later = json.loads(run_command("evaluate", runs / "p1", "--episodes", 2, "--seed", 8, "--json").stdout)
    assert later["returns"] == told["returns"][1:3]


def test_info_tells_how_far_a_run_is_and_whether_it_is_whole(runs, tmp_path):
    told = json.loads(run_command("info", runs / "p1", "--json").stdout)
    assert (told["env_steps"], told["steps"], told["finished"], told["whole"]) == (300, 300, True, True)
    assert told["training_process"] is None
    shutil.copytree(runs / "p1", tmp_path / "run")
    assert run_command("evaluate", tmp_path / "run", "--best").returncode == 0
    file = next((tmp_path / "run/replay").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    spoilt = run_command("info", tmp_path / "run")
    assert spoilt.returncode == 1
    assert f"{file.name} is not the file that was saved" in spoilt.stdout
    assert "300 of 300 steps" not in spoilt.stdout
    config = tmp_path / "run/config.json"
    good = config.read_text()
    config.write_text(good.replace('"Pendulum-v1"', '"\\u001b[31mred"'))
    assert r"environment  \x1b[31mred" in run_command("info", tmp_path / "run").stdout.splitlines()
    config.write_text(good.replace('"steps": 300', '"steps": "many"'))
    refused = run_command("info", tmp_path / "run")
    assert refused.returncode == 2
    assert refused.stderr.startswith("rucksac: --steps is 'many', but must be")
    assert "checkpoints: 0 of 1 whole" in refused.stderr


def test_plot_writes_two_pictures(runs, tmp_path):
    for words, where in (
        (["p1"], runs / "p1/curve.png"),
        (["p1", "p2", "-o", tmp_path / "new/all.png"], tmp_path / "new/all.png"),
    ):
        done = run_command("plot", *words, cwd=runs)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 2
        for picture in (where, where.with_name(where.stem + "-inside.png")):
            assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_watch_writes_a_video_that_plays(runs, tmp_path):
    import imageio_ffmpeg

    video = tmp_path / "new/pendulum.mp4"
    done = run_command("watch", runs / "p1", "--video", video, "--episodes", 1)
    assert done.returncode == 0, done.stderr
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(video))
    assert frames == 201
    assert seconds == pytest.approx(201 / 30, abs=0.1)


def test_a_display_that_does_not_answer_is_none(runs, tmp_path):
    nobody = {**os.environ, "DISPLAY": ":7799", "WAYLAND_DISPLAY": ""}
    done = in_a_process("watch", runs / "p2", "--episodes", 2, env=nobody)
    assert done.returncode == 0, done.stderr
    video = runs / "p2/video.mp4"
    assert video.stat().st_size > 1000
    returns = re.fullmatch(rf"{video}: 2 episodes, returns (.*), (.*)\n", done.stdout).groups()
    said = done.stderr.splitlines()
    assert said[0] == f"No display answers here, so the episodes go to {video}."
    assert said[-2:] == [f"episode {i} of 2: return {value}, 200 steps" for i, value in enumerate(returns, 1)]


def test_quiet_is_quiet_whatever_libraries_have_to_say(tmp_path):
    words = [*SMALL_FLAGS, "--steps", "60", "--time-limit", "20", "--quiet", "--run", tmp_path / "run"]
    trained = in_a_process("train", "HalfCheetah-v4", *words, cwd=tmp_path)  # outdated, and MuJoCo dislikes its XML
    assert (trained.returncode, trained.stdout, trained.stderr) == (0, "", "")
    refused = in_a_process("resume", tmp_path / "run", "--steps", 10, "--quiet", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("rucksac: ")
    assert len(refused.stderr.splitlines()) == 1


def test_recipes_are_listed_with_their_sources_and_explained_one_by_one():
    done = run_command("recipes")
    assert "arXiv 1812.05905. Cost: 291 million, 1.00 times that of sac." in done.stdout
    assert "notebook" in done.stdout
    assert json.loads(run_command("recipes", "--json").stdout)["notebook"]["settings"]["hidden"] == [64, 64, 64]
    lines = [line.split() for line in run_command("recipes", "sac-v1").stdout.splitlines()]
    assert lines[1] == ["Source:", "arXiv", "1801.01290"]
    assert lines[3:8] == [
        ["setting", "sac-v1", "sac"], ["--steps", "1,000,000", "20,000"], ["--alpha", "1", "learned"],
        ["--temperature-loss", "log", "alpha"], ["--value-network", "yes", "no"],
    ]  # fmt: skip
    assert "The settings are the defaults" in run_command("recipes", "rucksac").stdout
    unknown = run_command("recipes", "tdd3")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "did you mean 'td3'" in unknown.stderr


def test_settings_override_those_of_a_recipe(tmp_path):
    flags = "--alpha learned --learning-starts 40 --deterministic-policy --no-value-network --warmup 60".split()
    small = [word for word in SMALL_FLAGS if word not in ("--warmup", "50")]
    done = run_command("train", "Pendulum-v1", "--recipe", "sac-v1", *small, *flags, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "run/config.json").read_text())["settings"]
    names = "alpha learning_starts deterministic_policy value_network reward_scale policy_lr".split()
    assert [settings[name] for name in names] == ["learned", 40, True, False, 5.0, None]
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["grad_steps"] == 261
    done = run_command("train", "Pendulum-v1", "--value-network", "--target-policy", "--run", tmp_path / "other")
    assert done.returncode == 2
    assert "--target-policy would do nothing; leave that out, or give --no-value-network" in done.stderr


def test_settings_come_from_recipe_then_file_then_flags(tmp_path):
    (tmp_path / "settings.toml").write_text(
        'steps = 30\nbatch-size = 8\nlr = 0.001\nhidden = [8]\ncompile = "never"\nthreads = 1'
    )
    done = run_command(
        "train", "Pendulum-v1", "--recipe", "notebook", "--config", "settings.toml", "--lr", "0.002", "--run", "r",
        "--eval-episodes", 1, "--steps", "4e1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "r/config.json").read_text())["settings"]
    assert [settings[name] for name in ("warmup", "steps", "lr", "hidden")] == [0, 40, 0.002, [8]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian", "Pendulum-v1"], "did you mean 'train'"),
        (["train", "Pendulm-v1"], "did you mean Pendulum-v1"),
        (["train", "CartPole-v1", "--action-low", "0"], "which have no bounds; leave out --action-low"),
        (["train", "Pendulum-v1", "--batchsize", "3"], "did you mean --batch-size"),
        (["train", "Pendulum-v1", "--recipe", "scа"], "the recipes are rucksac, plain, sac"),
        (["train", "Pendulum-v1", "--gamma", "nan"], "--gamma is nan, but must be a number from 0 to below 1"),
        (["train", "Pendulum-v1", "--lr", "-1"], "--lr is -1.0, but must be a number from 1e-12 to 1"),
        (["train", "Pendulum-v1", "--steps", "many"], "--steps is 'many', but must be a whole number from 1 to 1e+15"),
        (["train", "Pendulum-v1", "--steps=1.5"], "--steps is '1.5', but must be a whole number"),
        (["train", "Pendulum-v1", "--steps"], "--steps needs a value: a whole number from 1"),
        (["train", "Pendulum-v1", "--alpha", "auto"], "--alpha is 'auto', but must be learned or a number from 1e-30"),
        (["train", "Pendulum-v1", "--hidden", "64", "x", "--lr", "1"], "--hidden is '64 x', but must be one or more"),
        (["train", "Pendulum-v1", "--precision", "fp8"], "--precision is 'fp8', but must be one of fp32, bf16"),
        (["evaluate", ".", "--episodes", "1e-1"], "--episodes is '1e-1', but must be a whole number"),
        (["plot", ".", "-o"], "--output needs a value"),
        (["plot", ".", "--size", "3"], "--size is '3', but must be two numbers"),
        (["compare", ".", "--threshold", "high"], "--threshold is 'high', but must be a number"),
        (["runs", "--sort", "date"], "--sort is 'date', but must be one of name, environment, recipe"),
        (["train", "Pendulum-v1", "--warmup", "100"], "fewer than one batch of 256"),
        (["train", "Pendulum-v1", "--run", "/proc/no/such"], "cannot be written"),
        (["train", "Pendulum-v1", "--config", "missing.toml"], "cannot be read"),
        (["train", "Pendulum-v1", "extra"], "one word too many"),
        (["train", "Pendulum-v1", "--env."], "--env. names no argument of the environment"),
        (["train"], "train needs ENV as its first word"),
        (["train", "Pendulum-v1", "--hidden", "1000000"], "from 1 to 16384"),
        (["train", "Pendulum-v1", "--buffer-size", "100000000000"], "are free; use --buffer-size"),
        (["train", ":x"], "there is no environment ':x'"),
        (["evaluate", "nowhere"], "no such folder"),
        (["evaluate", "."], "holds no checkpoint"),
        (["plot"], "at least one run"),
        (["plot", "."], "not the folder of a run"),
        (["watch", "nowhere"], "no such folder"),
        (["train", "Pendulum-v1", "--alpha", "1e-50"], "from 1e-30 to 1e+30"),
        (["train", "Pendulum-v1", "--run", ""], "what follows --run is empty; say what is meant"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(words, says, tmp_path):
    done = run_command(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_leaves_a_usable_run(number, code, tmp_path):
    run = tmp_path / "run"
    long = [word if word != "300" else "1000000" for word in SMALL_FLAGS]
    process = subprocess.Popen(
        [*COMMAND, "train", "Pendulum-v1", *long, "--log-every", "50", "--run", str(run)], stderr=subprocess.DEVNULL
    )
    while not (run / "metrics.csv").exists() or len((run / "metrics.csv").read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert json.loads((run / "summary.json").read_text())["finished"] is False
    assert run_command("evaluate", run, "--episodes", 1).returncode == 0


SCRIPT = "import rucksac; rucksac.train('Pendulum-v1', hidden=37, run='run', quiet=False)"


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (["-m", "rucksac", "train", "Pendulum-v1", "--hidden", "37", "--run", "run"], signal.SIGINT, 130),
        (["-c", SCRIPT], signal.SIGTERM, 143),
    ],
)
def test_a_signal_before_learning_leaves_nothing(command, number, code, tmp_path):
    process = subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "RUCKSAC_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    with process.stderr:
        while "Preparing" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        assert "Traceback" not in process.stderr.read()
    assert not (tmp_path / "run").exists()


def test_ctrl_c_during_an_evaluation_leaves_a_usable_run(tmp_path):
    run = tmp_path / "run"
    (tmp_path / "mine.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Long-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=90_000)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "train", "mine:Long-v0", *SMALL_FLAGS, "--eval-every", "100", "--run", str(run)],
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None:
        time.sleep(0.05)
        if (run / "metrics.csv").exists():
            time.sleep(2.0)
            process.send_signal(signal.SIGINT)
            break
    assert process.wait(timeout=60) == 130
    assert run_command("evaluate", run, "--episodes", 1, "--env", "Pendulum-v1").returncode == 0


def test_a_row_that_is_being_written_is_not_plotted(runs, tmp_path):
    shutil.copytree(runs / "p1", tmp_path / "run")
    log = tmp_path / "run/evaluations.csv"
    log.write_text(log.read_text().rstrip("\n")[:-3])
    done = run_command("plot", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")


def test_runs_of_different_length_are_plotted_together(runs, tmp_path):
    for seed, steps in ((3, 300), (4, 60)):
        words = [word if word != "300" else str(steps) for word in SMALL_FLAGS]
        done = run_command("train", "Pendulum-v1", *words, "--quiet", "--seed", seed, "--run", tmp_path / f"p{seed}")
        assert done.returncode == 0, done.stderr
    done = run_command("plot", tmp_path / "p4", tmp_path / "p3", tmp_path / "p3", "-o", tmp_path / "picture")
    assert done.returncode == 0
    assert done.stderr == ""
    assert [line.rsplit("/")[-1] for line in done.stdout.split()] == ["picture.png", "picture-inside.png"]


@pytest.mark.parametrize(
    ("file", "content"),
    [("metrics.csv", ""), ("metrics.csv", "a,b\n1,2\n"), ("episodes.csv", "env_steps\n1,2\n"), ("config.json", "[]"),
     ("config.json", '{"environment": 5, "recipe": "sac", "settings": [], "derived": null}')],
)  # fmt: skip
def test_damaged_run_files_are_named(runs, tmp_path, file, content):
    shutil.copytree(runs / "p1", tmp_path / "run")
    (tmp_path / "run" / file).write_text(content)
    done = run_command("plot", tmp_path / "run")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert file in done.stderr


@pytest.mark.parametrize("video", ["film.xyz", "film", "/proc/film.mp4"])
def test_videos_that_cannot_be_written_are_refused_in_one_sentence(runs, video, tmp_path):
    done = run_command("watch", runs / "p1", "--video", video, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr


def test_a_missing_compiler_costs_speed_and_one_line(tmp_path):
    words = [word for word in SMALL_FLAGS if word not in ("--compile", "never")]
    empty = {**os.environ, "PATH": "", "CXX": "", "RUCKSAC_CACHE": str(tmp_path / "cache")}
    done = in_a_process("train", "Pendulum-v1", *words, "--run", tmp_path / "run", env=empty)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "uncompiled" in line] == [
        "The gradient step runs uncompiled, slower: no C++ compiler was found; install g++ or clang++, or set CXX."
    ]


def test_an_environment_that_raises_shows_its_own_traceback_and_one_sentence(tmp_path):
    (tmp_path / "broken.py").write_text(
        "import gymnasium, numpy\n"
        "class Broken(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Box(-1, 1, (1,))\n"
        "    def reset(self, seed=None, options=None):\n"
        "        return numpy.zeros(2, numpy.float32), {}\n"
        "    def step(self, action):\n"
        "        return 1 / 0  # the mistake\n"
        "gymnasium.register('Broken-v0', Broken)\n"
    )
    command = [sys.executable, "-m", "rucksac", "train", "broken:Broken-v0", "--compile", "never", "--run", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "# the mistake" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rucksac: the environment failed in step: ZeroDivisionError")
    assert "broken.py, line 8" in last


def test_environments_are_made_with_the_arguments_given(tmp_path):
    run, file = tmp_path / "run", tmp_path / "settings.toml"
    file.write_text("[env_args]\ncontinuous = true\ngravity = -9.0\n")
    flags = ["--config", file, "--env.gravity", "-5", "--env.enable-wind", "--run", run, "--time-limit", 40, "--quiet"]
    done = run_command("train", "LunarLander-v3", *SMALL_FLAGS, *flags)
    assert done.returncode == 0, done.stderr
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert settings["env_args"] == {"continuous": True, "gravity": -5, "enable_wind": True}
    told = json.loads(run_command("evaluate", run, "--episodes", 3, "--json").stdout)
    assert max(told["lengths"]) <= 40
    heavier = json.loads(run_command("evaluate", run, "--episodes", 3, "--json", "--env.gravity", "-11").stdout)
    assert heavier["returns"] != told["returns"]
    assert run_command("resume", run, "--steps", 320, "--quiet").returncode == 0
    kept = run_command("resume", run, "--env.gravity=3")
    assert kept.returncode == 2
    assert "keeps the environment of its run; train a new one with --start-from RUN and --env.gravity" in kept.stderr
    wrong = run_command("train", "LunarLander-v3", "--env.colour", "red", "--run", tmp_path / "wrong")
    assert wrong.returncode == 2
    assert "unexpected keyword argument 'colour'" in wrong.stderr.splitlines()[-1]
    refused = run_command("info", run, "--env.gravity=3")
    assert refused.returncode == 2
    assert "takes no --env.gravity" in refused.stderr


def test_a_function_of_your_own_is_named_by_its_module(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(
        "import gymnasium\n\ndef simple(g=10.0):\n    return gymnasium.make('Pendulum-v1', g=g)\n\nBROKEN = 3\n"
    )
    flags = [*SMALL_FLAGS, "--env.g", "2.0", "--envs", 2, "--workers", 1, "--frame-skip", 4, "--run", "run", "--quiet"]
    done = run_command("train", "mine:simple", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(run_command("evaluate", "run", "--episodes", 1, "--json", cwd=tmp_path).stdout)
    assert told["lengths"] == [50]  # 200 steps of the environment, four at a time
    for name, says in (("nothing", "has no attribute 'nothing'"), ("BROKEN", "given as int, but must be an id or")):
        refused = run_command("train", f"mine:{name}", cwd=tmp_path)
        assert refused.returncode == 2
        assert says in refused.stderr


def test_ctrl_c_while_it_is_loaded_is_no_traceback():
    program = """
import sys
from rucksac.__main__ import main

class Impatient:
    def find_spec(self, name, *_):
        if name == "tyro":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rucksac: stopped at once\n")
