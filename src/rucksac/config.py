"""Every setting of a run in one frozen dataclass: the source of the flags, of the settings file and of the API.

A setting is declared in one place: its type, its group, whether many need it, the values it takes, when it would do
nothing, its default and what it is. Importing this module is cheap: no torch, no gymnasium.
"""

import dataclasses
import os
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from rucksac.errors import UsageError
from rucksac.rules import (
    BELOW_ONE,
    BOUNDS,
    CLOCKS,
    DATA,
    ENV_NAME,
    PART,
    TABLE,
    WEIGHT,
    WIDTHS,
    Common,
    Group,
    Idle,
    between,
    declaration,
    either,
    is_whole,
    plain,
    whole,
)

RUN, ENVIRONMENT, EXPLORATION = Group("the run"), Group("the environment"), Group("exploration")
REPLAY, LEARNING, NETWORKS = Group("replay memory"), Group("learning"), Group("networks")
COMMON = Common()
NO_ENTROPY = Idle(
    lambda config: config.deterministic_policy,
    "a deterministic policy has no entropy",
    "--no-deterministic-policy",
)
NO_DISTRIBUTION = Idle(
    lambda config: config.deterministic_policy,
    "a deterministic policy has no distribution over actions",
    "--no-deterministic-policy",
)
NOISE_OF_WEIGHTS = Idle(
    lambda config: config.gsde, "with --gsde standard deviations follow from noise of weights", "--no-gsde"
)
STOCHASTIC = Idle(
    lambda config: not config.deterministic_policy,
    "a stochastic policy samples its actions, with no other noise",
    "--deterministic-policy",
)
FIXED_ALPHA = Idle(lambda config: config.alpha != "learned", "--alpha is fixed", "--alpha learned")
CONSTANT_RATES = Idle(
    lambda config: config.lr_schedule == "constant", "learning rates stay as they are", "--lr-schedule linear"
)
STATE_VALUE = Idle(
    lambda config: config.value_network,
    "with --value-network the critics' target comes from that network",
    "--no-value-network",
)
NO_CATEGORIES = Idle(
    lambda config: config.returns != "categories", "critics learn no categories", "--returns categories"
)
RAW_REWARDS = Idle(lambda config: not config.normalise_rewards, "rewards stay as they are", "--normalise-rewards")
NO_QUANTILES = Idle(lambda config: config.returns != "quantiles", "critics learn no quantiles", "--returns quantiles")
MEAN_QUANTILES = Idle(
    lambda config: config.target_q == "mean",
    "the mean of the critics' quantiles makes the target",
    "--target-q smallest",
)
ALL_QUANTILES = Idle(
    lambda config: config.returns == "quantiles",
    "quantiles of all critics make the target together",
    "--returns expected",
)
NO_BLOCKS = Idle(
    lambda config: config.blocks != "none", "blocks have norms and initial weights of their own", "--blocks none"
)
OWN_GOALS = Idle(lambda config: not config.hindsight, "goals stay as they are", "--hindsight 4")
NO_COLLECTORS = Idle(lambda config: not config.collectors, "actions are never behind", "--collectors 2")
IN_TURNS = Idle(lambda config: not config.collectors, "without collectors acting waits for learning", "--collectors 1")
UNIFORM = Idle(lambda config: not config.priorities, "transitions are drawn uniformly", "--priorities 0.6")
ALONE = Idle(lambda config: config.demonstrations is None, "there are no demonstrations", "--demonstrations runs/old")
LONGEST_WARMUP = 5_000  # unless one is given
MINARI = "minari:"  # what the name of a Minari data set follows


