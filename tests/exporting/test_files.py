"""Exported files in the hands of those who have them: other processes, without rucksac, and compilers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

import rucksac
from rucksac.algorithm.networks import ACTIVATIONS
from rucksac.building import build
from rucksac.cli import main
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.exporting import c_header, numpy_policy
from rucksac.exporting.checking import TOLERANCE, check
from rucksac.exporting.pipeline import pipeline_of
from tests.documents import fenced
from tests.exporting.cases import OURS, THREE, UNEQUAL, agent_of, extremes, nested
from tests.spaces import spaces_of

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/export.md"
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]
SMALL = "--steps 120 --warmup 50 --batch-size 32 --hidden 16 --threads 1 --eval-episodes 1 --compile never".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pendulum"
    assert main(["train", "Pendulum-v1", *SMALL, "--normalise-observations", "--quiet", "--run", str(folder)]) == 0
    return folder


def python(script, cwd, without):
    """Run a script in a process in which some packages cannot be imported."""
    blocked = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocked + script],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("case", OURS)
def test_numpy_alone_runs_the_folder(case, tmp_path):
    done = rucksac.export(agent_of(case), tmp_path / "robot")
    assert {file.name for file in done.files} == {"policy.npz", "numpy_policy.py"}
    parts, wanted = extremes(case)["seen"]
    observations = [nested(case, [part[:5] for part in parts])[row] for row in range(5)]
    plain = json.dumps(observations, default=lambda array: array.tolist())
    script = f"""
import json
from numpy_policy import Policy
policy = Policy("policy.npz")
actions = [policy(obs).tolist() for obs in json.loads({plain!r})]
assert not {{"torch", "rucksac", "gymnasium"}} & {{name for name, module in sys.modules.items() if module}}
print(json.dumps(actions))
"""
    given = json.loads(python(script, tmp_path / "robot", ("rucksac", "torch", "gymnasium", "onnxruntime")))
    scale = 50 * 0.05 / TOLERANCE if case == "bf16" else 50  # the widest range, and what rounding to bf16 may cost
    np.testing.assert_allclose(given, wanted[:5].tolist(), atol=TOLERANCE * scale)


def test_the_runner_refuses_what_the_policy_was_not_made_for(tmp_path):
    rucksac.export(agent_of("layer norm"), tmp_path / "policy.npz")
    policy = numpy_policy.Policy(str(tmp_path / "policy.npz"))
    for wrong in (0.5, np.zeros(1), np.zeros((3, 1)), np.zeros(4)):
        with pytest.raises(ValueError, match=r"obs has shape \(.*\), but its last ones must be \[3\]"):
            policy(wrong)
    with pytest.raises(ValueError, match="this policy takes no noise"):
        policy(np.zeros(3), np.zeros(2))
    rucksac.export(agent_of("layer norm"), tmp_path / "sampled.npz", sample=True)
    with pytest.raises(ValueError, match="this policy takes noise, see about"):
        numpy_policy.Policy(str(tmp_path / "sampled.npz"))(np.zeros(3))


def test_pytorch_runs_its_file_without_rucksac(tmp_path):
    rucksac.export(agent_of("own"), tmp_path / "policy.pt2")
    parts, wanted = extremes("own")["seen"]
    np.save(tmp_path / "obs.npy", parts[0][:7])
    script = """
