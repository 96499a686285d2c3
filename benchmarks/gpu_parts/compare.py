"""Whole training steps of several sides: the same losses first, then times in rotation."""

from __future__ import annotations

import contextlib
import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alexnet_ir.backends.cuda.gpu import Precision
from alexnet_ir.ir.op import Array

from .lab import Lab, seconds_of
from .models import FEW, Net, batches, start
from .ours import Ours
from .report import Report, median

TOLERANCE: Mapping[Precision, float] = {"fp32": 5e-4, "tf32": 5e-3, "bf16": 3e-2}
"""Of losses between sides, of their size."""
UPDATES = 3


class Side(Protocol):
    """Trains a net."""

    name: str

    @property
    def memory(self) -> str:
        """What it takes, in words."""

    def feed(self, images: Array, labels: Array) -> None:
        """The batch of the steps that follow."""

    def convert(self) -> object:
        """Bytes to floats, alone."""

    def step(self) -> float:
        """One update, and the loss from before it."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True)
class Case:
    """A net at a batch in a precision; `devices` of ours; `compiled`: PyTorch's compiled sides too."""

    net: Net
    batch: int
    precision: Precision
    devices: tuple[str, ...] = ("0",)
    compiled: bool = True

    def __str__(self) -> str:
        return f"{self.net.title}, batch {self.batch}, {self.precision}"


@dataclass(frozen=True)
class Pace:
    """Rounds, in each of which every side takes so many steps that count."""

    rounds: int
    steps: int


def opponents() -> Any:
    """The module; ImportError where there is no PyTorch."""
    return importlib.import_module(f"{__package__}.opponents")


def _forget() -> None:
    """What PyTorch has compiled, if it is there."""
    with contextlib.suppress(ImportError):
        opponents().forget()


def sides(report: Report, lab: Lab, case: Case, dropout: bool, only: Sequence[str] | None = None) -> list[Side]:
    """Those that can be built; what fails is reported. With `only`, those of these names."""
    model = case.net.model(case.batch, lab.is_rehearsal, dropout)
    weights, found = start(model), list[Side]()
    images, labels = batches(model, FEW, 1)[0]
    for devices in case.devices:
        with report.going_on(f"{case}: ours on {devices}"):
            side = Ours(lab, model, case.precision, devices)
            side.load(weights)
            found.append(side)
    try:
        module = opponents()
    except ImportError as failure:
        report.say("", f"PyTorch cannot be imported ({failure}): our side alone.", "")
        return found
    for variant in module.VARIANTS:
        if (variant.whole and not case.compiled) or (only is not None and variant.name not in only):
            continue
        if report.has_time(f"{case}: {variant.name}", 40 if variant.whole else 20):
            with report.going_on(f"{case}: {variant.name}", fails=False):
                opponent = module.Opponent(variant, case.net.key, model, case.precision, dropout)
                opponent.prepare(weights, images, labels)
                found.append(opponent)
    return found


def same_losses(report: Report, lab: Lab, case: Case) -> list[str]:
    """Losses of some steps without dropout, from the same weights on the same images; the names of the sides that have
    ours."""
    model = case.net.model(case.batch, lab.is_rehearsal, False)
    given, found = batches(model, FEW, UPDATES + 1), dict[str, list[float]]()
    for side in sides(report, lab, case, dropout=False):
        with report.going_on(f"{case}: losses of {side.name}", fails=side.name.startswith("alexnet-ir")):
            losses = []
            for images, labels in given:
                side.feed(images, labels)
                losses.append(side.step())
            found[side.name] = losses
        side.close()
    _forget()
    ours = next(iter(found.values()), [])
    report.head("side", "", *(f"loss {i}" for i in range(len(given))))
    same = []
    for name, losses in found.items():
        far = max(abs(a - b) / abs(b) for a, b in zip(losses, ours, strict=True))
        good = far <= TOLERANCE[case.precision] and all(map(math.isfinite, losses))
        report.row(name, "same" if good else "OTHER", *(f"{loss:.5f}" for loss in losses))
        if good:
            same.append(name)
        else:
            report.failures.append(f"{case}: losses of {name} differ from ours by {far:.1e}")
    report.say("")
    return same


def compare(report: Report, lab: Lab, case: Case, pace: Pace) -> dict[str, float]:
    """Median seconds a step of every side that has the same losses, with dropout."""
    same = same_losses(report, lab, case)
    found = [side for side in sides(report, lab, case, True, same) if side.name in same]
    model = case.net.model(case.batch, lab.is_rehearsal)
    images, labels = batches(model, FEW, 1)[0]
    for side in found:
        side.feed(images, labels)
    seconds = rotate(report, case, found, pace)
    table(report, lab, found, seconds)
    for side in found:
        side.close()
    _forget()
    return {name: median([median(some) for some in rounds]) for name, rounds in seconds.items() if rounds}


def rotate(report: Report, case: Case, found: Sequence[Side], pace: Pace) -> dict[str, list[list[float]]]:
    """Seconds of single steps, by round: every round begins with another side. A side that fails is left out from then
    on."""
    seconds: dict[str, list[list[float]]] = {side.name: [] for side in found}
    going = list(found)
    for turn in range(pace.rounds):
        if turn and not report.has_time(f"{case}: rounds after {turn}", 5):
            break
        order = going[turn % len(going) :] + going[: turn % len(going)] if going else []
        for side in order:
            try:
                side.step()  # not counted
                seconds[side.name].append([_timed(side.step) for _ in range(pace.steps)])
            except Exception as failure:
                report.say("", f"{case}: {side.name} failed in round {turn}: {failure}", "")
                going.remove(side)
    return seconds


def _timed(step: Callable[[], float]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def table(report: Report, lab: Lab, found: Sequence[Side], seconds: Mapping[str, list[list[float]]]) -> None:
    """Medians, spreads, ratios to ours in each round, memory."""
    names = [side.name for side in found if seconds[side.name]]
    if not names:
        return
    base = [median(some) for some in seconds[names[0]]]
    report.head(
        "side", "ms a step", "rounds from", "to", f"times {names[0]}'s", "from", "to", "conversion, us", "memory"
    )
    for side in found:
        if side.name in names:
            rounds = [median(some) for some in seconds[side.name]]
            ratios = [mine / ours for mine, ours in zip(rounds, base, strict=False)]
            cells = [f"{1e3 * v:.3f}" for v in (median(rounds), min(rounds), max(rounds))]
            cells += [f"{v:.2f}" for v in (median(ratios), min(ratios), max(ratios))]
            with report.going_on(f"conversion of {side.name}"):
                cells.append(f"{1e6 * seconds_of(lab, side.convert, 2 if lab.is_rehearsal else 30):.1f}")
            report.row(side.name, *cells, side.memory)
    report.say("")
