"""Seconds of a training step, and where they go.

    python benchmarks/step.py examples/alexnet.alx --batch 32 [--steps 5]

Prints the median, least and greatest of whole steps on the cpu backend (after one that is not counted), and then, from
as many steps more with a clock around each op, each op's median share.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np

import alexnet_ir
from alexnet_ir.backends.executable import NumpyExecutable
from alexnet_ir.setup import setup_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    model = alexnet_ir.compile(args.file, batch=args.batch).model
    step = alexnet_ir.TrainingStep(model, setup_of("cpu"))
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
    for name, share in breakdown(step._training, run, args.steps):
        print(f"  {name:28s} {share:.4f} s")


def breakdown(executable: object, run: object, steps: int) -> list[tuple[str, float]]:
    """Median seconds a step of each op, the slowest first."""
    assert isinstance(executable, NumpyExecutable)
    assert callable(run)
    plain = executable.step
    per_step: list[dict[str, float]] = []

    def timed(position: int) -> None:
        start = time.perf_counter()
        plain(position)
        op = executable.plan.steps[position].op
        per_step[-1][getattr(op, "rule", op.name)] += time.perf_counter() - start

    executable.step = timed  # type: ignore[method-assign]
    for _ in range(steps):
        per_step.append(defaultdict(float))
        run()
    medians = {name: statistics.median(found[name] for found in per_step) for name in per_step[0]}
    return sorted(medians.items(), key=lambda item: -item[1])


if __name__ == "__main__":
    main()
