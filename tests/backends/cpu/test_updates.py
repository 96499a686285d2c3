"""Updates in emitted C: any number of parameters in one call, wherever their tensors lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexnet_ir.backends.cpu.emitters import updates
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp

from ...ops.helpers import rng
from .running import commands, expected, needs_cc, run

pytestmark = needs_cc

MANY = 20_000
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


def agrees(op: Op, operands: list[Array], tolerance: float = 1e-6, **how: object) -> list[Array]:
    """What is emitted makes what the op means, up to the rounding of sums; and what it makes."""
    found = run(op, operands, **how)  # type: ignore[arg-type]
    for one, wanted in zip(found, expected(op, operands), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))
    return found


@RULES
@pytest.mark.parametrize("shape", SHAPES)
def test_one_parameter(rule: type[UpdateOp], shape: tuple[int, ...]) -> None:
    agrees(rule(), alone(rule, shape))


@RULES
@pytest.mark.parametrize("last", [True, False])
def test_many_parameters(rule: type[UpdateOp], last: bool) -> None:
    agrees(*together(rule, [*SHAPES, *[(n,) for n in range(1, 153)]]), channels_last=last)


@RULES
def test_all_in_one_call_that_knows_no_sizes(rule: type[UpdateOp]) -> None:
    called = [commands(*together(rule, shapes)) for shapes in (SHAPES, SHAPES[::-1], [(n,) for n in range(1, 9)])]
    assert all([type(command) for command in one] == [Call] for one in called)
    assert len({command.kernel for one in called for command in one if isinstance(command, Call)}) == 1


@RULES
def test_over_their_own(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    pairs = dict(in_place(op))
    assert len(pairs) == len(op.yields)
    apart = run(op, operands, threads=3)
    some = {result: operand for result, operand in pairs.items() if result % 3 == 0}
    for over in (pairs, some):
        for one, same in zip(run(op, operands, over=over, threads=3), apart, strict=True):
            np.testing.assert_array_equal(one, same)


@RULES
def test_a_gradient_that_lies_otherwise(rule: type[UpdateOp]) -> None:
    names = rule.operands
    for parameter, gradient in ((True, False), (False, True)):
        last = [gradient if name == "gradient" else parameter for name in names] + [parameter] * len(rule.results)
        agrees(rule(), alone(rule, (4, 3, 2, 5)), channels_last=last)


@RULES
def test_more_parameters_than_a_call_takes(rule: type[UpdateOp], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MOST_PARAMETERS", 3)
    op, operands = together(rule, SHAPES)
    assert len(commands(op, operands)) == 3
    agrees(op, operands)


@RULES
@pytest.mark.parametrize("isa", [AVX2, SSE], ids=str)
def test_other_processors(rule: type[UpdateOp], isa: Isa) -> None:
    agrees(*together(rule, SHAPES[:4]), isa=isa)


@pytest.mark.parametrize("step", [0, 1, 999, 1_000_000])
def test_adam_corrects_exactly(step: int) -> None:
    rates = (step, 1e-3, 0.9, 0.999, 1e-8, 0.0)
    agrees(Adam(), [*tensors(Adam, (50,)), *scalars(*rates, 1.0, 1.0)])


@RULES
def test_what_is_no_number_stays_where_it_is(rule: type[UpdateOp]) -> None:
    operands = alone(rule, (40,))
    operands[len(rule.tensors()) - 1][7] = np.nan
    for found in run(rule(), operands):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [7])
