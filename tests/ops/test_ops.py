"""Every op against a second implementation of its meaning: loops, and torch where it is installed."""

from __future__ import annotations

import importlib
from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import BatchNormInference
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.loss import Hinge, SoftmaxCrossEntropy
from alexnet_ir.ops.pool import AvgPool, MaxPool
from alexnet_ir.ops.shape import Fill
from alexnet_ir.ops.table import OPS

from .helpers import gradients, rng, type_of
from .op_table import CROSSING, ROWS, Row
from .plain import PLAIN

IN_TORCH = {"conv", "fc", "bias_add", "relu", "leaky_relu", "tanh", "sigmoid", "abs", "lrn", "local_norm", "maxpool",
            "avgpool", "l2pool", "global_avgpool", "batchnorm", "batchnorm_inference", "softmax_cross_entropy",
            "hinge", "row_max", "maximum", "row_exp_sum"}  # fmt: skip
WITHOUT_GRADIENT = {"batchnorm_inference", "row_max", "maximum", "row_exp_sum"}
in_torch = pytest.mark.parametrize("row", [r for r in ROWS if r.op.name in IN_TORCH], ids=lambda row: row.id)
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def test_every_op_has_a_row() -> None:
    assert {type(row.op) for row in ROWS} == set(OPS.values()) - CROSSING == set(PLAIN)


def test_names_of_ops_are_their_keys() -> None:
    assert all(op.name == name and op.__doc__ for name, op in OPS.items())
    assert [name for name, count in Counter(op.name for op in PLAIN).items() if count > 1] == []