@dataclass(frozen=True)
class Config:
    """The settings of one run. Sizes are counts, rates are per gradient step, clocks count environment steps.

    `with_settings` makes one of another, and refuses what would do nothing.
    """

    steps: Annotated[int, RUN, COMMON, whole(1)] = 20_000
    """Environment steps to train for."""
    seed: Annotated[int, RUN, COMMON, whole(0)] = 1
    """Seed of every random stream of the run; one number gives one result."""
    threads: Annotated[int | None, RUN, COMMON, either(None, whole(1, 1024))] = None
    """Threads for the gradient step; if not given, one for small networks, else all processors it may use."""
    compile: Annotated[Literal["auto", "never"], RUN] = "auto"
    """Compile the gradient step when a C++ compiler is there, or never."""
    device: Annotated[Literal["cpu", "cuda", "auto"], RUN] = "cpu"
    """Where networks learn: the processor, a card with CUDA (never tried yet), or auto, the card where there is one."""
    log_every: Annotated[int, RUN, whole(1)] = 500
    """Environment steps between rows of metrics.csv."""
    eval_every: Annotated[int, RUN, COMMON, whole(1)] = 5_000
    """Environment steps between evaluations; there is always one at the end."""
    eval_episodes: Annotated[int, RUN, whole(1)] = 10
    """Episodes per evaluation, started from reset(seed=0), reset(seed=1) and so on."""
    checkpoint_every: Annotated[int, RUN, whole(1)] = 5_000
    """Environment steps between checkpoints; there is always one at the end."""
    keep: Annotated[int, RUN, whole(1)] = 2
    """Checkpoints to keep, beside the one with the best evaluation."""
    if_saving_fails: Annotated[Literal["stop", "continue"], RUN] = "stop"
    """What a run does when the disk is full or gone: stop, or continue and try again at the next checkpoint."""

    env_args: Annotated[dict[str, Any], ENVIRONMENT, TABLE] = dataclasses.field(default_factory=dict)
    """What the environment is made with; on the command line --env.NAME VALUE."""
    envs: Annotated[int, ENVIRONMENT, COMMON, whole(1, 10_000)] = 1
    """Environments that act side by side; every clock still counts each of their steps."""
    workers: Annotated[int, ENVIRONMENT, whole(0, 10_000)] = 0
    """Processes that share the environments among them; 0 keeps them in the process that learns."""
    collectors: Annotated[int, ENVIRONMENT, whole(0, 1_000)] = 0
    """Processes that act while the run learns, with an environment each; with 0 acting and learning take turns."""
    most_lag: Annotated[int, ENVIRONMENT, whole(0), NO_COLLECTORS] = 32
    """Gradient steps that a collector's action may be behind; with 0 collectors and learning take turns."""
    control_rate: Annotated[float | None, ENVIRONMENT, either(None, between(1e-3, 1e4)), IN_TURNS] = None
    """Steps per second of the clock that each collector takes, whatever learning does; as fast as may be if not
    given."""
    eval_env: Annotated[str | None, ENVIRONMENT, either(None, ENV_NAME)] = None
    """Environment to evaluate in, such as the simulation of a robot; another one like that of training if not given."""
    time_limit: Annotated[int | None, ENVIRONMENT, COMMON, either(None, whole(1))] = None
    """Steps after which an episode is cut off, in place of the environment's own limit."""
    frame_skip: Annotated[int, ENVIRONMENT, whole(1, 10_000)] = 1
    """Environment steps for which each action is repeated; all of them count as one, rewards added."""
    frame_stack: Annotated[int, ENVIRONMENT, whole(1, 12)] = 1
    """Latest frames of each picture that an observation shows; replay memory keeps one copy of each."""
    action_low: Annotated[tuple[float, ...] | None, ENVIRONMENT, either(None, BOUNDS)] = None
    """Lower bounds of the actions, one for all dimensions or one each; the environment's own if not given."""
    action_high: Annotated[tuple[float, ...] | None, ENVIRONMENT, either(None, BOUNDS)] = None
    """Upper bounds of the actions, likewise."""
    env_timeout: Annotated[float, ENVIRONMENT, between(1e-3, 1e9)] = 60.0
    """Seconds that a worker's environment may take for one answer before it counts as hanging."""
    restarts: Annotated[int, ENVIRONMENT, whole(0)] = 3
    """How many failures of workers' environments a run survives until it is resumed; each is made anew."""

    warmup: Annotated[int | None, EXPLORATION, COMMON, either(None, whole(0))] = None
    """Environment steps of uniformly random actions at the start; a tenth of --steps if not given, 5,000 at most."""
    alpha: Annotated[float | Literal["learned"], EXPLORATION, COMMON, either("learned", between(1e-30, 1e30))] = (
        "learned"
    )
    """Temperature: learned, or a fixed number (reward units per nat). A deterministic policy has no use for it."""
    initial_alpha: Annotated[float, EXPLORATION, between(1e-30, 1e30), FIXED_ALPHA] = 1.0
    """First value of a learned temperature."""
    target_entropy: Annotated[
        float | Literal["half"] | None,
        EXPLORATION,
        either(None, either("half", between(-1e6, 1e6))),
        NO_ENTROPY,
        FIXED_ALPHA,
    ] = None
    """Entropy that a learned temperature aims at, in nats of the [-1, 1] action: minus the action size if not given,
    half of that for half; for discrete actions 0.8 times the highest."""
    temperature_loss: Annotated[Literal["alpha", "log"], EXPLORATION] = "log"
    """What the gap between entropy and target is multiplied by: alpha, or its logarithm."""
    entropy_to_come: Annotated[Literal["auto", "always", "never"], EXPLORATION, NO_ENTROPY] = "auto"
    """Whether the critics count the policy's entropy in later states as reward; auto: for continuous actions."""
    exploration_noise: Annotated[float, EXPLORATION, between(0.0, 1e6), STOCHASTIC] = 0.1
    """Standard deviation of the noise on a deterministic policy's actions in training, in units of [-1, 1]."""
    noise_clip: Annotated[float, EXPLORATION, between(1e-12, 1e6), STOCHASTIC] = 0.5
    """Largest noise on a deterministic policy's action, in each dimension."""
    noise_every: Annotated[int | Literal["zeta"], EXPLORATION, either("zeta", whole(1, 1_000_000))] = 1
    """Steps of an episode for which the noise behind actions stays the same; zeta draws each number of them, from 1 to
    16 in proportion to its inverse square."""
    gsde: Annotated[bool, EXPLORATION, NO_DISTRIBUTION] = False
    """Explore by noise that is linear in the policy's last hidden layer (gSDE), smooth with --noise-every 8 or so."""

    buffer_size: Annotated[int, REPLAY, COMMON, whole(2)] = 1_000_000
    """Rows of replay memory; an episode of n steps takes n + 1 rows."""
    batch_size: Annotated[int, REPLAY, COMMON, whole(1, 10**7)] = 256
    """Transitions per gradient step."""
    priorities: Annotated[float, REPLAY, between(0.0, 1.0)] = 0.0
    """Draw transitions in proportion to their TD errors to this power (prioritised replay); 0 draws uniformly."""
    priority_beta: Annotated[float, REPLAY, between(0.0, 1.0), UNIFORM] = 0.4
    """How much of what priorities change in the critics' loss is taken back by weights: 0 nothing, 1 all."""
    augment: Annotated[Literal["none", "shift"], REPLAY] = "none"
    """What becomes of pictures in batches: nothing, or a random shift by up to 4 pixels each way."""
    hindsight: Annotated[int, REPLAY, whole(0, 1_000)] = 0
    """Transitions with a goal that was achieved later, for each with its own goal; for environments with goals."""
    hindsight_strategy: Annotated[Literal["future", "final", "episode"], REPLAY, OWN_GOALS] = "future"
    """Where in the episode that was: after the transition, in its last state, or anywhere."""
    demonstrations: Annotated[str | None, REPLAY, either(None, DATA)] = None
    """Prior data to learn from beside the run's own: minari:NAME, or the folder of a run, for its replay memory."""
    demonstration_share: Annotated[float, REPLAY, PART, ALONE] = 0.5
    """Share of each batch that is drawn from the demonstrations."""
    offline_steps: Annotated[int, REPLAY, whole(0), ALONE] = 0
    """Gradient steps on demonstrations alone before the first environment step."""

    lr: Annotated[float, LEARNING, COMMON, between(1e-12, 1.0)] = 1e-3
    """Adam's learning rate for critics, temperature, and policy."""
    policy_lr: Annotated[float | None, LEARNING, either(None, between(1e-12, 1.0))] = None
    """Adam's learning rate for the policy; --lr if not given."""
    temperature_lr: Annotated[float | None, LEARNING, either(None, between(1e-12, 1.0)), NO_ENTROPY, FIXED_ALPHA] = None
    """Adam's learning rate for the temperature; --lr if not given."""
    lr_schedule: Annotated[Literal["constant", "linear", "cosine"], LEARNING] = "constant"
    """How learning rates fall: not at all, along a line, or along half a period of a cosine."""
    lr_end: Annotated[float, LEARNING, between(0.0, 1.0), CONSTANT_RATES] = 0.1
    """Share of each learning rate that is left in the end."""
    lr_steps: Annotated[int | None, LEARNING, either(None, whole(1)), CONSTANT_RATES] = None
    """Environment steps until that end; --steps if not given."""
    gamma: Annotated[float, LEARNING, COMMON, BELOW_ONE] = 0.99
    """Discount of the return per environment step."""
    n_step: Annotated[int, LEARNING, whole(1, 1_000)] = 1
    """Transitions in a row whose rewards the critics' target sums before the value of the state after them."""
    tau: Annotated[float, LEARNING, WEIGHT] = 0.005
    """Weight of the online networks in each update of their targets; 1 copies them."""
    utd: Annotated[float, LEARNING, COMMON, between(1e-6, 1e3)] = 1.0
    """Gradient steps per environment step (update-to-data ratio)."""
    learning_starts: Annotated[int | None, LEARNING, either(None, whole(0))] = None
    """Environment steps before the first gradient step; as many as the warm-up if not given."""
    update_every: Annotated[int, LEARNING, whole(1)] = 1
    """Environment steps between blocks of gradient steps; how many those are stays as --utd says."""
    target_every: Annotated[int, LEARNING, whole(1)] = 1
    """Gradient steps between updates of the targets."""
    policy_delay: Annotated[int, LEARNING, whole(1)] = 1
    """Gradient steps of the critics for each of the policy and of the temperature."""
    reset_every: Annotated[int | None, LEARNING, either(None, whole(1))] = None
    """Gradient steps between resets: networks, temperature and optimisers begin anew, what is stored stays."""
    reset_at: Annotated[tuple[int, ...] | None, LEARNING, either(None, CLOCKS)] = None
    """The same after these numbers of gradient steps, once each."""
    policy_q: Annotated[Literal["smallest", "first", "mean"], LEARNING] = "smallest"
    """Which of the critics' answers the policy climbs: the smallest, the first critic's, or their mean."""
    target_q: Annotated[Literal["smallest", "mean"], LEARNING] = "smallest"
    """What the critics' answers for the next states make of the target: the smallest, or their mean. Of quantiles the
    smallest are those of all critics without the largest, of categories those of the critic that expects less."""
    target_critics: Annotated[int | None, LEARNING, either(None, whole(1, 100)), STATE_VALUE, ALL_QUANTILES] = None
    """How many of the critics, drawn anew for each gradient step, answer for the target."""
    target_network: Annotated[bool, LEARNING, STATE_VALUE] = True
    """Let slow copies answer for the next states. Without them and with batch norm, one pass judges both states."""
    target_policy: Annotated[bool, LEARNING, STATE_VALUE] = False
    """Let a slow copy of the policy choose the actions of the next states."""
    value_network: Annotated[bool, LEARNING] = False
    """Learn the values of states in a network of their own, whose slow copy then stands for the critics'."""
    target_noise: Annotated[float, LEARNING, between(0.0, 1e6), STOCHASTIC] = 0.2
    """The same where next states are valued (target policy smoothing)."""
    improvement_noise: Annotated[float, LEARNING, between(0.0, 1e6), STOCHASTIC] = 0.0
    """The same where the policy is improved."""
    reward_scale: Annotated[float, LEARNING, between(1e-30, 1e30)] = 1.0
    """What rewards are multiplied by before the critics see them; the logs keep the environment's own."""
    normalise_observations: Annotated[bool, LEARNING, COMMON] = False
    """Scale observations by the mean and spread of all seen so far."""
    normalise_rewards: Annotated[bool, LEARNING] = False
    """Divide rewards by the spread of discounted returns so far; what is logged stays as it is."""
    bound_returns: Annotated[bool, LEARNING, RAW_REWARDS, NO_CATEGORIES] = False
    """Divide rewards by more than that where the largest discounted return so far is beyond --largest-return."""
    adam_beta: Annotated[float, LEARNING, BELOW_ONE] = 0.9
    """How much of the mean gradient Adam keeps in each update."""
    weight_decay: Annotated[float, LEARNING, between(0.0, 1e6)] = 0.0
    """Share of the networks' parameters, times the learning rate, that each update takes away."""
    clip_gradients: Annotated[float | None, LEARNING, either(None, between(1e-12, 1e12))] = None
    """Largest norm of each network's gradient; longer ones are shortened."""

    hidden: Annotated[tuple[int, ...], NETWORKS, COMMON, WIDTHS] = (256, 256)
    """Widths of the hidden layers of the policy and of each critic."""
    critic_hidden: Annotated[tuple[int, ...] | None, NETWORKS, either(None, WIDTHS)] = None
    """Widths of the hidden layers of each critic; those of --hidden if not given."""
    critics: Annotated[int, NETWORKS, whole(1, 100)] = 2
    """Number of critics; the smallest answer counts."""
    encoder: Annotated[Literal["drq", "nature"], NETWORKS] = "drq"
    """What sees pictures: the four convolutions of DrQ, or the three of DQN in Nature, a quarter of the arithmetic."""
    blocks: Annotated[Literal["none", "pre-norm", "post-norm", "hyperspherical", "batch-norm"], NETWORKS] = "none"
    """Residual blocks of two layers in place of plain hidden ones, one for each width, all equal: pre-norm (a layer
    norm before each, SimBa), post-norm (one after each layer, BRO), hyperspherical (rows of length 1 all along,
    SimbaV2) or batch-norm (batch norm of the input and after each layer, FlashSAC)."""
    activation: Annotated[Literal["relu", "tanh", "elu", "silu", "gelu"], NETWORKS] = "relu"
    """Activation between the layers."""
    initialisation: Annotated[Literal["default", "xavier", "orthogonal"], NETWORKS, NO_BLOCKS] = "default"
    """Initial weights: PyTorch's default for linear layers, or Xavier or orthogonal ones with zero biases."""
    log_std: Annotated[Literal["clamp", "tanh"], NETWORKS, NO_DISTRIBUTION, NOISE_OF_WEIGHTS] = "clamp"
    """How log standard deviations of continuous actions are bounded: cut off at -20 and 2, or by tanh to -10 to 2,
    from near -4 on."""
    policy_norm: Annotated[Literal["none", "layer", "batch", "batch-before"], NETWORKS, NO_BLOCKS] = "none"
    """Normalisation in the policy: none, layer (before each activation), batch (of the input and after each) or
    batch-before (of the input and before each)."""
    critic_norm: Annotated[Literal["none", "layer", "batch", "batch-before"], NETWORKS, NO_BLOCKS] = "none"
    """The same in the critics."""
    dropout: Annotated[float, NETWORKS, BELOW_ONE, NO_BLOCKS] = 0.0
    """Share of each hidden layer's outputs that the critics leave out."""
    weight_norm: Annotated[bool, NETWORKS] = False
    """Keep the weights of each output of each layer at length 1; with --blocks batch-norm also scale and shift of
    each norm at a mean square of 1."""
    returns: Annotated[Literal["expected", "quantiles", "categories"], NETWORKS, STATE_VALUE] = "expected"
    """What critics learn of the return: its expectation, quantiles of its distribution, or probabilities of values."""
    categories: Annotated[int, NETWORKS, whole(2, 10_000), NO_CATEGORIES] = 101
    """Values of the return, at equal distances, that each critic gives probabilities for."""
    largest_return: Annotated[float, NETWORKS, between(1e-6, 1e9), NO_CATEGORIES] = 5.0
    """The largest of these values, and minus the smallest; returns beyond count as that, see --normalise-rewards."""
    quantiles: Annotated[int, NETWORKS, whole(1, 1000), NO_QUANTILES] = 25
    """Quantiles of each critic."""
    dropped_quantiles: Annotated[int, NETWORKS, whole(0, 999), NO_QUANTILES, MEAN_QUANTILES] = 2
    """How many quantiles for each critic, the largest of all critics' together, the target leaves out."""
    deterministic_policy: Annotated[bool, NETWORKS] = False
    """One action per state plus noise, in place of a distribution over actions."""
    precision: Annotated[Literal["fp32", "bf16"], NETWORKS] = "fp32"
    """Precision inside matrix products; values are stored in fp32 either way."""

    def __post_init__(self) -> None:
        for name, declared in DECLARED.items():
            value = plain(getattr(self, name))
            if name in ("hidden", "critic_hidden", "reset_at") and is_whole(value):
                value = (value,)
            object.__setattr__(self, name, value)
            if not declared.rule.holds(value):
                raise UsageError(f"{flag(name)} is {value!r}, but must be {declared.rule.allowed}")
        self._refuse_too_little()

    def idle(self, name: str) -> Idle | None:
        """Return why a setting that is not at its default does nothing beside the others, None where it does."""
        if getattr(self, name) == DEFAULTS[name]:
            return None
        return next((each for each in DECLARED[name].idle if each.when(self)), None)

    def _refuse_too_little(self) -> None:
        """Raise `UsageError` where one size does not fit another."""
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
        if self.target_critics and self.target_critics > self.critics:
            raise UsageError(
                f"--target-critics is {self.target_critics} of {self.critics} critics; give at most as many, or more "
                "--critics"
            )
        for name in ("hidden", "critic_hidden"):
            widths = getattr(self, name)
            if self.blocks != "none" and widths and len(set(widths)) > 1:
                raise UsageError(
                    f"{flag(name)} is {' '.join(map(str, widths))}, but what a block adds to must be as wide "
                    "as the block; give equal widths, or --blocks none"
                )
        pooled = self.returns == "quantiles" and self.target_q == "smallest"
        if pooled and self.dropped_quantiles >= self.quantiles:
            raise UsageError(
                f"--dropped-quantiles is {self.dropped_quantiles} of {self.quantiles}, which leaves none; give fewer, "
                "or more --quantiles"
            )
        if self.demonstrations is not None and not 0 < self.demonstration_rows < self.batch_size:
            raise UsageError(
                f"--demonstration-share {self.demonstration_share:g} of a batch of {self.batch_size} is "
                f"{self.demonstration_rows} rows, but must be at least 1 and leave 1; give another share, or a larger "
                "--batch-size"
            )
        if self.workers > self.envs:
            raise UsageError(
                f"--workers is {self.workers} for {self.envs} environments; give at most as many, or more --envs"
            )
        if self.collectors and (self.envs > 1 or self.workers):
            raise UsageError(
                f"each of --collectors {self.collectors} has one environment in a process of its own, so --envs and "
                "--workers do not go with it; leave them out"
            )
        if self.control_rate and not self.most_lag:
            raise UsageError(
                f"with --most-lag 0 acting waits for learning, with --control-rate {self.control_rate:g} for nothing; "
                "leave one of them out"
            )
        spent = (self.frame_stack - 1) * self.env_count  # rows that are kept for the frames of others alone
        if self.buffer_size < (least := 2 * self.env_count + spent):
            raise UsageError(
                f"{self.env_count} environments do not fit a replay memory of {self.buffer_size} rows; "
                f"give at least --buffer-size {least}"
            )
        if self.buffer_size < (least := 2 * self.batch_size + 2 + spent):  # even episodes of one step must fill a batch
            raise UsageError(
                f"a batch of {self.batch_size} does not fit a replay memory of {self.buffer_size} rows; "
                f"give at least --buffer-size {least}"
            )

    def settled(self) -> "Config":
        """Return the settings as a run keeps them: more --steps or another folder must not change them."""
        falls = self.lr_schedule != "constant"
        kept: dict[str, Any] = {"warmup": self.random_steps, "lr_steps": self.rate_steps if falls else None}
        if self.demonstrations is not None and not self.demonstrations.startswith(MINARI):
            kept["demonstrations"] = os.path.abspath(os.path.expanduser(self.demonstrations))
        return with_settings(self, kept)

    @property
    def env_count(self) -> int:
        """Return the number of environments to train in."""
        return self.collectors or self.envs

    @property
    def random_steps(self) -> int:
        """Return the environment steps of the warm-up."""
        if self.warmup is None:
            return max(self.batch_size, min(LONGEST_WARMUP, self.steps // 10))
        return self.warmup

    @property
    def demonstration_rows(self) -> int:
        """Return how many rows of a batch are demonstrations."""
        return 0 if self.demonstrations is None else round(self.demonstration_share * self.batch_size)

    @property
    def rate_steps(self) -> int:
        """Return the environment steps after which learning rates no longer change."""
        return self.lr_steps or self.steps

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

        What is missing was written before there was such a setting, and did what its default does, or did once. What
        does nothing beside the others goes back to its default: former versions kept it.
        """
        if not isinstance(values, dict):
            raise UsageError(f"the settings are {type(values).__name__}, but must be a table")
        return with_settings(_replaced(cls(), {"temperature_loss": "alpha", **values}), {})


def with_settings(config: Config, settings: dict[str, Any]) -> Config:
    """Return `config` with some settings replaced; raise `UsageError` for one that does not exist or does nothing.

    What `config` had and these settings leave without use goes back to its default: a recipe is a place to begin.
    """
    changed = _replaced(config, settings)
    while unused := {name: DEFAULTS[name] for name in DEFAULTS if name not in settings and changed.idle(name)}:
        changed = dataclasses.replace(changed, **unused)
    for name in settings:
        if idle := changed.idle(name):
            given = _as_given(name, getattr(changed, name))
            raise UsageError(f"{idle.why}, so {given} would do nothing; leave that out, or give {idle.instead}")
    return changed


def _replaced(config: Config, settings: dict[str, Any]) -> Config:
    for name in settings:
        if name not in DEFAULTS:
            raise UsageError(f"there is no setting {name!r}; the settings are {', '.join(DEFAULTS)}")
    return dataclasses.replace(config, **settings)


def _as_given(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return flag(name) if value else f"--no-{name.replace('_', '-')}"
    return f"{flag(name)} {value:g}" if isinstance(value, float) else f"{flag(name)} {value}"


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


DECLARED = {
    name: declaration(annotated) for name, annotated in typing.get_type_hints(Config, include_extras=True).items()
}
"""What is said of each setting, by its name."""
DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Config)} | {"env_args": {}}
ALLOWED = {flag(name): declared.rule.allowed for name, declared in DECLARED.items()}
"""What each flag of a setting takes, in words."""
