"""What commands print for people to read."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rucksac.text import interval, printable, size

if TYPE_CHECKING:
    from rucksac.stats import Summary


def group(summary: dict[str, Any], folder: Path, exit_code: int) -> str:
    """Return what is said when several seeds have ended, a line for each."""
    lines = []
    for seed, state in summary["seeds"].items():
        final = summary["final_returns"].get(seed)
        lines.append(f"{seed:8} {state}" + (f", return {final:.1f}" if final is not None else ""))
    if over := summary["over_seeds"]:
        lines.append(f"mean over seeds {over['mean']:.1f}, {interval(over['ci95'])}")
    lines.append(f"Next:  rucksac {'plot' if exit_code == 0 else 'resume'} {shlex.quote(str(folder))}")
    return "\n".join(lines)


def sweep(found: dict[str, Any]) -> str:
    """Return what is said when a sweep has ended: the comparison, what it lacks, and which runs failed."""
    from rucksac.compare.wording import text

    parts = [text(found["comparison"])] if found["comparison"] else []
    parts += [f"Not compared: {printable(note)}." for note in found["notes"]]
    failed = {run: state for run, state in found["runs"].items() if state.startswith("failed")}
    parts += [f"{run} {printable(state)}" for run, state in failed.items()]
    if failed or not found["over"]:
        parts.append("The same command goes on.")
    else:
        parts.append(f"Next:  rucksac report {shlex.quote(found['run'])}/*/")
    return "\n".join(parts)


def info(found: dict[str, Any]) -> str:
    """Return what there is to know of a run folder, a line for each checkpoint."""
    state = "finished" if found["finished"] else "can go on with rucksac resume"
    if found["obstacle"]:
        state = f"cannot go on: {printable(found['obstacle'])}"
    if found["training_process"]:
        state = f"being trained by process {found['training_process']}"
    lines = [
        f"environment  {printable(found['environment'] or 'made by a function')}",
        f"recipe       {printable(found['recipe'])}, seed {found['seed']}",
        f"progress     {found['env_steps']:,} of {found['steps']:,} steps; {state}",
        f"on disk      {size(found['bytes'])}, of which replay memory {size(found['bytes_of_replay'])}",
    ]
    if found["acting"]:
        lines[3:3] = _acting(found["acting"])
    for each in found["checkpoints"]:
        what = "best agent  " if each["best"] else "checkpoint  "
        lines.append(f"{what} {each['name']}: {printable(each['problem'] or 'whole')}")
    return "\n".join(lines)


def _acting(found: dict[str, Any]) -> list[str]:
    """Return how a run with collectors acts, and how far behind its actions were."""
    measured = "no lag measured yet"
    if found["lag"] is not None:
        measured = f"actions {found['lag']:.1f} gradient steps behind on average, at most {found['lag_max']:.0f}"
    lines = [f"collectors   {found['collectors']}; {measured}, allowed {found['most_lag']}"]
    if found["control_rate"]:
        lines.append(f"control      {found['control_rate']:g} steps per second each")
        if None not in found["late"].values():
            shares = [f"{name.removeprefix('late_')} {100 * share:.1f} %" for name, share in found["late"].items()]
            told = ", ".join(shares).replace("_percent", " %:").replace("_more", " more:").replace("_", " ")
            lines[-1] += f"; steps late, in parts of a period: {told}"
    return lines


def evaluation(figures: "Summary", episodes: int) -> str:
    """Return the figures of an evaluation, a line for each."""
    return (
        f"episodes            {episodes}\n"
        f"mean return         {figures.mean:.2f}\n"
        f"standard deviation  {figures.std:.2f}\n"
        f"interquartile mean  {figures.iqm:.2f}\n"
        f"of the mean         {interval(figures.ci95, 2)} (Student's t)"
    )
