"""One timed training run of one library; prints one JSON object. Started by throughput.py, a process per run.

    python benchmarks/contestant.py LIBRARY WORK

Every run learns: one gradient step per environment step, acting, environment and sampling included. The clock starts
after the random warm-up and a stretch of learning, when all compilation is over, and runs for a fixed number of steps.
"""

import csv
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium
from learning_peer import made


@dataclass(frozen=True)
class Work:
    """What is trained; the clock runs from environment step `start` to `stop`, which are multiples of `log_every`."""

    env: str
    hidden: tuple[int, ...]
    batch_size: int
    lr: float
    warmup: int
    start: int
    stop: int
    log_every: int = 100
    recipe: str = "sac"
    changes: tuple[tuple[str, object], ...] = ()  # to the recipe's settings
    peer: str = "SAC"  # the algorithm of other libraries, and its settings
    peer_settings: tuple[tuple[str, object], ...] = ()
    peer_networks: tuple[tuple[str, object], ...] = ()
    peer_env: str = ""  # if it differs


SHORT = Work("HalfCheetah-v5", (256, 256), 256, 3e-4, 256, 280, 360, log_every=10)
WORKS = {
    "halfcheetah": Work("HalfCheetah-v5", (256, 256), 256, 3e-4, 500, 1_000, 3_000),
    "humanoid": Work("Humanoid-v5", (256, 256), 256, 3e-4, 500, 1_000, 2_500),
    "pendulum": Work("Pendulum-v1", (64, 64), 100, 1e-3, 100, 200, 10_000),
    "pictures": Work(
        "seen_pendulum:make", (256, 256), 128, 3e-4, 200, 300, 400, peer_env="seen_pendulum:stacked",
        changes=(("frame_stack", 3),),
    ),
    "crossq": replace(
        SHORT, lr=1e-3, stop=320, recipe="crossq", peer="CrossQ",
        peer_networks=(("net_arch", {"pi": [256, 256], "qf": [2048, 2048]}),),
    ),
    "droq": replace(
        SHORT, recipe="droq", peer_settings=(("gradient_steps", 20), ("policy_delay", 20)),
        peer_networks=(("dropout_rate", 0.01), ("layer_norm", True)),
    ),
    "tqc": replace(
        SHORT, stop=680, recipe="tqc", changes=(("critics", 2),), peer="TQC",  # SBX has no more of them
        peer_networks=(("net_arch", {"pi": [256, 256], "qf": [512, 512, 512]}),),
    ),
}  # fmt: skip


class Clock:
    """Takes the time at two environment steps."""

    def __init__(self, work: Work):
        self.work, self.times = work, {}

    def tick(self, step: int) -> None:
        if step in (self.work.start, self.work.stop):
            self.times[step] = time.perf_counter()

    @property
    def rate(self) -> float:
        steps = self.work.stop - self.work.start
        return steps / (self.times[self.work.stop] - self.times[self.work.start])


def rucksac(work: Work, **others) -> float:
    from rucksac.training.plan import Plan
    from rucksac.training.train import train_run

    with tempfile.TemporaryDirectory() as folder:
        train_run(Plan(work.env, settings(work, **others), work.recipe), Path(folder) / "run", None)
        return logged_rate(work, Path(folder) / "run")


def rucksac_bf16(work: Work) -> float:
    return rucksac(work, precision="bf16")


def rucksac_nature(work: Work) -> float:
    """Return the rate with the convolutions that Stable-Baselines3 has."""
    return rucksac(work, encoder="nature")


def rucksac_seeds(work: Work) -> float:
    """Return the sum over two runs side by side, each while the other goes on too."""
    from rucksac.training.group import Group
    from rucksac.training.overview import members
    from rucksac.training.seeds import prepare_group

    with tempfile.TemporaryDirectory() as folder:
        group = Path(folder) / "group"
        prepare_group(work.env, settings(work), work.recipe, group, [1, 2])
        Group(group, members(group), quiet=True).run()
        return sum(logged_rate(work, group / f"seed{seed}") for seed in (1, 2))


