"""What a person gets from the package index: the wheel, installed where nothing else is."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.long
def test_the_wheel_works_in_a_clean_environment(tmp_path):
    def run(*words):
        done = subprocess.run(list(map(str, words)), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", ROOT)  # the wheel is made of the sdist
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", *(tmp_path / "dist").iterdir())
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("rucksac/")}
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/rucksac").rglob("*.py")}
    data = {"py.typed", "product.cpp", "team.cpp"}
    data |= {
        f"reporting/{name}" for name in "page.html page.css page.js live.js uPlot.js uPlot.css uPlot.LICENSE".split()
    }
    assert names == sources | {f"rucksac/{name}" for name in data}

    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"rucksac[classic] @ file://{wheel}")
    command = tmp_path / "clean/bin/rucksac"
    small = (
        "--steps 300 --warmup 50 --batch-size 32 --hidden 16 --compile never --eval-episodes 2 --quiet --json".split()
    )
    summary = json.loads(run(command, "train", "Pendulum-v1", *small, "--run", "run"))
    assert summary["grad_steps"] == 251
    assert json.loads(run(command, "evaluate", "run", "--episodes", 2, "--json"))["episodes"] == 2
    run(command, "plot", "run")
    run(command, "report", "run")
    run(command, "watch", "run", "--video", "run.mp4", "--episodes", 1)
    assert (tmp_path / "run.mp4").stat().st_size > 10_000
