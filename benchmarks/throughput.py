"""Speed beside the peers, in one run on one machine: A B C A B C ..., a process per run.

    python benchmarks/throughput.py [--rounds 3] [--works halfcheetah pendulum] [--libraries ...]
    python benchmarks/throughput.py --works pictures
    python benchmarks/throughput.py --works crossq droq tqc

Installs the peers named in peers.txt into benchmarks/.peers, then starts `contestant.py` for every library, work and
round. Writes benchmarks/results/throughput-WORK.csv (a row per run) as soon as a work is measured, and from all of them
throughput.md (medians, spread and ratios) and throughput.png.
Machines drift: the ratios are taken within each round and their median is what counts.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS, PEERS = HERE / "results", HERE / ".peers"
OURS = ("rucksac", "rucksac_bf16", "rucksac_nature", "rucksac_seeds", "matmul", "onednn")
LIBRARIES = (*OURS, "rltools", "sbx", "stable_baselines3")
SAC_LIBRARIES = tuple(name for name in LIBRARIES if name != "rucksac_nature")
WORKS = {  # and who can do each
    **dict.fromkeys(("halfcheetah", "pendulum", "humanoid"), SAC_LIBRARIES),
    "pictures": ("rucksac", "rucksac_nature", "stable_baselines3"),
    **dict.fromkeys(("crossq", "droq", "tqc"), ("rucksac", "sbx")),
}
NAMES = {
    "rucksac_bf16": "rucksac --precision bf16",
    "rucksac_nature": "rucksac --encoder nature",
    "rucksac_seeds": "rucksac --seeds 1-2, both together",
    "matmul": "matmul floor, PyTorch's product",
    "onednn": "matmul floor, oneDNN's product",
    "stable_baselines3": "Stable-Baselines3",
    "sbx": "SBX",
    "rltools": "RLtools",
}


def peers_python() -> Path:
    """Return the interpreter of the peers' environment, made on first use."""
    python = PEERS / "bin/python"
    if not (PEERS / "ready").exists():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch==2.13.0"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "peers.txt"], check=True)
        (PEERS / "ready").touch()
    return python


def measure(library: str, work: str) -> float:
    """Run one contestant in a process of its own and return its environment steps per second."""
    python = sys.executable if library in OURS else peers_python()
    done = subprocess.run(
        [python, HERE / "contestant.py", library, work],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{library} on {work} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])["per_second"]


def versions() -> str:
    """Return the versions of everything measured, and the processor."""
    listed = subprocess.run([peers_python(), "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    wanted = ("torch", "stable", "sbx", "rltools", "jax", "gymnasium", "mujoco", "mkl")
    found = [line for line in listed.splitlines() if line.lower().startswith(wanted)]
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    return f"{processor}, {cores} cores; Python {python}; {', '.join(found)}"


def table(rows: list[dict]) -> str:
    """Return medians, spread and ratios as Markdown."""
    lines, made_with = [], {row["work"]: row["versions"] for row in rows}
    for work in dict.fromkeys(row["work"] for row in rows):
        rates = {}
        for row in rows:
            if row["work"] == work:
                rates.setdefault(row["library"], {})[row["round"]] = row["per_second"]
        lines += [
            f"\n## {work}\n\n{made_with[work]}\n",
            "| library | env steps/s, median | lowest to highest | rucksac is faster by |",
            "|---|---|---|---|",
        ]
        for library, each in rates.items():
            values = list(each.values())
            ratios = [rates["rucksac"][number] / value for number, value in each.items() if number in rates["rucksac"]]
            ratio = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            digits = 0 if min(values) >= 100 else 1
            spread = f"{min(values):,.{digits}f} to {max(values):,.{digits}f}"
            lines.append(f"| {NAMES.get(library, library)} | {np.median(values):,.{digits}f} | {spread} | {ratio} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict]) -> Figure:
    """Draw every run as a dot and the median as a bar."""
    works = list(dict.fromkeys(row["work"] for row in rows))
    figure = Figure(figsize=(13.5, 2.6 * -(-len(works) // 3)), layout="constrained")
    for number, work in enumerate(works, 1):
        axes = figure.add_subplot(-(-len(works) // 3), 3, number)
        libraries = [name for name in LIBRARIES if any((r["library"], r["work"]) == (name, work) for r in rows)]
        for place, library in enumerate(reversed(libraries)):
            values = [row["per_second"] for row in rows if (row["library"], row["work"]) == (library, work)]
            colour = "#0072b2" if library.startswith("rucksac") else "#999999"
            axes.barh(place, np.median(values), color=colour, alpha=0.6)
            axes.plot(values, [place] * len(values), "k.", markersize=4)
        axes.set_yticks(range(len(libraries)), [NAMES.get(name, name) for name in reversed(libraries)])
        axes.set_title(work)
        axes.set_xlabel("steps per second")
    return figure


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--works", nargs="+", default=["halfcheetah", "pendulum"], choices=WORKS)
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES, choices=LIBRARIES)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for work in options.works:
        rows, made_with = [], versions()
        libraries = [library for library in WORKS[work] if library in options.libraries]
        for library in libraries:  # once uncounted: compiles, fills caches
            print(f"warm-up {work:12} {library:18} {measure(library, work):10.1f}", flush=True)
        for number in range(options.rounds):
            for library in libraries:
                rate = round(measure(library, work), 2)
                row = {"round": number, "work": work, "library": library, "per_second": rate, "versions": made_with}
                rows.append(row)
                print(f"round {number} {work:12} {library:18} {rate:10.1f}", flush=True)
        with (RESULTS / f"throughput-{work}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    summarise()


def summarise() -> None:
    """Write table and picture from the rows of all works on record."""
    rows = []
    for work in WORKS:
        if (file := RESULTS / f"throughput-{work}.csv").exists():
            with file.open(newline="") as stream:
                rows += [{**row, "per_second": float(row["per_second"])} for row in csv.DictReader(stream)]
    (RESULTS / "throughput.md").write_text(f"# Steps per second beside other libraries\n{table(rows)}")
    picture(rows).savefig(RESULTS / "throughput.png", dpi=144)
    print(table(rows))


if __name__ == "__main__":
    main()