import warnings
import numpy, torch
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    policy = torch.export.load("policy.pt2").module()
numpy.save("actions.npy", policy(torch.from_numpy(numpy.load("obs.npy"))).numpy())
"""
    python(script, tmp_path, ("rucksac", "gymnasium"))
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), wanted[:7], atol=5 * TOLERANCE)


@pytest.mark.parametrize(
    ("case", "sample"),
    [(case, sample) for case in OURS for sample in (False, True) if (case, sample) != ("gsde", True)],
)
def test_the_header_compiles_without_a_warning(case, sample, tmp_path):
    done = rucksac.export(agent_of(case), tmp_path / "policy.h", sample=sample)
    source = tmp_path / "use.c"
    kind = done.output["dtype"]
    given = "obs, noise" if sample else "obs"
    source.write_text(
        f'#include "policy.h"\n#include "policy.h"\nint use(const float *obs, const float *noise, {kind} *action);\n'
        f"int use(const float *obs, const float *noise, {kind} *action)\n"
        f"{{ (void)noise; policy_act({given}, action); return POLICY_OBS_SIZE; }}\n"
    )
    for command in (["gcc", "-std=c99"], ["g++", "-std=c++11"]):
        words = [*command, *STRICT, "-c", source, "-o", tmp_path / "use.o"]
        compiled = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        assert compiled.returncode == 0, compiled.stderr


def test_what_is_not_a_number_stays_so_in_c(tmp_path):
    """A motor must not run at full speed because a sensor failed."""
    for activation in ACTIVATIONS:
        agent = build(
            Config(hidden=(4,), activation=activation, normalise_observations=True), spaces_of(UNEQUAL, THREE)
        )
        done = rucksac.export(agent, tmp_path / f"{activation}.h")
        act = c_header.opened(done.files[0], pipeline_of(agent, False))
        assert np.isnan(act(np.array([[0.0, np.nan, 0.0]], np.float32))).all(), activation


def test_the_loops_in_the_documentation_run(run, tmp_path):
    for name in ("policy.npz", "policy.onnx", "policy.h"):
        done = rucksac.export(run, tmp_path / name)
    agent = rucksac.load(run)
    numpy_loop, onnx_loop = fenced(PAGE, "python")
    assert python(numpy_loop, tmp_path, ("rucksac", "torch")).startswith("Pendulum-v1 [")
    at_zero = agent.predict(np.zeros(3, np.float32))[0]
    assert float(python(onnx_loop, tmp_path, ("rucksac", "torch")).strip("[]\n")) == pytest.approx(at_zero[0], abs=1e-5)
    (tmp_path / "robot.c").write_text(fenced(PAGE, "c")[0])
    words = ["gcc", "-std=c99", *STRICT, "robot.c", "-o", "robot", "-lm"]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0
    seen = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    sensors = "\n".join(map(str, seen.reshape(-1)))
    moved = subprocess.run([tmp_path / "robot"], input=sensors, capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(moved.split(), float), agent.predict(seen)[0].ravel(), atol=4 * TOLERANCE)
    assert done.inputs == [{"name": "obs", "shape": [3], "dtype": "float"}]


def test_every_file_says_what_it_is_and_nothing_of_this_machine(run, tmp_path):
    folder = str(ROOT).encode()
    about = {}
    for suffix in (".onnx", ".pt2", ".npz", ".h"):
        done = rucksac.export(run, tmp_path / f"policy{suffix}", sample=True)
        assert folder not in done.files[0].read_bytes()
        about[suffix] = done.about
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    extra = {"rucksac.json": ""}
    torch.export.load(tmp_path / "policy.pt2", extra_files=extra)
    with np.load(tmp_path / "policy.npz") as arrays:
        in_arrays = json.loads(str(arrays["rucksac"]))
    comment = next(line for line in (tmp_path / "policy.h").read_text().splitlines() if line.startswith(" * {"))
    found = {
        ".onnx": json.loads(session.get_modelmeta().custom_metadata_map["rucksac"]),
        ".pt2": json.loads(extra["rucksac.json"]),
        ".npz": {key: value for key, value in in_arrays.items() if key not in ("layers", "activation", "head")},
        ".h": json.loads(comment[3:]),
    }
    assert found == about
    told = found[".onnx"]
    assert (told["env"], told["recipe"], told["env_steps"], told["grad_steps"]) == ("Pendulum-v1", "rucksac", 120, 71)
    assert told["settings"]["hidden"] == [16]
    assert told["versions"]["rucksac"] == rucksac.__version__
    assert [(each.name, each.shape) for each in session.get_inputs()] == [
        ("obs", ["batch", 3]),
        ("noise", ["batch", 1]),
    ]


def test_the_command_says_what_it_wrote(run, tmp_path, capsys):
    assert main(["export", str(run), "-o", str(tmp_path / "new/policy.npz"), "--sample"]) == 0
    first, obs, noise, action, checked = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path}/new/policy.npz: ")
    assert first.endswith("numpy_policy.py to run it")
    assert obs.split() == ["input", "obs", "float32", "batch", "x", "3"]
    assert noise.split() == "input noise float32 batch x 1, standard normal numbers".split()
    assert action.split() == ["output", "action", "float32", "batch", "x", "1"]
    assert checked.startswith("checked: at most ")
    assert main(["export", str(run), "--best", "--output", str(tmp_path / "policy.h"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["check"]["observations"] == 1000
    assert told["check"]["largest"] < TOLERANCE
    assert (told["files"], told["unchecked"]) == ([str(tmp_path / "policy.h")], None)


def test_without_a_compiler_the_header_is_written_unchecked(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert main(["export", str(run), "-o", str(tmp_path / "policy.h")]) == 0
    assert "not checked: no C compiler was found" in capsys.readouterr().out
    assert (tmp_path / "policy.h").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_in_one_line(package, run, tmp_path):
    script = f"""
