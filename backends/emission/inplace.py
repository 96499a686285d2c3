"""What a step may write right over what it reads, as (result, operand) positions.

This holds where both have one layout and stored type, and as many elements, and the operand is passed once: then the
thread that writes an element is the one that read what lies there, or an earlier kernel of the step was the last to
read it. All other operands must lie elsewhere.
"""

from __future__ import annotations

from alexnet_ir.backends.emission.epilogue import EXPRESSIONS
from alexnet_ir.ir.op import Op
from alexnet_ir.ops import elementwise
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad, BatchNormGradInput, RunningAverage
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.loss import HingeGrad, Maximum, SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad
from alexnet_ir.ops.shape import Flatten, Unflatten
from alexnet_ir.ops.update import UpdateOp

Pairs = tuple[tuple[int, int], ...]

FIRST: Pairs = ((0, 0),)
EITHER: Pairs = ((0, 0), (0, 1))
"""Of the operands that have the result's shape."""

PAIRS: dict[type[Op], Pairs] = {
    **dict.fromkeys((*EXPRESSIONS, Flatten, Unflatten, BatchNorm), FIRST),
    **dict.fromkeys((op for op in EXPRESSIONS if issubclass(op, elementwise.ElementwiseGrad)), EITHER),
    **dict.fromkeys((elementwise.Add, Maximum, RunningAverage, BatchNormGrad, BatchNormGradInput), EITHER),
    **dict.fromkeys((HingeGrad, SoftmaxCrossEntropyGrad), ((0, 1),)),
    SoftmaxCrossEntropy: ((1, 0),),
}
HEADS = (*EXPRESSIONS, Flatten, Unflatten)
"""What makes each element from those in its place, whatever is fused behind it."""


def in_place(op: Op) -> Pairs:
    """Updates overwrite their states, pointwise ops any operand of the result's shape."""
    if isinstance(op, UpdateOp):
        return tuple((number, number) for number in range(len(op.results)))
    return _fused(op) if isinstance(op, Fused) else PAIRS.get(type(op), ())


def _fused(op: Fused) -> Pairs:
    """Updates side by side each their own; the one result of a pointwise chain what any of its ops may overwrite."""
    if op.rule == "updates":
        count = min(op.yields)
    elif type(op.parts[0].op) in HEADS and len(op.yields) == 1:
        count = op.yields[0] + 1 - len(op.parts)
    else:
        return ()
    found = []
    for part, numbers in op.walk(count):
        for result, operand in in_place(part.op):
            written = op.yields.index(numbers[result]) if op.rule == "updates" else 0
            if part.operands[operand] < count:
                found.append((written, part.operands[operand]))
    return tuple(dict.fromkeys(found))
