"""Every kernel that a backend brings means what its op means, for any geometry, and leaves its operands alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.numpy import pieces
from alexnet_ir.backends.numpy.kernels import KERNELS
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.ops.table import OPS
from alexnet_ir.ops.update import Sgd

from ..ops.op_table import ROWS, Row
from ..strategies import windows
from .running import FLOAT, KERNEL_OF, run

BY_MEANING = {
    "hinge", "l2pool", "l2pool_grad", "maximum",
    "reshard", "row_exp_sum", "row_max", "softmax_cross_entropy_share",
}  # fmt: skip
UNROLLED = pytest.mark.parametrize("column_bytes", [1, 600, 1 << 40])
FUNCTION = [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=FUNCTION)


def random(seed: int, *shape: int) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(FLOAT)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Attributes of a convolution that fits, and the shapes of its input, weights and output."""
    groups = draw(st.sampled_from([1, 2, 3]))
    counts = st.integers(1, 3)
    batch, share, kernels_each = draw(st.integers(1, 4)), draw(counts), draw(counts)
    axes = []
    for _ in range(2):
        length, size, stride, dilation = (draw(st.integers(1, most)) for most in (9, 4, 4, 2))
        pad = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
        assume(dilation * (size - 1) < length + sum(pad))
        axes.append((length, size, stride, pad, dilation))
    rounding = draw(st.sampled_from(["down", "up"]))
    output = [windows(*axis, rounding) for axis in axes]
    attributes = {
        "stride": tuple(axis[2] for axis in axes), "pad": tuple(axis[3] for axis in axes), "groups": groups,
        "dilation": tuple(axis[4] for axis in axes), "round": rounding,
    }  # fmt: skip
    maps, sizes = [axis[0] for axis in axes], [axis[1] for axis in axes]
    input = (batch, groups * share, *maps)
    return attributes, input, (groups * kernels_each, share, *sizes), (batch, groups * kernels_each, *output)


def agree(op: Op, operands: Sequence[Array]) -> None:
    """The kernel's results are the reference's in float64, of the right type, in place too; the operands are as
    before."""
    expected = op.evaluate([o.astype("f8") if o.dtype.kind == "f" else o for o in operands])
    before = [operand.tobytes() for operand in operands]
    for over in (None, *KERNEL_OF(op).in_place(op)):
        found = run(op, operands, over)
        assert [operand.tobytes() for operand in operands] == before, f"{op.name} writes on its operands"
        assert len(found) == len(expected)
        for result, exact in zip(found, expected, strict=True):
            assert (result.shape, result.dtype) == (exact.shape, FLOAT if exact.dtype.kind == "f" else exact.dtype)
            size = np.abs(exact).max(initial=1e-3, where=np.isfinite(exact))
            np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-5 * size, err_msg=f"{op} over {over}")


@UNROLLED
@SETTINGS
@given(geometries())
def test_convolutions(column_bytes: int, monkeypatch: pytest.MonkeyPatch, geometry: Any) -> None:
    monkeypatch.setattr(pieces, "COLUMN_BYTES", column_bytes)
    attributes, input, weight, output = geometry
    agree(Conv(**attributes), [random(0, *input), random(1, *weight)])
    agree(ConvGradInput(**attributes, input_size=input[2:]), [random(2, *output), random(1, *weight)])
    agree(ConvGradWeight(**attributes, size=weight[2:]), [random(2, *output), random(0, *input)])


@SETTINGS
@given(geometries(), st.sampled_from([1, 2, 17, 300]), st.booleans())
def test_maxpool(geometry: Any, levels: int, special: bool) -> None:
    """The cell of the first of equals too, with ties, NaN and infinities."""
    attributes, shape, weight, _ = geometry
    size = weight[2:]
    assume(all(p < k for pads, k in zip(attributes["pad"], size, strict=True) for p in pads))
    values = np.random.default_rng(levels).integers(-levels, levels, shape).astype(FLOAT)
    if special:
        values.reshape(-1)[::3] = np.resize(np.array([np.nan, -np.inf, np.inf], FLOAT), values.reshape(-1)[::3].size)
    op = MaxPool(size, attributes["stride"], attributes["pad"], attributes["round"])
    assume(all(k <= n + sum(p) for k, n, p in zip(size, shape[2:], op.pad, strict=True)))
    found, expected = run(op, [values]), op.evaluate([values])
    for result, exact in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result, exact, strict=True)


maps = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
constants = st.tuples(
    st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 1e-4, 0.3]), st.sampled_from([0.75, 0.5, 1.0, 2.0])
)


@SETTINGS
@given(maps, constants, st.sampled_from([1, 3, 5, 9]), st.sampled_from([1, 2, 3]))
def test_normalisations(shape: tuple[int, ...], constants: tuple[float, ...], n: int, groups: int) -> None:
    shape = (shape[0], shape[1] * groups, *shape[2:])
    input, grad = random(0, *shape), random(1, *shape)
    agree(Lrn(n, *constants, groups), [input])
    agree(LrnGrad(n, *constants, groups), [grad, input])
    agree(LocalNorm(n, *constants), [input])
    agree(LocalNormGrad(n, *constants), [grad, input])


rates = st.sampled_from([0.0, 0.01, 0.9, 1.0, 2.0])


@SETTINGS
@given(maps, st.tuples(*[rates] * 5))
def test_sgd(shape: tuple[int, ...], scalars: tuple[float, ...]) -> None:
    tensors = [random(seed, *shape) for seed in range(3)]
    agree(Sgd(), [*tensors, *(np.array(scalar, FLOAT) for scalar in scalars)])


# Over the op test table, which has a row for every op


def test_what_runs_by_its_meaning() -> None:
    """What no example trains or evaluates with on one device."""
    assert {op.name for op in OPS.values() if op not in KERNELS} == BY_MEANING


@pytest.mark.parametrize("elements", [3, 1 << 16])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_kernels_on_the_rows_of_their_ops(row: Row, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small pieces and at once; in place wherever the kernel says so."""
    monkeypatch.setattr(pieces, "ELEMENTS", elements)
    monkeypatch.setattr(pieces, "CACHE_BYTES", 8 * elements)
    agree(row.op, row.arrays("float32"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_op_writes_on_its_operands(row: Row, dtype: str) -> None:
    operands = row.arrays(dtype)
    for operand in operands:
        operand.setflags(write=False)
    before = [operand.tobytes() for operand in operands]
    row.op.evaluate(operands)
    assert [operand.tobytes() for operand in operands] == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.smooth], ids=lambda row: row.id)
def test_nan_passes_through_kernels(row: Row) -> None:
    """Where the op's meaning is NaN, and nowhere else, the kernel's result is NaN."""
    for position, operand in enumerate(row.arrays("float32")):
        if operand.dtype.kind != "f" or row.op.operands[min(position, len(row.op.operands) - 1)] == "step":
            continue
        operands = row.arrays("float32")
        operands[position].reshape(-1)[0] = np.nan
        for result, exact in zip(run(row.op, operands), row.op.evaluate(operands), strict=True):
            # A product of unrolled windows meets padding's zeros, which the plain meaning may leave out.
            assert np.isnan(result)[np.isnan(exact)].all()
            assert np.isnan(result).any() == np.isnan(exact).any()
