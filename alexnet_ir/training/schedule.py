"""The learning rate and the end of training as functions of the step."""

from __future__ import annotations

import math

from alexnet_ir.dsl import spec


def steps_of(moment: spec.Moment, steps_per_epoch: int) -> int:
    """A moment or length as a number of updates, at least one."""
    return moment.count if isinstance(moment, spec.Steps) else max(1, round(moment.count * steps_per_epoch))


def learning_rate(schedule: spec.Schedule, base: float, step: int, steps_per_epoch: int, total: int) -> float:
    """The rate of update `step` (from 0) of a run of `total`."""
    match schedule:
        case spec.Constant():
            return base
        case spec.Drops():
            passed = sum(step >= steps_of(moment, steps_per_epoch) for moment in schedule.at)
            return base * schedule.factor**passed
        case spec.Exponential():
            return float(base * schedule.factor ** (step / steps_of(schedule.every, steps_per_epoch)))
        case spec.Polynomial():
            return float(base * (1 - step / total) ** schedule.power)
        case spec.Cosine():
            return base * (1 + math.cos(math.pi * step / total)) / 2
        case _:
            raise ValueError(f"nothing runs {schedule.name}(...) yet")


def unsupported(recipe: spec.TrainSpec, stop: spec.Stop) -> list[str]:
    """What a recipe asks for and nothing runs yet, a line each."""
    found = []
    if isinstance(recipe.schedule, spec.Plateau):
        found.append("plateau(...) is accepted by check, but nothing runs it yet; drops(...) and others do")
    if recipe.events:
        found.append("events are accepted by check, but nothing runs them yet")
    if isinstance(stop, spec.ErrorBelow) and isinstance(recipe.schedule, spec.Polynomial | spec.Cosine):
        found.append(f"{recipe.schedule.name}(...) wants the length of the run, and error_below(...) does not say it")
    return found
