"""Losses over scores [n, classes]: a block makes a row, and one block adds up the rows' losses in a fixed order.

A loss fused with its gradient goes over the scores once: `kernels/softmax.cu` and `kernels/hinge.cu` write either what
the gradient reads or the gradient itself.
"""

from __future__ import annotations

import math

from alexnet_ir.backends.cuda.emitters.pointwise import grid
from alexnet_ir.backends.cuda.site import Emit, EmitFused, Site, kernel, text
from alexnet_ir.backends.emission.commands import Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.losses import label_macros, loss_at
from alexnet_ir.backends.emission.site import Workspace, round_up
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

THREADS = 256
"""A block, at most."""


def _threads(scores: Tensor) -> int:
    """A block for a row: whole warps, no more than there are classes for."""
    return min(THREADS, round_up(scores.shape[1], 32))


def _by_row(entry: str, file: str, scores: Tensor, out: Tensor, *rows: Tensor) -> Emission:
    """A number for each row."""
    threads = _threads(scores)
    tensors = {"SCORES": scores, "OUT": out, **dict(zip(("MAX",), rows, strict=False))}
    source = kernel(file, entry, tensors=tensors, constants={"THREADS": threads}, generated=_rows_source())
    places = (out.place, scores.place, *(row.place for row in rows))
    return Emission((Launch(source, (scores.shape[0], 1, 1), (threads, 1, 1), places),))


def _rows_source() -> str:
    return f'#line 1 "rows.cu"\n{text("rows.cu")}'


def row_max(site: Site, epilogue: Epilogue) -> Emission:
    """The largest score of each row."""
    assert not epilogue.ops
    return _by_row("largest", "row_max.cu", site.operands[0], site.results[0])


def row_exp_sum(site: Site, epilogue: Epilogue) -> Emission:
    """The sum of exponentials of each row."""
    assert not epilogue.ops
    scores, largest = site.operands
    return _by_row("exp_sum", "row_exp_sum.cu", scores, site.results[0], largest)


# --- losses -----------------------------------------------------------------------------------------------------------


def loss(site: Site, epilogue: Epilogue) -> Emission:
    """The mean loss, and what its gradient reads or, of a loss fused with it, its gradient."""
    assert not epilogue.ops
    (mean, out), found = site.results, loss_at(site)
    n, threads, workspace = out.shape[0], _threads(found.scores), Workspace()
    losses = workspace.take(4 * n)
    entry = "hinge" if isinstance(found.op, Hinge) else "softmax"
    source = kernel(
        f"{entry}.cu",
        entry,
        tensors={**found.tensors, "OUT": out},
        constants={**found.constants, "THREADS": threads, "COUNT": float(found.grad_count)},
        generated=_rows_source() + found.macros,
    )
    by_row = Launch(source, (n, 1, 1), (threads, 1, 1), (losses, out.place, *found.arguments))
    source = kernel(
        "mean_loss.cu",
        "mean_loss",
        tensors={"SCORES": found.scores, "OUT": mean},
        constants={"THREADS": THREADS, "COUNT": float(found.count)},
        generated=_rows_source(),
    )
    total = Launch(source, (1, 1, 1), (THREADS, 1, 1), (mean.place, losses))
    return Emission((by_row, total), workspace.nbytes)


def loss_with_grad(site: Site) -> Emission:
    """A loss and its gradient, from a number or from an operand."""
    return loss(site, NONE)


def loss_grad(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient from what the loss kept."""
    assert not epilogue.ops
    assert isinstance(site.op, LossGrad)
    (grad, kept, *labels), (out,) = site.operands, site.results
    source = kernel(
        "loss_grad.cu",
        "loss_grad",
        tensors={"GRAD": grad, "KEPT": kept, "OUT": out},
        constants={"COUNT": float(site.op.count or kept.shape[0]), "THREADS": THREADS},
        generated=label_macros(site.op),
    )
    places = (out.place, grad.place, kept.place, *(label.place for label in labels))
    return Emission((Launch(source, grid(math.prod(kept.shape)), (THREADS, 1, 1), places),))


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
