"""Every setting of a run in one frozen dataclass: the source of the flags, of the settings file and of the API.

Importing this module is cheap: no torch, no gymnasium.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rucksac.errors import UsageError

Activation = Literal["relu", "tanh", "elu", "silu", "gelu"]
Initialisation = Literal["default", "xavier", "orthogonal"]
Precision = Literal["fp32", "bf16"]
Compile = Literal["auto", "never"]
Device = Literal["cpu", "cuda", "auto"]
PolicyQ = Literal["smallest", "first", "mean"]
Norm = Literal["none", "layer", "batch"]
Returns = Literal["expected", "quantiles"]
TemperatureLoss = Literal["alpha", "log"]
EntropyToCome = Literal["auto", "always", "never"]
Saving = Literal["stop", "continue"]
LONGEST_WARMUP = 10_000  # unless one is given


@dataclass(frozen=True)
class Config:
    """The settings of one run. Sizes are counts, rates are per gradient step, clocks count environment steps."""

    steps: int = 20_000
    """Environment steps to train for."""
    seed: int = 1
    """Seed of every random stream of the run; one number gives one result."""
    warmup: int | None = None
    """Environment steps of uniformly random actions at the start; a tenth of --steps if not given, 10,000 at most."""
    learning_starts: int | None = None
    """Environment steps before the first gradient step; as many as the warm-up if not given."""
    update_every: int = 1
    """Environment steps between blocks of gradient steps; how many those are stays as --utd says."""
    batch_size: int = 256
    """Transitions per gradient step."""
    buffer_size: int = 1_000_000
    """Rows of replay memory; an episode of n steps takes n + 1 rows."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of the policy and of each critic."""
    critic_hidden: tuple[int, ...] | None = None
    """Widths of the hidden layers of each critic; those of --hidden if not given."""
    policy_norm: Norm = "none"
    """Normalisation in the policy: none, layer (before each activation) or batch (of the input and after them)."""
    critic_norm: Norm = "none"
    """The same in the critics."""
    dropout: float = 0.0
    """Share of each hidden layer's outputs that the critics leave out."""
    activation: Activation = "relu"
    """Activation between the layers."""
    initialisation: Initialisation = "default"
    """Initial weights: PyTorch's default for linear layers, or Xavier or orthogonal ones with zero biases."""
    deterministic_policy: bool = False
    """One action per state plus noise, in place of a distribution over actions."""
    exploration_noise: float = 0.1
    """Standard deviation of the noise on a deterministic policy's actions in training, in units of [-1, 1]."""
    target_noise: float = 0.2
    """The same where next states are valued (target policy smoothing)."""
    improvement_noise: float = 0.0
    """The same where the policy is improved."""
    noise_clip: float = 0.5
    """Largest noise on a deterministic policy's action, in each dimension."""
    critics: int = 2
    """Number of critics; the smallest answer counts."""
    target_critics: int | None = None
    """How many of the critics, drawn anew for each gradient step, give the smallest answer for the target."""
    target_network: bool = True
    """Let slow copies answer for the next states. Without them and with batch norm, one pass judges both states."""
    returns: Returns = "expected"
    """What critics learn of the return: its expectation, or quantiles of its distribution."""
    quantiles: int = 25
    """Quantiles of each critic."""
    dropped_quantiles: int = 2
    """How many quantiles for each critic, the largest of all critics' together, the target leaves out."""
    policy_q: PolicyQ = "smallest"
    """Which of the critics' answers the policy climbs: the smallest, the first critic's, or their mean."""
    value_network: bool = False
    """Learn the values of states in a network of their own, whose slow copy then stands for the critics'."""
    target_policy: bool = False
    """Let a slow copy of the policy choose the actions of the next states."""
    policy_delay: int = 1
    """Gradient steps of the critics for each of the policy and of the temperature."""
    lr: float = 1e-3
    """Adam's learning rate for critics, temperature, and policy."""
    policy_lr: float | None = None
    """Adam's learning rate for the policy; --lr if not given."""
    adam_beta: float = 0.9
    """How much of the mean gradient Adam keeps in each update."""
    weight_decay: float = 0.0
    """Share of the networks' parameters, times the learning rate, that each update takes away."""
    clip_gradients: float | None = None
    """Largest norm of each network's gradient; longer ones are shortened."""
    gamma: float = 0.99
    """Discount of the return per environment step."""
    reward_scale: float = 1.0
    """What rewards are multiplied by before the critics see them; the logs keep the environment's own."""
    tau: float = 0.005
    """Weight of the online networks in each update of their targets; 1 copies them."""
    target_every: int = 1
    """Gradient steps between updates of the targets."""
    alpha: float | Literal["learned"] = "learned"
    """Temperature: learned, or a fixed number (reward units per nat). A deterministic policy has no use for it."""
    initial_alpha: float = 1.0
    """First value of a learned temperature."""
    temperature_loss: TemperatureLoss = "log"
    """What the gap between entropy and target is multiplied by: alpha, or its logarithm."""
    target_entropy: float | None = None
    """Entropy that a learned temperature aims at, in nats of the [-1, 1] action; minus the action size if not given,
    for discrete actions 0.8 times the highest."""
    entropy_to_come: EntropyToCome = "auto"
    """Whether the critics count the policy's entropy in later states as reward; auto: for continuous actions."""
    normalise_observations: bool = False
    """Scale observations by the mean and spread of all seen so far."""
    normalise_rewards: bool = False
    """Divide rewards by the spread of discounted returns so far; what is logged stays as it is."""
    env_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What the environment is made with; on the command line --env.NAME VALUE."""
    frame_skip: int = 1
    """Environment steps for which each action is repeated; all of them count as one, rewards added."""
    time_limit: int | None = None
    """Steps after which an episode is cut off, in place of the environment's own limit."""
    action_low: tuple[float, ...] | None = None
    """Lower bounds of the actions, one for all dimensions or one each; the environment's own if not given."""
    action_high: tuple[float, ...] | None = None
    """Upper bounds of the actions, likewise."""
    envs: int = 1
    """Environments that act side by side; every clock still counts each of their steps."""
    workers: int = 0
    """Processes that share the environments among them; 0 keeps them in the process that learns."""
    env_timeout: float = 60.0
    """Seconds that a worker's environment may take for one answer before it counts as hanging."""
    restarts: int = 3
    """How many failures of workers' environments a run survives until it is resumed; each is made anew."""
    utd: float = 1.0
    """Gradient steps per environment step (update-to-data ratio)."""
    precision: Precision = "fp32"
    """Precision inside matrix products; values are stored in fp32 either way."""
    compile: Compile = "auto"
    """Compile the gradient step when a C++ compiler is there, or never."""
    device: Device = "cpu"
    """Where networks learn: the processor, a card with CUDA (never tried yet), or auto, the card where there is one."""
    threads: int | None = None
    """Threads for the gradient step; if not given, one for small networks, else all processors it may use."""
    log_every: int = 500
    """Environment steps between rows of metrics.csv."""
    eval_every: int = 5_000
    """Environment steps between evaluations; there is always one at the end."""
    eval_episodes: int = 10
    """Episodes per evaluation, started from reset(seed=0), reset(seed=1) and so on."""
    checkpoint_every: int = 5_000
    """Environment steps between checkpoints; there is always one at the end."""
    keep: int = 2
    """Checkpoints to keep, beside the one with the best evaluation."""
    if_saving_fails: Saving = "stop"
    """What a run does when the disk is full or gone: stop, or continue and try again at the next checkpoint."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            allowed, holds = _RULES[field.name]
            value = _plain(getattr(self, field.name))
            if field.name in ("hidden", "critic_hidden") and _is_int(value):
                value = (value,)
            object.__setattr__(self, field.name, value)
            if not holds(value):
                raise UsageError(f"{flag(field.name)} is {value!r}, but must be {allowed}")
        first = self.warmup if self.learning_starts is None else self.learning_starts
        if first is not None and 0 < first < self.batch_size:
            name, what = (
                ("warmup", "the warm-up stores")
                if self.learning_starts is None
                else ("learning-starts", "learning starts after")
            )
            raise UsageError(
                f"{what} {first} transitions, fewer than one batch of {self.batch_size}; "
                f"use --{name} {self.batch_size} or more, --batch-size {first} or less, or --{name} 0"
            )
        if self.deterministic_policy and self.target_entropy is not None:
            raise UsageError(
                "a deterministic policy has no entropy that could reach --target-entropy "
                f"{self.target_entropy:g}; leave that out, or give --no-deterministic-policy"
            )
        if self.deterministic_policy and self.entropy_to_come != "auto":
            raise UsageError(
                f"a deterministic policy has no entropy, so --entropy-to-come {self.entropy_to_come} would do nothing; "
                "leave that out, or give --no-deterministic-policy"
            )
        if self.alpha != "learned" and (self.target_entropy is not None or self.initial_alpha != 1.0):
            name = "initial-alpha" if self.target_entropy is None else "target-entropy"
            raise UsageError(
                f"--alpha is fixed at {self.alpha:g}, so --{name} would do nothing; leave that out, or give "
                "--alpha learned"
            )
        if self.value_network and self.target_policy:
            raise UsageError(
                "with --value-network no action is chosen for the next states, so --target-policy would do nothing; "
                "give --no-target-policy or --no-value-network"
            )
        if self.value_network and (not self.target_network or self.target_critics or self.returns != "expected"):
            name = "target-critics" if self.target_critics else "returns"
            name = name if self.target_network else "no-target-network"
            raise UsageError(
                f"with --value-network the critics' target comes from that network, so --{name} would do nothing; "
                "leave that out, or give --no-value-network"
            )
        if self.target_critics and self.target_critics > self.critics:
            raise UsageError(
                f"--target-critics is {self.target_critics} of {self.critics} critics; give at most as many, or more "
                "--critics"
            )
        if self.returns == "expected" and (self.quantiles, self.dropped_quantiles) != (25, 2):
            name = "quantiles" if self.quantiles != 25 else "dropped-quantiles"
            raise UsageError(
                f"--{name} would do nothing beside --returns expected; leave that out, or give --returns quantiles"
            )
        if self.returns == "quantiles" and self.target_critics:
            raise UsageError(
                "quantiles of all critics make the target together, so --target-critics would do nothing; leave that "
                "out, or give --returns expected"
            )
        if self.returns == "quantiles" and self.dropped_quantiles >= self.quantiles:
            raise UsageError(
                f"--dropped-quantiles is {self.dropped_quantiles} of {self.quantiles}, which leaves none; give fewer, "
                "or more --quantiles"
            )
        if self.workers > self.envs:
            raise UsageError(
                f"--workers is {self.workers} for {self.envs} environments; give at most as many, or more --envs"
            )
        if self.buffer_size < 2 * self.envs:
            raise UsageError(
                f"{self.envs} environments do not fit a replay memory of {self.buffer_size} rows, two each at least; "
                f"give at least --buffer-size {2 * self.envs}"
            )
        if self.buffer_size < 2 * self.batch_size + 2:  # even episodes of one step must fill a batch
            raise UsageError(
                f"a batch of {self.batch_size} does not fit a replay memory of {self.buffer_size} rows; "
                f"give at least --buffer-size {2 * self.batch_size + 2}"
            )

    def settled(self) -> "Config":
        """Return the settings as a run keeps them: more --steps, given later, must not change its past."""
        return dataclasses.replace(self, warmup=self.random_steps)

    @property
    def random_steps(self) -> int:
        """Return the environment steps of the warm-up."""
        if self.warmup is None:
            return max(self.batch_size, min(LONGEST_WARMUP, self.steps // 10))
        return self.warmup

    @property
    def first_update(self) -> int:
        """Return the environment steps before the first gradient step; 0 for as soon as more than a batch is stored."""
        return self.random_steps if self.learning_starts is None else self.learning_starts

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Config":
        """Return the settings that `to_json` gave; raise `UsageError` when names or values do not fit.

        What is missing was written before there was such a setting, and did what its default does, or did once.
        """
        if not isinstance(values, dict):
            raise UsageError(f"the settings are {type(values).__name__}, but must be a table")
        return with_settings(cls(), {"temperature_loss": "alpha", **values})


def with_settings(config: Config, settings: dict[str, Any]) -> Config:
    """Return `config` with some settings replaced; raise `UsageError` for one that does not exist."""
    names = [field.name for field in dataclasses.fields(Config)]
    for name in settings:
        if name not in names:
            raise UsageError(f"there is no setting {name!r}; the settings are {', '.join(names)}")
    return dataclasses.replace(config, **settings)


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


Rule = tuple[str, Callable[[Any], bool]]


def _whole(least: int, most: int = 10**15) -> Rule:
    return f"a whole number from {least} to {most:g}", lambda value: _is_int(value) and least <= value <= most


def _choice(literal: Any) -> Rule:
    return "one of " + ", ".join(get_args(literal)), lambda value: value in get_args(literal)


def _or(word: str | None, rule: Rule) -> Rule:
    allowed, holds = rule
    return f"{word or 'left out'} or {allowed}", lambda value: value == word or holds(value)


def _between(least: float, most: float) -> Rule:
    return f"a number from {least:g} to {most:g}", lambda value: _is_number(value) and least <= value <= most


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _plain(value: Any) -> Any:
    """Return numbers and lists of any library as Python's own."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value


