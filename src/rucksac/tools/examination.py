"""Judging what an environment is like to learn in, from its spaces and from random play. Limits are rules of thumb."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as kinds

from rucksac.config import Config
from rucksac.environments.choices import Choices
from rucksac.environments.spaces import Continuous, Spaces
from rucksac.text import count
from rucksac.tools.findings import Finding
from rucksac.tools.random_play import RandomPlay, Sights

WIDE_ACTIONS = 1e6  # between bounds; wider ones are a way of saying "no bounds"
LARGE_OBSERVATION, SMALL_OBSERVATION = 20.0, 0.01  # root mean square, standard deviation
LARGE_REWARD, SMALL_REWARD = 30.0, 0.01  # root mean squares
LOST_CHANGES = 0.1  # share of a number's changes that float32 does not show
NARROW = 1e-4  # range by magnitude, below which lost changes are most of what a number says
HORIZONS = 30.0  # episode length by 1 / (1 - gamma)
MANY_STEPS = 10  # below, episodes of equal length are no sign of a time limit
USUAL_TIME_LIMIT = 1_000
NAMED = 5  # numbers that a sentence names one by one
PLAIN_REWARDS = {"float", "int", "bool", "float64", "float32", "float16", "int64", "int32", "bool_"}


def judge_spaces(observation: gymnasium.Space[Any], spaces: Spaces) -> Iterator[Finding]:
    """Say what the agent sees and does."""
    yield Finding(
        "observations",
        f"{spaces.obs_size:,} numbers: {describe(observation)}",
        {"size": spaces.obs_size, "space": describe(observation)},
    )
    if isinstance(observation, kinds.Box) and len(observation.shape) == 3:
        yield Finding(
            "image",
            "the observation has the shape of an image, but the default networks take it as a flat row of numbers",
            {"shape": list(observation.shape)},
            "advice",
            "show the agent numbers if you can; from Python, your own networks may be given as policy= and critic=",
        )
    actions = spaces.actions
    if isinstance(actions, Choices):
        values = {"kind": "discrete", "size": actions.size}
        yield Finding("actions", f"{actions.size:,} choices: {describe(actions.space)}", values)
    elif isinstance(actions, Continuous):
        yield _continuous(actions)


def judge_play(play: RandomPlay, sights: Sights, config: Config, time_limit: int | None) -> Iterator[Finding]:
    """Say what random play showed; `time_limit` is that of the environment, if it is known."""
    yield from _episodes(play, config, time_limit)
    if sights.obs.count:
        yield from _observations(sights, config)
    if sights.reward.count:
        yield from _rewards(play, sights, config)
    if play.warnings:
        yield Finding("warnings", " / ".join(play.warnings[:NAMED]), {"texts": play.warnings})


def failure(play: RandomPlay, sights: Sights) -> Finding:
    """Say what ended random play, and where."""
    step, where = sights.episode_step, f"the episode that reset(seed={play.failed_in}) began"
    explained = ""
    if np.isfinite(sights.last).all() and not np.isfinite(sights.last_as_float32).all():
        explained = f", as {sights.last[~np.isfinite(sights.last_as_float32)][0]:g} is too large for float32"
    return Finding(
        "failure",
        f"at step {step} of {where}: {play.failure}{explained}",
        {"error": str(play.failure), "seed": play.failed_in, "step": step},
        "cannot",
    )


def describe(space: gymnasium.Space[Any]) -> str:
    """Return a space in a few words."""
    if isinstance(space, kinds.Box):
        low, high = space.low.min(), space.high.max()
        return f"shape {space.shape}, {space.dtype}, from {low:g} to {high:g}"
    if isinstance(space, kinds.Dict):
        return "; ".join(f"{name!r}: {describe(part)}" for name, part in space.items())
    if isinstance(space, kinds.Tuple):
        return "; ".join(f"{number}: {describe(part)}" for number, part in enumerate(space))
    return " ".join(str(space).split())


def name_of_number(space: gymnasium.Space[Any], index: int) -> str:
    """Return where one number of the flat observation is, as an index into the observation."""
    parts: Any = ()
    if isinstance(space, kinds.Dict | kinds.Tuple):
        parts = space.items() if isinstance(space, kinds.Dict) else enumerate(space)
    for name, part in parts:
        size = kinds.flatdim(part)
        if index < size:
            return f"[{name!r}]{name_of_number(part, index)}"
        index -= size
    if isinstance(space, kinds.Box):
        return str([int(each) for each in np.unravel_index(index, space.shape)])
    return f"[{index}]"


def _continuous(actions: Continuous) -> Finding:
    low, high = actions.low, actions.high
    values = {"kind": "continuous", "size": actions.size, "low": low.tolist(), "high": high.tolist()}
    span = f"from {low[0]:g} to {high[0]:g}"
    if np.ptp(low) or np.ptp(high):
        span = f"each within its own bounds, {low.min():g} to {high.max():g} at most"
    says = f"{actions.size} number{'s' if actions.size > 1 else ''} {span}, {actions.dtype}"
    if ((high - low) > WIDE_ACTIONS).any():
        return Finding(
            "actions",
            f"{says}: random actions are all enormous, and small ones hardly ever tried",
            values,
            "advice",
            "give --action-low and --action-high, the range in which actions make sense",
        )
    if actions.dtype.kind in "iu":
        return Finding(
            "actions",
            f"{says}: what the agent chooses is rounded to whole numbers",
            values,
            "advice",
            "if these are kinds of action rather than amounts, declare them as Discrete or MultiDiscrete",
        )
    return Finding("actions", says, values)


def _episodes(play: RandomPlay, config: Config, time_limit: int | None) -> Iterator[Finding]:
    lengths = np.array(play.lengths)
    values: dict[str, Any] = {
        "steps": play.steps,
        "ended": len(lengths),
        "terminated": play.terminated,
        "truncated": play.truncated,
        "time_limit": time_limit,
    }
    if not len(lengths):
        if time_limit or play.failure:
            limit = f"; the environment cuts it off after {time_limit:,}" if time_limit else ""
            yield Finding("episodes", f"none ended in {play.steps:,} steps{limit}", values)
        else:
            yield Finding(
                "episodes",
                f"none ended in {play.steps:,} steps, and Gymnasium knows of no time limit: training would see a "
                "single start, and an evaluation might never end",
                values,
                "advice",
                f"--time-limit {USUAL_TIME_LIMIT}, or whatever shows all that is to be learned",
                ("--time-limit", str(USUAL_TIME_LIMIT)),
            )
        longest = time_limit or 0
    else:
        longest = int(lengths.max())
        values |= {"shortest": int(lengths.min()), "mean": float(lengths.mean()), "longest": longest}
        same = lengths.min() == longest
        span = (
            f"{count(longest, 'step')} each"
            if same
            else f"{lengths.min():,} to {longest:,} steps, {lengths.mean():.0f} on average"
        )
        says = f"{len(lengths)} ended, {span}; {play.terminated} terminated, {play.truncated} truncated"
        if same and play.terminated == len(lengths) > 2 and longest >= MANY_STEPS:
            yield Finding(
                "episodes",
                f"{says}: this looks like a time limit, which the agent would take for the end of all rewards",
                values,
                "advice",
                "if it is one, let step return truncated instead of terminated",
            )
        else:
            yield Finding("episodes", says, values)
    horizon = 1.0 / (1.0 - config.gamma)
    if longest > HORIZONS * horizon:
        skip = round(longest / (HORIZONS / 3.0 * horizon))
        yield Finding(
            "time scale",
            f"an episode has up to {longest:,} steps, but with gamma {config.gamma:g} rewards count for about "
            f"{horizon:,.0f} steps ahead",
            {"longest": longest, "horizon": horizon},
            "advice",
            f"if single steps hardly matter, --frame-skip {skip} repeats each action; or give a larger --gamma",
            ("--frame-skip", str(skip)),
        )


def _observations(sights: Sights, config: Config) -> Iterator[Finding]:
    obs = sights.obs
    constant = obs.low == obs.high
    scale = obs.rms[~constant] if not constant.all() else obs.rms
    in_box = _in_boxes(sights.space)
    values = {
        "types": sorted(sights.types),
        "low": float(obs.low.min()),
        "high": float(obs.high.max()),
        "smallest_rms": float(scale.min()),
        "largest_rms": float(scale.max()),
    }
    says = f"{obs.low.min():.3g} to {obs.high.max():.3g}; root mean squares {scale.min():.3g} to {scale.max():.3g}"
    odd = in_box & ~constant & ((obs.rms > LARGE_OBSERVATION) | (obs.std < SMALL_OBSERVATION))
    if odd.any() and not config.normalise_observations:
        yield Finding(
            "observation scale",
            f"{says}; far from 1, or hardly varying: {_names(sights, odd)}",
            values,
            "advice",
            "--normalise-observations brings all of them to a spread of 1",
            ("--normalise-observations",),
        )
    else:
        yield Finding("observation scale", says, values)
    if (unchanging := constant & in_box).any():
        says = "nothing ever changed" if constant.all() else f"never changed: {_names(sights, unchanging)}"
        yield Finding(
            "constant numbers",
            says,
            {"count": int(unchanging.sum())},
            "advice",
            "check that they are meant to be there; gymnasium.wrappers.TransformObservation can leave them out",
        )
    if sights.outside.any():
        worst = int(sights.outside.argmax())
        yield Finding(
            "outside of space",
            f"outside of what observation_space declares: {_names(sights, sights.outside > 0)}; the first of them in "
            f"{sights.outside[worst]:,} of {obs.count:,} observations, from {obs.low[worst]:.4g} to "
            f"{obs.high[worst]:.4g} where {sights.low[worst]:.4g} to {sights.high[worst]:.4g} is declared",
            {"count": int((sights.outside > 0).sum())},
            "advice",
            "learning does not use these bounds, other tools may; correct observation_space",
        )
    magnitude = np.maximum(abs(obs.low), abs(obs.high))
    lost = (sights.change_lost > LOST_CHANGES * sights.changed) & (obs.high - obs.low < NARROW * magnitude)
    if lost.any():
        yield Finding(
            "digits lost",
            f"changes are too small for float32 beside the size of the value: {_names(sights, lost)}, such as "
            f"{obs.high[lost.argmax()]:.17g}",
            {"count": int(lost.sum())},
            "advice",
            "let the environment subtract a constant or show differences; the agent sees float32",
        )


def _rewards(play: RandomPlay, sights: Sights, config: Config) -> Iterator[Finding]:
    reward = sights.reward
    low, high, mean, std, rms = (
        float(each[0]) for each in (reward.low, reward.high, reward.mean, reward.std, reward.rms)
    )
    values = {"low": low, "high": high, "mean": mean, "std": std, "types": sorted(sights.reward_types)}
    says = f"{low:.3g} to {high:.3g}, {mean:.3g} on average, standard deviation {std:.3g}"
    if low == high:
        says = f"always {low:.3g}"
    if low == high and not play.terminated:
        yield Finding(
            "rewards",
            f"{says}, and nothing terminated: random actions give nothing to learn from",
            values,
            "advice",
            "give rewards on the way to the goal, or check that the environment gives any; a longer --warmup may help",
        )
    elif not config.normalise_rewards and (rms > LARGE_REWARD or 0.0 < rms < SMALL_REWARD):
        size = (
            "large: the critics take long to reach their sums" if rms > 1 else "small: entropy outweighs them at first"
        )
        yield Finding(
            "rewards",
            f"{says}; {size}",
            values,
            "advice",
            "--normalise-rewards divides them by the spread of their discounted sums",
            ("--normalise-rewards",),
        )
    else:
        yield Finding("rewards", says, values)
    if strange := sorted(sights.reward_types - PLAIN_REWARDS):
        yield Finding(
            "reward type",
            f"rewards are {', '.join(strange)}",
            {"types": strange},
            "advice",
            "return float(reward): anything else is slower and may stop working",
        )
    if sights.both_ends:
        yield Finding(
            "both ends",
            f"{sights.both_ends} steps were terminated and truncated at once; termination counts",
            {"steps": sights.both_ends},
        )


def _in_boxes(space: gymnasium.Space[Any]) -> np.ndarray:
    """Return which numbers of the flat observation are amounts, (O,); the others stand for choices."""
    if isinstance(space, kinds.Dict | kinds.Tuple):
        parts = space.values() if isinstance(space, kinds.Dict) else space.spaces
        return np.concatenate([_in_boxes(part) for part in parts])
    return np.full(kinds.flatdim(space), isinstance(space, kinds.Box))


def _names(sights: Sights, which: np.ndarray) -> str:
    numbers = np.flatnonzero(which)
    named = ", ".join(f"obs{name_of_number(sights.space, int(index))}" for index in numbers[:NAMED])
    more = f" and {numbers.size - NAMED:,} more" if numbers.size > NAMED else ""
    return f"{named}{more}"
