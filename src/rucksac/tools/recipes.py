"""What the recipes are, in words: where each comes from, what it costs and in which settings it differs from `sac`."""

from typing import Any

from rucksac.algorithm.architecture import multiply_adds
from rucksac.algorithm.recipes import DEFAULT, RECIPES, recipe
from rucksac.config import Config, flag

COMMON, SIZES = "sac", (17, 6)  # observations and actions of HalfCheetah-v5, on which the cost is counted
NOISES = ("exploration_noise", "target_noise", "improvement_noise", "noise_clip")  # for a deterministic policy
TEMPERATURE = (
    "alpha",
    "initial_alpha",
    "temperature_loss",
    "target_entropy",
    "entropy_to_come",
)  # for one with an entropy


def listing() -> str:
    """Return all recipes, a few lines each."""
    width = max(map(len, RECIPES)) + 2
    lines = []
    for name, each in RECIPES.items():
        lines += [f"{name:{width}}{each.description}", f"{'':{width}}Source: {each.source}. Cost: {_cost(name)}."]
    per = f"Cost: multiply-adds per environment step for {SIZES[0]} observations and {SIZES[1]} actions, no pictures."
    return "\n".join([*lines, per])


def explanation(name: str) -> str:
    """Return one recipe with every setting in which it differs from `sac`; raise `UsageError` for an unknown one."""
    each = recipe(name)
    rows = [("setting", name, COMMON)]
    rows += [(flag(setting), _word(own), _word(other)) for setting, (own, other) in differences(name).items()]
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(2)]
    table = [f"  {row[0]:{widths[0]}}{row[1]:{widths[1]}}{row[2]}" for row in rows]
    return "\n".join(
        [
            f"{name}: {each.description}",
            f"Source: {each.source}",
            f"Cost: {_cost(name)}",
            *(table if len(rows) > 1 else []),
            *(["The settings are the defaults; rucksac train --help lists them."] if name == DEFAULT else []),
            *(f"Variant {flags}: {what}" for flags, what in each.variants),
            "docs/recipes.md says where it deviates from its source, and what to expect.",
        ]
    )


def as_json(name: str | None = None) -> dict[str, Any]:
    """Return one recipe, or all by name, as plain JSON values; raise `UsageError` for an unknown one."""
    if name is None:
        return {each: as_json(each) for each in RECIPES}
    each = recipe(name)
    return {
        "source": each.source,
        "description": each.description,
        "multiply_adds_per_env_step": multiply_adds(each.config, *SIZES),
        "settings": each.config.to_json(),
        "differences": differences(name),
        "variants": dict(each.variants),
    }


def differences(name: str) -> dict[str, tuple[Any, Any]]:
    """Return the recipe's value and that of `sac` for every setting in which they differ."""
    own, common = (_in_use(recipe(each).config) for each in (name, COMMON))
    return {setting: (value, common[setting]) for setting, value in own.items() if value != common[setting]}


def _in_use(config: Config) -> dict[str, Any]:
    """Return the settings, those that have no effect beside the others as such."""
    idle = TEMPERATURE if config.deterministic_policy else NOISES
    return {name: "unused" if name in idle else value for name, value in config.to_json().items()}


def _cost(name: str) -> str:
    own, common = (multiply_adds(RECIPES[each].config, *SIZES) for each in (name, COMMON))
    return f"{own / 1e6:,.0f} million, {own / common:.2f} times that of {COMMON}"


def _word(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
