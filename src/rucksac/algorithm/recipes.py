"""Named published settings as data. Importing this module is cheap: no torch."""

import difflib
from dataclasses import dataclass

from rucksac.config import Config
from rucksac.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """A named set of settings and where it comes from; docs/recipes.md says where it deviates.

    `variants` are flags for what else its source has, and what they stand for.
    """

    source: str
    description: str
    config: Config
    variants: tuple[tuple[str, str], ...] = ()


DEFAULT = "rucksac"
FOR_OWN_NETWORKS = "plain"  # the default's networks are part of it
RECIPES: dict[str, Recipe] = {
    DEFAULT: Recipe(
        "the parts of XQC (ICLR 2026) in networks as wide as those of arXiv 1812.05905",
        "The default: categorical critics, batch norm before each activation, rewards by the spread of their returns.",
        Config(
            policy_norm="batch-before", critic_norm="batch-before", weight_norm=True, returns="categories",
            normalise_rewards=True, initialisation="orthogonal", lr=3e-4, policy_delay=2, initial_alpha=0.01,
            target_entropy="half",
        ),
    ),
    "plain": Recipe(
        "arXiv 1812.05905 with the learning rate of Spinning Up and Tianshou",
        "sac with a learning rate of 1e-3, more random steps, and the temperature in its logarithm.",
        Config(),
    ),
    "sac": Recipe(
        "arXiv 1812.05905",
        "Twin critics and a learned temperature, as the authors have it.",
        Config(warmup=1_000, lr=3e-4, temperature_loss="alpha"),
    ),
    "sac-v1": Recipe(
        "arXiv 1801.01290",
        "A state-value network with the only slow copy, fixed temperature by the scale of the rewards.",
        Config(steps=1_000_000, warmup=1_000, lr=3e-4, value_network=True, alpha=1.0, reward_scale=5.0),
        (
            ("--tau 1 --target-every 1000 --utd 4", "the slow copy replaced now and then; on Humanoid without --utd 4"),
            ("--critics 1", "a single critic"),
            ("--reward-scale 20", "for Humanoid"),
        ),
    ),
    "spinningup": Recipe(
        "openai/spinningup, sac",
        "Fixed alpha, 10,000 random steps, gradient steps from 1,000 on in blocks of 50.",
        Config(
            steps=400_000, warmup=10_000, learning_starts=1_000, update_every=50, batch_size=100, lr=1e-3, alpha=0.2,
        ),
    ),
    "pranz24": Recipe(
        "pranz24/pytorch-soft-actor-critic",
        "Fixed alpha, Xavier initialisation, 10,000 random steps; --deterministic-policy gives its other policy.",
        Config(
            steps=1_000_000, warmup=10_000, learning_starts=0, initialisation="xavier", lr=3e-4, alpha=0.2,
            exploration_noise=0.1, target_noise=0.1, improvement_noise=0.1, noise_clip=0.25,
        ),
        (
            ("--alpha learned", "its automatic entropy tuning"),
            ("--alpha 0.05", "for Humanoid"),
            ("--tau 1 --target-every 1000", "its hard update"),
            ("--deterministic-policy", "its other policy: the mean action plus noise cut off at 0.25, no entropy"),
        ),
    ),
    "notebook": Recipe(
        "the SAC notebook on Pendulum-v1",
        "Three layers of 64, learning once more than one batch is stored, no random warm-up, 40,000 steps.",
        Config(steps=40_000, hidden=(64, 64, 64), warmup=0, lr=3e-4, temperature_loss="alpha"),
    ),
    "redq": Recipe(
        "arXiv 2101.05982, watchernyu/REDQ",
        "Ten critics, the smaller of two random ones in the target, 20 gradient steps per environment step.",
        Config(
            steps=125_000, warmup=5_000, lr=3e-4, critics=10, target_critics=2, policy_q="mean", utd=20.0,
            policy_delay=20,
        ),
        (
            ("--target-entropy -1", "for Hopper"),
            ("--target-entropy -3", "for HalfCheetah and Walker2d"),
            ("--target-entropy -4", "for Ant"),
            ("--target-entropy -2", "for Humanoid"),
        ),
    ),
    "droq": Recipe(
        "arXiv 2110.02034",
        "Two critics with dropout and layer norm, 20 gradient steps per environment step.",
        Config(
            steps=125_000, warmup=5_000, lr=3e-4, critic_norm="layer", dropout=0.01, initialisation="xavier",
            policy_q="mean", utd=20.0, policy_delay=20,
        ),
        (
            ("--dropout 0.0001", "for Hopper"),
            ("--dropout 0.005", "for Walker2d"),
            ("--dropout 0.1", "for Humanoid"),
        ),
    ),
    "tqc": Recipe(
        "arXiv 2005.04269, SamsungLabs/tqc_pytorch",
        "Five critics of 25 quantiles each; the target leaves out the largest, two for each critic.",
        Config(
            steps=1_000_000, warmup=0, lr=3e-4, critics=5, critic_hidden=(512, 512, 512), returns="quantiles",
            policy_q="mean",
        ),
        (("--dropped-quantiles 5", "for Hopper"),),
    ),
    "crossq": Recipe(
        "arXiv 1902.05605, adityab/CrossQ",
        "Batch renormalisation over both states of a transition in one pass, wide critics, no slow copies.",
        Config(
            steps=1_000_000, warmup=5_000, critic_hidden=(2048, 2048), policy_norm="batch", critic_norm="batch",
            target_network=False, adam_beta=0.5, policy_delay=3,
        ),
        (("--gamma 0.9999", "for Swimmer"),),
    ),
    "xqc": Recipe(
        "openreview XQC (ICLR 2026), danielpalenicek/xqc",
        "Categorical critics with batch norm before each activation, weights of length 1 and rewards by their spread.",
        Config(
            steps=1_000_000, warmup=5_000, hidden=(256, 256, 256, 256), critic_hidden=(512, 512, 512, 512),
            policy_norm="batch-before", critic_norm="batch-before", weight_norm=True, returns="categories",
            normalise_rewards=True, initialisation="orthogonal", lr=3e-4, lr_schedule="linear", utd=2.0,
            policy_delay=3, initial_alpha=0.01, target_entropy="half", gamma=0.995,
        ),
        (
            ("--gamma 0.99", "where episodes have 500 steps: (T/5 - 1) / (T/5), from 0.95 to 0.995"),
            ("--hidden 256 256 --critic-hidden 256 256 --utd 1 --policy-delay 2", "nearly the recipe rucksac"),
        ),
    ),
    "td3": Recipe(
        "arXiv 1802.09477, settings of sfujim/TD3",
        "A baseline: deterministic policy with a slow copy, smoothed, improved at every second gradient step.",
        Config(
            steps=1_000_000, warmup=25_000, lr=3e-4, deterministic_policy=True, target_policy=True, policy_q="first",
            exploration_noise=0.1, target_noise=0.2, noise_clip=0.5, policy_delay=2, target_every=2,
        ),
    ),
    "ddpg": Recipe(
        "arXiv 1509.02971",
        "A baseline: deterministic policy with a slow copy, one critic.",
        Config(
            steps=1_000_000, warmup=0, deterministic_policy=True, target_policy=True, critics=1, exploration_noise=0.1,
            target_noise=0.0, hidden=(400, 300), batch_size=64, lr=1e-3, policy_lr=1e-4, tau=0.001,
        ),
    ),
    "rlpd": Recipe(
        "arXiv 2302.02948, ikostrikov/rlpd",
        "For --demonstrations, half of each batch: ten critics with layer norm, two random ones in the target.",
        Config(
            steps=250_000, warmup=5_000, lr=3e-4, critics=10, target_critics=2, policy_q="mean", critic_norm="layer",
            initialisation="xavier", utd=20.0, policy_delay=20, target_entropy="half", temperature_loss="alpha",
        ),
        (
            (
                "--hidden 256 256 256 --target-critics 1 --entropy-to-come never --steps 300000",
                "for AntMaze, with rewards less 1",
            ),
            ("--hidden 256 256 256 --entropy-to-come never --steps 1000000", "for Adroit with rewards of 0 or 1"),
        ),
    ),
    "simba": Recipe(
        "arXiv 2410.09754, SonyResearch/simba",
        "Residual blocks with layer norm, wide critics, observations by their mean and spread, weight decay.",
        Config(
            steps=1_000_000, warmup=5_000, hidden=(128,), critic_hidden=(512, 512), blocks="pre-norm",
            normalise_observations=True, lr=1e-4, weight_decay=0.01, initial_alpha=0.01, target_entropy="half",
            temperature_loss="alpha", gamma=0.995, log_std="tanh",
        ),
        (
            ("--critics 1", "where no episode terminates"),
            ("--utd 2", "two gradient steps per action, as its authors have it on other tasks"),
            ("--gamma 0.99", "where episodes have 500 steps: (T/5 - 1) / (T/5), from 0.95 to 0.995"),
        ),
    ),
    "simbav2": Recipe(
        "arXiv 2502.15280, DAVIAN-Robotics/SimbaV2",
        "Rows and weights of length 1 all along, categorical critics, rewards by spread and largest of returns.",
        Config(
            steps=1_000_000, warmup=5_000, hidden=(128,), critic_hidden=(512, 512), blocks="hyperspherical",
            weight_norm=True, returns="categories", normalise_observations=True, normalise_rewards=True,
            bound_returns=True, lr=1e-4, lr_schedule="linear", lr_end=0.5, initial_alpha=0.01, target_entropy="half",
            temperature_loss="alpha", gamma=0.995, log_std="tanh",
        ),
        (
            ("--critics 1", "where no episode terminates"),
            ("--utd 2", "two gradient steps per action, as in its authors' ablations"),
            ("--gamma 0.99", "where episodes have 500 steps: (T/5 - 1) / (T/5), from 0.95 to 0.995"),
            ("--hidden 128 --critic-hidden 128 128", "the narrow one: 3.6 times the arithmetic of sac"),
        ),
    ),
    "bro": Recipe(
        "arXiv 2405.16158, naumix/BiggerRegularizedOptimistic",
        "Residual blocks with layer norm after each layer, the mean of 100 quantiles, ten gradient steps, resets.",
        Config(
            steps=1_000_000, warmup=2_500, hidden=(256,), critic_hidden=(512, 512), blocks="post-norm",
            returns="quantiles", quantiles=100, target_q="mean", policy_q="mean", batch_size=128, lr=3e-4,
            weight_decay=1e-4, utd=10.0, target_entropy="half", temperature_loss="alpha", log_std="tanh",
            reset_at=(125_000, 475_000, 2_475_000, 4_975_000, 7_475_000, 9_975_000, 14_975_000, 19_975_000),
        ),
        (("--utd 2 --reset-at 25000", "its fast version: one reset, after 15,000 environment steps"),),
    ),
    "flashsac": Recipe(
        "arXiv 2604.04539, Holiday-Robot/FlashSAC",
        "Residual blocks with batch norm over both states, unit weights, categorical critics, batches of 512.",
        Config(
            steps=1_000_000, warmup=10_000, hidden=(128, 128), critic_hidden=(256, 256), blocks="batch-norm",
            weight_norm=True, returns="categories", normalise_rewards=True, bound_returns=True, batch_size=512,
            lr=3e-4, lr_schedule="cosine", lr_end=0.5, tau=0.01, policy_delay=2, initial_alpha=0.01,
            target_entropy="half", temperature_loss="alpha", noise_every="zeta", log_std="tanh",
        ),
        (("--critic-hidden 128 128 --batch-size 256", "for a processor: a seventh of the arithmetic"),),
    ),
    "drq": Recipe(
        "arXiv 2004.13649, denisyarats/drq",
        "For pictures: sac with convolutions that the critics learn, three frames and random shifts.",
        Config(
            steps=1_000_000, warmup=1_000, hidden=(1024, 1024), frame_stack=3, augment="shift", buffer_size=100_000,
            batch_size=512, initialisation="orthogonal", lr=1e-3, tau=0.01, target_every=2, policy_delay=2,
            initial_alpha=0.1, temperature_loss="alpha", log_std="tanh",
        ),
        (
            ("--frame-skip 4", "its action repeat, 2 to 8 by task"),
            ("--batch-size 128", "what its repository has; 512 is for the results of the paper"),
        ),
    ),
    "drq-v2": Recipe(
        "arXiv 2107.09645, facebookresearch/drqv2",
        "For pictures: a deterministic policy with noise, returns over three steps, every second step a gradient step.",
        Config(
            steps=1_500_000, warmup=2_000, hidden=(1024, 1024), frame_stack=3, augment="shift", n_step=3, utd=0.5,
            initialisation="orthogonal", lr=1e-4, tau=0.01, deterministic_policy=True, exploration_noise=0.2,
            target_noise=0.2, improvement_noise=0.2, noise_clip=0.3,
        ),
        (
            ("--frame-skip 2", "its action repeat"),
            ("--exploration-noise 1 --noise-clip 10", "how its noise begins"),
        ),
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """Return the recipe of that name; raise `UsageError` naming the nearest when there is none."""
    if not isinstance(name, str) or name not in RECIPES:
        near = difflib.get_close_matches(str(name).lower(), RECIPES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no recipe {name!r}; {hint}the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]
