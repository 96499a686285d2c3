"""Every op is emitted: each row of the op table runs on the host runner and makes what the op means.

All in f32, and each op once with floats stored in bf16; maps channels last. What g++ makes is kept: the first run takes
about a minute of one core (400 kernels), later ones 10 seconds.
"""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cuda.emit import EMITTERS
from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.table import OPS
from alexnet_ir.ops.update import UpdateOp

from ...ops.op_table import CROSSING, ROWS, Row
from .running import expected, needs_gxx, run

TOLERANCE: dict[Stored, float] = {"f32": 1e-5, "bf16": 1e-2}
"""Of the largest number of each result."""
NO_RULE = {"beside", "nested"}
"""Rows of fused ops that no rule makes."""
WHOLE: dict[str, Stored] = {"int32": "i32", "int64": "i64", "uint8": "u8"}


def stored_as(row: Row, operands: list[Array], stored: Stored) -> list[Stored]:
    """Of each operand: rates of updates stay as they are."""
    is_update = isinstance(row.op, UpdateOp)
    floats: list[Stored] = ["f32" if is_update and a.ndim == 0 else stored for a in operands]
    return [WHOLE.get(a.dtype.name, name) for a, name in zip(operands, floats, strict=True)]


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_an_emitter(name: str) -> None:
    op = OPS[name]
    assert op in EMITTERS or op in CROSSING or op is Fused


CASES = [row for row in ROWS if row.what not in NO_RULE]
ONCE = list({row.op.name if row.op.name != "fused" else row.id: row for row in CASES}.values())
"""A row of each op."""


@needs_gxx
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("row", CASES, ids=lambda row: row.id)
def test_every_row_is_what_it_means(row: Row) -> None:
    agrees(row, "f32")


@needs_gxx
@pytest.mark.parametrize("row", ONCE, ids=lambda row: row.id)
def test_every_op_is_what_it_means_of_bf16(row: Row) -> None:
    agrees(row, "bf16")


def agrees(row: Row, stored: Stored) -> None:
    """What is emitted makes what the op means."""
    operands = row.arrays("float32")
    each = stored_as(row, operands, stored)
    found = run(row.op, operands, stored=each, result_stored=stored)
    for one, wanted in zip(found, expected(row.op, operands, each), strict=True):
        assert one.shape == wanted.shape
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30)
        np.testing.assert_allclose(one, round_stored(wanted, stored), rtol=0, atol=TOLERANCE[stored] * scale)
