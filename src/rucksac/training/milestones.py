"""What is done every so many steps of a run: evaluating the agent, saving everything."""

from rucksac.environments.env_group import EnvGroup
from rucksac.errors import TrainingStopped
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.evaluate import EvaluationStopped, evaluate_in
from rucksac.training.parts import Training
from rucksac.training.record import CsvRecorder, Recorder, episode_row
from rucksac.training.report import Report
from rucksac.training.stopping import StopRequest


class Milestones:
    """Evaluates in `envs`; saves to `checkpoints` what belongs together with the rows written to `csv`.

    `record` gets the rows of evaluations, `announce` one for each checkpoint.
    """

    def __init__(
        self,
        training: Training,
        envs: EnvGroup,
        checkpoints: Checkpoints | None,
        csv: CsvRecorder | None,
        record: Recorder,
        announce: Recorder,
        report: Report,
        stop: StopRequest,
    ) -> None:
        self._training, self._envs, self._checkpoints, self._csv = training, envs, checkpoints, csv
        self._record, self._announce, self._report, self._stop = record, announce, report, stop
        self.saved = True  # whether the last attempt to save went well

    def evaluate(self) -> None:
        """Evaluate the agent, record that and keep the best one; leave it undone when the run is to stop meanwhile."""
        training, progress = self._training, self._training.progress
        episodes = training.agent.config.eval_episodes
        try:
            evaluation = evaluate_in(training.agent, self._envs, episodes, stop=self._stop, say=self._report.say)
        except EvaluationStopped:
            return
        if evaluation.summary.mean > progress.best:
            progress.best = evaluation.summary.mean
            if self._checkpoints:
                with self._report.saving("the best agent"):
                    self._checkpoints.save_best(training.agent, progress.env_steps)
        progress.evaluation, progress.evaluated = evaluation.episodes, progress.env_steps
        rows = [episode_row(progress.env_steps, number, each) for number, each in enumerate(progress.evaluation)]
        self._record("evaluations", rows)

    def save(self) -> None:
        """Write a checkpoint where there is a folder; raise `TrainingStopped` when the agent is not finite."""
        training = self._training
        for name, tensor in training.agent.tensors().items():
            if not tensor.isfinite().all():
                raise TrainingStopped(
                    f"{name} holds a value that is not finite at environment step {training.progress.env_steps}; the "
                    "last checkpoint, if there was one, is from before. Smaller rewards or a smaller --lr usually help"
                )
        if self._checkpoints and self._csv:
            self.saved = False
            with self._report.saving("a checkpoint"):
                folder = self._checkpoints.save(training, self._csv.written())
                self.saved = True
            if self.saved:
                self._announce("checkpoints", [{"env_steps": training.progress.env_steps, "path": folder}])

    def can_go_on(self) -> bool:
        """Return whether all that came before is saved."""
        return bool(self.saved and self._checkpoints and self._checkpoints.exist())
