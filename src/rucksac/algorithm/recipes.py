"""Named published settings as data. Importing this module is cheap: no torch."""

import difflib
from dataclasses import dataclass

from rucksac.config import Config
from rucksac.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """A named set of settings and where it comes from."""

    source: str
    description: str
    config: Config


RECIPES: dict[str, Recipe] = {
    "sac": Recipe(
        "arXiv 1812.05905",
        "Twin critics and a learned temperature: what the authors recommend. The default.",
        Config(),
    ),
    "notebook": Recipe(
        "the SAC notebook on Pendulum-v1",
        "Three layers of 64, learning once more than one batch is stored, no random warm-up, 40,000 steps.",
        Config(steps=40_000, hidden=(64, 64, 64), warmup=0),
    ),
}


def recipe(name: str) -> Recipe:
    """Return the recipe of that name; raise `UsageError` naming the nearest when there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no recipe {name!r}; {hint}the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]
