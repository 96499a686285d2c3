"""What NumPy allocates beside the arena stays within what the kernels declare, which is not absurdly much."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from alexnet_ir.backends.kernel import SMALL, Kernel
from alexnet_ir.backends.meaning import MEANING
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormGradInput,
    BatchNormGradWeight,
    BatchNormInference,
    ChannelSquares,
    RunningAverage,
)
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd, BiasGrad, Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import (
    Abs,
    AbsGrad,
    Add,
    Identity,
    LeakyRelu,
    LeakyReluGrad,
    Relu,
    ReluGrad,
    Scale,
    Sigmoid,
    SigmoidGrad,
    Tanh,
    TanhGrad,
)
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight
from alexnet_ir.ops.loss import (
    Hinge,
    HingeGrad,
    Maximum,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SoftmaxCrossEntropyShare,
)
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import (
    AvgPool,
    AvgPoolGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    L2Pool,
    L2PoolGrad,
    MaxPool,
    MaxPoolGrad,
)
from alexnet_ir.ops.shape import Concat, Copy, Fill, Flatten, Slice, Unflatten
from alexnet_ir.ops.table import OPS
from alexnet_ir.ops.update import Adam, Sgd

from .running import FLOAT, KERNEL_OF, run, types_of

MAPS, HALF = (8, 16, 30, 30), (8, 16, 15, 15)
CELLS = {"input_size": (30, 30)}


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(FLOAT)


def positive(*shape: int) -> Array:
    return 0.5 + np.abs(normal(*shape))


def labels(count: int, classes: int) -> Array:
    return (np.arange(count) % classes).astype("i4")


SCALARS = [np.array(x, FLOAT) for x in (0.1, 0.9, 5e-4, 2.0, 0.5)]
ADAM = [np.array(x, FLOAT) for x in (4.0, 0.01, 0.9, 0.999, 1e-8, 5e-3, 2.0, 0.5)]
UNARY: list[Op] = [Identity(), Relu(), LeakyRelu(), Tanh(), Sigmoid(), Abs(), Scale(0.5), Flatten(), Slice(2, 9)]
BINARY: list[Op] = [
    Add(), Maximum(), ReluGrad(), LeakyReluGrad(), TanhGrad(), SigmoidGrad(), AbsGrad(), Concat(),
    LrnGrad(5, 2, 0.1, 0.75), LocalNormGrad(3, 2, 0.1, 0.75), LrnGrad(3, 2, 0.1, 0.6),
]  # fmt: skip
SCORES = normal(256, 500)
CASES_OF_PARTS: list[tuple[Op, list[Array]]] = [
    (
        Fused("", (Part(Conv(pad=1), (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,)),
        [normal(*MAPS), normal(24, 16, 3, 3), normal(24)],
    ),
    (
        Fused("lrn_maxpool", (Part(Lrn(5, 2, 0.1, 0.75), (0,)), Part(MaxPool(3, 2, 1, "up"), (1,))), (2,)),
        [normal(*MAPS)],
    ),
]
CASES: list[tuple[Op, list[Array]]] = [
    *((op, [normal(*MAPS)]) for op in UNARY),
    *((op, [normal(*MAPS), normal(*MAPS)]) for op in BINARY),
    *((op, [normal(*MAPS)]) for op in (Lrn(5, 2, 0.1, 0.75), LocalNorm(3, 2, 0.1, 0.5), GlobalAvgPool(), BiasGrad())),
    (Unflatten((16, 30, 30)), [normal(8, 14400)]),
    (Fill(1.0, MAPS), []),
    (BiasGrad(False), [normal(*MAPS)]),
    (BiasAdd(), [normal(*MAPS), normal(16)]),
    (BiasAdd(), [normal(*MAPS), normal(*MAPS[1:])]),
    (Dropout(0.5, "train"), [normal(*MAPS), np.array(5, "i8"), np.array(2, "i4")]),
    (Dropout(0.5, start=40, period=20000), [normal(*MAPS), np.array(5, "i8"), np.array(2, "i4")]),
    *(
        (op, [normal(8, 16, 30, 30), normal(24, 16 // op.groups, 3, 3)])
        for op in (Conv(pad=1), Conv(), Conv(pad=1, groups=2), Conv(2, 1, round="down"))
    ),
    (Conv(), [normal(*MAPS), normal(24, 16, 1, 1)]),
    (Conv(pad=1), [normal(8, 2, 30, 30), normal(24, 2, 3, 3)]),
    (Conv(pad=1), [normal(8, 48, 30, 30), normal(2, 48, 3, 3)]),
    (Conv(4, 5, groups=2, round="down"), [normal(8, 6, 64, 64), normal(32, 3, 11, 11)]),
    (ConvGradInput(pad=1, **CELLS), [normal(8, 2, 30, 30), normal(2, 24, 3, 3)]),
    (ConvGradWeight(pad=1, size=(3, 3)), [normal(8, 24, 30, 30), normal(8, 2, 30, 30)]),
    (ConvGradWeight(pad=1, size=(3, 3)), [normal(1, 128, 9, 9), normal(1, 128, 9, 9)]),
    (ConvGradInput(pad=1, **CELLS), [normal(8, 24, 30, 30), normal(24, 16, 3, 3)]),
    (ConvGradWeight(pad=1, size=(3, 3)), [normal(8, 24, 30, 30), normal(*MAPS)]),
    (Local(pad=1), [normal(8, 4, 16, 16), normal(6, 4, 3, 3, 16, 16)]),
    (LocalGradInput(pad=1, input_size=(16, 16)), [normal(8, 6, 16, 16), normal(6, 4, 3, 3, 16, 16)]),
    (LocalGradWeight(pad=1, size=(3, 3)), [normal(8, 6, 16, 16), normal(8, 4, 16, 16)]),
    (Fc(), [normal(64, 1000), normal(300, 1000)]),
    (FcGradInput(), [normal(64, 300), normal(300, 1000)]),
    (FcGradWeight(), [normal(64, 300), normal(64, 1000)]),
    (MaxPool(2), [normal(*MAPS)]),
    (MaxPool(3, 2, 1, "up"), [normal(*MAPS)]),
    (MaxPoolGrad(2, **CELLS), [normal(*HALF), np.ones(HALF, "u1")]),
    (AvgPool(2), [normal(*MAPS)]),
    (AvgPool(3, 2, 1, "up", True), [normal(*MAPS)]),
    (AvgPoolGrad(2, **CELLS), [normal(*HALF)]),
    (L2Pool(2), [normal(*MAPS)]),
    (L2PoolGrad(2, **CELLS), [normal(*HALF), normal(*MAPS), positive(*HALF)]),
    (GlobalAvgPoolGrad((30, 30)), [normal(8, 16)]),
    (BatchNorm(), [normal(*MAPS), normal(16), normal(16)]),
    (BatchNormGrad(), [normal(*MAPS), normal(*MAPS), normal(16), normal(16), positive(16)]),
    (BatchNormInference(), [normal(*MAPS), normal(16), normal(16), normal(16), positive(16)]),
    (RunningAverage(), [normal(50000), normal(50000)]),
    (ChannelSquares(), [normal(*MAPS), normal(16)]),
    (BatchNormGradWeight(), [normal(*MAPS), normal(*MAPS), normal(16), positive(16)]),
    (
        BatchNormGradInput(7200),
        [normal(*MAPS), normal(*MAPS), normal(16), normal(16), positive(16), normal(16), normal(16)],
    ),
    (SoftmaxCrossEntropy(), [SCORES, labels(256, 500)]),
    (SoftmaxCrossEntropyGrad(), [np.array(1, FLOAT), positive(256, 500), labels(256, 500)]),
    (Hinge(), [SCORES, labels(256, 500)]),
    (HingeGrad(), [np.array(1, FLOAT), SCORES]),
    (RowMax(), [SCORES]),
    (RowExpSum(), [SCORES, normal(256)]),
    (SoftmaxCrossEntropyShare(0), [SCORES, labels(256, 500), normal(256), positive(256)]),
    *CASES_OF_PARTS,
    (Sgd(), [normal(90000), normal(90000), normal(90000), *SCALARS]),
    (Adam(), [normal(90000), normal(90000), positive(90000), normal(90000), *ADAM]),
]
NAMES = [f"{number}-{op.name}" for number, (op, _) in enumerate(CASES)]
EACH = pytest.mark.parametrize(("op", "operands"), CASES, ids=NAMES)


def beside(op: Op, operands: list[Array], kernel: Kernel) -> tuple[int, int]:
    """The peak of what is allocated while a kernel runs, and what it declares."""
    types, results = types_of(op, operands)
    peaks: list[int] = []

    def measured(work: Callable[[], None]) -> None:
        work()
        tracemalloc.start()
        work()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    run(op, operands, kernel=kernel, around=measured)
    return peaks[0], kernel.temporary(op, types, results)


@EACH
def test_kernels_declare_what_they_allocate(op: Op, operands: list[Array]) -> None:
    peak, declared = beside(op, operands, KERNEL_OF(op))
    assert peak <= declared <= 3 * peak + SMALL


@EACH
def test_meanings_declare_what_they_allocate(op: Op, operands: list[Array]) -> None:
    peak, declared = beside(op, operands, MEANING)
    assert peak <= declared <= 4 * peak + SMALL


def test_each_op_is_measured() -> None:
    """But for those that cross devices."""
    assert set(OPS) - {op.name for op, _ in CASES} == {Copy.name, "reshard"}
