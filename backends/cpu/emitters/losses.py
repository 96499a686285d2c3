"""Losses over scores [n, classes]: threads make whole rows, and one adds up the rows' losses in order."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.cpu.site import Emit, EmitFused, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Emission
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.losses import label_macros, loss_at
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.loss import (
    Hinge,
    HingeGrad,
    LossGrad,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SoftmaxCrossEntropyShare,
)


def _by_row(site: Site, epilogue: Epilogue, entry: str, file: str) -> Emission:
    """A number for each row."""
    assert not epilogue.ops
    (scores, *rows), (out,) = site.operands, site.results
    tensors = {"SCORES": scores, "OUT": out, **dict(zip(("MAX",), rows, strict=False))}
    source = kernel(file, entry, site.isa, tensors=tensors, before=("rows.c",))
    places = (out.place, scores.place, *(row.place for row in rows))
    return Emission((Call(source, (np.int32(scores.shape[0]), *places)),))


def row_max(site: Site, epilogue: Epilogue) -> Emission:
    """The largest score of each row."""
    return _by_row(site, epilogue, "largest", "row_max.c")


def row_exp_sum(site: Site, epilogue: Epilogue) -> Emission:
    """The sum of exponentials of each row."""
    return _by_row(site, epilogue, "exp_sum", "row_exp_sum.c")


def loss(site: Site, epilogue: Epilogue) -> Emission:
    """The mean loss, and what its gradient reads or, of a loss fused with it, its gradient."""
    assert not epilogue.ops
    mean, out = site.results
    found, workspace, n = loss_at(site), Workspace(), out.shape[0]
    entry = "hinge" if isinstance(found.op, Hinge) else "softmax"
    source = kernel(
        f"{entry}.c",
        entry,
        site.isa,
        tensors={**found.tensors, "OUT": out},
        constants=found.constants,
        generated=found.macros,
        before=("rows.c",),
    )
    counts = (np.int32(n), np.float32(found.count), np.float32(found.grad_count))
    places = (workspace.take(4 * n), mean.place, out.place, *found.arguments)
    return Emission((Call(source, (*counts, *places)),), workspace.nbytes)


def loss_with_grad(site: Site) -> Emission:
    """A loss and its gradient, from a number or from an operand."""
    return loss(site, NONE)


def loss_grad(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient from what the loss kept."""
    assert not epilogue.ops
    assert isinstance(site.op, LossGrad)
    (grad, kept, *labels), (out,) = site.operands, site.results
    tensors, n = {"GRAD": grad, "KEPT": kept, "OUT": out}, kept.shape[0]
    source = kernel("loss_grad.c", "loss_grad", site.isa, tensors=tensors, generated=label_macros(site.op))
    counts = (np.int32(n), np.float32(site.op.count or n))
    places = (out.place, grad.place, kept.place, *(label.place for label in labels))
    return Emission((Call(source, (*counts, *places)),))


EMITTERS: dict[type[Op], Emit] = {
    Hinge: loss,
    HingeGrad: loss_grad,
    RowExpSum: row_exp_sum,
    RowMax: row_max,
    SoftmaxCrossEntropy: loss,
    SoftmaxCrossEntropyGrad: loss_grad,
    SoftmaxCrossEntropyShare: loss,
}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {"loss_grad": loss_with_grad}
"""By rule."""
