"""A comparison in words and tables, for people to read."""

import math
from typing import Any

from rucksac.compare.comparison import PARTS
from rucksac.text import count, printable, table

LEVELS = 5  # of the performance profile that is shown
MEASURES = {"last": "last evaluation", "area": "area under the curve"}


def text(found: dict[str, Any]) -> str:
    """Return everything that is shown of a comparison; the verdict comes last."""
    digits = _digits(found)
    parts = [_heading(found), *(_groups(found, by, digits) for by in MEASURES)]
    if found["threshold"] is not None:
        parts.append(_threshold(found))
    parts += [_comparison(each, digits) for each in found["comparisons"]]
    if len(found["tasks"]) > 1:
        parts.append(_by_task(found))
    parts += [_curve(found, digits), _profile(found, digits)]
    if found["notes"]:
        parts.append("\n".join(f"Note: {note}." for note in found["notes"]))
    parts.append("\n".join(f"Verdict: {verdict(found, each)}." for each in found["comparisons"]))
    return printable_lines("\n\n".join(part for part in parts if part))


def printable_lines(whole: str) -> str:
    """Return the text with everything escaped that would not show, line by line."""
    return "\n".join(map(printable, whole.split("\n")))


def _heading(found: dict[str, Any]) -> str:
    tasks = found["tasks"]
    if len(tasks) == 1:
        return f"{tasks[0]['name']}, up to step {tasks[0]['end']:,.0f}"
    where = ", ".join(f"{task['name']} up to step {task['end']:,.0f}" for task in tasks)
    return f"{where}\nOn the scale of each task the median run's lowest evaluation is 0 and its highest is 1."


def _groups(found: dict[str, Any], by: str, digits: int) -> str:
    """Return a line for each group with its interquartile mean."""
    rows = [[MEASURES[by], "runs", "IQM", "95 % interval", "mean"]]
    for group in found["groups"]:
        if by not in group:
            return ""
        value, interval, mean = (group[by][name] for name in ("value", "interval", "mean"))
        bounds = _interval(interval, digits)
        rows.append([group["name"], str(group["count"]), _number(value, digits), bounds, _number(mean, digits)])
    return table(rows)


def _threshold(found: dict[str, Any]) -> str:
    """Return a line for each group with the steps and minutes to the threshold."""
    rows = [[f"return {found['threshold']:g}", "reached by", "median steps", "median minutes"]]
    for group in found["groups"]:
        reach, runs = group["threshold"], group["count"]
        steps, minutes = reach["median_steps"], reach["median_minutes"]
        beyond = "beyond the last"
        rows.append(
            [
                group["name"],
                f"{reach['reached']} of {runs}",
                beyond if steps is None else f"{steps:,.0f}",
                beyond if steps is None else "not recorded" if minutes is None else f"{minutes:,.1f}",
            ]
        )
    return table(rows)


def _comparison(each: dict[str, Any], digits: int) -> str:
    measures = [by for by in MEASURES if by in each]
    rows = [[f"{each['first']} minus {each['against']}", *(MEASURES[by] for by in measures)]]
    level = f"{100 * each['level']:.3g} %"
    rows.append(["difference, median of all pairs", *(_number(each[by]["difference"], digits) for by in measures)])
    rows.append([f"  {level} interval", *(_interval(each[by]["interval"], digits) for by in measures)])
    rows.append(["  p", *(f"{each[by]['p']:.2g}" for by in measures)])
    chances = [each[by]["probability_of_improvement"] for by in measures]
    rows.append(["probability of improvement", *(f"{chance['value']:.2f}" for chance in chances)])
    rows.append(["  95 % interval", *(_interval(chance["interval"], 2) for chance in chances)])
    if each["last"]["pairs"]:
        pairs = [each[by]["pairs"] for by in measures]
        rows.append([f"paired by seed, {count(pairs[0]['count'], 'pair')}", *(
            _number(pair["difference"], digits) for pair in pairs
        )])  # fmt: skip
        rows.append([f"  {level} interval", *(_interval(pair["interval"], digits) for pair in pairs)])
        rows.append(["  correlation", *(
            "none" if pair["correlation"] is None else f"{pair['correlation']:.2f}" for pair in pairs
        )])  # fmt: skip
    return table(rows)


