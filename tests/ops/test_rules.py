"""Type rules: what each refuses, with code, message and the argument to blame; and that what they accept runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.ir.op import Op, TypeRuleError
from alexnet_ir.ir.types import REPLICATED, SCALAR, ErrorType, On, Partial, Placement, Split, TensorType, f32
from alexnet_ir.ops.batchnorm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormGradInput,
    BatchNormGradWeight,
    ChannelSquares,
    RunningAverage,
)
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd, BiasGrad, Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, Relu, ReluGrad
from alexnet_ir.ops.local import Local, LocalGradInput
from alexnet_ir.ops.loss import (
    Hinge,
    Maximum,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SoftmaxCrossEntropyShare,
)
from alexnet_ir.ops.normalize import LocalNorm, Lrn, LrnGrad
from alexnet_ir.ops.pool import AvgPool, GlobalAvgPool, L2PoolGrad, MaxPool, MaxPoolGrad
from alexnet_ir.ops.shape import Concat, Flatten, Slice, Unflatten
from alexnet_ir.ops.update import Adam, Sgd

from .helpers import type_of
from .op_table import ROWS, Row

LABELS = TensorType("i32", (2,))
VECTOR, MAP = f32(2, 12), f32(2, 3, 2, 2)
PAPER = (5, 2, 1e-4, 0.75)

REFUSALS: list[tuple[Op, Sequence[TensorType], str, str | None, str]] = [
    # op, operands, code, argument, a part of the message
    (Relu(), [], "S001", None, "`relu` takes 1 operands, found 0"),
    (Add(), [MAP, MAP, MAP], "S001", None, "`add` takes 2 operands, found 3"),
    (Concat(), [], "S001", None, "`concat` takes 1 or more operands, found 0"),
    (Conv(), [VECTOR, f32(4, 3, 1, 1)], "S002", None, "`conv` wants a map of channels x rows x columns"),
    (Local(), [VECTOR, f32(4, 3, 1, 1, 2, 2)], "S002", None, "`local` wants a map"),
    (MaxPool(2), [VECTOR], "S002", None, "`maxpool` wants a map"),
    (GlobalAvgPool(), [VECTOR], "S002", None, "`global_avgpool` wants a map"),
    (Lrn(*PAPER), [VECTOR], "S002", None, "`lrn` wants a map"),
    (LocalNorm(*PAPER), [VECTOR], "S002", None, "`local_norm` wants a map"),
    (Fc(), [MAP, f32(4, 12)], "S003", None, "`fc` wants a vector"),
    (SoftmaxCrossEntropy(), [MAP, LABELS], "S003", None, "`softmax_cross_entropy` wants a vector"),
    (Hinge(), [MAP, LABELS], "S003", None, "`hinge` wants a vector"),
    (Conv(groups=2), [MAP, f32(4, 1, 1, 1)], "S010", "groups", "`conv`: 2 groups do not divide 3 channels"),
    (Conv(groups=3), [MAP, f32(4, 1, 1, 1)], "S010", "groups", "`conv`: 3 groups do not divide 4 kernels"),
    (Local(groups=2), [MAP, f32(4, 1, 1, 1, 2, 2)], "S010", "groups", "`local`: 2 groups do not divide 3 channels"),
    (Local(groups=3), [MAP, f32(4, 1, 1, 1, 2, 2)], "S010", "groups", "`local`: 3 groups do not divide 4 kernels"),
    (Lrn(*PAPER, groups=2), [MAP], "S010", "groups", "`lrn`: 2 groups do not divide 3 channels"),
    (Conv(), [MAP, f32(4, 3, 3, 2)], "S012", "size", "a window of 3 rows is larger than its input of 2"),
    (AvgPool(3), [MAP], "S012", "size", "a window of 3 rows is larger than its input of 2"),
    (MaxPool((1, 3)), [MAP], "S012", "size", "a window of 3 columns is larger than its input of 2"),
    (MaxPool(2, 1, 2), [MAP], "S013", "pad", "`maxpool`: a window of 2 x 2 would lie wholly in its padding"),
    (AvgPool((2, 1), 1, ((0, 0), (1, 0))), [MAP], "S013", "pad", "`avgpool`: a window of 2 x 1 would lie wholly"),
    (MaxPool(3, 2), [f32(1, 1, 6, 6)], "S014", "stride", "(6 - 3 + 0 + 0)/2 + 1 = 2.5 is not a whole number"),
    (Conv(stride=(1, 2)), [MAP, f32(4, 3, 1, 1)], "S014", "stride", "(2 - 1 + 0 + 0)/2 + 1 = 1.5"),
    (Add(), [MAP, f32(2, 4, 2, 2)], "S016", None, "`add` wants two values of one shape, found 3 x 2 x 2 and 4 x 2 x 2"),
    (Concat(), [MAP, MAP, f32(2, 3, 3, 2)], "S017", None, "value 1 is 3 x 2 x 2, value 3 is 3 x 3 x 2"),
    (Concat(), [MAP, VECTOR], "S017", None, "value 1 is 3 x 2 x 2, value 2 is 12"),
    (Concat(), [VECTOR, f32(3, 12)], "S017", None, "`concat` joins channels"),
    (Concat(), [VECTOR, f32(2)], "S017", None, "`concat` joins channels"),
    (BatchNorm(), [f32(1, 3), f32(3), f32(3)], "S018", None, "`batchnorm` needs two values of each channel"),
    # What only a pass can get wrong.
    (Conv(), [MAP, f32(4, 2, 1, 1)], "S004", None, "`conv`: kernels over 2 channels, not 3"),
    (Conv(), [MAP, f32(4, 3)], "S004", None, "`conv`: a weight of f32[4, 3] has the wrong number of axes"),
    (ConvGradInput(input_size=2), [f32(2, 4, 2, 1), f32(4, 3, 1, 1)], "S004", None, "expected a gradient of shape"),
    (ConvGradWeight(size=1), [f32(1, 4, 2, 2), MAP], "S004", None, "expected a gradient of shape (2, 4, 2, 2)"),
    (Local(), [MAP, f32(4, 3, 1, 1, 2, 1)], "S004", None, "`local`: weights of shape (4, 3, 1, 1, 2, 1) do not fit"),
    (LocalGradInput(input_size=2), [f32(2, 4, 2, 2), f32(4, 3, 1, 1, 2, 1)], "S004", None, "expected a weight"),
    (Fc(), [VECTOR, f32(4, 11)], "S004", None, "`fc`: weights over 11 inputs, not 12"),
    (FcGradInput(), [f32(2, 3), f32(4, 12)], "S004", None, "expected a gradient of shape (2, 4)"),
    (FcGradWeight(), [f32(3, 4), VECTOR], "S004", None, "expected an input of shape (3, 12)"),
    (BiasAdd(), [MAP, f32(2)], "S004", None, "`bias_add`: a bias of shape (2,) does not fit"),
    (BiasGrad(), [f32(2)], "S004", None, "wrong number of axes"),
    (ReluGrad(), [MAP, VECTOR], "S004", None, "`relu_grad`: f32[2, 3, 2, 2] and f32[2, 12] differ in shape"),
    (LrnGrad(*PAPER), [f32(2, 3, 2, 1), MAP], "S004", None, "expected a gradient of shape (2, 3, 2, 2)"),
    (MaxPoolGrad(2, input_size=4), [MAP, f32(2, 3, 2, 1)], "S004", None, "expected argmax of shape (2, 3, 2, 2)"),
    (L2PoolGrad(2, input_size=4), [MAP, MAP, MAP], "S004", None, "expected input of shape (2, 3, 4, 4)"),
    (BatchNorm(), [MAP, f32(3), f32(2)], "S004", None, "expected a number for each channel of shape (3,)"),
    (BatchNormGrad(), [VECTOR, MAP, *[f32(3)] * 3], "S004", None, "expected a gradient of shape (2, 3, 2, 2)"),
    (RunningAverage(), [f32(3), f32(2)], "S004", None, "expected a batch's statistic of shape (3,)"),
    (Dropout(0.5), [MAP, LABELS, SCALAR], "S004", None, "expected a seed of shape ()"),
    (Dropout(0.5, period=8), [SCALAR, SCALAR, SCALAR], "S004", None, "`dropout`: a share of f32[] has the wrong"),
    (Flatten(), [SCALAR], "S004", None, "wrong number of axes"),
    (Unflatten((3, 2)), [VECTOR], "S004", None, "f32[2, 12] does not hold (3, 2)"),
    (Slice(2, 4), [MAP], "S004", None, "has no 2 to 4"),
    (Slice(2, 2), [MAP], "S004", None, "has no 2 to 2"),
    (Hinge(), [VECTOR, TensorType("i32", (3,))], "S004", None, "expected labels of shape (2,), found (3,)"),
    (Hinge(), [VECTOR, f32(2)], "S004", None, "expected labels of type i32, found f32"),
    (SoftmaxCrossEntropyGrad(), [f32(2), VECTOR, LABELS], "S004", None, "expected a gradient of shape ()"),
    (RowMax(), [MAP], "S003", None, "`row_max` wants a vector"),
    (Maximum(), [VECTOR, MAP], "S004", None, "`maximum`: expected a value of shape (2, 12)"),
    (RowExpSum(), [VECTOR, f32(12)], "S004", None, "expected a number for each row of shape (2,)"),
    (SoftmaxCrossEntropyShare(0), [VECTOR, LABELS, f32(2), f32(3)], "S004", None, "expected sum of shape (2,)"),
    (SoftmaxCrossEntropyShare(0), [VECTOR, *[f32(2)] * 3], "S004", None, "expected labels of type i32, found f32"),
    (ChannelSquares(), [MAP, f32(2)], "S004", None, "expected a number for each channel of shape (3,)"),
    (BatchNormGradWeight(), [VECTOR, MAP, f32(3), f32(3)], "S004", None, "expected a gradient of shape (2, 3, 2, 2)"),
    (BatchNormGradInput(4), [MAP, MAP, *[f32(3)] * 4, f32(2)], "S004", None, "expected a number for each channel"),
    (Sgd(), [MAP, MAP, VECTOR, *[SCALAR] * 5], "S004", None, "expected gradient of shape (2, 3, 2, 2)"),
    (Adam(), [MAP, MAP, MAP, MAP, *[SCALAR] * 7, f32(1)], "S004", None, "expected decay_mult of shape ()"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "operands", "code", "argument", "message"), REFUSALS, ids=lambda x: x.name if isinstance(x, Op) else ""
)
def test_refusals(op: Op, operands: Sequence[TensorType], code: str, argument: str | None, message: str) -> None:
    with pytest.raises(TypeRuleError) as caught:
        op.infer(operands)
    assert (caught.value.code, caught.value.argument) == (code, argument)
    assert message in caught.value.message


def test_refusals_say_how_to_mend_what_users_get_wrong() -> None:
    """All but what only a pass can get wrong (S001, S004), and what the message says in full (S002)."""
    for op, operands, code, *_ in REFUSALS:
        if code not in ("S001", "S002", "S004"):
            with pytest.raises(TypeRuleError) as caught:
                op.infer(operands)
            assert caught.value.helps, caught.value.message


@pytest.mark.parametrize(
    ("groups", "label", "help_"),
    [
        (2, "3 / 2 = 1.5", "2 or 4 channels would do, or another number of groups"),
        (5, "3 / 5 = 0.6", "5 channels would do, or another number of groups"),
    ],
)
def test_groups_that_do_not_divide(groups: int, label: str, help_: str) -> None:
    with pytest.raises(TypeRuleError) as caught:
        Conv(groups=groups).infer([MAP, f32(10, 1, 1, 1)])
    assert (caught.value.label, caught.value.helps) == (label, (help_,))


def test_a_map_where_a_vector_is_wanted_says_what_is_there() -> None:
    with pytest.raises(TypeRuleError) as caught:
        Fc().infer([f32(128, 256, 6, 6), f32(10, 9216)])
    assert caught.value.label == "the input here is a map of 256 x 6 x 6"
    assert "flatten" in caught.value.helps[0]


@pytest.mark.parametrize("placement", [Split(1), Partial(), On(1)])
def test_one_device_has_everything_replicated(placement: Placement) -> None:
    with pytest.raises(TypeRuleError, match=r"`add` on 1 devices cannot take replicated left, \S+ right") as caught:
        Add().infer([MAP, TensorType("f32", MAP.shape, placement)])
    assert caught.value.code == "S030"


@pytest.mark.parametrize("row", [row for row in ROWS if row.makers][::7], ids=lambda row: row.id)
def test_an_operand_in_error_is_silent(row: Row) -> None:
    types: list[TensorType | ErrorType] = [type_of(a) for a in row.arrays()]
    assert row.op.infer([*types[:-1], ErrorType()]) == tuple(ErrorType() for _ in row.op.results)


dims = st.integers(1, 4)
shapes = st.one_of(
    st.lists(dims, max_size=6).map(tuple),
    st.tuples(st.just(2), dims),
    st.tuples(st.just(2), dims, dims, dims),
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(ROWS), st.data())
def test_a_rule_accepts_only_what_runs(row: Row, data: st.DataObject) -> None:
    """Operands of random shapes, or almost those of the row: refused, or computed to the shapes promised."""
    arrays = row.arrays()
    for i, array in enumerate(arrays):
        if data.draw(st.integers(0, 2)) == 0:
            shape = data.draw(st.just(array.shape) | st.permutations(array.shape).map(tuple) | shapes)
            arrays[i] = np.ones(shape, array.dtype) if array.dtype == "float64" else np.zeros(shape, array.dtype)
    try:
        types = row.op.infer([type_of(a) for a in arrays])
    except TypeRuleError:
        return
    with np.errstate(all="ignore"):  # squares of ones less ones, and the like
        results = row.op.evaluate(arrays)
    assert list(types) == [type_of(a) for a in results]


def test_results_are_replicated() -> None:
    for row in ROWS:
        types = row.op.infer([type_of(a) for a in row.arrays()])
        assert all(isinstance(t, TensorType) and t.placement == REPLICATED for t in types)
