"""Training and inference on this machine's CPU, beside PyTorch's and ONNX Runtime's in the same run.

    python benchmarks/cpu.py [--only alexnet-128,cifar,...] [--threads N] [--rounds N] [--quick] [--tune] [-o FILE]

prints Markdown as it goes and writes it to FILE too; leaves with 1 if results differ. Every side is a process of its
own, and they take turns. A step begins with a batch of bytes [n, channels, rows, columns] and ends with updated weights
and the loss as a number: that of all sides is the same after some steps without dropout, and so are the weights, before
anything is timed, with dropout. Inference ends with scores.

PyTorch (a) is as it comes. (b) is tuned: the fused update, settings of glibc's malloc and huge pages, channels last or
compiled as a whole where that is quicker; `--tune` finds out here. (c) is (b) with normalisations written by hand, from
slices, with a gradient of their own, compiled.

`--only layers` is our training step of AlexNet: each step of the plan, and its share of the measured peak; `--only
products` are its fully connected layers beside NumPy's BLAS.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from alexnet_ir.version import __version__
from benchmarks.cpu_parts import layers, products
from benchmarks.cpu_parts.compare import Options, compare, started
from benchmarks.cpu_parts.nets import BEST, CASES, OURS, Case
from benchmarks.gpu_parts.report import Report

LAYERS, PRODUCTS = "layers", "products"
KEYS = (*CASES, LAYERS, PRODUCTS)
EXTRAS = {"torch": "torch", "onnxruntime": "onnx", "onnx": "onnx"}
"""Modules that are needed, and the extra that has each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="CASES", help=f"some of {','.join(KEYS)}; all if none is named")
    parser.add_argument("--threads", type=int, default=cores(), help="of each side; all cores if not given")
    parser.add_argument("--rounds", type=int, help="turns of each side: 7, quick 3")
    parser.add_argument("--batch", type=int, default=128, help="of the table of layers")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--tune", action="store_true", help="try which layout and compilation suits PyTorch here")
    parser.add_argument("--rehearse", action="store_true", help="the same program on tiny nets, one round")
    parser.add_argument("-o", metavar="FILE", type=Path, help="write Markdown there too")
    asked = parser.parse_args(arguments)
    keys = asked.only.split(",") if asked.only else list(KEYS)
    for key in keys:
        if key not in KEYS:
            parser.error(f"--only {key}: there is {', '.join(KEYS)}")
    lacking = missing(keys)
    if lacking:
        print(lacking, file=sys.stderr)
        return 1
    rounds = asked.rounds or (1 if asked.rehearse else 3 if asked.quick else 7)
    options = Options(asked.threads, rounds, asked.rehearse, asked.tune)
    report = Report(asked.o, float("inf"), "REHEARSAL" if asked.rehearse else "")
    about(report, options)
    for key in keys:
        if key == LAYERS:
            each_layer(report, options, asked.batch)
        elif key == PRODUCTS:
            report.heading("AlexNet's fully connected layers")
            with report.going_on(PRODUCTS):
                products.table(report, options.threads, options.rounds)
        else:
            one(report, CASES[key], options)
    return report.end()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def missing(keys: Sequence[str]) -> str:
    """A line on what is not installed; empty if all is there."""
    sides = {variant.side for key in keys if key in CASES for variant in CASES[key].opponents}
    wanted = ["torch"] * ("torch" in sides) + ["onnxruntime", "onnx"] * ("onnx" in sides)
    lacking = [name for name in wanted if importlib.util.find_spec(name) is None]
    extras = ",".join(sorted({EXTRAS[name] for name in lacking}))
    return f"{' and '.join(lacking)} not installed: pip install 'alexnet-ir[{extras}]'" if lacking else ""


def about(report: Report, options: Options) -> None:
    """What is measured, and where."""
    report.heading("What is measured", 1)
    report.say(f"- {cpu_model()}, {os.cpu_count()} cores, {options.threads} threads; {platform.platform()}")
    there = [name for name in ("numpy", *EXTRAS) if importlib.util.find_spec(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in there)
    report.say(f"- alexnet-ir {__version__}, Python {platform.python_version()}, {versions}")
    report.say(f"- {time.strftime('%Y-%m-%d %H:%M')}, `python {' '.join(map(shlex.quote, sys.argv))}`")
    report.say(f"- medians of {options.rounds} turns in alternation; a ratio is that of one round; load {load()}")


def cpu_model() -> str:
    """As the system calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def load() -> str:
    """How busy the machine was before: others disturb what is measured."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def one(report: Report, case: Case, options: Options) -> None:
    """A section: the sides beside each other, and what is hoped for."""
    report.heading(str(case))
    with report.going_on(str(case)):
        aims(report, case, compare(report, case, options))


def aims(report: Report, case: Case, ratios: Mapping[str, float]) -> None:
    """What is hoped for, beside what is reached."""
    for name, wanted in case.aims.items():
        ratio = min(ratios.values(), default=None) if name == BEST else ratios.get(name)
        if ratio is not None:
            report.aim(f"{case}: of {name}", f"{wanted} times as fast", f"{ratio:.2f}", ratio >= wanted)


def each_layer(report: Report, options: Options, batch: int) -> None:
    """A section: the steps of our plan."""
    job = CASES["alexnet-128"].at(batch).job(options.threads, options.tiny, True, "")
    report.heading(f"Each step of AlexNet's plan, batch {job.batch}")
    with report.going_on("the layers"):
        of_all = layers.peaks(report, options.threads)
        with started(job, OURS) as worker:
            layers.table(report, worker.ask("layers", rounds=options.rounds), of_all)


if __name__ == "__main__":
    sys.exit(main())
