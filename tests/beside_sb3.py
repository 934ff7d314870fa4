"""Running Python where Stable-Baselines3 is installed."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-sb3/bin/python"


def told(script, *words):
    """Return what the script printed last, as JSON; its warnings are errors of the test."""
    if not PYTHON.exists():
        pytest.fail("the environment with Stable-Baselines3 is missing: make .venv-sb3/ready")
    command = [PYTHON, "-c", script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