_WIDTHS: Rule = (
    "one or more whole numbers from 1 to 16384, such as 256 256",
    lambda value: isinstance(value, tuple) and bool(value) and all(_is_int(w) and 1 <= w <= 16_384 for w in value),
)
_BOUNDS: Rule = (
    "one or more numbers, such as -1 1",
    lambda value: isinstance(value, tuple) and bool(value) and all(_is_number(each) for each in value),
)
_FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
_RULES: dict[str, Rule] = {
    "steps": _whole(1),
    "seed": _whole(0),
    "warmup": _or(None, _whole(0)),
    "learning_starts": _or(None, _whole(0)),
    "update_every": _whole(1),
    "batch_size": _whole(1, 10**7),
    "buffer_size": _whole(2),
    "hidden": _WIDTHS,
    "critic_hidden": _or(None, _WIDTHS),
    "policy_norm": _choice(Norm),
    "critic_norm": _choice(Norm),
    "dropout": ("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "activation": _choice(Activation),
    "initialisation": _choice(Initialisation),
    "deterministic_policy": _FLAG,
    "exploration_noise": _between(0.0, 1e6),
    "target_noise": _between(0.0, 1e6),
    "improvement_noise": _between(0.0, 1e6),
    "noise_clip": _between(1e-12, 1e6),
    "critics": _whole(1, 100),
    "target_critics": _or(None, _whole(1, 100)),
    "target_network": _FLAG,
    "returns": _choice(Returns),
    "quantiles": _whole(1, 1000),
    "dropped_quantiles": _whole(0, 999),
    "policy_q": _choice(PolicyQ),
    "value_network": _FLAG,
    "target_policy": _FLAG,
    "policy_delay": _whole(1),
    "lr": _between(1e-12, 1.0),
    "policy_lr": _or(None, _between(1e-12, 1.0)),
    "adam_beta": ("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "weight_decay": _between(0.0, 1e6),
    "clip_gradients": _or(None, _between(1e-12, 1e12)),
    "gamma": ("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "reward_scale": _between(1e-30, 1e30),
    "tau": ("a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1),
    "target_every": _whole(1),
    "alpha": _or("learned", _between(1e-30, 1e30)),
    "initial_alpha": _between(1e-30, 1e30),
    "target_entropy": _or(None, _between(-1e6, 1e6)),
    "temperature_loss": _choice(TemperatureLoss),
    "entropy_to_come": _choice(EntropyToCome),
    "normalise_observations": _FLAG,
    "normalise_rewards": _FLAG,
    "env_args": ("a table of names and plain values", lambda value: isinstance(value, dict) and _is_json(value)),
    "frame_skip": _whole(1, 10_000),
    "time_limit": _or(None, _whole(1)),
    "action_low": _or(None, _BOUNDS),
    "action_high": _or(None, _BOUNDS),
    "envs": _whole(1, 10_000),
    "workers": _whole(0, 10_000),
    "env_timeout": _between(1e-3, 1e9),
    "restarts": _whole(0),
    "utd": _between(1e-6, 1e3),
    "precision": _choice(Precision),
    "compile": _choice(Compile),
    "device": _choice(Device),
    "threads": _or(None, _whole(1, 1024)),
    "log_every": _whole(1),
    "eval_every": _whole(1),
    "eval_episodes": _whole(1),
    "checkpoint_every": _whole(1),
    "keep": _whole(1),
    "if_saving_fails": _choice(Saving),
}

ALLOWED = {flag(name): allowed for name, (allowed, _) in _RULES.items()}
"""What each flag of a setting takes, in words."""
