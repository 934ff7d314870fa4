"""A search for good settings: Optuna proposes, several seeds are trained for each proposal, weak ones end early.

Everything is on disk: what Optuna knows in study.db, each trial as a folder of seeds. A search that was killed goes on
with the trials that were under way, each seed exactly where it was.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from rucksac.config import Config, with_settings
from rucksac.errors import TrainingStopped, UsageError
from rucksac.text import count, printable
from rucksac.training.claim import claim
from rucksac.training.console import console
from rucksac.training.folder import RunFolder
from rucksac.training.group import SECONDS_BETWEEN_LOOKS, Group
from rucksac.training.jobs import Place
from rucksac.training.overview import evaluations, members
from rucksac.training.seed_process import SeedProcess
from rucksac.training.seeds import prepare_group
from rucksac.training.stopping import stop_on_signals
from rucksac.tuning.space import Space, starting_point

TRIALS_BEFORE_PRUNING = 4  # whose median is worth something
NAME = "rucksac"


@dataclass(frozen=True)
class Question:
    """What is searched for: the best settings for an environment, from `config` on, in `space`.

    Each trial trains `seeds`; the best settings are trained again with `fresh_seeds`, which no trial has seen.
    """

    env: str
    recipe: str
    config: Config
    space: Space
    seeds: list[int]
    fresh_seeds: list[int]

    def to_json(self) -> dict[str, Any]:
        space = {name: [type(each).__name__, *each] for name, each in self.space.items()}
        values = {"environment": self.env, "recipe": self.recipe, "settings": self.config.to_json(), "space": space}
        return json.loads(json.dumps({**values, "seeds": self.seeds, "fresh_seeds": self.fresh_seeds}))


@dataclass
class Attempt:
    """A trial under way: its settings are trained with every seed."""

    trial: optuna.Trial
    folder: Path
    seeds: list[SeedProcess]

    def end(self) -> None:
        """End its processes and remove what only they needed: the replay memories."""
        for seed in self.seeds:
            if seed.process:
                seed.process.kill()
                seed.process.wait()
                seed.look()
            shutil.rmtree(seed.folder / "replay", ignore_errors=True)


class Search:
    """A search in a folder, from its beginning or from where it was."""

    def __init__(
        self, question: Question, folder: Path, trials: int, at_once: int | None, quiet: bool, place: Place
    ) -> None:
        self.question, self.folder, self.trials, self.quiet, self._place = question, folder, trials, quiet, place
        self.at_once = at_once or place.room(1)
        self._out, self._attempts = console(), list[Attempt]()

    def run(self) -> tuple[dict[str, Any], int]:
        """Search until there are as many trials as wanted; return the best one, and the exit code.

        Raises `UsageError` when the folder holds another search, `TrainingStopped` when no trial came to its end.
        """
        claim(self.folder, "question.json", self.question.to_json(), "search")
        with RunFolder(self.folder).alone():
            study = self._study()
            with stop_on_signals() as stop:
                stop.graceful = True
                try:
                    self._go_on(study)
                    while not stop.is_set() and self._attend(study):
                        stop.wait(SECONDS_BETWEEN_LOOKS)
                finally:
                    self._end_processes()
            if stop.is_set():
                return {"finished": False, **self._told(study)}, stop.exit_code
            return self._judged(study)

    def _study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = f"sqlite:///{(self.folder / 'study.db').absolute()}"
        study = optuna.create_study(
            study_name=NAME,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
        )
        # A sampler with the seed that it had would repeat its first proposals.
        study.sampler = optuna.samplers.TPESampler(seed=self.question.config.seed + len(study.trials))
        if not study.trials:
            study.enqueue_trial(starting_point(self.question.space, self.question.config))
        return study

    def _go_on(self, study: optuna.Study) -> None:
        """Take up the trials that were under way when the search was interrupted."""
        for each in study.get_trials(states=(TrialState.RUNNING,)):
            self._begin(study, optuna.Trial(study, each._trial_id))

    def _begin(self, study: optuna.Study, trial: optuna.Trial) -> None:
        """Make the folders of a trial's seeds, or find them; settings that do not fit each other are a failed trial."""
        question, folder = self.question, self.folder / "trials" / f"{trial.number:04}"
        values = {name: each.suggest(name, trial) for name, each in question.space.items()}
        if not folder.exists():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            try:
                prepare_group(
                    question.env, with_settings(question.config, values), question.recipe, new, question.seeds
                )
            except UsageError as error:
                self._failed(study, trial, str(error))
                return
            new.rename(folder)
        self._attempts.append(Attempt(trial, folder, [SeedProcess.of(path) for path in members(folder)]))

    def _attend(self, study: optuna.Study) -> bool:
        """Judge what has come, start what there is room for; return whether there is anything left to do."""
        for attempt in list(self._attempts):
            for seed in attempt.seeds:
                seed.look()
            if self._is_over(study, attempt):
                attempt.end()
                self._attempts.remove(attempt)
        while self._running() < self.at_once:
            waiting = [seed for attempt in self._attempts for seed in attempt.seeds if seed.state == "waiting"]
            # One that is not free is in the hands of a process that still saves after its parent was killed.
            free = [seed for seed in waiting if RunFolder(seed.folder).occupant() is None]
            if free:
                free[0].start(self._place)
            elif not waiting and self._asked(study) < self.trials:
                self._begin(study, study.ask())
            else:
                break
        return bool(self._attempts)

    def _is_over(self, study: optuna.Study, attempt: Attempt) -> bool:
        """Report the evaluations that all seeds have; tell the study when the trial is done, failed or to be pruned."""
        trial, states = attempt.trial, [seed.state for seed in attempt.seeds]
        if failed := [state for state in states if state.startswith("failed")]:
            self._failed(study, trial, failed[0].partition(": ")[2])
            return True
        curves = [dict(zip(*evaluations(seed.folder), strict=True)) for seed in attempt.seeds]
        means = {step: float(np.mean([curve[step] for curve in curves])) for step in _shared(curves)}
        known = study.get_trials(deepcopy=False)[trial.number].intermediate_values
        done = all(state == "done" for state in states)
        for step, mean in means.items():
            if step in known:
                continue
            trial.report(mean, step)
            if not done and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                self._say(f"{self._name(trial)} ended at step {step:,} with a return of {mean:.1f}, below the median")
                return True
        if done:
            study.tell(trial, means[max(means)])
            self._say(f"{self._name(trial)}: return {means[max(means)]:.1f}")
        return done

    def _failed(self, study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
        trial.set_user_attr("failed", reason)
        study.tell(trial, state=TrialState.FAIL)
        self._say(f"{self._name(trial)} failed: {printable(reason)}")

    def _end_processes(self) -> None:
        """Let what still trains save and end; a second signal ends it at once."""
        running = [seed.process for attempt in self._attempts for seed in attempt.seeds if seed.process]
        try:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
        finally:
            for process in running:
                process.kill()
                process.wait()

    def _running(self) -> int:
        return sum(seed.process is not None for attempt in self._attempts for seed in attempt.seeds)

    def _asked(self, study: optuna.Study) -> int:
        return sum(each.state != TrialState.WAITING for each in study.get_trials(deepcopy=False))

    def _name(self, trial: optuna.Trial) -> str:
        return f"Trial {trial.number + 1} of {self.trials} ({_in_words(trial.params)})"

    def _judged(self, study: optuna.Study) -> tuple[dict[str, Any], int]:
        """Train the best settings again with fresh seeds; return what came of it, and the exit code."""
        told = self._told(study)
        if told["best"] is None:
            failures = [each.user_attrs.get("failed") for each in study.trials]
            reason = next(filter(None, failures), "all were interrupted")
            raise TrainingStopped(f"none of {count(len(failures), 'trial')} came to its end: {reason}")
        number, question = told["best"]["trial"], self.question
        config = with_settings(question.config, told["best"]["settings"])
        folder = self.folder / "best" / f"{number:04}"
        if not folder.exists():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            prepare_group(question.env, config, question.recipe, new, question.fresh_seeds)
            new.rename(folder)
        self._say(f"Trial {number + 1} was the best; its settings are trained again.")
        summary, code = Group(folder, members(folder), self.quiet, self.at_once, place=self._place).run()
        return {"finished": code == 0, **told, "again": summary}, code

    def _told(self, study: optuna.Study) -> dict[str, Any]:
        """Return how many trials there are in each state, and the best one with its settings."""
        trials = study.get_trials(deepcopy=False)
        states = {state.name.lower(): sum(each.state == state for each in trials) for state in TrialState}
        done = [each for each in trials if each.state == TrialState.COMPLETE]
        best = max(done, key=lambda each: cast(float, each.value), default=None)
        return {"run": str(self.folder), "trials": states, "best": best and self._described(best)}

    def _described(self, trial: FrozenTrial) -> dict[str, Any]:
        settings = {name: json.loads(v) if isinstance(v, str) else v for name, v in trial.params.items()}
        return {"trial": trial.number, "return": trial.value, "settings": settings}

    def _say(self, text: str) -> None:
        if not self.quiet:
            self._out.print(text, markup=False)


def _shared(curves: list[dict[int, float]]) -> list[int]:
    """Return the steps at which all curves have an evaluation, in order."""
    return sorted(set.intersection(*map(set, curves)))


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
