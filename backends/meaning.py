"""The kernel of all ops: what the op means, copied to where the results belong."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.kernel import SMALL, Arrays, Kernel, Types, running
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops import batchnorm, conv, dense, dropout, elementwise, local, loss, normalize, pool, shape
from alexnet_ir.ops.fused import Fused

VIEWS: tuple[type[Op], ...] = (elementwise.Identity, shape.Flatten, shape.Unflatten)
"""What makes nothing at all."""
LIGHT: tuple[type[Op], ...] = (
    dense.BiasGrad, dense.Fc, dense.FcGradInput, dense.FcGradWeight, loss.RowMax, pool.GlobalAvgPool, shape.Copy,
    shape.Slice,
)  # fmt: skip
"""What makes nothing but its results."""
HEAVY: tuple[type[Op], ...] = (
    batchnorm.BatchNorm, batchnorm.BatchNormGrad, batchnorm.BatchNormGradInput, batchnorm.ChannelSquares,
    dropout.Dropout, elementwise.LeakyRelu, loss.LossOp, loss.RowExpSum,
    normalize.LocalNormAttributes, normalize.LrnAttributes, pool.Pool, shape.Fill,
)  # fmt: skip
"""What makes several values of its operands' and results' size on the way."""


def run(op: Op, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The op's own meaning."""
    for out, result in zip(outs, op.evaluate(operands), strict=True):
        np.copyto(out, result, casting="same_kind")


def temporary(op: Op, operands: Types, results: Types) -> int:
    """Bounds from measurements: the results, and what comes up on the way there."""
    if isinstance(op, Fused):
        return _of_parts(op, operands)
    read, made = (sum(t.nbytes for t in types) for types in (operands, results))
    if isinstance(op, VIEWS):
        return SMALL
    if isinstance(op, LIGHT):
        return SMALL + made
    if isinstance(op, local.Local | local.LocalGradInput):  # which read the weights of one cell at a time
        return SMALL + (7 * operands[0].nbytes + 5 * made) // 2
    if isinstance(op, conv.ConvAttributes):
        return SMALL + (7 * read + 5 * made) // 2
    return SMALL + (5 * (read + made) // 2 if isinstance(op, HEAVY) else read + made)


def _of_parts(op: Fused, operands: Types) -> int:
    """All that the parts make, and what one of them takes on the way."""
    types: list[TensorType] = op.types(operands)
    most = max(
        temporary(part.op, [types[n] for n in part.operands], [types[n] for n in numbers])
        for part, numbers in op.walk(len(operands))
    )
    return most + sum(t.nbytes for t in types[len(operands) :])


MEANING = Kernel(running(run), temporary=temporary)
