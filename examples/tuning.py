"""Search for settings with a value of your own; here what counts is the area under the learning curve.

pip install "rucksac[tune]"

`rucksac tune` does the usual: the last evaluation over several seeds, weak trials ended early, the best trained again.
"""

from statistics import fmean

import optuna

import rucksac


def area(settings):
    """Return the mean of all evaluations of a run."""
    returns = []

    def listen(event):
        if event.kind == "evaluations":
            returns.extend(row["return"] for row in event.rows)

    rucksac.train("Pendulum-v1", callbacks=[listen], **settings)
    return fmean(returns)


def main(trials=20, storage="sqlite:///tuning.db", **settings):
    """Return the study; called again it goes on from what is stored."""

    def value(trial):
        choice = {"lr": trial.suggest_float("lr", 1e-4, 3e-3, log=True), "tau": trial.suggest_float("tau", 0.002, 0.05)}
        return area({**settings, **choice, "seed": trial.number + 1})

    study = optuna.create_study(storage=storage, study_name="area", direction="maximize", load_if_exists=True)
    study.optimize(value, n_trials=trials)
    return study


if __name__ == "__main__":
    print(main(steps=5_000, eval_every=500).best_trial)
