"""An agent on disk: tensors as safetensors, everything else as JSON; nothing is ever unpickled.

`agent.json` names the tensor file and its SHA-256 and is replaced in one atomic step after that file is complete, so a
reader finds either the old checkpoint or the new one.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rucksac.agent import Agent
from rucksac.building import build
from rucksac.config import Config
from rucksac.environments import reading
from rucksac.errors import UsageError

FORMAT, VERSION = "rucksac-agent", 1
TENSOR_FILE = re.compile(r"tensors-\d+\.safetensors")
LARGEST_JSON = 16 * 2**20


def save_agent(agent: Agent, folder: Path, env_steps: int) -> None:
    """Write the agent into `folder`, replacing the checkpoint that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors_of(agent).items()})
    name = f"tensors-{env_steps}.safetensors"
    _write_durably(folder / name, data)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "env_steps": env_steps,
        "grad_steps": agent.grad_steps,
        "default_networks": agent.default_networks,
        "config": agent.config.to_json(),
        "spaces": reading.to_json(agent.spaces),
        "tensors": name,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    _write_durably(folder / "agent.json", json.dumps(manifest, indent=2).encode())
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_agent(run: str | Path, policy: nn.Module | None = None, critic: nn.Module | None = None) -> Agent:
    """Return the agent saved in a run folder; raise `UsageError` when there is none or it is damaged.

    An agent trained with modules of your own needs them again, `policy` and `critic`, in any state.
    """
    folder = Path(run) / "checkpoint"
    if not (folder / "agent.json").is_file():
        remedy = "give the folder that `rucksac train` wrote" if Path(run).exists() else "there is no such folder"
        raise UsageError(f"{run} holds no checkpoint; {remedy}")
    try:
        manifest = _read_manifest(folder / "agent.json")
        if not manifest["default_networks"] and policy is None and critic is None:
            raise UsageError(
                f"{run} was trained with networks of your own; give them: load(run, policy=..., critic=...)"
            )
        data = _read_tensors(folder, manifest)
        agent = build(Config.from_json(manifest["config"]), reading.from_json(manifest["spaces"]), policy, critic)
        load_tensors(agent, safetensors.torch.load(data))
        agent.grad_steps = int(manifest["grad_steps"])
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError, OSError, RuntimeError) as error:
        raise UsageError(f"the checkpoint in {run} is damaged or foreign ({_short(error)})") from error
    except safetensors.SafetensorError as error:
        raise UsageError(f"the checkpoint in {run} is damaged or foreign ({_short(error)})") from error
    return agent


def tensors_of(agent: Agent) -> dict[str, Tensor]:
    """Return every tensor that learning changes, by name; they share the agent's memory."""
    leaves, _ = pytree.tree_flatten_with_path(agent.state)
    return {".".join(_name(key) for key in path): tensor for path, tensor in leaves}


def _name(key: Any) -> str:
    return str(key.name if isinstance(key, pytree.GetAttrKey) else key.key)


def load_tensors(agent: Agent, tensors: dict[str, Tensor]) -> None:
    """Copy values into the agent; raise `ValueError` when names, shapes or types differ or a value is not finite."""
    own = tensors_of(agent)
    if set(own) != set(tensors):
        raise ValueError(f"the tensors differ in name: {sorted(set(own) ^ set(tensors))[:3]}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape or tensor.dtype != tensors[name].dtype:
            raise ValueError(f"{name} is {tuple(tensors[name].shape)}, but must be {tuple(tensor.shape)}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _read_manifest(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LARGEST_JSON:
        raise ValueError("agent.json is too large to be one")
    manifest = json.loads(file.read_text())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError("agent.json is not a checkpoint's")
    if manifest.get("version") != VERSION:
        raise ValueError(f"it has format version {manifest.get('version')}, this rucksac reads {VERSION}")
    return manifest


def _read_tensors(folder: Path, manifest: dict[str, Any]) -> bytes:
    if not TENSOR_FILE.fullmatch(manifest["tensors"]):
        raise ValueError("agent.json names a tensor file outside the checkpoint")
    data = (folder / manifest["tensors"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise ValueError("the tensor file is not the one that was saved")
    return data


def _write_durably(file: Path, data: bytes) -> None:
    temporary = file.with_name(file.name + ".new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
