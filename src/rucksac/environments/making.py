"""From what a person names to an environment: an id or a function; unknown names get the nearest ones."""

import difflib
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium

from rucksac.errors import UsageError, environment_failed

EnvSource = str | Callable[[], gymnasium.Env]

# Families whose ids are registered by gymnasium but whose simulator is an extra of it.
EXTRAS = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "box2d",
    "gymnasium.envs.classic_control": "classic",
}


def make(source: EnvSource, **kwargs: Any) -> gymnasium.Env:
    """Make the environment; raise `UsageError` when that fails, naming the nearest ids or what to install."""
    if isinstance(source, str):
        return _make_by_id(source, kwargs)
    if not callable(source):
        raise UsageError(
            f"the environment is given as {type(source).__name__}, but must be an id or a function that returns a new "
            "gymnasium.Env: two are needed, for training and for evaluation"
        )
    try:
        env = source(**kwargs)
    except Exception as error:
        raise environment_failed("its constructor", error) from error
    if not isinstance(env, gymnasium.Env):
        raise UsageError(f"the environment function returned {type(env).__name__}, but must return a gymnasium.Env")
    return env


def _make_by_id(source: str, kwargs: dict[str, Any]) -> gymnasium.Env:
    if "" in source.split(":"):
        raise UsageError(f"there is no environment {source!r}; for your own, give module:Name-v0 or a function")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the sentence below says it in our words
            return gymnasium.make(source, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        entry_point = str(gymnasium.spec(source).entry_point)
        extra = next((name for module, name in EXTRAS.items() if entry_point.startswith(module)), None)
        remedy = f'pip install "rucksac[{extra}]"' if extra else "install it beside rucksac"
        raise UsageError(f"{source} needs a package that is not installed ({_line(error)}); {remedy}") from error
    except gymnasium.error.Error as error:
        by_lower_case = {name.lower(): name for name in gymnasium.envs.registry if "/" not in name}
        near = [by_lower_case[name] for name in difflib.get_close_matches(source.lower(), by_lower_case, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else "for your own, give module:Name-v0 or a function"
        raise UsageError(f"there is no environment {source!r} ({_line(error)}); {hint}") from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{source!r} cannot be made ({error}); install the module or correct the id") from error
    except Exception as error:
        raise environment_failed(f"making {source!r}", error) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
