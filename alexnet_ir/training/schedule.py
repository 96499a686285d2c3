"""The learning rate and the length of a run as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from alexnet_ir.dsl import spec


def steps_of(moment: spec.Moment, steps_per_epoch: int) -> int:
    """A moment or length as a number of updates, at least one."""
    return moment.count if isinstance(moment, spec.Steps) else max(1, round(moment.count * steps_per_epoch))


def length_of(stops: Iterable[spec.Stop], steps_per_epoch: int) -> int | None:
    """After how many updates a run ends at the latest; None where no stop says it."""
    lengths = [steps_of(stop, steps_per_epoch) for stop in stops if not isinstance(stop, spec.ErrorBelow)]
    return min(lengths, default=None)


def learning_rate(
    schedule: spec.Schedule, base: float, step: int, steps_per_epoch: int, total: int, drops: Sequence[int] = ()
) -> float:
    """The rate of update `step` (from 0) of a run of `total`; a plateau's `drops` so far are given as steps."""
    share = min(1, step / total)
    match schedule:
        case spec.Drops():
            drops = [steps_of(moment, steps_per_epoch) for moment in schedule.at]
            return base * schedule.factor ** sum(step >= drop for drop in drops)
        case spec.Plateau():
            return base * schedule.factor ** sum(step >= drop for drop in drops)
        case spec.Exponential():
            return float(base * schedule.factor ** (step / steps_of(schedule.every, steps_per_epoch)))
        case spec.Polynomial():
            return float(base * (1 - share) ** schedule.power)
        case spec.Cosine():
            return base * (1 + math.cos(math.pi * share)) / 2
    return base
