"""Seconds of a training step on one device and on several logical ones, in alternation.

    python benchmarks/devices.py examples/alexnet.alx --batch 32 [--devices cpu,cpu] [--places columns,data] [--steps 5]

Prints for each placement the median of its steps, the ratio of one device's median to it (above 1: quicker than one
device), and the bytes that a step moved, as counted. Each round takes one step of everything, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import alexnet_ir
from alexnet_ir.setup import setup_of

ONE = "one device"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--devices", default="cpu,cpu")
    parser.add_argument("--places", default="columns,data,weird_trick")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    model = alexnet_ir.compile(args.file, batch=args.batch).model
    first = args.devices.split(",")[0]
    setups = {ONE: setup_of(first)} | {place: setup_of(args.devices, place) for place in args.places.split(",")}
    steps = {name: alexnet_ir.TrainingStep(model, setup) for name, setup in setups.items()}
    rng = np.random.default_rng(0)
    images = rng.normal(0, 50, (model.batch, *model.image)).astype(np.float32)
    labels = rng.integers(0, steps[ONE].predict(images[:1]).shape[1], model.batch)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(args.steps + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step(images, labels)
            if number:  # the first is not counted
                seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds[ONE])
    print(f"{model.net}, batch {model.batch}, {args.devices}, {args.steps} steps of each in turn")
    for name, step in steps.items():
        median = statistics.median(seconds[name])
        spread = f"{min(seconds[name]):.3f} to {max(seconds[name]):.3f}"
        print(f"  {name:12s} {median:.3f} s ({spread}), ratio {base / median:.2f}, {step.exchanged_bytes:,} bytes")


if __name__ == "__main__":
    main()
