"""Seconds of each step of our plan, and what share of this machine's peak they are."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_ir.backends.executable import NumpyExecutable
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.ir.names import LABEL
from alexnet_ir.training.step import TrainingStep
from benchmarks.gpu_parts.report import Report, figure, median

if TYPE_CHECKING:
    from .our_side import OurSide

SOURCE = Path(__file__).with_name("peak.c")


@dataclass(frozen=True)
class Peak:
    """GFLOP/s in fp32 multiply-adds, and GB/s of a copy, read and written."""

    products: float
    copy: float


def peak(threads: int) -> Peak:
    """Measured, on so many threads; AlexnetError where there is no C compiler."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "peak")
        try:
            subprocess.run(["cc", "-O3", "-march=native", "-pthread", str(SOURCE), "-o", program], check=True)
            found = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError) as failure:
            raise error(f"the peak needs a C compiler that is called cc: {failure}") from None
    return Peak(*map(float, found.split()))


# --- within the worker ------------------------------------------------------------------------------------------------


def measured(side: OurSide, rounds: int) -> list[list[Any]]:
    """Of each step of the plan: name, op, median seconds, multiply-adds as of direct convolution, bytes."""
    plan, rows = side.net.compiled.plan, []
    images, labels = side.batch()
    for step, seconds in zip(plan.steps, step_seconds(side.net, images, labels, rounds), strict=True):
        cost = step.op.cost([plan.types[n] for n in step.operands], [plan.types[n] for n in step.results])
        rows.append([step.name, getattr(step.op, "rule", step.op.name), seconds, cost.macs, cost.nbytes])
    return rows


def step_seconds(trainer: TrainingStep, images: Any, labels: Any, rounds: int) -> list[float]:
    """Median seconds of each step of a trainer's plan, in the plan's order."""
    trainer(images, labels)
    executable: Any = trainer._training
    given = trainer.scalars() | {trainer._image: images, LABEL: labels}
    clocked = _of_numpy if isinstance(executable, NumpyExecutable) else _of_tasks
    found = [list(clocked(executable, given)) for _ in range(rounds)]
    return [median(some) for some in zip(*found, strict=True)]


def _of_tasks(executable: Any, given: Any) -> Iterator[float]:
    """What was prepared yields each task with what runs it."""
    executable.feed(given)
    for _, work in executable.prepared:
        yield _seconds(work)


def _of_numpy(executable: Any, given: Any) -> list[float]:
    """`run` calls `step` with the position of each."""
    plain, found = executable.step, {}

    def timed(position: int) -> None:
        found[position] = _seconds(lambda: plain(position))

    executable.step = timed
    try:
        executable.run(given)
    finally:
        del executable.step
    return [found[position] for position in range(len(found))]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# --- the table --------------------------------------------------------------------------------------------------------


def table(report: Report, rows: Sequence[Sequence[Any]], of_all: Peak | None) -> None:
    """A row for each step, the plan's order; shares of the peak of all threads."""
    report.head("step", "op", "ms", "GFLOP/s", "of the peak", "GB/s", "of a copy")
    whole = ("the whole step", "", *(sum(row[i] for row in rows) for i in (2, 3, 4)))
    for name, op, seconds, macs, nbytes in (*rows, whole):
        products, moved = 2e-9 * macs / seconds, 1e-9 * nbytes / seconds
        shares = (products / of_all.products, moved / of_all.copy) if of_all else (0.0, 0.0)
        text = [f"{share:.0%}" if of_all else "" for share in shares]
        done = (figure(products), text[0]) if macs else ("", "")
        report.row(name, op, f"{1e3 * seconds:.3f}", *done, figure(moved), text[1])
    report.say("")


def peaks(report: Report, threads: int) -> Peak | None:
    """Rows on one thread and on all; None where they cannot be measured."""
    try:
        one, every = peak(1), peak(threads)
    except AlexnetError as failure:
        report.say(f"No shares of a peak: {failure}", "")
        return None
    report.head("threads", "multiply-adds, GFLOP/s", "copy, GB/s")
    report.row("1", f"{one.products:.0f}", f"{one.copy:.1f}")
    report.row(str(threads), f"{every.products:.0f}", f"{every.copy:.1f}")
    report.say("")
    return every
