"""Everything about speed on one NVIDIA GPU: are the kernels right, what does the card reach, each kernel of AlexNet's
training step, whole steps beside PyTorch's.

    python benchmarks/gpu.py [--quick] [--verify-only] [--precision tf32,bf16] [--batch 128,256] [-o FILE]

prints Markdown as it goes and writes it to FILE too; leaves with 1 if a kernel is wrong, losses differ, or there is no
GPU. `--rehearse` runs the same program where there is none, on tiny shapes: kernels on the CPU, PyTorch too.

A whole step begins with a batch of bytes on the device and ends with updated weights and the loss on the host. All
sides make floats of the bytes on the device: ours by a kernel before the step, PyTorch's within it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from alexnet_ir.backends.cuda.gpu import PRECISIONS, Precision
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.version import __version__
from benchmarks.gpu_parts import compare, kernels, verify
from benchmarks.gpu_parts.compare import Case, Pace
from benchmarks.gpu_parts.lab import Lab, Rehearsal
from benchmarks.gpu_parts.models import NETS
from benchmarks.gpu_parts.report import Report

STEP_AIMS: dict[Precision, float] = {"tf32": 3.5e-3, "bf16": 2.2e-3}
"""Seconds that AlexNet's step of 128 images is hoped to take on an H200."""
AIMED_BATCH, OF_EAGER, OF_BEST, OF_TORCHVISION = 128, 2.0, 1.0, 0.9


@dataclass(frozen=True)
class Options:
    """What is run: how many `images` of a batch are looked at, and the `pace` of rotations."""

    precisions: tuple[Precision, ...]
    batches: tuple[int, ...]
    quick: bool
    images: int
    digits: tuple[int, int]
    pace: Pace
    kept: float
    """Seconds that verification leaves for the rest."""

    @property
    def batch(self) -> int:
        """Of what is run at one batch."""
        return self.batches[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half the time: fewer nets and rounds")
    parser.add_argument("--verify-only", action="store_true", help="time nothing")
    parser.add_argument("--precision", help="some of tf32,bf16,fp32; all that the GPU has if none is named")
    parser.add_argument("--batch", help="default: 128,256")
    parser.add_argument("--seconds", type=float, help="what it may take: 600, quick 300; more is left out, and said")
    parser.add_argument("--rehearse", action="store_true", help="no GPU: the same program on tiny shapes")
    parser.add_argument("-o", metavar="FILE", type=Path, help="write Markdown there too")
    asked = parser.parse_args(arguments)
    seconds = asked.seconds or (300 if asked.quick else 600)
    try:
        lab = Rehearsal() if asked.rehearse else Lab()
        options = _options(asked, lab, 0 if asked.verify_only else 0.6 * seconds)
    except AlexnetError as failure:
        print(f"{failure}\nbenchmarks/gpu.py --rehearse runs the same program without a GPU", file=sys.stderr)
        return 1
    report = Report(asked.o, seconds, "REHEARSAL" if asked.rehearse else "")
    try:
        return run(report, lab, options, asked.verify_only)
    finally:
        if isinstance(lab, Rehearsal):
            lab.leave()


def _options(asked: argparse.Namespace, lab: Lab, kept: float) -> Options:
    """Of the command line; AlexnetError where there is no GPU."""
    named = asked.precision.split(",") if asked.precision else lab.precisions
    for name in named:
        if name not in lab.precisions:
            raise SystemExit(f"--precision {name}: there is {', '.join(lab.precisions)}")
    precisions = tuple(one for name in named for one in PRECISIONS if one == name)
    if lab.is_rehearsal:
        return Options(precisions, _numbers(asked.batch or "2"), asked.quick, 2, (2, 4), Pace(2, 1), 0)
    pace, digits = (Pace(5, 10), (3, 16)) if asked.quick else (Pace(9, 20), (8, 32))
    images = 2 if asked.quick else 4
    return Options(precisions, _numbers(asked.batch or "128,256"), asked.quick, images, digits, pace, kept)


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split(","))


def run(report: Report, lab: Lab, options: Options, verify_only: bool) -> int:
    """All sections; whatever goes wrong in one, the others follow."""
    about(report, lab)
    verification(report, lab, options)
    if not verify_only:
        known = None
        report.heading("Rates of this card")
        with report.going_on("rates"):
            known = kernels.rates(report, lab, options.precisions)
        for precision in options.precisions if known else ():
            report.heading(f"Each kernel of AlexNet's step, batch {options.batch}, {precision}")
            if report.has_time(f"kernels in {precision}", 30):
                with report.going_on(f"kernels in {precision}"):
                    assert known is not None
                    kernels.each(report, lab, NETS["alexnet"], options.batch, precision, known)
            gc.collect()
        for case in cases(options):
            report.heading(f"Whole steps: {case}")
            if report.has_time(str(case), 60):
                with report.going_on(str(case)):
                    aims(report, case, compare.compare(report, lab, case, options.pace))
    return report.end()


