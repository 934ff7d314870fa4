"""Products of layers as compiled code does them, beside PyTorch's own library: forward, back to inputs, to weights.

    python benchmarks/products.py

Writes results/products.csv: a row per round with billions of multiply-adds per second of either on one thread. They
take turns, since machines drift, so only ratios within a round mean much.
"""

import csv
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from step import rates
from torch import Tensor

from rucksac.compilation import compile_ahead, computing

FILE = Path(__file__).parent / "results/products.csv"
BATCH = 256
LAYERS = ((256, 256, 1), (256, 256, 10), (512, 512, 1), (512, 2048, 1), (2048, 512, 1), (2048, 2048, 2))


def products(inputs: int, outputs: int, copies: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Give the factors of the three products of a layer and its gradient, or of copies of it."""
    x, weight = torch.randn(copies, BATCH, inputs), torch.randn(copies, inputs, outputs)
    gradient = torch.randn(copies, BATCH, outputs)
    pairs = {"forward": (x, weight), "to inputs": (gradient, weight.mT), "to weights": (x.mT, gradient)}
    for kind, factors in pairs.items():
        yield kind, *(factors if copies > 1 else (each[0] for each in factors))


def main() -> None:
    """Measure every product and write the rows."""
    rows = []
    with computing(1):
        for inputs, outputs, copies in LAYERS:
            for kind, x, w in products(inputs, outputs, copies):
                compiled = compile_ahead(lambda x, w: [x @ w], [x, w])
                torch.testing.assert_close(compiled([x, w])[0], x @ w, atol=0.01, rtol=1e-4)
                measured = rates(lambda ours=compiled, x=x, w=w: ours([x, w]), lambda x=x, w=w: x @ w)
                size = {"inputs": inputs, "outputs": outputs, "copies": copies, "batch": BATCH, "product": kind}
                billions = copies * BATCH * inputs * outputs / 1e9
                rows += [
                    {
                        **size,
                        "round": number,
                        "ours": round(ours * billions, 1),
                        "library": round(library * billions, 1),
                    }
                    for number, (ours, library) in enumerate(measured)
                ]
                ratio = statistics.median(ours / library for ours, library in measured)
                print(f"{size}: {ratio:.2f} times as fast as the library", flush=True)
    with FILE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
