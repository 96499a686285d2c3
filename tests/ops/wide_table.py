"""Ops on operands that 2, 3 and 4 devices can share out evenly, along every axis that is shared out."""

from __future__ import annotations

from alexnet_ir.ir.op import Op
from alexnet_ir.ops import batchnorm, conv, dense, dropout, elementwise, local, loss, normalize, pool, shape, update

from .helpers import Maker, away, distinct, fixed, normal, positive, whole
from .op_table import Row

N = C = 12
MAP, VECTOR = (N, C, 3, 2), (N, C)


def _products() -> list[Row]:
    rows = []
    for groups in (1, C):
        size, out = (3, 2), (2, 2)
        tied, untied = (C, C // groups, *size), (C, C // groups, *size, *out)
        shared = (1, ((0, 0), (1, 0)), groups)
        input, grad = normal(*MAP), normal(N, C, *out)
        rows += [
            Row(f"{groups}-groups", conv.Conv(*shared), [input, normal(*tied)]),
            Row(
                f"{groups}-groups", conv.ConvGradInput(*shared, input_size=(3, 2)), [normal(N, C, 1, 2), normal(*tied)]
            ),
            Row(f"{groups}-groups", conv.ConvGradWeight(*shared, size=size), [normal(N, C, 1, 2), input]),
            Row(f"{groups}-groups", local.Local(1, 0, groups), [normal(N, C, 4, 3), normal(*untied)]),
            Row(f"{groups}-groups", local.LocalGradInput(1, 0, groups, input_size=(4, 3)), [grad, normal(*untied)]),
            Row(f"{groups}-groups", local.LocalGradWeight(1, 0, groups, size=size), [grad, normal(N, C, 4, 3)]),
        ]
    return [
        *rows,
        Row("wide", dense.Fc(), [normal(N, 24), normal(C, 24)]),
        Row("wide", dense.FcGradInput(), [normal(N, C), normal(C, 24)]),
        Row("wide", dense.FcGradWeight(), [normal(N, C), normal(N, 24)]),
        Row("map", dense.BiasAdd(), [normal(*MAP), normal(C)]),
        Row("position", dense.BiasAdd(), [normal(*MAP), normal(*MAP[1:])]),
        Row("map", dense.BiasGrad(), [normal(*MAP)]),
        Row("position", dense.BiasGrad(False), [normal(*MAP)]),
    ]


def _elementwise() -> list[Row]:
    unary: list[Op] = [
        elementwise.Identity(), elementwise.Relu(), elementwise.LeakyRelu(), elementwise.Tanh(),
        elementwise.Sigmoid(), elementwise.Abs(), elementwise.Scale(-0.75),
    ]  # fmt: skip
    binary: list[Op] = [
        elementwise.ReluGrad(), elementwise.LeakyReluGrad(), elementwise.TanhGrad(), elementwise.SigmoidGrad(),
        elementwise.AbsGrad(), elementwise.Add(),
    ]  # fmt: skip
    rows = [Row("wide", op, [away(*MAP)]) for op in unary]
    return [*rows, *(Row("wide", op, [normal(*MAP), away(*MAP)]) for op in binary)]


def _poolings() -> list[Row]:
    overlapping = (2, 1, 0, "exact")
    pooled, maps = (N, C, 2, 1), (3, 2)
    return [
        Row("wide", pool.MaxPool(*overlapping), [distinct(*MAP)]),
        Row(
            "wide", pool.MaxPoolGrad(*overlapping, input_size=maps), [normal(*pooled), whole(4, *pooled, dtype="uint8")]
        ),
        Row("wide", pool.AvgPool(*overlapping), [normal(*MAP)]),
        Row("wide", pool.AvgPoolGrad(*overlapping, input_size=maps), [normal(*pooled)]),
        Row("wide", pool.L2Pool(*overlapping), [away(*MAP)]),
        Row("wide", pool.L2PoolGrad(*overlapping, input_size=maps), [normal(*pooled), normal(*MAP), positive(*pooled)]),
        Row("wide", pool.GlobalAvgPool(), [normal(*MAP)]),
        Row("wide", pool.GlobalAvgPoolGrad(maps), [normal(*VECTOR)]),
    ]


def _normalizations() -> list[Row]:
    maps, vectors = normal(*MAP), [normal(C)] * 3 + [positive(C)]
    rows = []
    for groups in (1, C):
        rows += [
            Row(f"{groups}-groups", normalize.Lrn(3, 1, 0.3, 0.75, groups), [maps]),
            Row(f"{groups}-groups", normalize.LrnGrad(3, 1, 0.3, 0.75, groups), [maps, maps]),
        ]
    return [
        *rows,
        Row("wide", normalize.LocalNorm(3, 1, 0.3, 0.75), [maps]),
        Row("wide", normalize.LocalNormGrad(3, 1, 0.3, 0.75), [maps, maps]),
        Row("wide", batchnorm.BatchNorm(), [maps, *vectors[:2]]),
        Row("wide", batchnorm.BatchNormGrad(), [maps, maps, *vectors[1:]]),
        Row("wide", batchnorm.BatchNormInference(), [maps, *vectors]),
        Row("wide", batchnorm.RunningAverage(), vectors[:2]),
        Row("wide", batchnorm.ChannelSquares(), [maps, vectors[0]]),
        Row("wide", batchnorm.BatchNormGradWeight(), [maps, maps, *vectors[2:]]),
        Row("wide", batchnorm.BatchNormGradInput(72), [maps, maps, *vectors[1:], *vectors[:2]]),
    ]


def _the_rest() -> list[Row]:
    seed, step = fixed(2**40 + 5, "int64"), fixed(3, "int32")
    scores, label, rows = normal(*VECTOR), whole(C, N), [normal(N), positive(N)]
    rates: list[Maker] = [fixed(x) for x in (0.1, 0.9, 5e-4, 2.0, 0.5)]
    adam: list[Maker] = [fixed(x) for x in (4.0, 0.01, 0.9, 0.999, 1e-8, 5e-3, 2.0, 0.5)]
    weight = normal(C, 24)
    return [
        Row("map", dropout.Dropout(0.5, stream=3), [normal(*MAP), seed, step]),
        Row("vector", dropout.Dropout(0.3, "train", 1), [normal(*VECTOR), seed, step]),
        Row("wide", shape.Flatten(), [normal(*MAP)]),
        Row("wide", shape.Unflatten((C, 3, 2)), [normal(N, 6 * C)]),
        Row("channels", shape.Concat(), [normal(*MAP), normal(*MAP)]),
        Row("images", shape.Concat(0), [normal(*MAP), normal(*MAP)]),
        Row("channels", shape.Slice(2, 14), [normal(N, 24, 2)]),
        Row("images", shape.Slice(2, 14, 0), [normal(24, C)]),
        Row("wide", shape.Fill(0.5, VECTOR), []),
        Row("wide", loss.SoftmaxCrossEntropy(), [scores, label]),
        Row("wide", loss.SoftmaxCrossEntropyGrad(), [normal(), positive(*VECTOR), label]),
        Row("wide", loss.Hinge(), [scores, label]),
        Row("wide", loss.HingeGrad(), [normal(), normal(*VECTOR)]),
        Row("wide", loss.RowMax(), [scores]),
        Row("wide", loss.Maximum(), [scores, scores]),
        Row("wide", loss.RowExpSum(), [scores, rows[0]]),
        Row("wide", loss.SoftmaxCrossEntropyShare(0), [scores, label, *rows]),
        Row("wide", update.Sgd(), [weight, weight, weight, *rates]),
        Row("wide", update.Adam(), [weight, weight, positive(C, 24), weight, *adam]),
    ]


WIDE: tuple[Row, ...] = (*_products(), *_elementwise(), *_poolings(), *_normalizations(), *_the_rest())