def about(report: Report, lab: Lab) -> None:
    """What is measured, and where."""
    report.heading("What is measured", 1)
    report.say(f"- alexnet-ir {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    report.say(f"- {time.strftime('%Y-%m-%d %H:%M')}, `python {' '.join(map(shlex.quote, sys.argv))}`")
    with report.going_on("looking at the GPU"):
        report.say(*(f"- {line}" for line in lab.facts()))
    with report.going_on("looking at PyTorch"):
        there = importlib.util.find_spec("torch") is not None
        report.say(*(f"- {line}" for line in (compare.opponents().facts() if there else ["PyTorch: not installed"])))
    report.say(
        "- kernels: medians of chains of launches as CUDA graphs, on memory in rotation beyond the L2; bytes: each "
        "tensor counted once; steps: by the host's clock, from bytes on the device to the loss on the host"
    )


def verification(report: Report, lab: Lab, options: Options) -> None:
    """Are the kernels right?"""
    report.heading("Verification")
    report.head("what", "", "")
    verify.not_a_number(report, lab)
    verify.augmentation(report, lab)
    for precision in options.precisions:
        if report.has_time(f"the digits net in {precision}", options.kept):
            with report.going_on(f"the digits net in {precision}"):
                verify.digits(report, lab, precision, *options.digits)
    for precision in options.precisions:
        if report.has_time(f"the kernels of AlexNet's step in {precision}", options.kept):
            with report.going_on(f"the kernels of AlexNet's step in {precision}"):
                net, batch = NETS["alexnet"], options.batch
                verify.every_kernel(report, lab, net, batch, precision, options.images, options.kept)
        gc.collect()
    if report.has_time("rows of the op table", options.kept):
        with report.going_on("rows of the op table"):
            every = (lab.is_rehearsal or options.quick) + 7 * (lab.is_rehearsal and options.quick)
            verify.op_rows(report, lab, every, options.kept)
    with report.going_on("PyTorch's normalisation", fails=False), contextlib.suppress(ImportError):
        compare.opponents().check_lrn(report)
    report.say("", f"{len(report.failures)} failures.")


def cases(options: Options) -> list[Case]:
    """Whole steps to compare, what matters most first: the budget may end any time."""
    alexnet, torchvision, resnet = (NETS[key] for key in ("alexnet", "torchvision", "resnet18"))
    first = [Case(alexnet, options.batch, precision, ("0", "0,0")) for precision in options.precisions[:2]]
    others = [Case(net, options.batch, p) for p in options.precisions[:2] for net in (torchvision, resnet)]
    more = [Case(alexnet, batch, p, compiled=False) for batch in options.batches[1:] for p in options.precisions[:2]]
    rest = [Case(alexnet, batch, p, compiled=False) for p in options.precisions[2:] for batch in options.batches]
    return first + (others[:1] if options.quick else others + more + rest)


def aims(report: Report, case: Case, seconds: dict[str, float]) -> None:
    """What is hoped for, beside what is reached."""
    ours = seconds.get("alexnet-ir")
    if ours is None:
        return
    wanted = STEP_AIMS.get(case.precision)
    if case.net.key == "alexnet" and case.batch == AIMED_BATCH and wanted:
        report.aim(f"{case} (on an H200)", f"at most {1e3 * wanted} ms", f"{1e3 * ours:.3f} ms", ours <= wanted)
    eager = seconds.get("PyTorch eager")
    if case.net.key == "alexnet" and eager:
        ratio = eager / ours
        report.aim(f"{case}: of eager", f"{OF_EAGER} times as fast", f"{ratio:.2f}", ratio >= OF_EAGER)
    best = min((s for name, s in seconds.items() if name.startswith("PyTorch")), default=None)
    if best and case.net.key != "resnet18":
        factor = OF_BEST if case.net.key == "alexnet" else OF_TORCHVISION
        ratio = best / ours
        report.aim(f"{case}: of PyTorch's best", f"{factor} times as fast", f"{ratio:.2f}", ratio >= factor)


if __name__ == "__main__":
    sys.exit(main())
