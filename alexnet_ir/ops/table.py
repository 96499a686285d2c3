"""All ops, one row each."""

from __future__ import annotations

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.text import parse_graph
from alexnet_ir.ops import (
    batchnorm,
    conv,
    dense,
    dropout,
    elementwise,
    fused,
    local,
    loss,
    normalize,
    placing,
    pool,
    shape,
    update,
)

OPS: dict[str, type[Op]] = {
    op.name: op
    for op in (
        conv.Conv,
        conv.ConvGradInput,
        conv.ConvGradWeight,
        local.Local,
        local.LocalGradInput,
        local.LocalGradWeight,
        dense.Fc,
        dense.FcGradInput,
        dense.FcGradWeight,
        dense.BiasAdd,
        dense.BiasGrad,
        elementwise.Identity,
        elementwise.Relu,
        elementwise.ReluGrad,
        elementwise.LeakyRelu,
        elementwise.LeakyReluGrad,
        elementwise.Tanh,
        elementwise.TanhGrad,
        elementwise.Sigmoid,
        elementwise.SigmoidGrad,
        elementwise.Abs,
        elementwise.AbsGrad,
        elementwise.Scale,
        elementwise.Add,
        normalize.Lrn,
        normalize.LrnGrad,
        normalize.LocalNorm,
        normalize.LocalNormGrad,
        pool.MaxPool,
        pool.MaxPoolGrad,
        pool.AvgPool,
        pool.AvgPoolGrad,
        pool.L2Pool,
        pool.L2PoolGrad,
        pool.GlobalAvgPool,
        pool.GlobalAvgPoolGrad,
        batchnorm.BatchNorm,
        batchnorm.BatchNormGrad,
        batchnorm.BatchNormInference,
        batchnorm.RunningAverage,
        batchnorm.ChannelSquares,
        batchnorm.BatchNormGradWeight,
        batchnorm.BatchNormGradInput,
        dropout.Dropout,
        shape.Flatten,
        shape.Unflatten,
        shape.Concat,
        shape.Slice,
        shape.Copy,
        placing.Reshard,
        shape.Fill,
        loss.SoftmaxCrossEntropy,
        loss.SoftmaxCrossEntropyGrad,
        loss.RowMax,
        loss.Maximum,
        loss.RowExpSum,
        loss.SoftmaxCrossEntropyShare,
        loss.Hinge,
        loss.HingeGrad,
        fused.Fused,
        update.Sgd,
        update.Adam,
    )
}


def parse(text: str) -> Graph:
    """The graph that an IR text describes; TextError where it does not."""
    return parse_graph(text, OPS)
