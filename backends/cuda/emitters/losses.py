"""Losses over scores [n, classes]: a block makes a row, and one block adds up the rows' losses in a fixed order.

A loss fused with its gradient goes over the scores once: `kernels/softmax.cu` and `kernels/hinge.cu` write either what
the gradient reads or the gradient itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from alexnet_ir.backends.cuda.emitters.pointwise import grid
from alexnet_ir.backends.cuda.site import Emit, EmitFused, Site, kernel, text
from alexnet_ir.backends.emission.commands import Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, float_literal, round_up
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.loss import (
    Hinge,
    HingeGrad,
    LossGrad,
    LossOp,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SoftmaxCrossEntropyShare,
)
from alexnet_ir.ops.shape import Fill

THREADS = 256
"""A block, at most."""


@dataclass(frozen=True)
class Start:
    """The gradient that a loss's own is multiplied by: a number, or a scalar in memory; None where slopes or softmax
    are wanted instead."""

    value: Tensor | float | None = None
    count: int = 1

    @property
    def generated(self) -> str:
        """How a kernel gets it."""
        if isinstance(self.value, Tensor):
            stored = self.value.layout.stored
            return f"#define START_PARAMETER , const {stored}_t *start\n#define START get(start)\n"
        return f"#define START_PARAMETER\n#define START {float_literal(self.value or 0.0)}\n"


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


def _loss(op: Op, operands: tuple[Tensor, ...], mean: Tensor, out: Tensor, start: Start = Start()) -> Emission:
    """The mean loss, and what its gradient reads or, from a start, its gradient."""
    scores, label, *rows = operands
    n, threads, workspace = scores.shape[0], _threads(scores), Workspace()
    losses = workspace.take(4 * n)
    entry = "hinge" if isinstance(op, Hinge) else "softmax"
    first = op.first if isinstance(op, SoftmaxCrossEntropyShare) else 0
    constants = {"THREADS": threads, "FIRST": first, "GRADIENT": start.value is not None}
    source = kernel(
        f"{entry}.cu",
        entry,
        tensors={"SCORES": scores, "OUT": out, **dict(zip(("MAX", "SUM_OF"), rows, strict=False))},
        constants={**constants, "COUNT": float(start.count)},
        generated=_rows_source() + _row_macros(bool(rows)) + start.generated,
    )
    places = [losses, out.place, scores.place, label.place, *(row.place for row in rows)]
    if isinstance(start.value, Tensor):
        places.append(start.value.place)
    by_row = Launch(source, (n, 1, 1), (threads, 1, 1), tuple(places))
    count = op.count if isinstance(op, LossOp) and op.count else n
    source = kernel(
        "mean_loss.cu",
        "mean_loss",
        tensors={"SCORES": scores, "OUT": mean},
        constants={"THREADS": THREADS, "COUNT": float(count)},
        generated=_rows_source(),
    )
    total = Launch(source, (1, 1, 1), (THREADS, 1, 1), (mean.place, losses))
    return Emission((by_row, total), workspace.nbytes)


def _row_macros(is_share: bool) -> str:
    """Where a row's largest score and sum of exponentials are from (of a share, they are given), and the loss of a
    label that is not among its classes."""
    if is_share:
        parameters = ", const MAX_T *largest_of, const SUM_OF_T *sum_of"
        largest, total, elsewhere = "get(largest_of + n)", "get(sum_of + n)", "0.0f"
    else:
        parameters, largest, total, elsewhere = "", "row_max(row)", "row_exp_sum(row, largest)", "NAN"
    macros = {"ROW_PARAMETERS": parameters, "LARGEST": largest, "SUM": total, "ELSEWHERE": elsewhere}
    return "".join(f"#define {name} {value}\n" for name, value in macros.items())


def loss(site: Site, epilogue: Epilogue) -> Emission:
    """A loss, and what its gradient reads."""
    assert not epilogue.ops
    mean, out = site.results
    return _loss(site.op, site.operands, mean, out)


def loss_with_grad(site: Site) -> Emission:
    """A loss and its gradient, from a number or from an operand."""
    assert isinstance(site.op, Fused)
    head, *fills, grad = site.op.parts
    count = len(site.operands)
    assert isinstance(head.op, LossOp)
    assert isinstance(grad.op, LossGrad)
    assert site.op.yields == (count, count + len(fills) + 2)
    start = grad.operands[0]
    made = next((part.op.value for part in fills if isinstance(part.op, Fill)), None)
    scores, label = (site.operands[number] for number in head.operands)
    value = site.operands[start] if start < count else made
    mean, out = site.results
    return _loss(head.op, (scores, label), mean, out, Start(value, grad.op.count or scores.shape[0]))


def loss_grad(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient from what the loss kept."""
    assert not epilogue.ops
    assert isinstance(site.op, LossGrad)
    (grad, kept, *labels), (out,) = site.operands, site.results
    n = kept.shape[0]
    is_label = "#define LABEL_PARAMETER\n#define IS_LABEL(n, c) false\n"
    if isinstance(site.op, SoftmaxCrossEntropyGrad):
        is_label = (
            f"#define LABEL_PARAMETER , const int *label\n#define IS_LABEL(n, c) (label[n] - {site.op.first} == (c))\n"
        )
    source = kernel(
        "loss_grad.cu",
        "loss_grad",
        tensors={"GRAD": grad, "KEPT": kept, "OUT": out},
        constants={"COUNT": float(site.op.count or n), "THREADS": THREADS},
        generated=is_label,
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
