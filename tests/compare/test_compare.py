"""`rucksac compare` as a person uses it: on CSV files, on run folders, on folders of seeds."""

import gzip
import json
import shutil
import subprocess
import sys

import pytest

import rucksac
from rucksac.cli import main
from rucksac.training.folder import RunFolder
from rucksac.training.seeds import extend_group

SETTINGS = {"warmup": 50, "batch_size": 32, "hidden": (8,), "threads": 1, "compile": "never"}
SETTINGS |= {"eval_every": 100, "eval_episodes": 2, "log_every": 50}
GOOD = {1: [0, 60, 90], 2: [0, 50, 80], 3: [10, 70, 95], 4: [0, 40, 85]}
BAD = {1: [0, 20, 40], 2: [5, 30, 50], 3: [0, 10, 45], 4: [0, 30, 55]}


def write(file, seeds, every=100, task=None, header="seed,steps,return"):
    lines = [f"task,{header}" if task else header]
    for seed, returns in seeds.items():
        cells = [f"{seed},{every * place},{value}" for place, value in enumerate(returns, 1)]
        lines += [f"{task},{line}" if task else line for line in cells]
    text = "\n".join(lines) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return str(file)


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "good.csv", GOOD), write(tmp_path / "bad.csv.gz", BAD, header="seed,env_steps,return")


