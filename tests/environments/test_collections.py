"""Environments of other people's collections, which need another MuJoCo than Gymnasium's own and so live apart."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = "--steps 160 --warmup 40 --batch-size 32 --hidden 16 --compile never --eval-episodes 1 --quiet --json".split()


@pytest.fixture(scope="module")
def python(pytestconfig):
    """Return an interpreter that has the extra `robotics`; all else it takes from the environment of the tests."""
    folder = pytestconfig.cache.mkdir("robotics")
    made = folder / "bin/python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        constraints = ROOT / "constraints-robotics.txt"
        packages = ["gymnasium", "gymnasium-robotics", "dm-control", "shimmy", "mujoco"]
        subprocess.run([made, "-m", "pip", "install", "--quiet", "-c", constraints, *packages], check=True)
        (inside,) = folder.glob("lib/*/site-packages")
        (inside / "others.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        (folder / "ready").touch()
    return made


def grad_steps(python, tmp_path, name, *flags):
    """Train, and return how many gradient steps were taken."""
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "rucksac", "train", name, *SMALL, *flags, "--run", tmp_path / "run"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["grad_steps"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "obs_size", "action_size"),
    [
        ("FetchReach-v4", 10 + 3 + 3, 4),  # a Dict: achieved goal, desired goal, observation
        ("gymnasium_robotics:PointMaze_UMaze-v3", 4 + 2 + 2, 2),
        ("dm_control/cartpole-swingup-v0", 5, 1),
        ("shimmy:dm_control/reacher-easy-v0", 6, 2),
    ],
)
def test_collections_are_found_and_train(python, tmp_path, name, obs_size, action_size):
    assert grad_steps(python, tmp_path, name, "--time-limit", "60") == 121  # a longer evaluation says no more
    told = (
        f"import rucksac; a = rucksac.load({str(tmp_path / 'run')!r}); print(a.spaces.obs_size, a.spaces.action_size)"
    )
    seen = subprocess.run([python, "-c", told], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == [str(obs_size), str(action_size)]


@pytest.mark.long
@pytest.mark.parametrize("name", ["FetchReach-v4", "gymnasium_robotics:PointMaze_UMaze-v3"])
def test_goals_of_collections_are_for_hindsight(python, tmp_path, name):
    hindsight = "--time-limit 20 --hindsight 4 --n-step 2 --priorities 0.6".split()
    assert grad_steps(python, tmp_path, name, *hindsight) == 121


def test_a_collection_that_is_not_installed_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "rucksac", "train", "FetchReach-v4"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'pip install "rucksac[robotics]"' in done.stderr
