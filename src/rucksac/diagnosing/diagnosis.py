"""Why a run is not learning: symptoms with their figures, and facts of a run that shows none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rucksac.diagnosing.evidence import Evidence, gather
from rucksac.diagnosing.symptoms import symptoms
from rucksac.doctor.findings import Finding, to_json
from rucksac.environments.making import EnvSource
from rucksac.text import count
from rucksac.training.estimates import Estimates, at_starts

AVERAGED = 10  # training episodes at the beginning, and at the end


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a run, and the facts behind it."""

    evidence: Evidence
    findings: list[Finding]

    @property
    def returns(self) -> tuple[float, float] | None:
        """Return the mean returns of the first and of the last training episodes; None where there are too few."""
        returns = self.evidence.episodes.get("return", np.zeros(0))
        if len(returns) < 2 * AVERAGED:
            return None
        return float(returns[:AVERAGED].mean()), float(returns[-AVERAGED:].mean())

    @property
    def estimates(self) -> Estimates | None:
        """Return what the critics expect at the starts of episodes, and what came; None where none were played."""
        return at_starts(self.evidence.played) if self.evidence.played else None

    def summary(self) -> str:
        """Return how the run stands, in a sentence."""
        seen, parts = self.evidence, []
        if self.returns:
            first, last = self.returns
            parts.append(f"the mean return of {AVERAGED} training episodes went from {first:.4g} to {last:.4g}")
        if self.estimates:
            estimated, obtained, _ = self.estimates
            parts.append(
                f"critics expect {estimated.mean():.4g} at the starts of {count(len(estimated), 'episode')} that gave "
                f"{obtained.mean():.4g} (discounted, with entropy)"
            )
        steps = f"{count(seen.env_steps, 'step')}, {count(seen.grad_steps, 'gradient step')}"
        return "; ".join([steps, *parts])

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        seen, estimates = self.evidence, self.estimates
        return {
            "run": str(seen.run),
            "environment": seen.saved["environment"],
            "env_steps": seen.env_steps,
            "steps": seen.config.steps,
            "grad_steps": seen.grad_steps,
            "returns": self.returns and dict(zip(("first", "last"), self.returns, strict=True)),
            "estimates": estimates and {name: value.tolist() for name, value in estimates._asdict().items()},
            "findings": to_json(self.findings),
            "not_looked_at": seen.missing,
        }


def diagnose(run: str | Path, env: EnvSource | None = None) -> Diagnosis:
    """Say why a run is not learning; `env` takes the place of the run's environment. Raises as `gather` does."""
    seen = gather(run, env)
    return Diagnosis(seen, list(symptoms(seen)))
