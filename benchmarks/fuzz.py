"""Damaged and malicious run folders by the hundred thousand: each must be refused in a sentence or be whole.

    python benchmarks/fuzz.py [--cases 100000] [--seed 0]

Three kinds in turn: bytes flipped, cut off or inserted; values of a manifest replaced and the manifest signed anew;
tensor files with other headers, signed anew. After each case nothing outside the folder may have changed. Prints how
many were refused, and the slowest case; stops at the first that ends in anything but a refusal.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from rucksac import files
from rucksac.building import build
from rucksac.config import Config
from rucksac.environments.making import make
from rucksac.environments.opening import env_group_of
from rucksac.errors import UsageError
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.checkpoint_layout import UNREADABLE
from rucksac.training.loading import load_agent
from rucksac.training.parts import prepare
from rucksac.training.plan import Plan
from rucksac.training.progress import Progress
from rucksac.training.train import train_run

VALUES = [None, True, -1, 0, 2**31, 2**63, 2**200, 1e308, -1e308, 0.5, "", "..", "../x", "/etc/passwd", "a" * 1000,
          [], {}, [[]], {"a": 1}, [1] * 100, ["x"], "__import__('os').system('false')", "\u0000", "NaN"]  # fmt: skip


def places(value, path=()):
    """Yield the path to everything inside a JSON value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def replace(value, path, new):
    """Put `new` at `path` inside a JSON value."""
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def damage(generator: random.Random, data: bytes) -> bytes:
    index = generator.randrange(len(data))
    kind = generator.randrange(3)
    if kind == 0:
        return data[:index] + bytes([data[index] ^ generator.randrange(1, 256)]) + data[index + 1 :]
    return data[:index] if kind == 1 else data[:index] + generator.randbytes(generator.randrange(1, 9)) + data[index:]


def header_changed(generator: random.Random, data: bytes) -> bytes:
    """Change the header of a safetensors file: its length, or something in its JSON."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if generator.random() < 0.3:
        return generator.choice([0, 1, 2**20, 2**40, 2**63, 2**64 - 1]).to_bytes(8, "little") + data[8:]
    replace(header, generator.choice(list(places(header))), generator.choice(VALUES))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def main() -> None:
    """Make a run, spoil copies of its files, load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, refused, slowest = random.Random(options.seed), 0, 0.0
    with tempfile.TemporaryDirectory() as outer:
        run = Path(outer) / "run"
        config = Config(steps=60, warmup=16, batch_size=8, hidden=(8,), buffer_size=64, compile="never", threads=1,
                        checkpoint_every=30, eval_episodes=1, envs=2)  # fmt: skip
        train_run(Plan("Pendulum-v1", config, "sac"), run, None)
        newest = sorted((run / "checkpoints").glob("0*"))[-1]
        envs = env_group_of(config, *(make("Pendulum-v1", config) for _ in range(2)))
        segment = next((run / "replay").glob(f"{newest.name[:6]}-*"))
        targets = [newest / "agent.json", newest / "run.json", newest / "agent.safetensors", segment]
        outside = sorted(str(path) for path in Path(outer).rglob("*"))
        for case in range(options.cases):
            file = generator.choice(targets)
            goods = {each: each.read_bytes() for each in (file, newest / "agent.json", newest / "run.json")}
            if file.suffix == ".json" and generator.random() < 0.7:
                content = json.loads(goods[file])["content"]
                replace(content, generator.choice(list(places(content))), generator.choice(VALUES))
                files.write_manifest(file, content)
            elif file.suffix == ".safetensors" and generator.random() < 0.7:
                digest = files.write(file, header_changed(generator, goods[file]))
                manifest = newest / ("agent.json" if file.name == "agent.safetensors" else "run.json")
                content = json.loads(goods[manifest])["content"]
                if file.name == "agent.safetensors":
                    content["sha256"] = digest
                else:
                    next(each for each in content["segments"] if each["file"] == file.name)["sha256"] = digest
                files.write_manifest(manifest, content)
            else:
                file.write_bytes(damage(generator, goods[file]))
            begin = time.perf_counter()
            try:
                load_agent(run)
                training = prepare(build(config, envs.spaces), envs, Progress())
                Checkpoints(run, 2).read(training, newest)
            except (UsageError, *UNREADABLE):
                refused += 1
            slowest = max(slowest, time.perf_counter() - begin)
            for each, good in goods.items():
                each.write_bytes(good)
            assert case % 100 or sorted(str(path) for path in Path(outer).rglob("*")) == outside
            if (case + 1) % 10_000 == 0 or case + 1 == options.cases:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                print(
                    f"{case + 1} cases, {refused} refused, slowest {slowest:.2f} s, peak memory {peak} MiB", flush=True
                )


if __name__ == "__main__":
    main()
