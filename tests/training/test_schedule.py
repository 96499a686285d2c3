"""Learning rates as functions of the step, and the moments of a run."""

from __future__ import annotations

import pytest

from alexnet_ir.dsl import spec
from alexnet_ir.training.schedule import learning_rate, steps_of, unsupported

CASES = [
    (spec.Constant(), {0: 0.1, 99: 0.1}),
    (spec.Drops(at=[spec.Epochs(2), spec.Steps(50)], factor=0.1), {0: 0.1, 19: 0.1, 20: 0.01, 49: 0.01, 50: 0.001}),
    (spec.Exponential(factor=0.5, every=spec.Epochs(1)), {0: 0.1, 10: 0.05, 15: 0.1 * 0.5**1.5}),
    (spec.Polynomial(power=2), {0: 0.1, 50: 0.025, 100: 0.0}),
    (spec.Cosine(), {0: 0.1, 50: 0.05, 100: 0.0}),
]


@pytest.mark.parametrize(("schedule", "rates"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_rates(schedule: spec.Schedule, rates: dict[int, float]) -> None:
    for step, rate in rates.items():
        found = learning_rate(schedule, 0.1, step, steps_per_epoch=10, total=100)
        assert found == pytest.approx(rate, abs=1e-12)


def test_moments() -> None:
    assert steps_of(spec.Epochs(1.5), 10) == 15
    assert steps_of(spec.Steps(7), 10) == 7
    assert steps_of(spec.Epochs(0.001), 10) == 1


def test_every_schedule_runs_or_is_refused() -> None:
    runs = {type(schedule) for schedule, _ in CASES}
    assert runs | {spec.Plateau} == set(spec.Schedule.__subclasses__())


def recipe(**changes: object) -> spec.TrainSpec:
    values: dict[str, object] = {
        "name": "r", "net": spec.Reference("N"), "data": "d", "loss": spec.Hinge(), "batch": 1, "stop": spec.Epochs(1),
        "optimizer": spec.Sgd(lr=1), "schedule": spec.Constant(), "events": (), "seed": 0,
    }  # fmt: skip
    return spec.TrainSpec(**(values | changes))  # type: ignore[arg-type]


def test_what_nothing_runs_yet_is_named_in_a_line() -> None:
    assert unsupported(recipe(), spec.Epochs(1)) == []
    (plateau,) = unsupported(recipe(schedule=spec.Plateau(factor=0.1, max_drops=3)), spec.Epochs(1))
    assert plateau.startswith("plateau(...)")
    freeze = spec.At(spec.Epochs(1), spec.Freeze(spec.Reference("conv1")))
    (events,) = unsupported(recipe(events=(freeze,)), spec.Epochs(1))
    assert events.startswith("events")
    (cosine,) = unsupported(recipe(schedule=spec.Cosine()), spec.ErrorBelow(0.25))
    assert "length of the run" in cosine
