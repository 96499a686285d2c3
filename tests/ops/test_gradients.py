"""Gradients, through the graph: against finite differences, and against the identities that they must obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alexnet_ir.ir.attributes import Pads, Pair
from alexnet_ir.ir.op import Array, NotDifferentiableError, Op, TypeRuleError
from alexnet_ir.ir.verify import verify
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.elementwise import Elementwise, Relu
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.pool import AvgPool, L2Pool, MaxPool
from alexnet_ir.ops.table import OPS
from alexnet_ir.ops.window import windows

from .helpers import gradients, is_float, rng, slope, type_of, with_gradient
from .op_table import CROSSING, ROWS, Row
from .plain import output_size

DIFFERENTIABLE = {op for op in OPS.values() if op.gradient is not Op.gradient}
LINEAR = {"conv", "local", "fc", "bias_add", "identity", "scale", "add", "avgpool", "global_avgpool", "dropout",
          "flatten", "concat"}  # fmt: skip
HOMOGENEOUS = {*LINEAR, "relu", "leaky_relu", "abs", "maxpool", "l2pool"}
"""f(a x) = a f(x) for a > 0 in each operand that has a gradient (Euler: <f(x), g> = <x, gradient>)."""

MANY = settings(max_examples=60, deadline=None)

rows_to_differentiate = [row for row in ROWS if type(row.op) in DIFFERENTIABLE and row.smooth]
each_row = pytest.mark.parametrize("row", rows_to_differentiate, ids=lambda row: row.id)


def test_which_ops_have_a_gradient() -> None:
    """All that forward graphs are made of; what only backward, inference or `distribute` emits has none."""
    without = {op.name for op in OPS.values()} - {op.name for op in DIFFERENTIABLE}
    assert without == {name for name in OPS if "_grad" in name} | {
        "bias_grad", "batchnorm_inference", "running_average", "unflatten", "slice", "fill", "copy", "fused", "sgd",
        "adam", "channel_squares", "row_max", "maximum", "row_exp_sum", "softmax_cross_entropy_share",
    }  # fmt: skip
    assert {type(row.op) for row in rows_to_differentiate} == DIFFERENTIABLE - CROSSING


def test_an_op_without_a_gradient_says_so() -> None:
    row = next(row for row in ROWS if row.op.name == "relu_grad")
    with pytest.raises(NotDifferentiableError, match="relu_grad"):
        with_gradient(row.op, row.arrays())


@each_row
def test_gradients_have_the_types_of_their_operands(row: Row) -> None:
    graph, node, _, grads = with_gradient(row.op, row.arrays())
    verify(graph)
    for operand, grad in zip(node.operands, grads, strict=True):
        assert (grad is not None) == (graph.tensor(operand).dtype == "f32")
        assert grad is None or graph.tensor(grad) == graph.tensor(operand)


@each_row
def test_gradient_is_the_slope(row: Row) -> None:
    """Along a random direction, which meets every element, and along a few elements by themselves."""
    arrays, random = row.arrays(), rng(1)
    cotangent = np.asarray(random.standard_normal(row.op.evaluate(arrays)[0].shape))
    for position, grad in enumerate(gradients(row.op, arrays, cotangent)):
        if grad is None:
            continue

        def objective(operand: Array, position: int = position) -> float:
            moved = [*arrays[:position], operand, *arrays[position + 1 :]]
            return float(np.sum(cotangent * row.op.evaluate(moved)[0]))

        at = arrays[position]
        directions = [np.asarray(random.standard_normal(at.shape))]
        for element in random.choice(at.size, min(3, at.size), replace=False):
            directions.append(np.eye(1, at.size, element).reshape(at.shape))
        for direction in directions:
            expected = slope(objective, at, direction)
            assert np.sum(grad * direction) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@each_row
def test_gradient_keeps_the_float_type(row: Row) -> None:
    arrays = row.arrays("float32")
    for grad in gradients(row.op, arrays, np.ones_like(row.op.evaluate(arrays)[0])):
        assert grad is None or grad.dtype == "float32"


def check_products(op: Op, arrays: list[Array]) -> None:
    """<f(x), g> = <x, gradient>, for each operand; of `bias_add` and `add`, for both together."""
    out = op.evaluate(arrays)[0]
    cotangent = np.asarray(rng(2).standard_normal(out.shape))
    grads = gradients(op, arrays, cotangent)
    products = [np.sum(a * g) for a, g in zip(arrays, grads, strict=True) if g is not None]
    if op.name in ("add", "bias_add", "concat"):
        products = [sum(products)]
    np.testing.assert_allclose(products, np.sum(out * cotangent), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("row", [row for row in ROWS if row.op.name in HOMOGENEOUS and row.smooth], ids=lambda r: r.id)
def test_products_with_the_gradient(row: Row) -> None:
    check_products(row.op, row.arrays())


in_one_operand = [row for row in ROWS if row.op.name in LINEAR - {"bias_add", "add", "concat"} and row.smooth]


@pytest.mark.parametrize("row", in_one_operand, ids=lambda r: r.id)
def test_linear_ops_are_linear(row: Row) -> None:
    """In their first operand, the others at rest."""
    first, *others = row.arrays()
    second = np.asarray(rng(3).standard_normal(first.shape))
    both = row.op.evaluate([2 * first - 3 * second, *others])[0]
    apart = 2 * row.op.evaluate([first, *others])[0] - 3 * row.op.evaluate([second, *others])[0]
    np.testing.assert_allclose(both, apart, atol=1e-9)


# --- random geometries --------------------------------------------------------------------------------------------


@st.composite
def pads(draw: st.DrawFn, most: int) -> Pads:
    """Four numbers of cells."""
    one = st.integers(0, most)
    return (draw(one), draw(one)), (draw(one), draw(one))


@st.composite
def pairs(draw: st.DrawFn, most: int) -> Pair:
    """Rows and columns."""
    return draw(st.integers(1, most)), draw(st.integers(1, most))


@st.composite
def convolutions(draw: st.DrawFn, kind: type[Conv] | type[Local]) -> tuple[Conv | Local, list[Array]]:
    """An op that fits its operands."""
    groups = draw(st.integers(1, 3))
    round_ = draw(st.sampled_from(["exact", "down", "up"]))
    op = kind(draw(pairs(4)), draw(pads(3)), groups, draw(pairs(3)), round_)
    maps, size = draw(pairs(8)), draw(pairs(4))
    batch, channels, kernels = (draw(st.integers(1, 2)) for _ in range(3))
    try:
        output = windows(maps, size, op.stride, op.pad, op.dilation, round_).output
    except TypeRuleError:
        assume(False)
    random = rng(draw(st.integers(0, 99)))
    shape = (kernels * groups, channels, *size, *(output if kind is Local else ()))
    return op, [random.standard_normal((batch, channels * groups, *maps)), random.standard_normal(shape)]


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Op, list[Array]]:
    """An op that fits its operand."""
    size, round_ = draw(pairs(4)), draw(st.sampled_from(["exact", "down", "up"]))
    kind = draw(st.sampled_from([MaxPool, AvgPool, L2Pool]))
    op = kind(size, draw(st.none() | pairs(4)), draw(pads(max(size) - 1)), round_)
    input = rng(draw(st.integers(0, 99))).standard_normal((draw(st.integers(1, 2)), 2, *draw(pairs(8))))
    try:
        op.infer([type_of(input)])
    except TypeRuleError:
        assume(False)
    return op, [input]


@MANY
@given(st.one_of(convolutions(Conv), convolutions(Local), poolings()))
def test_products_with_the_gradient_whatever_the_geometry(made: tuple[Op, list[Array]]) -> None:
    op, arrays = made
    inferred = op.infer([type_of(a) for a in arrays])
    assert list(inferred) == [type_of(a) for a in op.evaluate(arrays)]
    size = op.size if isinstance(op, MaxPool | AvgPool | L2Pool) else arrays[1].shape[2:4]
    assert inferred[0].shape[2:] == output_size(op, arrays[0].shape[2:], size)
    check_products(op, arrays)


@MANY
@given(st.sampled_from(rows_to_differentiate), st.integers(0, 2**32))
def test_a_gradient_is_linear_in_the_cotangent(row: Row, seed: int) -> None:
    arrays, random = row.arrays(), rng(seed)
    shape = row.op.evaluate(arrays)[0].shape
    one, two = np.asarray(random.standard_normal(shape)), np.asarray(random.standard_normal(shape))
    found = [gradients(row.op, arrays, g) for g in (one, two, one - 2 * two)]
    for first, second, both in zip(*found, strict=True):
        if first is not None and second is not None and both is not None:
            np.testing.assert_allclose(both, first - 2 * second, atol=1e-9)


def test_elementwise_gradients_do_not_read_inputs_that_need_not_be_kept() -> None:
    """relu, leaky_relu, tanh and sigmoid read their output, so that fusion can hide the input."""
    for row in rows_to_differentiate:
        if isinstance(row.op, Elementwise) and row.op.name in ("relu", "leaky_relu", "tanh", "sigmoid"):
            graph, node, _, grads = with_gradient(row.op, row.arrays())
            assert grads[0] is not None
            assert node.operands[0] not in graph.node(grads[0]).operands


def test_gradient_nodes_are_named_after_what_they_serve() -> None:
    row = next(row for row in rows_to_differentiate if isinstance(row.op, Relu))
    graph, _, _, grads = with_gradient(row.op, row.arrays())
    assert grads[0] is not None
    assert graph.value_name(grads[0]) == "y.grad_input"


def test_floats_are_told_from_labels() -> None:
    assert is_float(np.zeros(1))
    assert not is_float(np.zeros(1, "int32"))