from rucksac.cli import main
sys.stderr = sys.stdout
assert main(["export", {str(run)!r}, "-o", "policy.onnx"]) == 2
"""
    said = python(script, tmp_path, (package,)).splitlines()
    assert said == [f'rucksac: .onnx needs the package {package}; pip install "rucksac[export]"']


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "export needs --output: a file ending in .onnx"),
        (["-o", "policy.txt"], "ends in '.txt', but must end in .onnx, .pt2, .npz, .h or be a folder"),
        (["-o", "policy.pt2", "--int8"], "--int8 is for .onnx files, but this one is policy.pt2; leave it out"),
        (["-o", "policy.onnx", "--int8"], "--int8 is for the layers between hidden ones, but the policy has none"),
        (["-o", "2-arms.h"], "'2-arms' cannot begin the name of a function in C"),
        (["-o", "/proc/no/policy.npz"], "cannot be written"),
        (["-o", "folder.onnx"], "folder.onnx is a folder; give the name of a new file"),
        (["-o", "taken/policy.npz"], "taken/numpy_policy.py is there already and not from rucksac"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(words, says, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "taken/numpy_policy.py").write_text("# a person's own\n")
    assert main(["export", str(run), *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1
    assert (tmp_path / "taken/numpy_policy.py").read_text() == "# a person's own\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.onnx", "numpy_policy.py", "taken"]


def test_agents_that_a_format_cannot_hold_are_refused(tmp_path):
    for case, policy, name in (("own", "OwnPolicy", "policy.npz"), ("blocks", "PreNorm", "policy.h")):
        with pytest.raises(UsageError, match=f"{name} can hold rucksac's plain networks only, but .* {policy}; export"):
            rucksac.export(agent_of(case), tmp_path / name)

    class Undecided(torch.nn.Linear):
        def forward(self, obs):
            return super().forward(obs) if obs.sum() > 0 else -super().forward(obs)

    spaces = spaces_of(UNEQUAL, THREE)
    with pytest.raises(UsageError, match="no graph that torch.export understands"):
        rucksac.export(build(Config(), spaces, Undecided(3, 4)), tmp_path / "policy.pt2")
    with pytest.raises(UsageError, match="best is for runs"):
        rucksac.export(build(Config(), spaces), tmp_path / "policy.h", best=True)
    still = Config(deterministic_policy=True, exploration_noise=0.0)
    with pytest.raises(UsageError, match="--sample would do nothing"):
        rucksac.export(build(still, spaces), tmp_path / "policy.h", sample=True)
    with pytest.raises(UsageError, match="with --gsde noise belongs to a hidden layer.*; leave --sample out"):
        rucksac.export(build(Config(gsde=True), spaces), tmp_path / "policy.onnx", sample=True)
    with pytest.raises(UsageError, match=r"would have the name 'a\.b'; rename that part"):
        clash = Dict({"a": Dict(b=THREE), "a.b": THREE})
        rucksac.export(build(Config(), spaces_of(UNEQUAL, clash)), tmp_path / "policy.h")
    with pytest.raises(UsageError, match="obs has options beyond 16,777,216"):
        rucksac.export(build(Config(), spaces_of(UNEQUAL, Discrete(3, start=2**30))), tmp_path / "policy.h")
    with pytest.raises(UsageError, match=r"actions reach 1e\+300, more than float32 can hold"):
        wide = Box(-1e300, 1e300, (2,), np.float64)
        rucksac.export(build(Config(), spaces_of(wide, THREE)), tmp_path / "policy.h")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_from_its_agent_is_noticed(tmp_path):
    """Here the file of one agent is compared with another, not trained."""
    agent = agent_of("normalised")
    done = rucksac.export(agent, tmp_path / "policy.h")
    assert done.check.passed
    other = build(agent.config, agent.spaces)
    other.normaliser = agent.normaliser
    pipeline = pipeline_of(other, False)
    found = check(c_header.opened(done.files[0], pipeline), other, pipeline)
    assert not found.passed
    assert done._replace(check=found).suspicious