@each_row
def test_meaning(row: Row) -> None:
    arrays = row.arrays()
    expected = PLAIN[type(row.op)](row.op, *arrays)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for found, wanted in zip(row.op.evaluate(arrays), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@each_row
def test_inferred_types_are_those_of_the_results(row: Row) -> None:
    arrays = row.arrays()
    assert list(row.op.infer([type_of(a) for a in arrays])) == [type_of(a) for a in row.op.evaluate(arrays)]


@each_row
def test_operands_are_left_alone(row: Row) -> None:
    arrays = row.arrays()
    copies = [a.copy() for a in arrays]
    row.op.evaluate(arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", [row for row in ROWS if row.makers], ids=lambda row: row.id)
def test_float_type_of_operands_is_kept(row: Row, dtype: str) -> None:
    plain = row.op.evaluate(row.arrays("float64"))
    for found, exact in zip(row.op.evaluate(row.arrays(dtype)), plain, strict=True):
        assert found.dtype == (dtype if exact.dtype == "float64" else exact.dtype)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_fill_is_made_in_the_wider_float_type() -> None:
    """It has no operands to take a type from: whoever runs it casts it, which loses nothing twice."""
    (made,) = Fill(0.1, (2,)).evaluate([])
    assert made.dtype == "float64"
    np.testing.assert_array_equal(made.astype("float32"), np.full(2, 0.1, "float32"))


def torch_meaning() -> ModuleType:
    """The second implementation by torch, or a skipped test."""
    pytest.importorskip("torch", reason="torch is the second implementation here")
    return importlib.import_module(".torch_meaning", __package__)


def test_which_ops_torch_knows() -> None:
    assert {op.name for op in torch_meaning().MEANINGS} == IN_TORCH


@in_torch
def test_meaning_in_torch(row: Row) -> None:
    wanted = torch_meaning().results(row.op, row.arrays())
    for found, expected in zip(row.op.evaluate(row.arrays()), wanted, strict=False):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@in_torch
def test_gradient_in_torch(row: Row) -> None:
    if not row.smooth or row.op.name in WITHOUT_GRADIENT:
        return
    arrays = row.arrays()
    cotangent = np.asarray(rng(4).standard_normal(row.op.evaluate(arrays)[0].shape))
    wanted = torch_meaning().gradients(row.op, arrays, cotangent)
    for found, expected in zip(gradients(row.op, arrays, cotangent), wanted, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


# --- awkward cases ------------------------------------------------------------------------------------------------


def one(op: Op, *arrays: Array) -> Array:
    """The first result."""
    return op.evaluate(arrays)[0]


def maps(rows: object) -> Array:
    """One map of one channel."""
    return np.array(rows, "float64")[None, None]


def test_nan_comes_through_relu_and_maxpool() -> None:
    nan = float("nan")
    np.testing.assert_array_equal(one(Relu(), np.array([[nan, -1.0, 2.0]])), [[nan, 0.0, 2.0]])
    pooled, argmax = MaxPool(2).evaluate([maps([[1, nan, 4, 3], [nan, 2, 1, 9]])])
    np.testing.assert_array_equal(pooled, maps([[nan, 9]]))
    np.testing.assert_array_equal(argmax, [[[[1, 3]]]])


def test_of_equals_maxpool_takes_the_first() -> None:
    _, argmax = MaxPool(2, 1).evaluate([maps([[5, 5, 5], [5, 5, 7]])])
    np.testing.assert_array_equal(argmax, [[[[0, 3]]]])


def test_maxpool_of_minus_infinity_names_a_cell_of_the_map() -> None:
    input = np.full((1, 1, 3, 3), -np.inf)
    op = MaxPool(3, 2, 1)
    pooled, argmax = op.evaluate([input])
    assert np.all(np.isneginf(pooled))
    np.testing.assert_array_equal(argmax, [[[[4, 3], [1, 0]]]])
    (grad,) = gradients(op, [input], np.ones(pooled.shape))
    assert grad is not None
    assert grad.sum() == 4


def test_many_cells_need_a_wider_argmax() -> None:
    input = np.zeros((1, 1, 17, 17))
    input[..., 16, 16] = 1
    pooled, argmax = MaxPool(17).evaluate([input])
    assert argmax.dtype == "int32"
    assert (pooled.item(), argmax.item()) == (1, 288)
    assert MaxPool(16).evaluate([input[..., :16, :16]])[1].dtype == "uint8"


def test_averages_are_over_the_image_or_over_its_padding_too() -> None:
    ones = np.ones((1, 1, 6, 6))
    assert one(AvgPool(3, 2, 1, "up"), ones).min() == 1
    padded = one(AvgPool(3, 2, 1, "up", count_pad=True), ones)[0, 0]
    np.testing.assert_allclose(padded[0], [4 / 9, 6 / 9, 6 / 9, 2 / 6])
    np.testing.assert_allclose(padded[3], [2 / 6, 3 / 6, 3 / 6, 1 / 4])


def test_dropout_masks_are_a_function_of_seed_stream_and_step() -> None:
    ones = np.ones((40, 50))

    def mask(seed: int, step: int, stream: int, p: float = 0.5) -> Array:
        return one(Dropout(p, stream=stream), ones, np.array(seed), np.array(step))

    first = mask(1, 2, 3)
    np.testing.assert_array_equal(first, mask(1, 2, 3))
    for other in (mask(2, 2, 3), mask(1, 3, 3), mask(1, 2, 4), mask(1 + 2**32, 2, 3)):
        assert 0.4 < np.mean(first == other) < 0.6
    assert abs(mask(1, 2, 3, p=0.2).mean() - 0.8) < 0.05
    np.testing.assert_array_equal(mask(1, 2, 3, p=0.8) <= first, True)


@pytest.mark.parametrize(("scale", "kept"), [("test", 1.0), ("train", 4.0)])
def test_dropout_scales_and_its_gradient_draws_the_same_mask(scale: str, kept: float) -> None:
    op, ones = Dropout(0.75, scale, 9), np.ones((2, 3, 8, 8))
    scalars = [np.array(7), np.array(1)]
    out = one(op, ones, *scalars)
    assert set(np.unique(out)) == {0.0, kept}
    grad, *none = gradients(op, [ones, *scalars], ones)
    np.testing.assert_array_equal(grad, out)
    assert none == [None, None]


def test_inference_with_the_batch_statistics_is_batchnorm() -> None:
    row = next(row for row in ROWS if row.id == "batchnorm-map")
    arrays = row.arrays()
    out, mean, variance = row.op.evaluate(arrays)
    np.testing.assert_allclose(one(BatchNormInference(), *arrays, mean, variance), out, atol=1e-12)


def test_losses_of_scores_that_say_nothing() -> None:
    scores, label = np.zeros((3, 1000)), np.array([0, 5, 999])
    assert one(SoftmaxCrossEntropy(), scores, label) == pytest.approx(np.log(1000))
    assert one(Hinge(), scores, label) == 999


@pytest.mark.parametrize("op", [SoftmaxCrossEntropy(), Hinge()])
def test_nan_reaches_the_loss(op: Op) -> None:
    scores = rng().standard_normal((3, 4))
    scores[1, 2] = np.nan
    assert np.isnan(one(op, scores, np.array([0, 1, 2])))
