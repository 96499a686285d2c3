"""Updates on every target: any number of parameters together, wherever their tensors lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda.emitters.updates import ELEMENTS
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp

from ..ops.helpers import rng
from .emitted import expected
from .targets import TARGETS, Run

MANY = 5 * ELEMENTS
"""Elements that threads share."""
SHAPES = [(3,), (2, MANY + 5), (4, 3, 2, 5), (), (1,), (2 * MANY,), (2, 1, 2, 2, 3, 1), (8, 4, 3, 3)]
RATES: dict[type[UpdateOp], tuple[float, ...]] = {
    Sgd: (0.1, 0.9, 5e-4),
    Adam: (3.0, 1e-3, 0.9, 0.999, 1e-8, 5e-4),
}
RULES = pytest.mark.parametrize("rule", [Sgd, Adam])


def tensors(rule: type[UpdateOp], shape: tuple[int, ...], number: int = 0) -> list[Array]:
    """Parameter, slots (squares are positive) and gradient."""
    random = rng(number)
    made = [random.standard_normal(shape).astype("f4") for _ in rule.tensors()]
    return [np.abs(a) if name == "square" else a for name, a in zip(rule.tensors(), made, strict=True)]


def scalars(*numbers: float) -> list[Array]:
    """As they lie in memory."""
    return [np.array(number, "f4") for number in numbers]


def alone(rule: type[UpdateOp], shape: tuple[int, ...]) -> list[Array]:
    """The operands of one update."""
    return [*tensors(rule, shape), *scalars(*RATES[rule], 2.0, 0.5)]


def together(rule: type[UpdateOp], shapes: Sequence[tuple[int, ...]]) -> tuple[Fused, list[Array]]:
    """Updates at the same rates, as `fuse` puts them together; and the operands."""
    shared = len(RATES[rule])
    operands, parts, each = scalars(*RATES[rule]), [], len(rule.tensors())
    for number, shape in enumerate(shapes):
        first = len(operands)
        operands += [*tensors(rule, shape, number), *scalars(1.0 + number, 0.5)]
        parts.append(Part(rule(), (*range(first, first + each), *range(shared), first + each, first + each + 1)))
    count, made = len(operands), len(shapes) * len(rule.results)
    names = tuple(f"r{number}" for number in range(1, made))
    return Fused("updates", tuple(parts), tuple(range(count, count + made)), names), operands


def agrees(run: Run, op: Op, operands: list[Array], tolerance: float = 1e-6, **how: Any) -> list[Array]:
    """What is emitted makes what the op means, up to the rounding of sums; and what it makes."""
    found = run(op, operands, **how)
    for one, wanted in zip(found, expected(op, operands, how.get("stored", "f32")), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))
    return found


@TARGETS
@RULES
@pytest.mark.parametrize("shape", SHAPES)
def test_one_parameter(run: Run, rule: type[UpdateOp], shape: tuple[int, ...]) -> None:
    agrees(run, rule(), alone(rule, shape))


@TARGETS
@RULES
@pytest.mark.parametrize("last", [True, False])
def test_many_parameters(run: Run, rule: type[UpdateOp], last: bool) -> None:
    agrees(run, *together(rule, [*SHAPES, *[(n,) for n in range(1, 153)]]), channels_last=last)


@TARGETS
@RULES
def test_a_gradient_that_lies_otherwise(run: Run, rule: type[UpdateOp]) -> None:
    names = rule.operands
    for parameter, gradient in ((True, False), (False, True)):
        last = [gradient if name == "gradient" else parameter for name in names] + [parameter] * len(rule.results)
        agrees(run, rule(), alone(rule, (4, 3, 2, 5)), channels_last=last)


@TARGETS
@pytest.mark.parametrize("step", [0, 1, 999, 1_000_000])
def test_adam_corrects_exactly(run: Run, step: int) -> None:
    rates = (step, 1e-3, 0.9, 0.999, 1e-8, 0.0)
    agrees(run, Adam(), [*tensors(Adam, (50,)), *scalars(*rates, 1.0, 1.0)])


@TARGETS
@RULES
def test_what_is_no_number_stays_where_it_is(run: Run, rule: type[UpdateOp]) -> None:
    operands = alone(rule, (40,))
    operands[len(rule.tensors()) - 1][7] = np.nan
    for found in run(rule(), operands):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [7])
