"""Functions of a person's own: what they get, how they end a run, and what happens when they fail."""

import json
import sys

import numpy as np
import pytest

import rucksac
from rucksac.errors import UsageError
from tests.runs import SMALL, logs, rows


def test_they_get_every_row_that_is_logged_with_the_agent_and_how_far_the_run_is(tmp_path):
    events = []
    settings = {**SMALL, "steps": 450, "eval_every": 200}
    agent = rucksac.train("Pendulum-v1", run=tmp_path / "run", callbacks=[events.append], **settings)
    for kind in ("metrics", "episodes", "evaluations"):
        found = [row for event in events if event.kind == kind for row in event.rows]
        assert len(found) > 1
        assert [{name: str(value) for name, value in row.items()} for row in found] == rows(tmp_path / "run", kind)
    assert events[0].kind == "start"
    assert (events[0].env_steps, events[0].grad_steps, events[0].rows) == (0, 0, [])
    assert all(event.agent is agent and event.run == tmp_path / "run" for event in events)
    counted = [(event.env_steps, event.episodes) for event in events if event.kind == "episodes"]
    assert counted == [(200, 1), (400, 2)]
    saved = [event for event in events if event.kind == "checkpoints"]
    assert [event.env_steps for event in saved] == [50, 100, 150, 200, 250, 300, 350, 400, 450]
    assert saved[-1].rows[0]["path"].parent == tmp_path / "run/checkpoints"
    assert (saved[-1].rows[0]["path"] / "agent.json").is_file()


def test_a_run_without_a_folder_calls_too():
    kinds = set()
    rucksac.train("Pendulum-v1", callbacks=[lambda event: kinds.add((event.kind, event.run))], **SMALL, steps=210)
    assert kinds == {("start", None), ("metrics", None), ("episodes", None), ("evaluations", None)}


@pytest.mark.parametrize(
    ("kind", "at"), [("metrics", 70), ("episodes", 200), ("evaluations", 120), ("checkpoints", 151)]
)
def test_one_that_returns_stop_ends_the_run_which_then_goes_on_as_if_it_had_not(tmp_path, kind, at):
    def stop(event):
        return rucksac.STOP if event.kind == kind and event.env_steps >= at - 1 else None

    settings = {**SMALL, "steps": 240, "checkpoint_every": 151}
    rucksac.train("Pendulum-v1", run=tmp_path / "whole", **settings)
    rucksac.train("Pendulum-v1", run=tmp_path / "halves", callbacks=[stop], **settings)
    summary = json.loads((tmp_path / "halves/summary.json").read_text())
    assert not summary["finished"]
    assert at <= summary["env_steps"] <= at + 1
    rucksac.resume(tmp_path / "halves")
    assert logs(tmp_path / "whole") == logs(tmp_path / "halves")
    assert json.loads((tmp_path / "halves/summary.json").read_text())["finished"]


def test_other_answers_mean_nothing():
    events = []
    rucksac.train("Pendulum-v1", callbacks=[lambda event: events.append(event) or True], **SMALL, steps=60)
    assert events[-1].env_steps == 60


def test_one_that_raises_does_not_end_the_run_and_is_told_of_once(tmp_path):
    calls = []

    def broken(event):
        calls.append(event.kind)
        sys.exit("my plot has no axis")

    rucksac.train("Pendulum-v1", run=tmp_path, callbacks=[broken, calls.append], **SMALL, steps=60)
    assert calls.count("metrics") > 1
    assert sum(not isinstance(call, str) for call in calls) == len(calls) / 2
    warnings = (tmp_path / "warnings.txt").read_text()
    assert warnings.count("The callback broken raised SystemExit: my plot has no axis; the run goes on") == 1
    assert warnings.count("Traceback") == 1
    assert "in broken" in warnings


def test_what_they_are_given_is_theirs(tmp_path):
    def greedy(event):
        for row in event.rows:
            row.clear()

    rucksac.train("Pendulum-v1", run=tmp_path, callbacks=[greedy], **SMALL, steps=60)
    assert rows(tmp_path, "metrics")[-1]["env_steps"] == "60"


def test_what_is_no_list_of_functions_is_refused_before_training(tmp_path):
    for wrong, says in ((print, "must be a list of functions"), ([3], "a callback is 3, but must be a function")):
        with pytest.raises(UsageError, match=says):
            rucksac.train("Pendulum-v1", run=tmp_path / "run", callbacks=wrong, **SMALL)
        assert not (tmp_path / "run").exists()


def test_the_agent_can_be_asked_without_changing_the_run(tmp_path):
    def ask(event):
        event.agent.predict(np.zeros(3, np.float32))

    rucksac.train("Pendulum-v1", run=tmp_path / "asked", callbacks=[ask], **SMALL, steps=120)
    rucksac.train("Pendulum-v1", run=tmp_path / "left", **SMALL, steps=120)
    assert logs(tmp_path / "asked") == logs(tmp_path / "left")
