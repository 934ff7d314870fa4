"""A trained policy in one file that works without rucksac."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rucksac.agent import Agent
from rucksac.algorithm.encoder import Seeing
from rucksac.algorithm.networks import MLP, Network
from rucksac.algorithm.state_noise import StateNoise
from rucksac.environments import reading
from rucksac.errors import UsageError
from rucksac.exporting.checking import Check, check, one_by_one
from rucksac.exporting.pipeline import Pipeline, pipeline_of
from rucksac.training.folder import RunFolder, path_of, versions
from rucksac.training.loading import is_agent, load_counted

FORMAT, VERSION = "rucksac-policy", 1
SUFFIXES = (".onnx", ".pt2", ".npz", ".h")
PLAIN_NETWORKS_ONLY = (".npz", ".h")
SETTINGS = (
    "seed",
    "env_args",
    "frame_skip",
    "frame_stack",
    "action_low",
    "action_high",
    "normalise_observations",
    "precision",
)
OF_OWN_NETWORKS = ("hidden", "blocks", "activation", "policy_norm", "deterministic_policy")
IN_FOLDER = "policy.npz"


class Exported(NamedTuple):
    """What was written, and how far it is from the agent; shapes are without the batch."""

    files: list[Path]
    bytes: int  # of the first file
    about: dict[str, Any]
    inputs: list[dict[str, Any]]
    output: dict[str, Any]
    check: Check | None
    unchecked: str | None  # why there is no check

    @property
    def rounded(self) -> str | None:
        """Return what makes more of a difference than the rounding of float32, if anything does."""
        if self.about["int8"]:
            return "inner layers in 8 bits"
        if self.about["settings"]["precision"] == "bf16":
            return "the agent multiplies in bf16, the file in float32"
        return None

    @property
    def suspicious(self) -> bool:
        """Return whether the file differs from the agent for no known reason."""
        return bool(self.check and not self.check.passed and not self.rounded)


def export(
    run_or_agent: str | Path | Agent,
    path: str | Path,
    *,
    sample: bool = False,
    int8: bool = False,
    best: bool = False,
) -> Exported:
    """Write the policy of a run, or of an agent, to `path`; its ending decides the format.

    .onnx, .pt2 (torch.export), .npz (NumPy, with its runner beside it; a folder gets both) or .h (C99). The file maps
    raw observations to the environment's actions, the likeliest ones or, with `sample`, those that the noise decides
    that is its last input. `int8` makes an .onnx file smaller; `best` takes the agent of the best evaluation. The file
    is compared with the agent on random observations. Raises `UsageError` for what cannot be exported.
    """
    target = path_of(path)
    if target.is_dir() and target.suffix in SUFFIXES:
        raise UsageError(f"{target} is a folder; give the name of a new file")
    if target.is_dir() or not target.suffix:
        target = target / IN_FOLDER
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target} ends in {target.suffix!r}, but must end in {', '.join(SUFFIXES)} or be a folder")
    if int8 and target.suffix != ".onnx":
        raise UsageError(f"--int8 is for .onnx files, but this one is {target.name}; leave it out")
    origin: dict[str, Any] = {"env": None, "recipe": None, "env_steps": None}
    if isinstance(run_or_agent, Agent):
        if best:
            raise UsageError("best is for runs, but an agent was given; leave it out")
        agent = run_or_agent
    else:
        agent, env_steps = load_counted(run_or_agent, best=best)
        if not is_agent(path_of(run_or_agent)):
            saved = RunFolder.open(path_of(run_or_agent)).read_config()
            origin = {"env": saved["environment"], "recipe": saved["recipe"], "env_steps": env_steps}
    pipeline, sees = pipeline_of(agent, sample), isinstance(agent.algorithm.policy, Seeing)
    if int8 and sees:
        raise UsageError("--int8 is for policies without pictures, but this one sees them; leave it out")
    about = {**_about(agent, pipeline, origin), "int8": int8}
    module, policy = _format(target.suffix), agent.algorithm.policy
    policy = policy.network if isinstance(policy, StateNoise) else policy
    if target.suffix in PLAIN_NETWORKS_ONLY and not isinstance(policy, MLP):
        what = "the policy sees pictures" if sees else f"the policy is a {type(policy).__name__}"
        raise UsageError(
            f"{target.name} can hold rucksac's plain networks only, but {what}; export it to .onnx or .pt2"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = module.write(policy, pipeline, about, target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror}); give a path where you may write") from error
    inputs, output = pipeline.inputs(), pipeline.output()
    if target.suffix == ".h":
        inputs, output = module.arguments(pipeline)
    found, unchecked = None, None
    try:
        act = module.opened(target, pipeline)
        found = check(one_by_one(act) if int8 else act, agent, pipeline)
    except UsageError as error:  # what would run it is not here
        unchecked = str(error)
    return Exported(written, target.stat().st_size, about, inputs, output, found, unchecked)


def _about(agent: Agent, pipeline: Pipeline, origin: dict[str, Any]) -> dict[str, Any]:
    settings = agent.config.to_json()
    own = isinstance(agent.algorithm.policy, (Network, StateNoise, Seeing))
    return {
        "format": FORMAT,
        "version": VERSION,
        **origin,
        "grad_steps": agent.grad_steps,
        "settings": {name: settings[name] for name in (*SETTINGS, *(OF_OWN_NETWORKS if own else ()))},
        "spaces": reading.to_json(agent.spaces),
        "versions": versions(),
        "sample": pipeline.sample,
        "inputs": pipeline.inputs(),
        "output": pipeline.output(),
    }


def _format(suffix: str) -> ModuleType:
    from rucksac.exporting import c_header, numpy_file, onnx_file, torch_program

    return {".onnx": onnx_file, ".pt2": torch_program, ".npz": numpy_file, ".h": c_header}[suffix]
