"""Every op is emitted in C: each row of the op tables makes what the op means, and rows of odd widths for narrower
vectors too."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.emit import EMITTERS
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.table import OPS
from tests.ops.op_table import CROSSING, Row

from .running import expected, needs_cc, run
from .sanitized import ALL, ODD

CASES = [*((row, None) for row in ALL), *((row, isa) for row in ODD for isa in (AVX2, SSE))]


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_an_emitter(name: str) -> None:
    op = OPS[name]
    assert op in EMITTERS or op in CROSSING or op is Fused


@needs_cc
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize(
    ("row", "isa"), CASES, ids=lambda case: case.id if isinstance(case, Row) else case and case.name
)
def test_every_row_is_what_it_means(row: Row, isa: Isa | None) -> None:
    operands = row.arrays("float32")
    for one, wanted in zip(run(row.op, operands, isa=isa), expected(row.op, operands), strict=True):
        assert one.shape == wanted.shape
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30)
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-5 * scale)
