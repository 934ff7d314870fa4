"""What the critics of a run expect beside what comes of it, as plain values for a report."""

from pathlib import Path
from typing import Any

from rucksac.environments.making import closed_at_last, make_one
from rucksac.environments.opening import evaluated_in
from rucksac.errors import UsageError
from rucksac.training.estimates import at_starts, play
from rucksac.training.loading import load_agent


def estimates(run: Path, environment: str | None, episodes: int) -> dict[str, Any]:
    """Play and return estimates and soft returns at the starts, or, under `problem`, why that cannot be."""
    try:
        agent = load_agent(run)
        source = evaluated_in(environment, agent.config)
        if source is None:
            raise UsageError("the environment was made by a function")
        with closed_at_last(make_one(source, agent.config)) as env:
            found = at_starts(play(agent, env, episodes))
    except UsageError as error:
        return {"problem": str(error), "estimated": [], "obtained": []}
    return {"problem": None, "estimated": found.estimated.tolist(), "obtained": found.obtained.tolist()}
