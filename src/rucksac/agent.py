"""What a person holds: an agent that acts. What learns is `learner.Learner`."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rucksac import files
from rucksac.algorithm.update import SAC, State
from rucksac.compilation import Compiled
from rucksac.config import Config
from rucksac.environments import reading
from rucksac.environments.observations import rows_of
from rucksac.environments.spaces import Spaces
from rucksac.errors import TrainingStopped, UsageError
from rucksac.exploration import HeldNoise, Moments
from rucksac.normalisation import Normaliser
from rucksac.streams import Stream, generator
from rucksac.text import shortened

FORMAT, VERSION = "rucksac-agent", 5
MANIFEST, TENSORS = "agent.json", "agent.safetensors"


class Agent:
    """A policy for one pair of spaces, with its critics and all else that was learned; `building.build` makes one.

    `act_function` does the tensor work of acting; `building.compile_steps` replaces it by native code.
    """

    STATE = ("grad_steps", "acting_noise")  # beside the tensors in `state` and the normaliser's

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        algorithm: SAC,
        normaliser: Normaliser | None,
        default_networks: bool,
        begin: Callable[[int], State],
    ) -> None:
        self.config, self.spaces, self.algorithm, self.normaliser = config, spaces, algorithm, normaliser
        self.default_networks, self.device = default_networks, next(algorithm.policy.parameters()).device
        self.grad_steps = 0
        self.begin = begin  # the state after reset number n, the first state for 0
        with self.device:
            self.state = begin(0)
        self.acting_noise = generator(config.seed, Stream.ACTING)
        self._weights = self.state.policy.weights
        self.noise_size = algorithm.noise_by_state or spaces.action_size
        held = config.gsde or config.noise_every != 1
        self._held = HeldNoise(config.seed, config.noise_every, self.noise_size) if held else None
        self.act_function: Compiled | None = None  # for as many observations as there are environments

    def __repr__(self) -> str:
        sizes = f"obs_size={self.spaces.obs_size}, action_size={self.spaces.action_size}"
        return f"Agent({sizes}, grad_steps={self.grad_steps}, alpha={self.alpha:.3g})"

    @property
    def alpha(self) -> float:
        """Return the temperature in use."""
        return self.state.alpha.item()

    def act(self, obs: np.ndarray, moments: Moments | None = None, deterministic: bool = False) -> np.ndarray:
        """Return actions in [-1, 1] (E, A) for (E, O), samples or means; noise may be held at `moments` of training."""
        rows, draw = len(obs), np.zeros if deterministic else self.acting_noise.standard_normal
        if self._held and moments and not deterministic:
            noise = np.stack([self._held(moment) for moment in moments()])
        else:
            noise = draw((rows, self.noise_size), dtype=np.float32)
        if self.normaliser:
            obs = self.normaliser.observations(obs)
        if self.act_function and rows <= self.config.envs:
            if more := self.config.envs - rows:
                obs, noise = (np.pad(array, ((0, more), (0, 0))) for array in (obs, noise))
            actions = self.act_function(self.act_arguments(obs, noise))[0].numpy()[:rows]
        else:
            with torch.inference_mode():
                actions = self.act_in_order(*self.act_arguments(obs, noise))[0].cpu().numpy()
        if not np.isfinite(actions).all():
            raise TrainingStopped("the policy's action is not finite: learning diverged; a smaller --lr usually helps")
        return actions

    def predict(
        self,
        obs: Any,
        state: None = None,
        episode_start: Any = None,  # noqa: ARG002 (for agents with a memory)
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Return the action for one observation or a batch, in the environment's own units and shape.

        Parameters and answer are those of Stable-Baselines3's `predict`, so that its `evaluate_policy` takes the agent;
        only `deterministic` has another default. The policy has no memory: `state` and the second value are always
        None, and `episode_start` changes nothing. Raises `UsageError` for a wrong shape and for a state.
        """
        if state is not None:
            raise UsageError(
                f"state is {shortened(state)}, but must be None: the policy has no memory; give deterministic by name"
            )
        rows, one = rows_of(obs, self.spaces.flatten)
        action = self.spaces.actions.to_env(self.act(rows, deterministic=deterministic))
        return (action[0] if one else action), None

    def act_arguments(self, obs: np.ndarray, noise: np.ndarray) -> list[Tensor]:
        """Return what `act_in_order` takes, for observations (E, O) and noise (E, noise_size)."""
        return [*self._weights.values(), *(torch.from_numpy(array).to(self.device) for array in (obs, noise))]

    def act_in_order(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Return actions (E, A): `SAC.act` with all it needs as one list of tensors."""
        weights = dict(zip(self._weights, tensors, strict=False))
        return (self.algorithm.act(weights, *tensors[len(weights) :]),)

    def acting_tensors(self) -> list[Tensor]:
        """Return every tensor that `act` depends on and learning changes; they share the agent's memory."""
        statistics = vars(self.normaliser.seen) if self.normaliser and self.normaliser.seen else {}
        return [*self._weights.values(), *map(torch.from_numpy, statistics.values())]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that learning changes, by name; they share the agent's memory."""
        leaves, _ = pytree.tree_flatten_with_path(self.state)
        found = {_name(path): tensor for path, tensor in leaves}
        if self.normaliser:
            arrays = self.normaliser.arrays()
            found |= {f"normaliser.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        return found

    def save(self, path: str | Path) -> None:
        """Write the agent to a folder of its own, whole or not at all; `rucksac.load(path)` reads it.

        An agent that was saved there is replaced. Raises `UsageError` when the folder holds anything else or cannot be
        written.
        """
        try:
            folder = Path(path).expanduser().absolute()
        except (TypeError, ValueError, OSError, RuntimeError) as error:
            raise UsageError(f"{shortened(path)} cannot be the path of a folder ({error}); give another") from error
        new, old = (folder.with_name(f"{folder.name}.{suffix}") for suffix in ("new", "old"))
        try:
            if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
                raise UsageError(f"{folder} holds something else than an agent; give a folder that is new or empty")
            if folder.is_dir() and not any(folder.iterdir()):
                return self.write(folder)
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self.write(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"{shortened(str(folder))} cannot be written ({reason}); give another path") from error

    def write(self, folder: Path) -> None:
        """Write the agent's files into `folder`, which exists. Raises `OSError`."""
        data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in self.tensors().items()})
        content = {
            "format": FORMAT,
            "version": VERSION,
            "grad_steps": self.grad_steps,
            "default_networks": self.default_networks,
            "config": self.config.to_json(),
            "spaces": reading.to_json(self.spaces),
            "sha256": files.write(folder / TENSORS, data),
        }
        files.write_manifest(folder / MANIFEST, content)


def _name(path: tuple[Any, ...]) -> str:
    """Return a tensor's name: the way to it."""
    return ".".join(str(key.name if isinstance(key, pytree.GetAttrKey) else key.key) for key in path)
