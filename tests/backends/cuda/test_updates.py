"""Updates: any number of parameters in one launch, wherever their tensors lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexnet_ir.backends.cuda.emitters.updates import ELEMENTS
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Launch
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp

from ...ops.helpers import rng, type_of
from .running import emitted, expected, layouts, needs_gxx, run

pytestmark = needs_gxx

SHAPES = [(3,), (2, ELEMENTS + 5), (4, 3, 2, 5), (), (1,), (2 * ELEMENTS,), (2, 1, 2, 2, 3, 1), (8, 4, 3, 3)]
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
    for one, wanted in zip(found, expected(op, operands, how.get("stored", "f32")), strict=True):  # type: ignore[arg-type]
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
def test_all_in_one_launch(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    types = [type_of(a) for a in operands]
    results = [t for t in op.infer(types) if isinstance(t, TensorType)]
    lying, made = layouts(types, "f32", True), layouts(results, "f32", True)
    emission = emitted(op, types, results, lying, made, GPUS["sm_90"], "fp32")
    assert [type(command) for command in emission.commands] == [Launch]
    assert emission.workspace == 0


@RULES
def test_over_their_own(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    pairs = dict(in_place(op))
    assert len(pairs) == len(op.yields)
    apart = run(op, operands)
    for order in ("forward", "shuffled"):
        for one, same in zip(run(op, operands, over=pairs, machine=HostMachine(order=order)), apart, strict=True):
            np.testing.assert_array_equal(one, same)
    some = {result: operand for result, operand in pairs.items() if result % 3 == 0}
    for one, same in zip(run(op, operands, over=some), apart, strict=True):
        np.testing.assert_array_equal(one, same)


@RULES
def test_a_gradient_that_lies_otherwise(rule: type[UpdateOp]) -> None:
    names = rule.operands
    for parameter, gradient in ((True, False), (False, True)):
        last = [gradient if name == "gradient" else parameter for name in names] + [parameter] * len(rule.results)
        agrees(rule(), alone(rule, (4, 3, 2, 5)), channels_last=last)


@RULES
def test_gradients_stored_in_bf16(rule: type[UpdateOp]) -> None:
    """Of some parameters, and of others not: a launch for each kind."""
    op, operands = together(rule, SHAPES[:4])
    gradients = [part.operands[len(rule.tensors()) - 1] for part in op.parts[::2]]
    stored: list[Stored] = ["bf16" if number in gradients else "f32" for number in range(len(operands))]
    agrees(op, operands, stored=stored)


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


@RULES
def test_every_access_is_right(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, [(3,), (2, 5), (ELEMENTS + 3,)])
    agrees(op, operands, machine=HostMachine(check=True, order="shuffled"), over=dict(in_place(op)))