@pytest.fixture
def told(capsys):
    def ask(*words):
        capsys.readouterr()
        assert main(["compare", *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for name, lr in (("quick", 1e-3), ("slow", 1e-5)):
        for seed in (1, 2):
            run = folder / name / f"seed{seed}"
            rucksac.train("Pendulum-v1", recipe="sac", steps=200, seed=seed, lr=lr, run=run, **SETTINGS)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def test_figures_by_hand(files, told):
    found = told(files[0], "--against", files[1], "--threshold", "50")
    good, bad = found["groups"]
    assert (good["name"], bad["name"]) == ("good", "bad")
    assert [run["last"] for run in good["runs"]] == [90, 80, 95, 85]
    assert good["last"]["value"] == 87.5  # of four, the mean of the two in the middle
    assert good["last"]["mean"] == 87.5
    assert [run["area"] for run in bad["runs"]] == [20, 28.75, 16.25, 28.75]  # trapezia over two equal stretches
    assert good["threshold"] == {"reached": 4, "median_steps": 200, "median_minutes": None}
    assert [run["threshold_steps"] for run in good["runs"]] == [200, 200, 200, 300]
    assert bad["threshold"] == {"reached": 2, "median_steps": None, "median_minutes": None}
    assert bad["parts"] == [None, 12.5, 30, 47.5]  # at steps 75, 150, 225 and 300
    assert bad["curve"] == {"the task": {"steps": [100, 200, 300], "iqm": [0, 25, 47.5]}}
    (against,) = found["comparisons"]
    assert against["winner"] == "good"
    assert against["last"]["difference"] == 40
    assert against["last"]["interval"] == [25, 55]
    assert against["last"]["p"] == pytest.approx(2 / 70)
    assert against["last"]["probability_of_improvement"]["value"] == 1
    assert against["last"]["pairs"]["count"] == 4
    assert against["last"]["pairs"]["interval"] is None  # four pairs allow none
    assert found["notes"] == []


def test_the_answer_for_people(files, capsys):
    assert main(["compare", files[1], "--against", files[0], "--threshold", "50"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "the task, up to step 300"
    assert [" ".join(line.split()) for line in shown.splitlines() if line.startswith(("good", "bad "))] == [
        "bad 4 48 34 to 61 48", "good 4 88 74 to 101 88",
        "bad 4 24 10 to 39 23", "good 4 49 30 to 68 50",
        "bad 2 of 4 beyond the last beyond the last", "good 4 of 4 200 not recorded",
        "bad minus good last evaluation area under the curve",
        "bad 12 30 48", "good 28 62 88",
        "bad 50 % 0 % 0 % 0 % 0 %", "good 100 % 100 % 100 % 100 % 50 %",
    ]  # fmt: skip
    assert shown.splitlines()[-1] == (
        "Verdict: good is better than bad by the last evaluation: 40 higher (95 % interval 25 to 55, p = 0.029)."
    )


def test_what_the_interval_does_not_allow_is_no_winner(tmp_path, told):
    few = write(tmp_path / "few.csv", {seed: GOOD[seed] for seed in (1, 2, 3)})
    other = write(tmp_path / "other.csv", {seed: BAD[seed] for seed in (1, 2, 3)})
    (against,) = told(few, "--against", other)["comparisons"]
    assert (against["winner"], against["more_seeds"], against["fewest_seeds"]) == (None, 1, 4)
    assert against["verdict"] == (
        "no winner between few and other by the last evaluation: with 3 seeds even runs that are all better would "
        "prove nothing at 95 %, for which 4 in each group may be enough; if the difference is as it looks, about 1 "
        "more seed of each would tell"
    )
    close = write(tmp_path / "close.csv", {seed: [0, value] for seed, value in enumerate([10, 20, 30, 40, 50], 1)})
    near = write(tmp_path / "near.csv", {seed: [0, value] for seed, value in enumerate([5, 15, 18, 33, 45], 1)})
    (against,) = told(close, "--against", near)["comparisons"]
    assert against["winner"] is None
    assert "the difference lies between -23 and 35" in against["verdict"]
    assert against["more_seeds"] > 20
    (against,) = told(close, "--against", write(tmp_path / "same.csv", {seed: [0, 30] for seed in range(5)}))[
        "comparisons"
    ]
    assert "too small for 100 seeds to tell" in against["verdict"]


def test_the_area_decides_when_asked(tmp_path, told):
    early = write(tmp_path / "early.csv", {seed: [0, 90, 100 - seed] for seed in range(5)})
    late = write(tmp_path / "late.csv", {seed: [0, 10, 100 - seed] for seed in range(5)})
    assert told(early, "--against", late)["comparisons"][0]["winner"] is None
    by_area = told(early, "--against", late, "--by", "area")["comparisons"][0]
    assert by_area["winner"] == "early"
    assert by_area["area"]["difference"] == pytest.approx(40)


def test_pairs_decide_when_asked(tmp_path, told):
    # Seeds differ by far more than settings do.
    one = write(tmp_path / "one.csv", {seed: [0, 100 * seed + 5 + seed] for seed in range(8)})
    other = write(tmp_path / "other.csv", {seed: [0, 100 * seed] for seed in range(7)})
    assert told(one, "--against", other)["comparisons"][0]["winner"] is None
    found = told(one, "--against", other, "--paired")
    (against,) = found["comparisons"]
    assert against["winner"] == "one"
    assert against["last"]["pairs"]["correlation"] > 0.99
    assert against["decided_by"]["difference"] == 8
    assert found["notes"] == [f"{one} seed 7 has no partner with its seed and is left out of the verdict"]


def test_tasks_are_strata_on_a_common_scale(tmp_path, told, capsys):
    groups = []
    for name, seeds in (("good", GOOD), ("bad", BAD)):
        small = write(tmp_path / f"{name}1.csv", {seed: seeds[seed] for seed in (1, 2)}, task="small")
        large = {seed: [1000 * value for value in seeds[seed]] for seed in (1, 2)}
        groups.append([small, write(tmp_path / f"{name}2.csv", large, task="large")])
    extra = write(tmp_path / "extra.csv", {1: [1, 2]}, task="other")
    found = told(*groups[0], extra, "--against", *groups[1])
    assert [(task["name"], task["low"], task["high"]) for task in found["tasks"]] == [
        ("large", 0, 65_000), ("small", 0, 65),
    ]  # fmt: skip
    assert found["notes"] == ["other is left out: bad lacks it"]
    assert found["groups"][0]["last"]["mean"] == pytest.approx(85 / 65)
    assert found["groups"][0]["last"]["by_task"]["large"]["value"] == 85_000
    (against,) = found["comparisons"]
    assert against["last"]["p"] == pytest.approx(2 / 36)  # 6 orders of each task, all of both the one way
    assert against["winner"] is None
    assert main(["compare", *groups[0], "--against", *groups[1]]) == 0
    assert "On the scale of each task the median run's lowest evaluation is 0" in capsys.readouterr().out


def test_several_groups_share_the_five_per_cent(files, tmp_path, told, capsys):
    third = write(tmp_path / "third.csv", {seed: [0, 30, 60] for seed in range(4)})
    found = told(files[0], "--against", files[1], "--against", third)
    assert [each["against"] for each in found["comparisons"]] == ["bad", "third"]
    assert [each["level"] for each in found["comparisons"]] == [0.975, 0.975]
    assert found["comparisons"][0]["winner"] is None  # at 95 % it would be one
    assert main(["compare", files[0], "--against", files[1], "--against", third]) == 0
    assert capsys.readouterr().out.count("Verdict: no winner between good and ") == 2


def test_runs_of_different_length_compare_as_far_as_all_go(tmp_path, told):
    one = write(tmp_path / "one.csv", {**GOOD, 5: [0, 55]})
    other = write(tmp_path / "other.csv", BAD, every=60)
    found = told(one, "--against", other)
    assert (found["tasks"][0]["start"], found["tasks"][0]["end"]) == (100, 180)
    assert found["groups"][0]["runs"][0]["last"] == 48  # interpolated: 0.8 of the way from 0 to 60
    shortest, between = found["notes"]
    assert shortest.startswith(
        f"compared up to step 180 on the task, as far as {other} seed 1 goes; others go up to 300"
    )
    assert between == "not every run was evaluated at step 180 on the task; what lies between is interpolated"
    found = told(one, "--against", write(tmp_path / "long.csv", BAD), "--steps", "300")
    assert found["notes"] == [f"{one} seed 5 is left out: it ends at step 200"]
    assert found["groups"][0]["count"] == 4


def test_episodes_of_one_evaluation_are_averaged(tmp_path, told):
    file = tmp_path / "episodes.csv"
    file.write_text("seed,steps,episode,return\n" + "".join(f"{s},10,{e},{s + e}\n" for s in range(4) for e in (0, 1)))
    found = told(file, "--against", write(tmp_path / "other.csv", {seed: [seed] for seed in range(4)}, every=10))
    assert [run["last"] for run in found["groups"][0]["runs"]] == [0.5, 1.5, 2.5, 3.5]
    assert "area" not in found["groups"][0]  # a single evaluation has none


def test_run_folders_and_folders_of_seeds(runs, told):
    found = told(runs / "quick", "--against", runs / "slow/seed1", runs / "slow/seed2", "--threshold", "-3000")
    quick, slow = found["groups"]
    assert [task["name"] for task in found["tasks"]] == ["Pendulum-v1"]
    assert (quick["name"], slow["name"]) == ("quick", "slow")
    assert [run["steps"] for run in quick["runs"]] == [[100, 200]] * 2
    assert [run["seed"] for run in slow["runs"]] == [1, 2]
    summary = json.loads((runs / "quick/seed1/summary.json").read_text())
    assert quick["runs"][0]["last"] == pytest.approx(summary["final_evaluation"]["mean"])
    assert all(run["threshold_minutes"] > 0 for run in quick["runs"])
    assert quick["threshold"]["median_steps"] == 100
    assert found["notes"] == []
    assert found["comparisons"][0]["winner"] is None


def test_runs_that_are_not_over_or_broken_are_named(runs, told):
    extend_group(runs / "slow", 400)
    (runs / "quick/seed3").mkdir()
    (runs / "quick/seed3/config.json").write_text("{")
    shutil.copytree(runs / "slow/seed1", runs / "slow/seed4")
    (runs / "slow/seed4/evaluations.csv").write_text("env_steps,episode,seed,return,length\n")
    with RunFolder(runs / "slow/seed2").alone():
        notes = told(runs / "quick", "--against", runs / "slow")["notes"]
    assert notes[0].startswith(f"{runs}/quick/seed3 is broken: {runs}/quick/seed3/config.json cannot be read")
    assert notes[1:] == [
        f"{runs}/slow/seed4 has no evaluation yet (stopped, 200 of 400 steps)",
        f"{runs}/slow/seed1 is stopped before its end: evaluated up to step 200 of 400",
        f"{runs}/slow/seed2 is still running: evaluated up to step 200 of 400",
    ]


def test_an_evaluation_under_way_does_not_count(runs, told):
    file = runs / "quick/seed1/evaluations.csv"
    file.write_text(file.read_text() + "300,0,0,-1000.0,200\n300,1,1,-10")
    found = told(runs / "quick", "--against", runs / "slow")
    assert found["groups"][0]["runs"][0]["steps"] == [100, 200]


def test_settings_that_differ_within_a_group_are_named(runs, told):
    found = told(runs / "quick", runs / "slow/seed1", "--against", runs / "slow/seed2")
    assert found["notes"] == ["the runs of quick and 1 other differ in lr: 0.001, 1e-05"]


def test_returns_of_other_tasks_do_not_compare(runs, tmp_path, capsys):
    for setting, value in (("frame_skip", 4), ("env_args", {"g": 5.0})):
        other = shutil.copytree(runs / "slow", tmp_path / setting)
        for config in other.glob("*/config.json"):
            values = json.loads(config.read_text())
            values["settings"][setting] = value
            config.write_text(json.dumps(values))
        assert main(["compare", str(runs / "quick"), "--against", str(other)]) == 2
        told = capsys.readouterr().err
        assert f"slow has Pendulum-v1, {setting}" in told or f"has Pendulum-v1, {setting} {json.dumps(value)}" in told


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "but lacks seed and return and steps or env_steps"),
        ("seed,return\n1,2\n", "but lacks steps or env_steps"),
        ("seed,steps,return,Return\n1,2,3,4\n", "has several columns return; keep one of them"),
        ("seed,steps,return\n1,-5,3\n", "-5 steps and return 3 must be numbers below 1e+100, and steps no less"),
        ("seed,steps,return\n", "has no rows below its header"),
        ("seed,steps,return\n1,10,2\n1,20,high\n", "line 3: seed must be a whole number, steps and return numbers"),
        ("seed,steps,return\n1,10\n", "line 2: seed must be a whole number, steps and return numbers"),
        ("seed,steps,return\n1.5,10,2\n", "line 2: seed must be a whole number"),
        ("seed,steps,return\n1,10,nan\n", "line 2: 10 steps and return nan must be numbers below 1e+100"),
        ("seed,steps,return\n1,10,-1e308\n", "line 2: 10 steps and return -1e+308 must be numbers below 1e+100"),
        ("env_steps,episode,seed,return,length\n", "belongs to a run folder; give the folder"),
        ("recipe,seed,steps,return\nsac,1,10,2\ntd3,1,10,3\n", "one file holds one group; keep the rows of one recipe"),
        ("task,seed,steps,return\na,1,10,2\nb,1,10,3\n", "does not say which of a, b it is of; add a column task"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_refused_in_one_sentence(content, says, files, tmp_path, capsys):
    file = tmp_path / "odd.csv"
    file.write_text(content)
    assert main(["compare", str(file), "--against", files[0]]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1


def test_questions_without_an_answer_are_refused_in_one_sentence(files, tmp_path, runs, capsys):
    good, bad = files
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b no")
    single = write(tmp_path / "single.csv", {1: [5], 2: [6]})
    others = write(tmp_path / "others.csv", {7: [5, 6, 7]})
    late = write(tmp_path / "late.csv", {1: [5, 6]}, every=1_000)
    backwards = tmp_path / "backwards.csv"
    backwards.write_text("seed,steps,return,wall_seconds\n1,100,5,-5\n")
    copies = shutil.copytree(runs / "slow/seed1", tmp_path / "copies")
    for words, says in (
        ([good], "compare needs runs of two settings"),
        (["--against", good], "compare needs runs of two settings"),
        ([good, "--against", good], "is in two groups"),
        ([good, "--against", "nowhere"], "nowhere cannot be read (No such file or directory)"),
        ([good, "--against", tmp_path / "empty"], "empty is no run; give folders that `rucksac train` wrote"),
        ([good, "--against", tmp_path / "broken.csv.gz"], "broken.csv.gz cannot be read"),
        ([good, "--against", single, "--by", "area"], "--by area needs two evaluations"),
        ([good, "--against", others, "--paired"], "--paired needs seeds that good and others share"),
        ([good, "--against", bad, "--steps", "500"], "--steps is 500, but no run of one group gets there"),
        ([good, "--against", bad, "--steps", "0"], "--steps is 0, but must be at least 1"),
        ([good, "--against", bad, "--threshold", "nan"], "--threshold is nan, but must be a return"),
        ([good, "--against", late], "late.csv seed 1 has no evaluation before step 1,000, but others end at 300"),
        ([good, "--against", late, "--steps", "50"], "late.csv seed 1 has no evaluation before step 1,000; give that"),
        ([good, "--against", backwards], "backwards.csv, line 2: wall_seconds is -5, but must be at least 0"),
        ([runs / "slow", copies, "--against", runs / "quick"], "so they are one run; give one of them"),
        ([good, "--against", bad, "--env.g", "5"], "makes no environment of its own"),
    ):
        assert main(["compare", *map(str, words)]) == 2, words
        told = capsys.readouterr().err
        assert says in told, told
        assert len(told.splitlines()) == 1


def test_pairs_and_interquartile_means_that_disagree_name_no_winner(tmp_path, told):
    one = write(tmp_path / "one.csv", {seed: [0, 101 if seed < 12 else 1] for seed in range(40)})
    other = write(tmp_path / "other.csv", {seed: [0, 100 if seed < 20 else 0] for seed in range(40)})
    (against,) = told(one, "--against", other)["comparisons"]
    assert against["last"]["interval"][0] > 0  # it wins 65 % of the pairs, but most of its runs are far lower
    assert (against["winner"], against["disagreement"]) == (None, True)
    assert "pairs of runs say one, interquartile means the other" in against["verdict"]


def test_it_needs_no_pytorch(files):
    script = f"import sys; from rucksac.cli import main; main(['compare', {files[0]!r}, '--against', {files[1]!r}]); "
    script += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
