"""From what a person names to an environment: an id or a function; unknown names get the nearest ones."""

import difflib
import functools
import importlib.util
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gymnasium
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import RepeatAction, TimeLimit

from rucksac.config import Config
from rucksac.environments.pictures import FrameStack
from rucksac.errors import ANYTHING, UsageError, environment_failed

Env = gymnasium.Env | VectorEnv
EnvSource = str | Callable[..., Env]
AnyEnv = TypeVar("AnyEnv", gymnasium.Env, VectorEnv, Env)

# Families whose ids are registered by gymnasium but whose simulator is an extra of it.
EXTRAS = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "box2d",
    "gymnasium.envs.classic_control": "classic",
}
COLLECTIONS = ("gymnasium_robotics", "shimmy")  # they register their ids when they are imported
IN_COLLECTIONS = re.compile(r"(\w+:)?(Fetch|Hand|Adroit|Franka|PointMaze|AntMaze|dm_control/)")
ROBOTICS = 'pip install "rucksac[robotics]" in an environment of its own'
WHERE_FROM = "modules are found in the current folder and where Python looks: change to its folder, install it,"
MISSING = re.compile(r"missing \d+ required .*arguments?: '(\w+)'")
FUNCTION = re.compile(r"([\w.]+):([A-Za-z_]\w*)")


def make(source: EnvSource, config: Config, **kwargs: Any) -> Env:
    """Make the environment as the settings have it; raise `UsageError` when that fails, saying what would help.

    `kwargs` are handed to it beside `config.env_args`.
    """
    kwargs = {**config.env_args, **kwargs}
    if isinstance(source, str) and (named := FUNCTION.fullmatch(source)):
        source = _function(source, *named.groups())
    env = _by_id(source, config, kwargs) if isinstance(source, str) else _by_call(source, kwargs)
    if isinstance(env, VectorEnv):
        if config.frame_skip > 1 or config.time_limit or config.frame_stack > 1:
            raise UsageError("--frame-skip, --frame-stack and --time-limit are not for a VectorEnv; build them into it")
        return env
    if config.frame_skip > 1:
        env = RepeatAction(env, config.frame_skip)
    if config.frame_stack > 1:
        env = FrameStack(env, config.frame_stack)
    return TimeLimit(env, config.time_limit) if config.time_limit else env


def make_one(source: EnvSource, config: Config, **kwargs: Any) -> gymnasium.Env:
    """Make an environment that is no `VectorEnv`; raise `UsageError` as `make` does."""
    env = make(source, config, **kwargs)
    if isinstance(env, VectorEnv):
        env.close()
        raise UsageError(
            f"{name_of(source)} makes a VectorEnv, but a single gymnasium.Env is needed for this; name one with --env"
        )
    return env


@contextmanager
def closed_at_last(env: AnyEnv) -> Iterator[AnyEnv]:
    """Close the environment at the end; one that fails even then is warned of, as all it had to do is done."""
    try:
        yield env
    finally:
        try:
            env.close()
        except ANYTHING as error:
            warnings.warn(f"the environment could not be closed ({type(error).__name__}: {error})", stacklevel=2)


def name_of(source: EnvSource) -> str:
    """Return what to call an environment."""
    if isinstance(source, functools.partial):
        return name_of(source.func)
    return source if isinstance(source, str) else getattr(source, "__name__", type(source).__name__)


def _by_call(source: Callable[..., Env], kwargs: dict[str, Any]) -> Env:
    if not callable(source):
        raise UsageError(
            f"the environment is given as {type(source).__name__}, but must be an id or a function that returns a new "
            "gymnasium.Env: two are needed, for training and for evaluation"
        )
    try:
        env = source(**kwargs)
    except ANYTHING as error:
        raise _not_made("its constructor", error, kwargs) from error
    if not isinstance(env, Env):
        raise UsageError(f"the environment function returned {type(env).__name__}, but must return a gymnasium.Env")
    return env


def _function(source: str, module: str, name: str) -> Callable[..., Env]:
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(f"{source!r} cannot be made ({error}); {WHERE_FROM} or correct the name") from error
    except ANYTHING as error:
        raise environment_failed(f"importing {module}", error) from error


def _by_id(source: str, config: Config, kwargs: dict[str, Any]) -> gymnasium.Env:
    if "" in source.split(":"):
        raise UsageError(f"there is no environment {source!r}; for your own, give module:Name-v0 or module:function")
    own_limit = -1 if config.time_limit else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the sentence below says it in our words
            return gymnasium.make(_known(source), max_episode_steps=own_limit, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        entry_point = str(gymnasium.spec(source).entry_point)
        extra = next((name for module, name in EXTRAS.items() if entry_point.startswith(module)), None)
        remedy = f'pip install "rucksac[{extra}]"' if extra else "install it beside rucksac"
        raise UsageError(f"{source} needs a package that is not installed ({_line(error)}); {remedy}") from error
    except gymnasium.error.Error as error:
        by_lower_case = {name.lower(): name for name in gymnasium.envs.registry if "/" not in name}
        near = [by_lower_case[name] for name in difflib.get_close_matches(source.lower(), by_lower_case, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else "for your own, give module:Name-v0 or module:function"
        if IN_COLLECTIONS.match(source):
            hint = f"{ROBOTICS} where these environments are to run"
        raise UsageError(f"there is no environment {source!r} ({_line(error)}); {hint}") from error
    except ModuleNotFoundError as error:
        remedy = ROBOTICS if IN_COLLECTIONS.match(source) else WHERE_FROM
        raise UsageError(f"{source!r} cannot be made ({error}); {remedy} or correct the id") from error
    except ANYTHING as error:
        raise _not_made(f"making {source!r}", error, kwargs) from error


def _not_made(where: str, error: BaseException, kwargs: dict[str, Any]) -> UsageError:
    unknown = [name for name in kwargs if f"unexpected keyword argument '{name}'" in str(error)]
    if isinstance(error, TypeError) and unknown:
        return UsageError(
            f"the environment takes no argument {unknown[0]!r} ({_line(error)}); correct --env.{unknown[0]}, or the "
            "env_args of the agent that it is made for"
        )
    if isinstance(error, TypeError) and (missing := MISSING.search(str(error))):
        return UsageError(f"the environment needs an argument ({_line(error)}); give it by --env.{missing[1]} VALUE")
    return environment_failed(where, error)


def _known(source: str) -> str:
    """Return the id, with the installed collection in front that has it when gymnasium itself does not."""
    if ":" in source or source in gymnasium.envs.registry:
        return source
    for collection in COLLECTIONS:
        if importlib.util.find_spec(collection):
            importlib.import_module(collection)
            if source in gymnasium.envs.registry:
                break
    return source


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
