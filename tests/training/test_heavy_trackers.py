"""W&B, MLflow and Trackio, read back from what they have on disk; in an environment of their own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.training.curves import approximately, logged

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-trackers/bin/python"
SMALL = (
    "--warmup 20 --batch-size 16 --hidden 16 --compile never --threads 1 --log-every 30 --eval-every 100 "
    "--eval-episodes 2 --checkpoint-every 50 --buffer-size 1000 --time-limit 40 --envs 2 --quiet --json"
).split()

MLFLOW = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
(experiment,) = [each for each in client.search_experiments() if each.name == "rucksac"]
(run,) = client.search_runs([experiment.experiment_id])
history = lambda name: [[each.step, each.value] for each in client.get_metric_history(run.info.run_id, name)]
curves = {name: history(name) for name in run.data.metrics}
films = [each.path for each in client.list_artifacts(run.info.run_id, "evaluations/video")]
print(json.dumps({"curves": curves, "facts": run.data.params, "status": run.info.status, "films": films}))
"""

WANDB = """
import json, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

def records(file):  # LevelDB's log format behind a header of seven bytes: blocks of 32 KiB, parts of records in each
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield Record.FromString(parts)
            parts = b""

curves, facts, ids, films = {}, {}, set(), []
for file in sorted(Path(sys.argv[1]).glob("offline-run-*/*.wandb")):
    for record in records(file):
        ids |= {record.run.run_id} - {""}
        facts.update({each.key: json.loads(each.value_json) for each in record.run.config.update})
        row = {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in record.history.item}
        for name, value in row.items():
            if name == "evaluations/video/path":
                films.append(row["_step"])
            elif not name.startswith(("_", "evaluations/video")):
                curves.setdefault(name, []).append([row["_step"], value])
print(json.dumps({"curves": curves, "facts": facts, "ids": sorted(ids), "films": films}))
"""

TRACKIO = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("select run_name, step, metrics from metrics order by step, id")
curves, runs, films = {}, set(), []
for run, step, values in rows:
    runs.add(run)
    for name, value in json.loads(values).items():
        if isinstance(value, dict):
            films.append(step)
        else:
            curves.setdefault(name, []).append([step, value])
print(json.dumps({"curves": curves, "runs": sorted(runs), "films": films}))
"""


def told(script, where, environment=None):
    done = subprocess.run(
        [PYTHON, "-c", script, str(where)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def pairs(found):
    return {name: [tuple(point) for point in points] for name, points in found["curves"].items()}


@pytest.fixture(scope="module")
def rucksac(tmp_path_factory):
    """Run commands where all trackers are installed, with nothing of the person's own settings."""
    if not PYTHON.exists():
        pytest.fail("the trackers' environment is missing: make .venv-trackers/ready")
    home = tmp_path_factory.mktemp("home")
    foreign = ("WANDB_", "MLFLOW_", "TRACKIO_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment = {**own, "HOME": str(home), "TRACKIO_DIR": str(home / "trackio")}

    def run(*words, **more):
        command = [PYTHON, "-m", "rucksac", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**environment, **more})
        assert done.returncode == 0, done.stderr
        assert "failed" not in done.stderr
        return json.loads(done.stdout)

    run.home, run.environment = home, environment
    return run


@pytest.fixture(scope="module")
def run(rucksac, tmp_path_factory):
    """A run with all trackers that was resumed from a checkpoint that lies before its last rows."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    trackers = "--track wandb mlflow trackio tensorboard --video-every 2".split()
    rucksac("train", "Pendulum-v1", *SMALL, "--steps", 320, "--run", folder, *trackers)
    newest = sorted((folder / "checkpoints").glob("0*"))[-1]
    (folder / "copy").mkdir()
    newest.rename(folder / "copy" / newest.name)
    rucksac("resume", folder, "--steps", 480, "--quiet", "--json")
    assert not (folder / "warnings.txt").exists(), (folder / "warnings.txt").read_text()
    return folder


def settled(found):
    """Return curves without what a repeated stretch changes: its wall time, and the evaluation at the old end."""
    return {
        name: [point for point in points if not (name.startswith("evaluations") and point[0] == 320)]
        for name, points in found.items()
        if name != "metrics/wall_seconds"
    }


@pytest.mark.trackers
def test_mlflow_has_one_run_with_every_point_once(run):
    found = told(MLFLOW, f"sqlite:///{run / 'mlflow.db'}")
    assert settled(pairs(found)) == approximately(settled(logged(run)))
    assert found["facts"]["environment"] == "Pendulum-v1"
    assert found["facts"]["hidden"] == "[16]"
    assert found["status"] == "FINISHED"
    assert [int(Path(film).stem.removeprefix("step-")) for film in found["films"]] == [200, 320, 400, 480]


@pytest.mark.trackers
def test_wandb_has_its_files_offline_with_one_run_and_every_point_once(run):
    found = told(WANDB, run / "wandb")
    assert settled(pairs(found)) == approximately(settled(logged(run)))
    assert len(found["ids"]) == 1
    assert found["facts"]["batch_size"] == 16
    assert found["films"] == [200, 320, 400, 480]


@pytest.mark.trackers
def test_trackio_has_one_run_on_this_machine_with_every_point_once(run, rucksac):
    found = told(TRACKIO, rucksac.home / "trackio/rucksac.db")
    assert settled(pairs(found)) == approximately(settled(logged(run)))
    assert len(found["runs"]) == 1
    assert found["runs"][0].startswith("run-")
    assert found["films"] == [200, 320, 400, 480]


@pytest.mark.trackers
def test_mlflow_goes_where_its_variable_leads(rucksac, tmp_path):
    where = f"sqlite:///{tmp_path / 'central.db'}"
    words = ["--steps", 120, "--run", tmp_path / "run", "--track", "mlflow"]
    rucksac("train", "Pendulum-v1", *SMALL, *words, MLFLOW_TRACKING_URI=where)
    assert pairs(told(MLFLOW, where)) == approximately(logged(tmp_path / "run"))
    assert not (tmp_path / "run/mlflow.db").exists()


@pytest.mark.trackers
def test_servers_that_do_not_answer_cost_a_run_nothing_but_a_warning(rucksac, tmp_path):
    nowhere = "http://127.0.0.1:9"
    variables = {"MLFLOW_TRACKING_URI": nowhere, "WANDB_BASE_URL": nowhere, "WANDB_API_KEY": "0" * 40}
    words = ["--steps", 120, "--run", tmp_path / "run", "--track", "mlflow", "wandb"]
    summary = rucksac("train", "Pendulum-v1", *SMALL, *words, **variables)
    assert summary["env_steps"] == 120
    warnings = (tmp_path / "run/warnings.txt").read_text()
    assert warnings.count("The tracker mlflow") == warnings.count("The tracker wandb") == 1
