"""Every figure that the documentation quotes is computed from the rows that it comes from, and looked for there."""

import csv
import functools
import gzip
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"


@functools.cache
def rows(name):
    with (RESULTS / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def values(name, column, **where):
    found = [float(row[column]) for row in rows(name) if all(row[key] == str(each) for key, each in where.items())]
    assert found, (name, where)
    return found


def step(series="sizes", threads=2, **size):
    return median(values("step", "per_second", series=series, threads=threads, **size))


def of_floor(**where):
    """Return the smallest and largest share of the floor over all sizes that fit."""
    sizes = {}
    for row in rows("step"):
        key = tuple(row[name] for name in ("series", "threads", "width", "layers", "batch", "critics", "observations"))
        if all(where[name](int(row[name])) for name in where):
            sizes.setdefault(key, []).append(float(row["per_second"]) / float(row["floor"]))
    shares = [median(each) for each in sizes.values()]
    return min(shares), max(shares)


def recipe_step(name):
    """Return steps per second of a recipe as it comes, and their share of the floor of the same round."""
    found = [row for row in rows("step") if (row["series"], row["recipe"]) == ("recipes", name)]
    return (
        median(float(row["per_second"]) for row in found),
        median(float(row["per_second"]) / float(row["floor"]) for row in found),
    )


def second_thread(**size):
    return step(threads=2, **size) / step(threads=1, **size) - 1


def critic():
    """Return the smallest and largest number of milliseconds that one more critic takes."""
    counts = (1, 2, 5, 10)
    took = [1000 / step("critics", critics=count) for count in counts]
    each = [(b - a) / (n - m) for a, b, m, n in zip(took[:-1], took[1:], counts[:-1], counts[1:], strict=True)]
    return min(each), max(each)


def contention(who, spins, busy):
    return median(values("contention", "per_second", who=who, spins=spins, busy=busy))


def share(who, spins):
    """Return what part of its fair share of two processors a run keeps beside a busy process."""
    return contention(who, spins, 1) / contention(who, spins, 0) / 0.75


def part(name):
    return median(values("parts", "microseconds", part=name))


def beside_sb3():
    """Return the smallest and largest ratio to Stable-Baselines3's better arrangement, with learning."""
    ratios = []
    for envs in (1, 2, 4, 8, 16):
        where = {"envs": envs, "learning": True}
        theirs = max(values("environments", "per_second", library="stable_baselines3", **where))
        ratios.append(values("environments", "per_second", library="rucksac", workers=0, **where)[0] / theirs)
    return min(ratios), max(ratios)


def faster(work, *libraries, ours="rucksac"):
    """Return how many times as many steps per second `ours` takes, by the ratio in each round."""
    ours = values(f"throughput-{work}", "per_second", library=ours)
    return [
        median(a / b for a, b in zip(ours, values(f"throughput-{work}", "per_second", library=each), strict=True))
        for each in libraries
    ]


def sb3_stepping():
    """Return in how many per cent of steps one process falls behind, without learning."""
    behind = []
    for envs in (1, 2, 4, 8, 16):
        ours, theirs = (
            values("environments", "per_second", library=library, workers=0, envs=envs, learning=False)[0]
            for library in ("rucksac", "stable_baselines3")
        )
        behind.append(100 * (1 - ours / theirs))
    return min(behind), max(behind)


def after(steps, recipe):
    return median(values("sources-pendulum", "return", recipe=recipe, env_steps=steps))


def share_of_torch():
    return median(values("startup", "torch")) / median(values("startup", "second"))


def learned(task, step, recipe="plain", settings="", seeds=range(1, 100)):
    """Return the mean return of each seed at the end of runs of so many steps."""
    found = {}
    with gzip.open(RESULTS / f"learning/{task}.csv.gz", "rt", newline="") as stream:
        for row in csv.DictReader(stream):
            who = (row["library"], row["recipe"], row["settings"], int(row["steps"]), int(row["env_steps"]))
            if who == ("rucksac", recipe, settings, step, step) and int(row["seed"]) in seeds:
                found.setdefault(int(row["seed"]), []).append(float(row["return"]))
    return [sum(each) / len(each) for _, each in sorted(found.items())]


def solved(task, step, threshold):
    """Return how many seeds are at a return or above, and how many there are."""
    returns = learned(task, step, settings="warmup=10000" if step > 100_000 else "")
    return sum(each >= threshold for each in returns), len(returns)


def halfcheetah():
    """Return the mean over the first three seeds, then each of them."""
    returns = learned("halfcheetah", 100_000, settings="warmup=10000", seeds=range(1, 4))
    return sum(returns) / 3, *returns


def comparison(what, method, *sizes, shift=0):
    """Return the share of comparisons, on average over pools and the largest, in per cent."""
    found = [
        100 * float(row["share"])
        for row in rows("compare")
        if [row["what"], row["method"], int(row["first"]), int(row["second"]), int(row["shift"])]
        == [what, method, *sizes, shift]
        and row["task"] != "all"
        and (what != "better" or (row["task"], row["measure"]) != ("cartpole", "last"))  # all at the highest return
    ]
    assert len(found) >= 14
    return sum(found) / len(found), max(found)


def by_each_method(*sizes):
    return [each for method in ("exact", "welch", "percentiles") for each in comparison("equal", method, *sizes)]


def false_alarms():
    """Return how many healthy runs were diagnosed, of how many tasks, and how many of them were found fault with."""
    found = rows("diagnose")
    return len(found), len({row["environment"] for row in found}), sum(bool(row["findings"]) for row in found)


def batch_time(how):
    """Return the median microseconds to choose and read a batch."""
    return median(values("replay", "microseconds", case=how))


def goals():
    """Return the fewest goals that are reached, of how many, by how many seeds, and from when on all are."""
    found = [row for row in rows("goals") if (row["library"], row["environment"]) == ("rucksac", "FetchReach-v4")]
    last = [int(row["successes"]) for row in found if row["env_steps"] == "10000"]
    missed = max(int(row["env_steps"]) for row in found if row["successes"] != row["episodes"])
    return min(last), int(found[0]["episodes"]), len(last), len(last), missed + 1_000


def panda_goals():
    """Return how many seeds, of how many, reach all goals, and how many goals these are."""
    found = values("goals", "successes", library="rucksac", environment="panda_gym:PandaReach-v3", env_steps=10_000)
    return found.count(50.0), len(found), 50


def goals_of_sb3():
    found = values("goals", "successes", library="sb3", environment="FetchReach-v4", env_steps=10_000)
    return min(found), max(found)


def acting(what):
    """Return size in KiB, mean return and microseconds of an action of an agent that acts in a format."""
    (row,) = (row for row in rows("export") if row["what"] == what)
    return int(row["bytes"]) / 1024, float(row["return"]), float(row["microseconds"])


def tuned():
    """Return the mean returns with the settings that a search found and with the default ones, and how many seeds."""
    found = {
        settings: {row["seed"]: float(row["return"]) for row in rows("tune") if row["settings"] == settings}
        for settings in ("best", "defaults")
    }  # of each seed the last evaluation
    best, defaults = found["best"], found["defaults"]
    assert all(best[seed] > defaults[seed] for seed in best)
    return sum(best.values()) / len(best), sum(defaults.values()) / len(defaults), len(best)


def each_seed(task):
    """Return the returns of the default's seeds after 100,000 steps, in words."""
    return [", ".join(f"{each:,.0f}" for each in learned(task, 100_000, "rucksac"))]


LEARNED = {
    "halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5", "ant": "Ant-v5",
    "humanoid": "Humanoid-v5",
}  # fmt: skip
SIZES = ((3, 3), (5, 5), (10, 10), (3, 10), (5, 10))
BIG = {"width": lambda width: width >= 256, "batch": lambda batch: batch >= 256, "threads": lambda count: count == 2}
FIGURES = {
    "pixels.md": [
        ("that takes {:.1f} times as many steps per second",
         lambda: faster("pictures", "stable_baselines3", ours="rucksac_nature")),
        ("it takes {:.1f} times as many", lambda: faster("pictures", "stable_baselines3")),
    ],
    "performance.md": [
        ("DroQ takes {:.1f} times as many steps per second as SBX's, CrossQ {:.2f} times",
         lambda: [*faster("droq", "sbx"), *faster("crossq", "sbx")]),
        ("critics that SBX has, {:.2f} times", lambda: faster("tqc", "sbx")),
        ("{:.0%} for two layers of 64 and a batch of 100", lambda: [second_thread(width=64, batch=100)]),
        ("{:.0%} for three of 64 and a batch of 256", lambda: [second_thread(width=64, batch=256)]),
        ("{:.0%} for two of 128 and a batch of 128", lambda: [second_thread(width=128, batch=128)]),
        ("{:.0%} for two of 256 and a batch of 256", lambda: [second_thread(width=256, batch=256)]),
        ("{:.2f} to {:.2f} of the floor", lambda: of_floor(**BIG)),
        ("a batch of 32 takes {:.2f} of the time of one of 256", lambda: [
            step("batch", batch=256) / step("batch", batch=32)
        ]),
        ("two layers of 64 run at {:.2f} of the floor", lambda: [
            of_floor(**{**BIG, "width": lambda width: width == 64, "layers": lambda layers: layers == 2})[0]
        ]),
        ("One more critic takes {:.2f} to {:.2f} milliseconds", critic),
        ("348 observations in place of 17 take {:.0%} more time", lambda: [
            step("observations", observations=17) / step("observations", observations=348) - 1
        ]),
        *((f"| `{name}` | {{:.1f}} | {{:.2f}} |", functools.partial(recipe_step, name))
          for name in dict.fromkeys(row["recipe"] for row in rows("step") if row["series"] == "recipes")),
        ("ran at {:.0f} steps/s alone and at {:.0f} beside one busy process, {:.0%} of its fair share", lambda: [
            contention("team", 3_000, 0), contention("team", 3_000, 1), share("team", 3_000)
        ]),
        ("with GCC's library at {:.0f} and {:.0f} ({:.0%})", lambda: [
            contention("library", 300_000, 0), contention("library", 300_000, 1), share("library", 300_000)
        ]),
        ("at {:.0f} and {:.0f} where its threads sleep after 3,000 looks ({:.0%})", lambda: [
            contention("library", 3_000, 0), contention("library", 3_000, 1), share("library", 3_000)
        ]),
        ("{:.2f} of the time of uncompiled acting", lambda: [
            part("act on one observation, compiled") / part("act on one observation, uncompiled")
        ]),
        ("compiled yet {:.0f} seconds", lambda: [median(values("startup", "first"))]),
        ("of which importing PyTorch takes {:.0%}", lambda: [share_of_torch()]),
        ("{:.1f} to {:.1f} times as many steps", beside_sb3),
        ("one process takes {:.0f} to {:.0f} % fewer steps", sb3_stepping),
    ],
    "../README.md": [
        *((f"| {env} | {{}} |", functools.partial(each_seed, task)) for task, env in LEARNED.items()),
        ("return of {:,.0f} after 100,000 steps (3 seeds: {:,.0f}, {:,.0f} and {:,.0f})", halfcheetah),
        ("after 10,000 steps with {} of {} seeds", lambda: solved("pendulum", 10_000, -150)),
        ("after 30,000 with {} of {},", lambda: solved("cartpole", 30_000, 475)),
        ("after 150,000 with {} of {}.", lambda: solved("lunarlander-discrete", 150_000, 200)),
    ],
    "comparison.md": [
        ("{:.2f} times the steps per second of Stable-Baselines3, {:.2f} times SBX, {:.2f} times RLtools",
         lambda: faster("halfcheetah", "stable_baselines3", "sbx", "rltools")),
        ("{:.2f}, {:.2f} and {:.2f} times", lambda: faster("pendulum", "stable_baselines3", "sbx", "rltools")),
        ("DroQ (layers of 256) takes {:.1f} times the steps of SBX, CrossQ (2,048) {:.2f} times and TQC (512) {:.2f} ",
         lambda: [faster(work, "sbx")[0] for work in ("droq", "crossq", "tqc")]),
        ("takes {:.1f} times the steps of Stable-Baselines3",
         lambda: faster("pictures", "stable_baselines3", ours="rucksac_nature")),
    ],
    "comparing.md": [
        *((f"| {n} and {m} | {{:.1f}} % |", functools.partial(comparison, "equal", "exact", n, m)) for n, m in SIZES),
        ("with 5 and 5 seeds in {:.0f} %", lambda: comparison("better", "exact", 5, 5, shift=2)),
        ("with 10 and 10 in {:.0f} %", lambda: comparison("better", "exact", 10, 10, shift=2)),
    ],
    "adr/0018-comparing-runs.md": [
        *((f"| {n} and {m} |" + " {:.1f} %, at most {:.1f} % |" * 3, functools.partial(by_each_method, n, m))
          for n, m in SIZES),
        ("in up to {:.0f} % with 10 and 10", lambda: [comparison("spread", "exact", 10, 10)[1]]),
        ("one interquartile mean covers {:.0f} % on average", lambda: comparison("iqm", "percentiles", 3, 3)),
        ("it covers {:.0f} % with three runs", lambda: comparison("iqm", "t", 3, 3)),
    ],
    "experience.md": [
        ("(`--env panda_gym:PandaReach-v3`) {} of {} seeds reach all {:.0f} goals after 10,000 steps", panda_goals),
        ("{:.0f} µs uniformly, {:.0f} µs with priorities", lambda: [batch_time("uniform"), batch_time("priorities")]),
        ("{:.0f} µs with hindsight, {:.0f} µs over three steps", lambda: map(batch_time, ("hindsight", "3 steps"))),
        ("{:.0f} µs over ten", lambda: [batch_time("10 steps")]),
        ("After 10,000 steps the mean action reaches {} of {} goals with {} of {} seeds, from {:,} steps on", goals),
        ("reaches {:.0f} to {:.0f} of 50 in the same harness", goals_of_sb3),
    ],
    "export.md": [
        ("| `agent.predict` | | {:.2f} | | {:.1f} µs |", lambda: acting("agent.predict")[1:]),
        *((f"| {shown} | {{:.0f}} KiB | {{:.2f}} | 0.00 | {{:.1f}} µs |", functools.partial(acting, what))
          for shown, what in (("`.onnx` by onnxruntime", "onnxruntime"), ("`.pt2` by PyTorch", "torch"),
                              ("`.npz` by NumPy", "NumPy"))),
        ("| `.onnx`, `--int8` | {:.0f} KiB | {:.2f} | -0.00 (-0.01 to 0.00) | {:.1f} µs |",
         lambda: acting("onnxruntime, int8")),
        ("| {:.0f} KiB of text | {:.2f} | 0.00 | {:.1f} µs |", lambda: acting("C by ctypes")),
    ],
    "tuning.md": [("{:,.0f} on average in place of {:,.0f}, better with each of the {} seeds", tuned)],
    "diagnose.md": [("of {} brief healthy runs of {} tasks it found fault with {}", false_alarms)],
    "adr/0027-diagnoses.md": [("of {} runs of {} tasks it found fault with {}", false_alarms)],
    "recipes.md": [
        (f"{{:,.0f}} (`{recipe}`)", functools.partial(lambda name: [after(4_000, name)], recipe))
        for recipe in ("pranz24", "spinningup", "sac", "notebook", "sac-v1", "td3", "ddpg")
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("page", "phrase", "computed"), [(page, *each) for page, figures in FIGURES.items() for each in figures]
)
def test_a_figure_in_the_documentation_is_that_of_its_rows(page, phrase, computed):
    expected = phrase.format(*computed()).replace("%", " %").replace("  %", " %")
    assert expected in " ".join((ROOT / "docs" / page).read_text().split())


def test_the_page_of_benchmarks_is_what_its_script_makes_of_the_rows():
    script = "import sys; import page; sys.stdout.write(page.text())"
    made = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "benchmarks", capture_output=True, check=True)
    assert made.stdout.decode() == (ROOT / "docs/benchmarks.md").read_text()
