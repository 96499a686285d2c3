"""Several sides of a case: the same results first, then times in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_parts.report import Report, median

from .job import Job, Variant
from .nets import OURS, Case
from .worker import Worker

UPDATES = 3
LOSS_TOLERANCE, CHANGE_TOLERANCE, SCORE_TOLERANCE = 1e-4, 5e-2, 1e-4
"""Of losses, of their size; of weights, as a share of the largest change that a tensor of weights has seen in these
updates; of scores, of the largest. Convolutions round in other orders, and a maximum or a relu that is a near thing
goes the one way here and the other there: what is not the same net is off by far more."""
PAUSE = 0.05
"""Seconds between turns: threads of the side before may still spin."""


@dataclass(frozen=True)
class Options:
    """What all cases share."""

    threads: int
    rounds: int
    tiny: bool
    tune: bool


@contextmanager
def started(job: Job, variant: Variant) -> Iterator[Worker]:
    """A worker, for as long as it is needed."""
    with closing(Worker(job, variant)) as worker:
        yield worker


def compare(report: Report, case: Case, options: Options) -> dict[str, float]:
    """How many times as fast as each other side that has our results ours is."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        first = case.job(options.threads, options.tiny, False, "")
        with started(first, OURS) as ours:
            ours.ask("save", file=str(start))
        exact, timed = (case.job(options.threads, options.tiny, on, str(start)) for on in (False, True))
        variants = [OURS, *same(report, exact, case.opponents, Path(folder))]
        if options.tune:
            variants = [tuned(report, timed, variant) for variant in variants]
        return race(report, case, timed, variants, options.rounds)


# --- the same results -------------------------------------------------------------------------------------------------


def same(report: Report, job: Job, opponents: Sequence[Variant], folder: Path) -> list[Variant]:
    """The opponents that have our results, without dropout."""
    wanted, after = results(job, OURS, folder / "ours.npz")
    found = []
    report.head("side", "", "loss after each update" if job.train else "", "largest error")
    report.row(OURS.name, "", *(_losses(job, wanted), ""))
    for variant in opponents:
        with report.going_on(f"results of {variant.name}"):
            made, file = results(job, variant, folder / "theirs.npz")
            error, note = compared(job, (wanted, after), (made, file))
            report.row(variant.name, "OTHER" if error else "same", _losses(job, made), note)
            if error:
                report.failures.append(f"{variant.name} differs from ours: {note}")
            else:
                found.append(variant)
    report.say("")
    return found


def _losses(job: Job, made: Sequence[float]) -> str:
    return ", ".join(f"{loss:.5f}" for loss in made) if job.train else ""


def results(job: Job, variant: Variant, file: Path) -> tuple[Any, Path]:
    """Losses, with the weights after them in a file; or scores."""
    with started(job, variant) as worker:
        if not job.train:
            return worker.ask("predict"), file
        losses = worker.ask("update", count=UPDATES)
        worker.ask("save", file=str(file))
        return losses, file


def compared(job: Job, ours: tuple[Any, Path], theirs: tuple[Any, Path]) -> tuple[bool, str]:
    """Whether two results differ, and how far they do."""
    far = np.abs(np.array(ours[0]) - np.array(theirs[0])) / np.abs(ours[0]).max()
    if not job.train:
        return not far.max() <= SCORE_TOLERANCE, f"{far.max():.1e} of the largest score"
    worst, name = weights_apart(Path(job.start), ours[1], theirs[1])
    differs = not (far.max() <= LOSS_TOLERANCE and worst <= CHANGE_TOLERANCE)
    return differs, f"loss {far.max():.1e}, weights {worst:.1e} of what {name} changed by"


def weights_apart(start: Path, ours: Path, theirs: Path) -> tuple[float, str]:
    """How far a tensor is apart at most, as a share of what it changed by, and the tensor: by root mean squares, as a
    mask that turns over changes single gradients of deep nets by much, also between PyTorch's own layouts. What weights
    are rounded by, at each of the updates and on both sides, is no difference."""
    found = []
    with np.load(start) as before, np.load(ours) as first, np.load(theirs) as second:
        if set(first.files) != set(second.files):
            return float("inf"), "names"
        for name in first.files:
            mine = first[name]
            change = float(np.linalg.norm(mine - before[name]))
            rounding = 2 * UPDATES * np.spacing(np.abs(mine))
            apart = float(np.linalg.norm(np.maximum(np.abs(mine - second[name]) - rounding, 0)))
            found.append((apart / max(change, 1e-30), name))
    return max(found)


