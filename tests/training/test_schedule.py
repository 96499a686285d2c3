"""Learning rates as functions of the step, and the moments of a run."""

from __future__ import annotations

import pytest

from alexnet_ir.dsl import spec
from alexnet_ir.training.schedule import learning_rate, length_of, steps_of

CASES = [
    (spec.Constant(), {0: 0.1, 99: 0.1}),
    (spec.Drops(at=[spec.Epochs(2), spec.Steps(50)], factor=0.1), {0: 0.1, 19: 0.1, 20: 0.01, 49: 0.01, 50: 0.001}),
    (spec.Plateau(factor=0.1, max_drops=3), {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 99: 0.001}),
    (spec.Exponential(factor=0.5, every=spec.Epochs(1)), {0: 0.1, 10: 0.05, 15: 0.1 * 0.5**1.5}),
    (spec.Polynomial(power=2), {0: 0.1, 50: 0.025, 100: 0.0, 101: 0.0}),
    (spec.Cosine(), {0: 0.1, 50: 0.05, 100: 0.0, 150: 0.0}),
]


@pytest.mark.parametrize(("schedule", "rates"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_rates(schedule: spec.Schedule, rates: dict[int, float]) -> None:
    for step, rate in rates.items():
        found = learning_rate(schedule, 0.1, step, steps_per_epoch=10, total=100, drops=[30, 60])
        assert found == pytest.approx(rate, abs=1e-12)


def test_moments() -> None:
    assert steps_of(spec.Epochs(1.5), 10) == 15
    assert steps_of(spec.Steps(7), 10) == 7
    assert steps_of(spec.Epochs(0.001), 10) == 1


def test_every_schedule_has_a_case() -> None:
    assert {type(schedule) for schedule, _ in CASES} == set(spec.Schedule.__subclasses__())


def test_the_length_of_a_run_is_that_of_its_first_end() -> None:
    assert length_of([spec.Epochs(3), spec.ErrorBelow(0.25), spec.Steps(20)], 10) == 20
    assert length_of([spec.ErrorBelow(0.25)], 10) is None
