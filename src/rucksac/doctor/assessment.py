"""Assessing an environment, from its spaces and from random play. Limits are rules of thumb."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as kinds

from rucksac.config import Config
from rucksac.doctor.findings import Finding
from rucksac.doctor.random_play import RandomPlay
from rucksac.doctor.statistics import PlayStatistics
from rucksac.environments.choices import Choices
from rucksac.environments.pictures import SMALLEST
from rucksac.environments.spaces import Continuous, Spaces
from rucksac.text import count

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


def assess_spaces(observation: gymnasium.Space[Any], spaces: Spaces) -> Iterator[Finding]:
    """Say what the agent sees and does."""
    yield Finding(
        "observations",
        f"{spaces.obs_size:,} numbers: {describe(observation)}",
        {"size": spaces.obs_size, "space": describe(observation)},
    )
    if isinstance(observation, kinds.Box) and len(observation.shape) == 3 and not spaces.observations.pictures:
        yield Finding(
            "image",
            "the observation has the shape of an image, but the default networks take it as a flat row of numbers",
            {"shape": list(observation.shape)},
            "advice",
            f"show the agent numbers if you can, or a picture of type uint8 with sides of {SMALLEST} or more",
        )
    actions = spaces.actions
    if isinstance(actions, Choices):
        values = {"kind": "discrete", "size": actions.size}
        yield Finding("actions", f"{actions.size:,} choices: {describe(actions.space)}", values)
    elif isinstance(actions, Continuous):
        yield _continuous(actions)


def assess_play(
    play: RandomPlay, statistics: PlayStatistics, config: Config, time_limit: int | None
) -> Iterator[Finding]:
    """Say what random play showed; `time_limit` is that of the environment, if it is known."""
    yield from _episodes(play, config, time_limit)
    if statistics.obs.count and statistics.low.size:
        yield from _observations(statistics, config)
    if statistics.reward.count:
        yield from _rewards(play, statistics, config)
    if play.warnings:
        yield Finding("warnings", " / ".join(play.warnings[:NAMED]), {"texts": play.warnings})


def failure(play: RandomPlay, statistics: PlayStatistics) -> Finding:
    """Say what ended random play, and where."""
    step, where = statistics.episode_step, f"the episode that reset(seed={play.failed_in}) began"
    explained = ""
    if np.isfinite(statistics.last).all() and not np.isfinite(statistics.last_as_float32).all():
        explained = f", as {statistics.last[~np.isfinite(statistics.last_as_float32)][0]:g} is too large for float32"
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


def in_boxes(space: gymnasium.Space[Any]) -> np.ndarray:
    """Return which numbers of the flat observation are amounts, (O,); the others stand for choices."""
    if isinstance(space, kinds.Dict | kinds.Tuple):
        parts = space.values() if isinstance(space, kinds.Dict) else space.spaces
        return np.concatenate([in_boxes(part) for part in parts])
    return np.full(kinds.flatdim(space), isinstance(space, kinds.Box))


def _continuous(actions: Continuous) -> Finding:
    low, high = actions.low, actions.high
    values = {"kind": "continuous", "size": actions.size, "low": low.tolist(), "high": high.tolist()}
    span = f"from {low[0]:g} to {high[0]:g}"
    if np.ptp(low) or np.ptp(high):
        span = f"each within its own bounds, {low.min():g} to {high.max():g} at most"
    says = f"{actions.size} number{'s' if actions.size > 1 else ''} {span}, {actions.dtype}"
    finding = Finding("actions", says, values)
    if ((high - low) > WIDE_ACTIONS).any():
        return finding.advising(
            ": random actions are all enormous, and small ones hardly ever tried",
            "give --action-low and --action-high, the range in which actions make sense",
        )
    if actions.dtype.kind in "iu":
        return finding.advising(
            ": what the agent chooses is rounded to whole numbers",
            "if these are kinds of action rather than amounts, declare them as Discrete or MultiDiscrete",
        )
    return finding


def _episodes(play: RandomPlay, config: Config, time_limit: int | None) -> Iterator[Finding]:
    lengths = np.array(play.lengths)
    values: dict[str, Any] = {
        "steps": play.steps,
        "ended": len(lengths),
        "terminated": play.terminated,
        "truncated": play.truncated,
        "time_limit": time_limit,
    }
    if len(lengths):
        longest = int(lengths.max())
        values |= {"shortest": int(lengths.min()), "mean": float(lengths.mean()), "longest": longest}
        yield _ended_episodes(play, lengths, values)
    else:
        longest = time_limit or 0
        finding = Finding("episodes", f"none ended in {play.steps:,} steps", values)
        if time_limit:
            yield replace(finding, says=f"{finding.says}; the environment cuts it off after {time_limit:,}")
        elif play.failure:
            yield finding
        else:
            yield finding.advising(
                ", and Gymnasium knows of no time limit: training would see a single start, and an evaluation might "
                "never end",
                f"--time-limit {USUAL_TIME_LIMIT}, or whatever shows all that is to be learned",
                "--time-limit",
                str(USUAL_TIME_LIMIT),
            )
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


def _ended_episodes(play: RandomPlay, lengths: np.ndarray, values: dict[str, Any]) -> Finding:
    shortest, longest = lengths.min(), lengths.max()
    span = f"{shortest:,} to {longest:,} steps, {lengths.mean():.0f} on average"
    if shortest == longest:
        span = f"{count(int(longest), 'step')} each"
    says = f"{len(lengths)} ended, {span}; {play.terminated} terminated, {play.truncated} truncated"
    finding = Finding("episodes", says, values)
    if shortest == longest >= MANY_STEPS and play.terminated == len(lengths) > 2:
        return finding.advising(
            ": this looks like a time limit, which the agent would take for the end of all rewards",
            "if it is one, let step return truncated instead of terminated",
        )
    return finding


def _observations(statistics: PlayStatistics, config: Config) -> Iterator[Finding]:
    obs = statistics.obs
    constant = obs.low == obs.high
    scale = obs.rms[~constant] if not constant.all() else obs.rms
    in_box = in_boxes(statistics.space)
    values = {
        "types": sorted(statistics.types),
        "low": float(obs.low.min()),
        "high": float(obs.high.max()),
        "smallest_rms": float(scale.min()),
        "largest_rms": float(scale.max()),
    }
    says = f"{obs.low.min():.3g} to {obs.high.max():.3g}; root mean squares {scale.min():.3g} to {scale.max():.3g}"
    odd = in_box & ~constant & ((obs.rms > LARGE_OBSERVATION) | (obs.std < SMALL_OBSERVATION))
    finding = Finding("observation scale", says, values)
    if odd.any() and not config.normalise_observations:
        finding = finding.advising(
            f"; far from 1, or hardly varying: {_names(statistics, odd)}",
            "--normalise-observations brings all of them to a spread of 1",
            "--normalise-observations",
        )
    yield finding
    if (unchanging := constant & in_box).any():
        says = "nothing ever changed" if constant.all() else f"never changed: {_names(statistics, unchanging)}"
        yield Finding(
            "constant numbers",
            says,
            {"count": int(unchanging.sum())},
            "advice",
            "check that they are meant to be there; gymnasium.wrappers.TransformObservation can leave them out",
        )
    if statistics.outside.any():
        outside, worst = statistics.outside, int(statistics.outside.argmax())
        yield Finding(
            "outside of space",
            f"outside of what observation_space declares: {_names(statistics, outside > 0)}; the first of them in "
            f"{outside[worst]:,} of {obs.count:,} observations, {obs.low[worst]:.4g} to {obs.high[worst]:.4g} where "
            f"{statistics.low[worst]:.4g} to {statistics.high[worst]:.4g} is declared",
            {"count": int((outside > 0).sum())},
            "advice",
            "learning does not use these bounds, other tools may; correct observation_space",
        )
    magnitude = np.maximum(abs(obs.low), abs(obs.high))
    lost = (statistics.change_lost > LOST_CHANGES * statistics.changed) & (obs.high - obs.low < NARROW * magnitude)
    if lost.any():
        yield Finding(
            "digits lost",
            f"changes are too small for float32 beside the size of the value: {_names(statistics, lost)}, such as "
            f"{obs.high[lost.argmax()]:.17g}",
            {"count": int(lost.sum())},
            "advice",
            "let the environment subtract a constant or show differences; the agent sees float32",
        )


def _rewards(play: RandomPlay, statistics: PlayStatistics, config: Config) -> Iterator[Finding]:
    reward = statistics.reward
    low, high, mean, std, rms = (
        float(each[0]) for each in (reward.low, reward.high, reward.mean, reward.std, reward.rms)
    )
    values = {"low": low, "high": high, "mean": mean, "std": std, "types": sorted(statistics.reward_types)}
    says = f"{low:.3g} to {high:.3g}, {mean:.3g} on average, standard deviation {std:.3g}"
    if low == high:
        says = f"always {low:.3g}"
    finding = Finding("rewards", says, values)
    if low == high and not play.terminated:
        finding = finding.advising(
            ", and nothing terminated: random actions give nothing to learn from",
            "give rewards on the way to the goal, or check that the environment gives any; a longer --warmup may help",
        )
    elif not config.normalise_rewards and (rms > LARGE_REWARD or 0.0 < rms < SMALL_REWARD):
        finding = finding.advising(
            "; large: the critics take long to reach their sums"
            if rms > 1
            else "; small: entropy outweighs them at first",
            "--normalise-rewards divides them by the spread of their discounted sums",
            "--normalise-rewards",
        )
    yield finding
    if strange := sorted(statistics.reward_types - PLAIN_REWARDS):
        yield Finding(
            "reward type",
            f"rewards are {', '.join(strange)}",
            {"types": strange},
            "advice",
            "return float(reward): anything else is slower and may stop working",
        )
    if statistics.both_ends:
        yield Finding(
            "both ends",
            f"{statistics.both_ends} steps were terminated and truncated at once; termination counts",
            {"steps": statistics.both_ends},
        )


def _names(statistics: PlayStatistics, which: np.ndarray) -> str:
    numbers = np.flatnonzero(which)
    named = ", ".join(f"obs{name_of_number(statistics.space, int(index))}" for index in numbers[:NAMED])
    more = f" and {numbers.size - NAMED:,} more" if numbers.size > NAMED else ""
    return f"{named}{more}"