# --- times ------------------------------------------------------------------------------------------------------------


def tuned(report: Report, job: Job, variant: Variant) -> Variant:
    """Of a tuned side, the layout and the compilation that are the quickest here."""
    if not variant.tuned:
        return variant
    seconds = {}
    for some in (replace(variant, channels_last=last, compiled=c) for last in (False, True) for c in (False, True)):
        with report.going_on(f"trying {described(some)}", fails=False), started(job, some) as worker:
            worker.ask("run", steps=2)
            seconds[some] = min(worker.ask("run", steps=4))
    report.say(*(f"- {described(some)}: {1e3 * least:.1f} ms" for some, least in seconds.items()), "")
    return min(seconds, key=seconds.__getitem__, default=variant)


def described(variant: Variant) -> str:
    """Its name and how it is run."""
    how = ["channels last"] * variant.channels_last + ["compiled whole"] * variant.compiled
    return ", ".join([variant.name, *how])


def race(report: Report, case: Case, job: Job, variants: Sequence[Variant], rounds: int) -> dict[str, float]:
    """All sides at once, each waiting while another takes its turn: every round begins with another side. The median
    over the rounds of each other side's time over ours."""
    with ExitStack() as stack:
        workers = dict[Variant, Worker]()
        for variant in variants:
            with report.going_on(f"{case}: {variant.name}"):
                worker = stack.enter_context(started(job, variant))
                worker.ask("run", steps=2)  # what is compiled, and touched for the first time
                workers[variant] = worker
        seconds: dict[Variant, list[float]] = {variant: [] for variant in workers}
        for turn in range(rounds):
            if turn and not report.has_time(f"{case}: rounds after {turn}", 5):
                break
            order = list(workers)
            for variant in order[turn % len(order) :] + order[: turn % len(order)]:
                time.sleep(PAUSE)
                seconds[variant].append(median(workers[variant].ask("run", steps=case.steps)))
        memory = {variant: worker.ask("memory") for variant, worker in workers.items()}
    table(report, case, job.batch, seconds, memory)
    if OURS in memory:
        say_memory(report, case, memory)
    base = seconds.get(OURS, [])
    return {
        variant.name: median([mine / ours for mine, ours in zip(some, base, strict=True)])
        for variant, some in seconds.items()
        if base and variant != OURS
    }


def table(
    report: Report,
    case: Case,
    batch: int,
    seconds: Mapping[Variant, list[float]],
    memory: Mapping[Variant, Mapping[str, int]],
) -> None:
    """Medians, spreads, ratios in each round, memory."""
    scale = case.scale()
    report.head("side", "seconds", "from", "to", "over ours", "from", "to", "images/s", "peak memory, MiB")
    base = seconds.get(OURS)
    for variant, some in seconds.items():
        ratios = [mine / ours for mine, ours in zip(some, base or some, strict=True)]
        cells = [f"{scale * v:.4g}" for v in (median(some), min(some), max(some))]
        cells += [f"{v:.2f}" for v in (median(ratios), min(ratios), max(ratios))] if base else [""] * 3
        images = f"{batch / median(some):.4g}"
        report.row(described(variant), *cells, images, f"{memory[variant]['peak'] / 2**20:,.0f}")
    report.say("")


def say_memory(report: Report, case: Case, memory: Mapping[Variant, Mapping[str, int]]) -> None:
    """Of our side against its plan and PyTorch's."""
    plan, bare, peak = (memory[OURS][key] / 2**20 for key in ("planned", "bare", "peak"))
    share = peak / (plan + bare)
    report.say(f"Our plan: {plan:,.0f} MiB; interpreter: {bare:,.0f}; our peak is {share:.2f} of both.")
    theirs = [found["peak"] / 2**20 for variant, found in memory.items() if variant.side == "torch"]
    if theirs:
        report.aim(f"{case}: memory", "below PyTorch's", f"{peak:,.0f} of {min(theirs):,.0f} MiB", peak < min(theirs))
    report.aim(f"{case}: memory", "at most 1.10 of plan and interpreter", f"{share:.2f}", share <= 1.1)
