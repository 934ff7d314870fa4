"""What keeps a run from learning: each symptom with its figures and what to try. docs/diagnose.md explains them.

Limits that a running training or the doctor has too are theirs; for the others see docs/adr/0027-diagnoses.md.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces as kinds

from rucksac.diagnosing.evidence import Evidence
from rucksac.diagnosing.units import dead_units
from rucksac.doctor.assessment import (
    LARGE_REWARD,
    MANY_STEPS,
    NAMED,
    USUAL_TIME_LIMIT,
    in_boxes,
    name_of_number,
)
from rucksac.doctor.findings import Finding
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import without_pictures
from rucksac.environments.spaces import Continuous
from rucksac.training.diagnosis import PATIENCE
from rucksac.training.estimates import at_starts
from rucksac.training.health import Health, far_below

FEW_STEPS = 1_000  # gradient steps below which no run has learned anything
FEW_UPDATES, ENOUGH_STEPS = 0.25, 20_000  # gradient steps per environment step, and how many are enough all the same
AT_LIMIT = 0.2  # share of the episodes that terminate at exactly the largest length
RARE = 0.01  # share of steps with another reward than all of the warm-up
OUTWEIGHS = 10.0  # times the root mean square of rewards that alpha is, per nat
BEHIND = 0.1  # error of Q by the size of what it estimates
UNEVEN, VERY_LARGE = 1_000.0, 100.0  # largest root mean square by smallest spread of observations; the former itself
OVERESTIMATED, FALLING = 1.0, 0.05  # error of Q by the size of what it estimates; share of Q that it falls meanwhile
TOO_SHORT = 0.9  # what the rest counts in episodes that are cut off so early that they show nothing
HIGH_LR, USUAL_LR = 5e-3, 3e-4  # a rate beyond the former comes first where units are dead
DEAD = 0.9  # share of a layer's units
AT_BOUND, SATURATED = 0.99, 0.95  # of the way to a bound; share of observations
RECENT = 5  # the last fifth of the metrics must all agree


def symptoms(seen: Evidence) -> Iterator[Finding]:
    """Yield what was found, causes before their consequences."""
    if seen.failure:
        yield _advice("environment", f"it fails while the agent acts in it: {seen.failure}", {"error": seen.failure},
                      "correct the environment; rucksac doctor looks at all that it returns")  # fmt: skip
    yield from _episode_ends(seen)
    yield from _observations(seen)
    yield from _rewards(seen)
    yield from _amount(seen)
    if seen.grad_steps >= FEW_STEPS:
        yield from _numbers(seen)
        yield from _overestimation(seen)
        yield from _networks(seen)


def _advice(what: str, says: str, values: dict[str, Any], remedy: str, *flags: str) -> Finding:
    return Finding(what, says, values, "advice", remedy, flags)


def _episode_ends(seen: Evidence) -> Iterator[Finding]:
    ended = len(seen.episodes.get("length", ()))
    if not ended and seen.env_steps >= PATIENCE * seen.config.env_count:
        yield _advice(
            "no episode ended", f"none in {seen.env_steps:,} steps, so all is one start", {"env_steps": seen.env_steps},
            f"--time-limit {USUAL_TIME_LIMIT}, or whatever shows all that is to be learned",
            "--time-limit", str(USUAL_TIME_LIMIT),
        )  # fmt: skip
    if seen.memory is None or len(lengths := seen.memory.lengths) < 3:
        return
    longest = int(lengths.max())
    there = lengths == longest
    if longest >= MANY_STEPS and there.sum() >= max(3, AT_LIMIT * len(lengths)) and seen.memory.terminated[there].all():
        yield _advice(
            "time limit",
            f"{there.sum():,} of {len(lengths):,} episodes terminated after exactly {longest:,} steps, none took "
            "longer: a time limit, it seems, which the critics take for the end of all rewards",
            {"length": longest, "episodes": int(there.sum()), "of": len(lengths)},
            f"let step return truncated instead of terminated, or take the limit out and give --time-limit {longest}",
        )


def _observations(seen: Evidence) -> Iterator[Finding]:
    if seen.memory is None or seen.agent is None or len(seen.memory.obs) < MANY_STEPS or not seen.memory.obs.size:
        return
    observations = seen.agent.spaces.observations
    space = (
        without_pictures(observations.space)
        if isinstance(observations, Composite)
        else kinds.Box(-np.inf, np.inf, getattr(observations, "shape", (observations.size,)))
    )
    obs, amounts = seen.memory.obs.astype(np.float64), in_boxes(space)
    spread, rms = obs.std(0), np.sqrt(np.square(obs).mean(0))
    constant = np.ptp(obs, 0) == 0.0

    def names(which: np.ndarray) -> str:
        numbers = np.flatnonzero(which)
        more = f" and {numbers.size - NAMED:,} more" if numbers.size > NAMED else ""
        return ", ".join(f"obs{name_of_number(space, int(index))}" for index in numbers[:NAMED]) + more

    if (unchanging := constant & amounts).any():
        says = "nothing the agent saw ever changed" if constant.all() else f"never changed: {names(unchanging)}"
        yield _advice(
            "constant numbers", says, {"count": int(unchanging.sum()), "of": len(constant)},
            "check that they are meant to be there and that no sensor is stuck",
        )  # fmt: skip
    varied = amounts & ~constant
    batch_norm = seen.config.policy_norm.startswith("batch") and seen.config.critic_norm.startswith("batch")
    seen_raw = not (seen.config.normalise_observations or batch_norm or seen.config.blocks == "batch-norm")
    if seen_raw and varied.any():
        largest, smallest = float(rms[varied].max()), float(spread[varied].min())
        if largest > UNEVEN * smallest or largest > VERY_LARGE:
            at, least = (int(np.flatnonzero(varied)[pick]) for pick in (rms[varied].argmax(), spread[varied].argmin()))
            yield _advice(
                "observation scale",
                f"obs{name_of_number(space, at)} has a root mean square of {largest:.3g}, "
                f"obs{name_of_number(space, least)} varies by {smallest:.3g}: the networks hardly see the small ones",
                {"largest_rms": largest, "smallest_std": smallest},
                "--normalise-observations brings all of them to a spread of 1",
                "--normalise-observations",
            )


def _rewards(seen: Evidence) -> Iterator[Finding]:
    if seen.memory is None or not len(seen.memory.reward):
        return
    memory, config = seen.memory, seen.config
    early = memory.reward[memory.warmup]
    if len(early) and np.ptp(early) == 0.0 and not memory.terminal[memory.warmup].any():
        others = float((memory.reward != early[0]).mean())
        if others < RARE:
            goals = seen.agent is not None and _has_goals(seen.agent.spaces.observations)
            remedy = "give rewards on the way to the goal; a longer --warmup may find some"
            yield _advice(
                "no reward",
                f"{early[0]:g} in each of {len(early):,} steps of the warm-up, another one in {others:.2%} of all "
                "steps: there is nothing to learn from",
                {"reward": float(early[0]), "steps": len(early), "other": others},
                f"{'--hindsight 4 learns from goals that were reached by chance; or ' if goals else ''}{remedy}",
                *(("--hindsight", "4") if goals and not config.hindsight else ()),
            )
            return
    rms = float(np.sqrt(np.square(seen.reward).mean()))
    raw_scale = not config.normalise_rewards
    if rms > LARGE_REWARD and raw_scale and (error := _relative_error(seen)) is not None and abs(error) > BEHIND:
        yield _advice(
            "reward scale",
            f"rewards have a root mean square of {rms:.3g}, large for a learning rate of {config.lr:g}: after "
            f"{seen.grad_steps:,} gradient steps Q is still {abs(error):.0%} away from what episodes give",
            {"rms": rms, "error": error},
            "--normalise-rewards divides rewards by the spread of their discounted sums",
            "--normalise-rewards",
        )
    alpha = seen.agent.alpha if seen.agent else 0.0
    if 0.0 < OUTWEIGHS * rms < alpha and not config.deterministic_policy:
        wait = math.log(alpha / rms) / (config.temperature_lr or config.lr)
        learned = config.alpha == "learned"
        yield _advice(
            "reward scale",
            f"a nat of entropy is worth alpha = {alpha:.3g}, {alpha / rms:,.0f} times the root mean square of rewards "
            f"({rms:.3g}): the policy is rewarded for randomness alone"
            + (f"; at this learning rate alpha takes {wait:,.0f} gradient steps to come down" if learned else ""),
            {"rms": rms, "alpha": alpha},
            "--normalise-rewards divides rewards by the spread of their discounted sums"
            if learned
            else "--alpha learned, or a smaller one",
            *(("--normalise-rewards",) if learned else ("--alpha", "learned")),
        )


def _has_goals(observations: object) -> bool:
    return (
        isinstance(observations, Composite)
        and isinstance(observations.space, kinds.Dict)
        and {"achieved_goal", "desired_goal"} <= set(observations.space.spaces)
    )


def _relative_error(seen: Evidence) -> float | None:
    """Return the mean error of the critics at the starts, by the size of what they should say; None if unknown.

    That size is the mean itself, its spread over states, or what rewards as large as these add up to: the largest.
    """
    if not seen.played:
        return None
    starts = at_starts(seen.played)
    if starts.beyond.max() > TOO_SHORT:
        return None
    obtained, reward = (
        np.concatenate([getattr(each, name) for each in seen.played]) for name in ("obtained", "reward")
    )
    added_up = float(np.abs(reward).mean()) / (1.0 - seen.config.gamma)
    size = max(float(obtained.std()), abs(float(starts.estimated.mean()) - starts.error.mean), added_up)
    return starts.error.mean / size if size else None


def _amount(seen: Evidence) -> Iterator[Finding]:
    config, learning = seen.config, seen.env_steps - seen.config.first_update
    if seen.grad_steps == 0:
        yield _advice(
            "no learning yet",
            f"{seen.env_steps:,} steps, of which the first {config.first_update:,} are taken without learning",
            {"env_steps": seen.env_steps, "first_update": config.first_update},
            "a longer run, or an earlier start: --warmup, --learning-starts",
        )
    elif learning > 0 and seen.grad_steps < FEW_UPDATES * learning and seen.grad_steps < ENOUGH_STEPS:
        yield _advice(
            "few gradient steps",
            f"{seen.grad_steps:,} in {learning:,} steps of the environment, one in {learning / seen.grad_steps:,.0f}",
            {"grad_steps": seen.grad_steps, "env_steps": learning, "utd": config.utd},
            "--utd 1 takes one for each",
            "--utd", "1",
        )  # fmt: skip
    elif seen.grad_steps < FEW_STEPS:
        more = max(10_000, 10 * seen.env_steps)
        yield _advice(
            "short run",
            f"{seen.grad_steps:,} gradient steps and {len(seen.episodes.get('length', ())):,} episodes are too few to "
            "learn anything, or to judge by",
            {"grad_steps": seen.grad_steps},
            "this run goes on; look again later" if seen.running else f"rucksac resume with --steps {more}",
        )


def _numbers(seen: Evidence) -> Iterator[Finding]:
    """Look at Q, alpha and entropy with the limits that hold while a run goes."""
    config, target = seen.config, seen.saved["derived"].get("target_entropy")
    if "q" not in seen.metrics or not {"alpha", "entropy"} <= seen.metrics.keys():
        return
    columns = ("env_steps", "q", "alpha", "entropy")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*map(seen.metrics.__getitem__, columns), strict=True)]
    rows = [{**row, "env_steps": int(row["env_steps"])} for row in rows if all(map(math.isfinite, row.values()))]
    largest = float(np.abs(seen.reward).max(initial=0.0)) if seen.memory else math.inf
    health = Health(config.gamma, target, lambda: largest)
    problems = [health.problems(row) for row in rows]
    recent = problems[-max(1, len(problems) // RECENT) :]
    remedies = {
        "q": ("Q", "a smaller --lr or --tau, or more --critics", "--lr", f"{config.lr / 3:.2g}"),
        "alpha": ("temperature", "a lower --target-entropy, or a fixed --alpha",
                  "--target-entropy", f"{target - max(1.0, abs(target)):g}" if target is not None else "half"),
        "entropy": ("entropy", "a larger --temperature-lr, or --normalise-rewards", "--normalise-rewards"),
    }  # fmt: skip
    for name, (what, remedy, *flags) in remedies.items():
        if recent and all(name in each for each in recent):
            yield _advice(what, recent[-1][name], {name: rows[-1][name]}, remedy, *flags)
    if not rows or config.deterministic_policy or config.alpha == "learned" or seen.agent is None:
        return
    usual = seen.agent.algorithm.improvement.entropies(seen.agent.spaces.action_size)[1]
    last = rows[-len(recent) :]
    if all(far_below(row["entropy"], usual) for row in last):
        yield _advice(
            "entropy",
            f"{last[-1]['entropy']:.2f} nats with alpha fixed at {config.alpha:g}, where a learned one would aim at "
            f"{usual:.2f}: the policy hardly tries anything new",
            {"entropy": last[-1]["entropy"], "alpha": config.alpha, "usual": usual},
            "--alpha learned, or a larger one",
            "--alpha", "learned",
        )  # fmt: skip


def _overestimation(seen: Evidence) -> Iterator[Finding]:
    error = _relative_error(seen)
    if error is None or error < OVERESTIMATED or _still_falls(seen.metrics.get("q", np.zeros(0))):
        return
    starts = at_starts(seen.played)
    if starts.error.ci95 is None or starts.error.ci95[0] <= 0.0:
        return
    config = seen.config
    remedy, flags = "a smaller --lr or --utd, or --critic-norm layer", ("--critic-norm", "layer")
    if config.critics < 2:
        remedy, flags = "--critics 2: the smaller answer counts", ("--critics", "2")
    yield _advice(
        "over-estimation",
        f"at the starts of {len(seen.played)} episodes the critics expect {starts.estimated.mean():.3g}, what came was "
        f"{starts.obtained.mean():.3g} (discounted, with entropy)",
        {"estimated": starts.estimated.tolist(), "obtained": starts.obtained.tolist(), "relative_error": error},
        remedy,
        *flags,
    )


def _still_falls(q: np.ndarray) -> bool:
    """Return whether Q, (rows,), is on its way down from the zero that it begins at, as where returns are negative."""
    fifth = max(1, len(q) // RECENT)
    if len(q) < 2 or (now := float(q[-fifth:].mean())) >= 0.0:
        return False
    return float(q[-2 * fifth : -fifth].mean()) - now > FALLING * -now


def _networks(seen: Evidence) -> Iterator[Finding]:
    if seen.memory is None or seen.agent is None or not len(seen.memory.obs):
        return
    obs, action = seen.some
    for network, layers in dead_units(seen.agent, obs, action).items():
        worst = int(np.argmax(layers))
        if layers[worst] > DEAD:
            yield _advice(
                f"{network} units",
                f"{layers[worst]:.0%} of the units in hidden layer {worst + 1} are zero in all of {len(obs):,} states: "
                "they can learn nothing any more",
                {"dead": layers},
                f"a smaller --lr, or --{network}-norm layer",
                *(("--lr", f"{USUAL_LR:g}") if seen.config.lr > HIGH_LR else (f"--{network}-norm", "layer")),
            )  # fmt: skip
    if isinstance(seen.agent.spaces.actions, Continuous):
        means = seen.agent.act(obs, deterministic=True)
        shares = np.stack([(means > AT_BOUND).mean(0), (means < -AT_BOUND).mean(0)])  # (2, A)
        bound, index = np.unravel_index(shares.argmax(), shares.shape)
        if shares.max() > SATURATED:
            yield _advice(
                "saturation",
                f"the mean of action {index} is at its {('upper', 'lower')[bound]} bound in {shares.max():.0%} of "
                f"{len(obs):,} states, whatever the agent sees",
                {"share": float(shares.max()), "action": int(index)},
                "look whether rewards pay for that; if not, a smaller --policy-lr, or --normalise-rewards",
                "--policy-lr", f"{(seen.config.policy_lr or seen.config.lr) / 3:.2g}",
            )  # fmt: skip