def _by_task(found: dict[str, Any]) -> str:
    by = found["by"]
    rows = [[f"{MEASURES[by]}, in returns: IQM", *(group["name"] for group in found["groups"])]]
    for task in found["tasks"]:
        values = [group[by]["by_task"][task["name"]]["value"] for group in found["groups"]]
        rows.append([task["name"], *(f"{value:,.4g}" for value in values)])
    return table(rows)


def _curve(found: dict[str, Any], digits: int) -> str:
    places = [place for place in range(len(PARTS)) if found["groups"][0]["parts"][place] is not None]
    if len(places) < 2:
        return ""
    one = len(found["tasks"]) == 1
    end = found["tasks"][0]["end"]
    heads = [f"{PARTS[place] * end:,.0f}" if one else f"{PARTS[place]:.0%}".replace("%", " %") for place in places]
    rows = [[f"IQM after so many {'steps' if one else 'of the steps'}", *heads]]
    rows += [[g["name"], *(_number(g["parts"][place], digits) for place in places)] for g in found["groups"]]
    return table(rows)


def _profile(found: dict[str, Any], digits: int) -> str:
    levels = found["groups"][0]["profile"]["above"]
    low, high = levels[0], levels[-1]
    if low == high:
        return ""
    shown = [low + (high - low) * place / (LEVELS + 1) for place in range(1, LEVELS + 1)]
    rows = [["share of runs whose last evaluation is above", *(_number(level, digits) for level in shown)]]
    for group in found["groups"]:
        shares = group["profile"]["share"]
        at = [max(place for place, each in enumerate(levels) if each <= level) for level in shown]
        rows.append([group["name"], *(f"{shares[place]:.0%}".replace("%", " %") for place in at)])
    return table(rows)


def verdict(found: dict[str, Any], each: dict[str, Any]) -> str:
    """Return one sentence: who is better by how much, or why nobody is and about how many more seeds would tell."""
    digits, first, other = _digits(found), each["first"], each["against"]
    decided, level = each["decided_by"], f"{100 * each['level']:.3g} %"
    low, high = decided["interval"] or (math.nan, math.nan)
    by = f"by the {MEASURES[found['by']]}"
    several = " on the scale of the tasks" if len(found["tasks"]) > 1 else ""
    if each["winner"]:
        better, worse, bounds = (first, other, (low, high)) if low > 0.0 else (other, first, (-high, -low))
        return (
            f"{better} is better than {worse} {by}: {_number(abs(decided['difference']), digits)} higher{several} "
            f"({level} interval {_interval(bounds, digits)}, p = {decided['p']:.2g})"
        )
    if each["disagreement"]:
        return f"no winner between {first} and {other} {by}: pairs of runs say one, interquartile means the other"
    if decided["interval"] is None:
        reason = (
            f"with {count(each['seeds'], 'seed')} even runs that are all better would prove nothing at {level}, for "
            f"which {each['fewest_seeds']} in each group may be enough"
        )
    else:
        between = f"{_number(low, digits)} and {_number(high, digits)}"
        reason = f"the difference lies between {between}{several} ({level} interval)"
    return f"no winner between {first} and {other} {by}: {reason}; {_outlook(each)}"


def _outlook(each: dict[str, Any]) -> str:
    if each["more_seeds"] is None:
        return "what difference there is in these runs is too small for 100 seeds to tell"
    return f"if the difference is as it looks, about {count(each['more_seeds'], 'more seed')} of each would tell"


def _digits(found: dict[str, Any]) -> int:
    """Return how many digits after the point give the narrowest interval two that count."""
    bounds = [each["decided_by"]["interval"] for each in found["comparisons"] if each["decided_by"]["interval"]]
    levels = found["groups"][0]["profile"]["above"]
    spans = [high - low for low, high in bounds or [(levels[0], levels[-1])]]
    span = min((each for each in spans if each > 0.0), default=1.0)
    return min(4, max(0, 1 - math.floor(math.log10(span))))


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _interval(bounds: Any, digits: int) -> str:
    return "none" if bounds is None else f"{_number(bounds[0], digits)} to {_number(bounds[1], digits)}"
