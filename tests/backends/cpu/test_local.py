"""Locally connected layers in emitted C against what the ops mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight
from tests.ops.op_table import ROWS, Row

from .running import expected, kernels, needs_cc, run

pytestmark = needs_cc
OPS = (Local, LocalGradInput, LocalGradWeight)
Case = tuple[Op, list[Array]]


def cases(input: tuple[int, ...], count: int, size: Pair, stride: Any = 1, pad: Any = 0, groups: int = 1) -> list[Case]:
    """A layer of so many kernels on such an input, and both its gradients."""
    rng = np.random.default_rng(3)
    attributes: Any = (stride, pad, groups, 1, "down")
    output = Local(*attributes).windows((input[2], input[3]), size).output
    x, grad = rng.standard_normal(input), rng.standard_normal((input[0], count, *output))
    weight = rng.standard_normal((count, input[1] // groups, *size, *output))
    return [
        (Local(*attributes), [x, weight]),
        (LocalGradInput(*attributes, input_size=(input[2], input[3])), [grad, weight]),
        (LocalGradWeight(*attributes, size=size), [grad, x]),
    ]


GEOMETRIES = {
    "odd": cases((5, 3, 7, 6), 7, (3, 2), pad=1),
    "groups": cases((9, 8, 6, 6), 12, (3, 3), pad=1, groups=2),
    "stride": cases((2, 5, 9, 11), 6, (3, 2), stride=(2, 3)),
    "one position": cases((3, 4, 3, 3), 5, (3, 3)),
}


def check(op: Op, arrays: Sequence[Array], **how: Any) -> Array:
    """As near to what the op means as sums in float32 are."""
    (found,), (exact,) = run(op, arrays, **how), expected(op, arrays)
    assert np.abs(found - exact).max() <= 1e-6 * max(1.0, np.abs(exact).max())
    return found


@pytest.mark.parametrize("isa", [None, AVX2, SSE], ids=lambda isa: isa.name if isa else "native")
@pytest.mark.parametrize("name", GEOMETRIES)
def test_it_is_what_the_op_means(name: str, isa: Isa | None) -> None:
    for op, arrays in GEOMETRIES[name]:
        check(op, arrays, isa=isa)


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row.op, OPS)], ids=lambda row: row.id)
def test_the_table_of_ops(row: Row) -> None:
    assert kernels(row.op, row.arrays()) != []
    check(row.op, row.arrays())


def test_channels_first_and_any_number_of_threads() -> None:
    for op, arrays in GEOMETRIES["groups"]:
        found = [check(op, arrays, threads=threads, channels_last=False) for threads in (1, 3)]
        assert (found[0] == found[1]).all()


def test_more_images_than_a_panel_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_ir.backends.cpu.emitters.local.PANEL_BYTES", 1)
    for op, arrays in GEOMETRIES["odd"]:
        check(op, arrays, threads=4)  # what was emitted for other numbers of threads is remembered


def test_bias_and_relu_on_the_way_out() -> None:
    (local, arrays), *_ = GEOMETRIES["groups"]
    op = Fused("conv_bias_relu", (Part(local, (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,))
    for channels_last in (True, False):
        check(op, [*arrays, np.random.default_rng(1).standard_normal(12)], channels_last=channels_last)
