"""The op test table: every op with operands to try it on, awkward ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from alexnet_ir.ops.placing import Reshard
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
from alexnet_ir.ops.update import Adam, Sgd

from .helpers import Maker, away, distinct, fixed, normal, positive, rng, whole

CROSSING: set[type[Op]] = {Copy, Reshard}
"""What only makes sense on several devices; its tests are those of the partition."""


@dataclass(frozen=True)
class Row:
    """An op and what to try it on. `smooth` rows have no kink or tie near their operands."""

    what: str
    op: Op
    makers: Sequence[Maker]
    smooth: bool = True

    @property
    def id(self) -> str:
        """What pytest calls it."""
        return f"{self.op.name}-{self.what}"

    def arrays(self, dtype: str = "float64") -> list[Array]:
        """The operands, floats of this type; the same numbers every time."""
        random = rng(sum(self.id.encode()))
        made = [maker(random) for maker in self.makers]
        return [a.astype(dtype) if a.dtype == "float64" else a for a in made]


def _convolutions() -> list[Row]:
    """Convolutions and untied ones, with both gradients, over one list of geometries:
    what, stride, pad, groups, dilation, round, input, kernels, size, output."""
    geometries = [
        ("plain", 1, 0, 1, 1, "exact", (2, 3, 5, 5), 4, (3, 3), (3, 3)),
        ("stride", 2, 1, 1, 1, "exact", (2, 2, 5, 5), 2, (3, 3), (3, 3)),
        ("remainder-dropped", 3, 0, 1, 1, "down", (1, 2, 7, 6), 2, (3, 2), (2, 2)),
        ("over-the-edge", 2, 0, 1, 1, "up", (2, 2, 6, 6), 2, (3, 3), (3, 3)),
        ("over-the-edge-padded", 3, ((0, 1), (1, 0)), 1, 1, "up", (1, 2, 6, 7), 2, (3, 3), (2, 3)),
        ("last-window-dropped", 3, 0, 1, 1, "up", (1, 1, 5, 5), 1, (1, 1), (2, 2)),
        ("uneven-pads", 1, ((0, 2), (1, 0)), 1, 1, "exact", (1, 2, 4, 4), 2, (3, 2), (4, 4)),
        ("dilated", 1, 2, 1, (2, 1), "exact", (2, 2, 5, 4), 2, (3, 3), (5, 6)),
        ("grouped", 1, 1, 2, 1, "exact", (2, 4, 3, 3), 6, (3, 3), (3, 3)),
        ("depthwise", (1, 2), 0, 3, 1, "exact", (2, 3, 3, 5), 3, (2, 3), (2, 2)),
        ("one-by-one", 1, 0, 1, 1, "exact", (2, 3, 4, 3), 2, (1, 1), (4, 3)),
        ("one-cell", 1, 0, 1, 1, "exact", (1, 1, 1, 1), 1, (1, 1), (1, 1)),
        ("all-of-it", 2, 0, 1, 1, "exact", (1, 2, 4, 3), 3, (4, 3), (1, 1)),
        ("alexnet-conv1", 4, (0, 3), 1, 1, "exact", (1, 1, 12, 12), 2, (11, 11), (2, 2)),
    ]
    rows = []
    for what, stride, pad, groups, dilation, round_, input, kernels, size, output in geometries:
        attributes = (stride, pad, groups, dilation, round_)
        tied = (kernels, input[1] // groups, *size)
        grad = normal(input[0], kernels, *output)
        maps = input[2:]
        rows += [
            Row(what, Conv(*attributes), [normal(*input), normal(*tied)]),
            Row(what, ConvGradInput(*attributes, input_size=maps), [grad, normal(*tied)]),
            Row(what, ConvGradWeight(*attributes, size=size), [grad, normal(*input)]),
            Row(what, Local(*attributes), [normal(*input), normal(*tied, *output)]),
            Row(what, LocalGradInput(*attributes, input_size=maps), [grad, normal(*tied, *output)]),
            Row(what, LocalGradWeight(*attributes, size=size), [grad, normal(*input)]),
        ]
    return rows


def _poolings() -> list[Row]:
    """All poolings over one list of geometries: what, size, stride, pad, round, input, output."""
    geometries = [
        ("overlapping", 3, 2, 0, "exact", (2, 2, 5, 5), (2, 2)),
        ("even", 2, None, 0, "exact", (1, 2, 4, 6), (2, 3)),
        ("remainder-dropped", 3, 2, 0, "down", (1, 1, 6, 6), (2, 2)),
        ("over-the-edge", 3, 2, 0, "up", (2, 1, 6, 6), (3, 3)),
        ("over-the-edge-padded", 3, 2, 1, "up", (1, 2, 6, 8), (4, 5)),
        ("last-window-dropped", 2, 3, 1, "up", (1, 1, 5, 4), (2, 2)),
        ("padded", 3, 1, 1, "exact", (2, 2, 4, 3), (4, 3)),
        ("uneven-pads", (3, 2), (2, 1), ((0, 2), (1, 0)), "exact", (1, 2, 5, 4), (3, 4)),
        ("not-square", (1, 3), (1, 2), 0, "exact", (1, 1, 3, 5), (3, 2)),
        ("one-cell", 1, 1, 0, "exact", (1, 1, 1, 1), (1, 1)),
        ("gaps", 2, 3, 0, "exact", (1, 2, 5, 8), (2, 3)),
    ]
    rows = []
    for what, size, stride, pad, round_, input, output in geometries:
        attributes = (size, stride, pad, round_)
        maps, grad = input[2:], normal(*input[:2], *output)
        cells = MaxPool(*attributes).size
        rows += [
            Row(what, MaxPool(*attributes), [distinct(*input)]),
            Row(
                what,
                MaxPoolGrad(*attributes, input_size=maps),
                [grad, whole(cells[0] * cells[1], *input[:2], *output, dtype="uint8")],
            ),
            Row(what, L2Pool(*attributes), [away(*input)]),
            Row(
                what,
                L2PoolGrad(*attributes, input_size=maps),
                [grad, normal(*input), positive(*input[:2], *output)],
            ),
        ]
        for counted in (False, True):
            label = f"{what}-counted" if counted else what
            rows += [
                Row(label, AvgPool(*attributes, counted), [normal(*input)]),
                Row(label, AvgPoolGrad(*attributes, count_pad=counted, input_size=maps), [grad]),
            ]
    return rows


def _elementwise() -> list[Row]:
    unary: list[Op] = [Identity(), Relu(), LeakyRelu(), LeakyRelu(0.2), Tanh(), Sigmoid(), Abs(), Scale(-0.75)]
    binary: list[Op] = [ReluGrad(), LeakyReluGrad(), LeakyReluGrad(0.2), TanhGrad(), SigmoidGrad(), AbsGrad()]
    special = fixed([[float("nan"), float("inf"), -float("inf"), 0.0, -0.0]])
    zeros = fixed([[0.0, -0.0, 1.0, -1.0]])
    rows = [Row(f"{what}-{op}", op, [away(*shape)]) for op in unary for what, shape in _SHAPES.items()]
    rows += [Row(f"{what}-{op}", op, [normal(*s), away(*s)]) for op in binary for what, s in _SHAPES.items()]
    rows += [Row(f"special-{op}", op, [special], smooth=False) for op in (Identity(), Relu(), LeakyRelu(), Abs())]
    rows += [Row("large", op, [fixed([[-800.0, 800.0, 40.0]])], smooth=False) for op in (Tanh(), Sigmoid())]
    rows += [Row(f"at-zero-{op}", op, [normal(1, 4), zeros], smooth=False) for op in binary]
    return [*rows, Row("map", Add(), [normal(2, 3, 2, 2), normal(2, 3, 2, 2)])]


_SHAPES = {"map": (2, 3, 2, 2), "vector": (1, 5)}


def _normalizations() -> list[Row]:
    rows = []
    for what, shape, n, k, alpha, beta, groups in [
        ("paper", (2, 8, 2, 2), 5, 2, 0.5, 0.75, 2),
        ("one-tower", (1, 7, 2, 1), 3, 1, 0.3, 0.5, 1),
        ("wider-than-the-maps", (1, 4, 2, 2), 9, 2, 0.2, 0.75, 1),
        ("wider-than-a-group", (2, 6, 1, 2), 7, 1, 0.2, 1.0, 3),
        ("one-map", (2, 1, 2, 2), 5, 2, 1e-4, 0.75, 1),
        ("itself-only", (1, 3, 2, 2), 1, 1, 1.0, 0.75, 1),
    ]:
        rows += [
            Row(what, Lrn(n, k, alpha, beta, groups), [normal(*shape)]),
            Row(what, LrnGrad(n, k, alpha, beta, groups), [normal(*shape), normal(*shape)]),
        ]
    for what, shape, size in [("window", (2, 2, 4, 5), 3), ("wider-than-the-map", (1, 2, 3, 2), 5)]:
        rows += [
            Row(what, LocalNorm(size, 1, 0.3, 0.75), [normal(*shape)]),
            Row(what, LocalNormGrad(size, 1, 0.3, 0.75), [normal(*shape), normal(*shape)]),
        ]
    for what, shape in [("map", (2, 3, 2, 3)), ("vector", (5, 2)), ("one-image", (1, 2, 3, 1))]:
        c = shape[1]
        rows += [
            Row(what, BatchNorm(), [normal(*shape), normal(c), normal(c)]),
            Row(what, BatchNorm(0.1), [normal(*shape), normal(c), normal(c)]),
            Row(what, BatchNormGrad(), [normal(*shape), normal(*shape), normal(c), normal(c), positive(c)]),
            Row(what, BatchNormInference(), [normal(*shape), normal(c), normal(c), normal(c), positive(c)]),
            Row(what, ChannelSquares(), [normal(*shape), normal(c)]),
            Row(what, BatchNormGradWeight(0.1), [normal(*shape), normal(*shape), normal(c), positive(c)]),
            Row(
                what,
                BatchNormGradInput(24, 0.1),
                [normal(*shape), normal(*shape), normal(c), normal(c), positive(c), normal(c), normal(c)],
            ),
        ]
    rows += [
        Row("plain", RunningAverage(), [normal(4), normal(4)]),
        Row("unbiased", RunningAverage(0.25, 8 / 7), [normal(4), normal(4)]),
    ]
    return rows


def _dense() -> list[Row]:
    rows = []
    for what, n, c, units in [("plain", 3, 5, 4), ("one", 1, 1, 1), ("one-image", 1, 6, 2)]:
        rows += [
            Row(what, Fc(), [normal(n, c), normal(units, c)]),
            Row(what, FcGradInput(), [normal(n, units), normal(units, c)]),
            Row(what, FcGradWeight(), [normal(n, units), normal(n, c)]),
        ]
    return [
        *rows,
        Row("map", BiasAdd(), [normal(2, 3, 2, 2), normal(3)]),
        Row("vector", BiasAdd(), [normal(2, 3), normal(3)]),
        Row("position", BiasAdd(), [normal(2, 3, 2, 2), normal(3, 2, 2)]),
        Row("map", BiasGrad(), [normal(2, 3, 2, 2)]),
        Row("vector", BiasGrad(), [normal(2, 3)]),
        Row("position", BiasGrad(False), [normal(2, 3, 2, 2)]),
    ]


def _the_rest() -> list[Row]:
    seed, step = fixed(2**40 + 5, "int64"), fixed(3, "int32")
    scalars = [fixed(x) for x in (0.1, 0.9, 5e-4, 2.0, 0.5)]
    adam = [fixed(x) for x in (4.0, 0.01, 0.9, 0.999, 1e-8, 5e-3, 2.0, 0.5)]
    return [
        Row("map", GlobalAvgPool(), [normal(2, 3, 3, 2)]),
        Row("one-cell", GlobalAvgPool(), [normal(1, 2, 1, 1)]),
        Row("map", GlobalAvgPoolGrad((3, 2)), [normal(2, 3)]),
        Row("test", Dropout(0.5, stream=3), [normal(3, 7), seed, step]),
        Row("train", Dropout(0.3, "train", 1), [normal(2, 2, 3, 3), seed, step]),
        Row("never", Dropout(0), [normal(2, 3), seed, step]),
        Row("later-images", Dropout(0.5, start=42), [normal(2, 7), seed, step]),
        Row("later-channels", Dropout(0.4, "train", 2, start=8, period=24), [normal(3, 2, 2, 2), seed, step]),
        Row("map", Flatten(), [normal(2, 3, 2, 2)]),
        Row("vector", Flatten(), [normal(2, 3)]),
        Row("map", Unflatten((3, 2, 2)), [normal(2, 12)]),
        Row("vector", Unflatten((3,)), [normal(2, 3)]),
        Row("maps", Concat(), [normal(2, 1, 2, 2), normal(2, 3, 2, 2), normal(2, 2, 2, 2)]),
        Row("vectors", Concat(), [normal(2, 1), normal(2, 3)]),
        Row("one", Concat(), [normal(2, 3)]),
        Row("images", Concat(0), [normal(2, 3), normal(1, 3)]),
        Row("numbers", Concat(0), [normal(2), normal(3)]),
        Row("rows", Concat(2), [normal(2, 3, 1, 2), normal(2, 3, 2, 2)]),
        Row("map", Slice(1, 3), [normal(2, 4, 2, 2)]),
        Row("images", Slice(1, 3, 0), [normal(4, 2, 2, 2)]),
        Row("columns", Slice(0, 2, 3), [normal(1, 2, 2, 3)]),
        Row("vector", Slice(0, 1), [normal(2, 3)]),
        Row("scalar", Fill(1.0), []),
        Row("tensor", Fill(-0.5, (2, 3)), []),
        Row("plain", SoftmaxCrossEntropy(), [normal(4, 5), whole(5, 4)]),
        Row("large", SoftmaxCrossEntropy(), [fixed([[900.0, -900.0, 899.0]]), fixed([2], "int32")], smooth=False),
        Row("plain", SoftmaxCrossEntropyGrad(), [normal(), positive(4, 5), whole(5, 4)]),
        Row("share", SoftmaxCrossEntropy(12), [normal(4, 5), whole(5, 4)]),
        Row("images", SoftmaxCrossEntropyGrad(12), [normal(), positive(4, 5), whole(5, 4)]),
        Row("classes", SoftmaxCrossEntropyGrad(first=3), [normal(), positive(6, 3), whole(9, 6)]),
        Row("plain", RowMax(), [normal(4, 5)]),
        Row("special", RowMax(), [fixed([[0.0, float("nan")], [float("-inf"), -2.0]])], smooth=False),
        Row("plain", Maximum(), [normal(7), normal(7)]),
        Row("special", Maximum(), [fixed([1.0, float("nan"), 0.0]), fixed([float("nan"), 2.0, 0.0])], smooth=False),
        Row("plain", RowExpSum(), [normal(4, 5), normal(4)]),
        Row("first", SoftmaxCrossEntropyShare(0), [normal(6, 3), whole(9, 6), normal(6), positive(6)]),
        Row("later", SoftmaxCrossEntropyShare(6), [normal(6, 3), whole(9, 6), normal(6), positive(6)]),
        Row("plain", Hinge(), [normal(4, 5), whole(5, 4)]),
        Row("share", Hinge(12), [normal(4, 5), whole(5, 4)]),
        Row("share", HingeGrad(12), [normal(), normal(4, 5)]),
        Row("one-class", Hinge(), [normal(2, 1), whole(1, 2)]),
        Row("plain", HingeGrad(), [normal(), normal(4, 5)]),
        Row("plain", Sgd(), [normal(2, 3), normal(2, 3), normal(2, 3), *scalars]),
        Row("plain", Adam(), [normal(2, 3), normal(2, 3), positive(2, 3), normal(2, 3), *adam]),
    ]


def _fused() -> list[Row]:
    """A chain, results of several parts with one hidden, and parts that stand side by side."""
    convolved = Fused("conv_bias_relu", (Part(Conv(2, 1), (0, 1)), Part(BiasAdd(), (3, 2)), Part(Tanh(), (4,))), (5,))
    parts = (Part(SoftmaxCrossEntropy(), (0, 1)), Part(Fill(1.0), ()), Part(SoftmaxCrossEntropyGrad(), (4, 3, 1)))
    started = Fused("loss_grad", parts, (2, 5), ("grad_input",))
    pooled = Fused("lrn_maxpool", (Part(Lrn(3, 1, 0.3, 0.5), (0,)), Part(MaxPool(2), (1,))), (2, 3), ("argmax",))
    beside = Fused("updates", (Part(Scale(2.0), (0,)), Part(Scale(-1.0), (1,)), Part(Add(), (2, 0))), (3, 4), ("sum",))
    return [
        Row("conv", convolved, [normal(2, 3, 5, 5), normal(4, 3, 3, 3), normal(4)]),
        Row("loss", started, [normal(4, 5), whole(5, 4)]),
        Row("pool", pooled, [distinct(2, 4, 4, 4)]),
        Row("beside", beside, [normal(2, 3), normal(4)]),
        Row("nested", Fused("both", (Part(Abs(), (0,)), Part(beside, (2, 1))), (4,)), [normal(2, 3), normal(4)]),
    ]


ROWS: tuple[Row, ...] = (
    *_convolutions(),
    *_poolings(),
    *_elementwise(),
    *_normalizations(),
    *_dense(),
    *_the_rest(),
    *_fused(),
)
