"""Ops on each element by itself, in every layout that they may meet, on every target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import BatchNormInference
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, Relu, ReluGrad, Tanh
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.shape import Flatten, Unflatten

from ..ops.helpers import rng
from .emitted import expected
from .targets import TARGETS, Run

LAYOUTS = (True, False)
MAP = (3, 8, 2, 5)
LARGE = 3 * 1024 * 16 + 7
"""Elements of more pieces than there are threads."""
SEED, STEP = np.array(-(2**63) + 12345), np.array(2**31 - 1, np.int32)


def normal(*shape: int) -> Array:
    """The same numbers every time."""
    return rng(sum(shape)).standard_normal(shape).astype("f4")


def agrees(run: Run, op: Op, operands: Sequence[Array], tolerance: float = 1e-6, **how: Any) -> None:
    """What is emitted makes what the op means, of operands as they are stored."""
    for one, exact in zip(run(op, operands, **how), expected(op, operands, how.get("stored", "f32")), strict=True):
        assert one.shape == exact.shape
        wanted = round_stored(exact, how.get("result_stored", "f32")) if exact.dtype.kind == "f" else exact
        scale = np.abs(exact[np.isfinite(exact)]).max(initial=1e-30)
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * scale)


OVER = pytest.mark.parametrize(
    ("op", "operands"),
    [
        (Relu(), [normal(40, LARGE // 40)]),
        (Add(), [normal(*MAP), normal(*MAP) + 1]),
        (ReluGrad(), [normal(5, 7), normal(5, 7)]),
        (BiasAdd(), [normal(*MAP), normal(8)]),
        (BiasAdd(), [normal(*MAP), normal(8, 2, 5)]),
        (Flatten(), [normal(3, 7)]),
        (Dropout(0.5), [normal(3, 700), SEED, STEP]),
        (
            Fused("grad_relu", (Part(Dropout(0.5), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,)),
            [normal(*MAP), SEED, STEP, normal(*MAP)],
        ),
        (
            Fused("grad_relu", (Part(Unflatten((8, 2, 5)), (0,)), Part(ReluGrad(), (2, 1))), (3,)),
            [normal(3, 80), normal(*MAP)],
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Op) else "",
)
"""Ops whose results may lie over their operands."""


@TARGETS
@pytest.mark.parametrize("bias", [(8,), (8, 2, 5)])
@pytest.mark.parametrize("last", LAYOUTS)
def test_biases_of_channels_and_positions(run: Run, bias: tuple[int, ...], last: bool) -> None:
    agrees(run, BiasAdd(), [normal(*MAP), normal(*bias)], channels_last=last)


@TARGETS
def test_biases_where_there_are_more_axes(run: Run) -> None:
    agrees(run, BiasAdd(), [normal(2, 3, 4), normal(3)])
    agrees(run, BiasAdd(), [normal(2, 3, 4), normal(3, 4)])
    agrees(run, BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3)])
    agrees(run, BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3, 2, 1, 2)], channels_last=False)
    agrees(run, BiasAdd(), [normal(4), normal()])


@TARGETS
@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Dropout(0.5, stream=3), (3, 70)),
        (Dropout(0.5, stream=3), (5, 4097)),
        (Dropout(0.25, stream=2**32 - 1), (2, 8, 3, 3)),
        (Dropout(0.5, start=7 * 11), (2, 11)),
        (Dropout(0.5, start=5, period=35), (3, 2, 5)),
        (Dropout(0.5, start=3, period=70), (3, 35)),
        (Dropout(0.5, start=4, period=40), (3, 4, 2, 2)),
        (Dropout(0.5, start=2**33 + 1), (2, 8)),
        (Dropout(0.5, start=3, period=2), (9,)),
        (Dropout(0.5), (2, 3, 1, 2, 2)),
        (Dropout(0.5), (3, 300, 1, 1)),
        (Dropout(1e-9), (64, 64)),
        (Dropout(1 - 1e-12), (8, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("last", LAYOUTS)
def test_masks_are_bit_equal(run: Run, op: Dropout, shape: tuple[int, ...], last: bool) -> None:
    (found,) = run(op, [np.ones(shape, "f4"), SEED, STEP], channels_last=last)
    np.testing.assert_array_equal(found, op.mask(shape, int(SEED), int(STEP)))


@TARGETS
def test_what_is_kept_is_divided_as_the_reference_does(run: Run) -> None:
    op, operands = Dropout(0.3, "train", 1), [normal(5, 33), np.array(7), np.array(2, np.int32)]
    np.testing.assert_array_equal(run(op, operands)[0], op.evaluate(operands)[0])


@TARGETS
@pytest.mark.parametrize("last", LAYOUTS)
def test_a_mask_behind_dropout(run: Run, last: bool) -> None:
    op = Fused("grad_relu", (Part(Dropout(0.5, "train"), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,))
    for shape in (MAP, (3, 35)):
        agrees(run, op, [normal(*shape), SEED, STEP, normal(*shape)[::-1].copy()], channels_last=last)


@TARGETS
@pytest.mark.parametrize("last", LAYOUTS)
@pytest.mark.parametrize("shape", [MAP, (2, 3, 3, 2), (2, 33, 6, 6)])
def test_a_mask_behind_unflatten(run: Run, last: bool, shape: tuple[int, ...]) -> None:
    op = Fused("grad_relu", (Part(Unflatten(shape[1:]), (0,)), Part(ReluGrad(), (2, 1))), (3,))
    agrees(run, op, [normal(*shape).reshape(shape[0], -1), normal(*shape)[::-1].copy()], channels_last=last)


@TARGETS
@pytest.mark.parametrize("last", LAYOUTS)
def test_a_chain_behind_flatten(run: Run, last: bool) -> None:
    op = Fused("any", (Part(Flatten(), (0,)), Part(BiasAdd(), (3, 1)), Part(Add(), (2, 4)), Part(Tanh(), (5,))), (6,))
    agrees(run, op, [normal(2, 3, 2, 2), normal(12), normal(2, 12)], channels_last=last)


@TARGETS
def test_one_operand_several_times(run: Run) -> None:
    parts = (Part(BatchNormInference(), (0, 1, 2, 1, 3)), Part(Add(), (4, 0)), Part(Add(), (5, 4)))
    agrees(run, Fused("any", parts, (6,)), [normal(*MAP), normal(8), normal(8) + 1, np.abs(normal(8))], 1e-5)
