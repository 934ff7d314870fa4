"""One training run of another library under the protocol of learning.py, which starts it in the peers' environment.

python benchmarks/learning_peer.py '{"library": "sb3", "env": "HalfCheetah-v5", "seed": 1, ...}'
"""

import ast
import csv
import importlib
import json
import sys
from pathlib import Path

import gymnasium


def made(name: str) -> gymnasium.Env:
    """Return the registered environment of that name, or what MODULE:FUNCTION makes."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)() if function else gymnasium.make(name)


def evaluate(model, env, episodes: int) -> list[tuple]:
    """Return start, return and length of whole episodes with the mean action."""
    found = []
    for start in range(episodes):
        obs, _ = env.reset(seed=start)
        total, length, over = 0.0, 0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(model.predict(obs, deterministic=True)[0])
            total, length, over = total + float(reward), length + 1, terminated or truncated
        found.append((start, total, length))
    return found


def plain(word: str) -> object:
    """Return the number or other literal that a word stands for, else the word itself, such as auto."""
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def main() -> None:
    """Train, evaluate and write evaluations.csv once all is done."""
    order = json.loads(sys.argv[1])
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(1)
    if order["library"] == "sbx":
        from sbx import SAC
    else:
        from stable_baselines3 import SAC
    rows, judge = [], made(order["env"])

    class Evaluations(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % order["every"] == 0:
                found = evaluate(self.model, judge, order["episodes"])
                rows.extend((self.num_timesteps, number, *each) for number, each in enumerate(found))
            return True

    settings = {name: plain(value) for name, value in order["settings"].items()}
    policy = "CnnPolicy" if len(judge.observation_space.shape) == 3 else "MlpPolicy"
    model = SAC(policy, made(order["env"]), seed=order["seed"], **settings)
    model.learn(order["steps"], callback=Evaluations())
    folder = Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "evaluations.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["env_steps", "episode", "seed", "return", "length"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