def settings(work: Work, **others):
    from rucksac.algorithm.recipes import RECIPES

    never = 10**9
    return replace(
        RECIPES[work.recipe].config, steps=work.stop, warmup=max(work.warmup, work.batch_size), hidden=work.hidden,
        batch_size=work.batch_size, lr=work.lr, log_every=work.log_every, eval_every=never, eval_episodes=1,
        checkpoint_every=never, **dict(work.changes), **others,
    )  # fmt: skip


def logged_rate(work: Work, run: Path) -> float:
    with (run / "metrics.csv").open(newline="") as stream:
        wall = {int(row["env_steps"]): float(row["wall_seconds"]) for row in csv.DictReader(stream)}
    return (work.stop - work.start) / (wall[work.stop] - wall[work.start])


def stable_baselines3(work: Work) -> float:
    import stable_baselines3

    return _like_sb3(stable_baselines3, work)


def sbx(work: Work) -> float:
    import sbx

    return _like_sb3(sbx, work)


def _like_sb3(module, work: Work) -> float:
    from stable_baselines3.common.callbacks import BaseCallback

    clock = Clock(work)

    class Timer(BaseCallback):
        def _on_step(self) -> bool:
            clock.tick(self.num_timesteps)
            return True

    env = made(work.peer_env or work.env)
    seen = len(env.observation_space.shape) == 3  # 1,000,000 pictures do not fit into memory
    networks = {"net_arch": list(work.hidden)} | dict(work.peer_networks)
    model = getattr(module, work.peer)(
        "CnnPolicy" if seen else "MlpPolicy", env, buffer_size=10_000 if seen else 1_000_000, learning_rate=work.lr,
        batch_size=work.batch_size, learning_starts=work.warmup, policy_kwargs=networks, seed=1,
        **dict(work.peer_settings),
    )  # fmt: skip
    model.learn(work.stop, callback=Timer())
    return clock.rate


def rltools(work: Work) -> float:
    import rltools as library

    def make():
        env = gymnasium.wrappers.RescaleAction(gymnasium.make(work.env), -1, 1)
        env.reset(seed=1)
        return env

    width = work.hidden[0]
    sac = library.SAC(
        make, enable_evaluation=False, interface_name=f"{work.env.replace('-', '_')}_{width}",
        ACTOR_BATCH_SIZE=work.batch_size, CRITIC_BATCH_SIZE=work.batch_size, STEP_LIMIT=work.stop + 1,
        N_WARMUP_STEPS=max(work.warmup, work.batch_size), OPTIMIZER_ALPHA=work.lr,
        ACTOR_HIDDEN_DIM=width, ACTOR_NUM_LAYERS=len(work.hidden) + 1,
        CRITIC_HIDDEN_DIM=width, CRITIC_NUM_LAYERS=len(work.hidden) + 1,
    )  # fmt: skip
    state, clock = sac.State(1), Clock(work)
    for step in range(1, work.stop + 1):
        state.step()
        clock.tick(step)
    return clock.rate


def matmul(work: Work) -> float:
    """Return the gradient steps per second that the step's multiply-adds alone allow, by PyTorch's own product."""
    import torch

    return floor(work, torch.mm)


def onednn(work: Work) -> float:
    """Return the same by oneDNN's product."""
    import torch

    return floor(work, lambda left, right: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""))


def floor(work: Work, product) -> float:
    import statistics

    import torch

    from rucksac.algorithm.architecture import multiply_adds

    env = gymnasium.make(work.env)
    left, right = torch.randn(work.batch_size, work.hidden[0]), torch.randn(work.hidden[0], work.hidden[1])
    seconds = []
    for _ in range(150):
        begin = time.perf_counter()
        for _ in range(200):
            product(left, right)
        seconds.append((time.perf_counter() - begin) / 200)
    per_second = left.shape[0] * right.shape[0] * right.shape[1] / statistics.median(seconds[5:])
    return per_second / multiply_adds(settings(work), env.observation_space.shape[0], env.action_space.shape[0])


def main() -> None:
    library, work = sys.argv[1:]
    print(json.dumps({"library": library, "work": work, "per_second": globals()[library](WORKS[work])}))


if __name__ == "__main__":
    main()
