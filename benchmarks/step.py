"""Seconds of a training step, and where they go.

    python benchmarks/step.py examples/alexnet.alx --batch 32 [--steps 5] [--threads 2] [--conv exact] [--each]

Prints the median, least and greatest of whole steps of emitted C (after one that is not counted), and then, from as
many more with a clock around each step of the plan, the median seconds of each kind of op; with --each those of each
step, and why it is done so.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np

import alexnet_ir
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.setup import Kernels, setup_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--conv")
    parser.add_argument("--each", action="store_true", help="each step of the plan, in their order")
    args = parser.parse_args()
    model = alexnet_ir.compile(args.file, batch=args.batch).model
    setup = setup_of("cpu", kernels=Kernels(threads=args.threads, conv=args.conv))
    step = alexnet_ir.TrainingStep(model, setup)
    rng = np.random.default_rng(0)
    images = rng.normal(0, 50, (model.batch, *model.image)).astype(np.float32)
    labels = rng.integers(0, step.predict(images[:1]).shape[1], model.batch)

    def run() -> float:
        start = time.perf_counter()
        step(images, labels)
        return time.perf_counter() - start

    run()
    seconds = [run() for _ in range(args.steps)]
    median = statistics.median(seconds)
    print(
        f"{model.net}, batch {model.batch}: median {median:.3f} s a step, {min(seconds):.3f} to {max(seconds):.3f}, ",
        end="",
    )
    print(f"{model.batch / median:.1f} images/s, {args.steps} steps")
    executable = step._training
    assert isinstance(executable, EmittedExecutable), "this needs a C compiler"
    found = seconds_of(executable, args.steps)
    if args.each:
        assert isinstance(setup.backend, CpuBackend)
        assert setup.backend.emitter
        for one, share in zip(executable.plan.steps, found, strict=True):
            print(f"  {share:.4f} s  {one.name:28s} {setup.backend.emitter.step(executable.plan, one).reason}")
        return
    shares: dict[str, float] = defaultdict(float)
    for one, share in zip(executable.plan.steps, found, strict=True):
        shares[getattr(one.op, "rule", one.op.name)] += share
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {name:28s} {share:.4f} s")


def seconds_of(executable: EmittedExecutable, times: int) -> list[float]:
    """Of each step of the plan, on the values that the last run left: the median."""
    found: list[list[float]] = [[] for _ in executable.plan.steps]
    for _ in range(times):
        for number, (_, work) in enumerate(executable.prepared):
            start = time.perf_counter()
            work()
            found[number].append(time.perf_counter() - start)
    return list(map(statistics.median, found))


if __name__ == "__main__":
    main()
