"""Losses over scores [n, classes]: what a kernel that goes over them row by row is made of, in any language.

One kernel writes either what the gradient reads or, of a loss fused with its gradient, the gradient itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.backends.emission.site import Constant, Site, float_literal
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.loss import LossGrad, LossOp, SoftmaxCrossEntropyGrad, SoftmaxCrossEntropyShare
from alexnet_ir.ops.shape import Fill


@dataclass(frozen=True)
class Loss:
    """A mean loss over `count` samples. `start` is the gradient that its own is multiplied by, a number or a scalar in
    memory, and that is then a mean over `grad_count`; None where slopes or softmax are wanted instead. `rows` are given
    for each row: of a share of the classes, its largest score and its sum of exponentials."""

    op: Op
    scores: Tensor
    label: Tensor
    rows: tuple[Tensor, ...]
    count: int
    start: Tensor | float | None = None
    grad_count: int = 1

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By the names that kernels have for them."""
        return {"SCORES": self.scores, **dict(zip(("MAX", "SUM_OF"), self.rows, strict=False))}

    @property
    def constants(self) -> Mapping[str, Constant]:
        """FIRST is the class of the first column; GRADIENT says what is wanted."""
        first = self.op.first if isinstance(self.op, SoftmaxCrossEntropyShare) else 0
        return {"FIRST": first, "GRADIENT": self.start is not None}

    @property
    def macros(self) -> str:
        """Where a row's largest score and sum of exponentials are from, the loss of a label that is not among its
        classes (of a share: 0), and how a kernel gets the start."""
        if self.rows:
            parameters = ", const MAX_T *largest_of, const SUM_OF_T *sum_of"
            largest, total, elsewhere = "get(largest_of + n)", "get(sum_of + n)", "0.0f"
        else:
            parameters, largest, total, elsewhere = "", "row_max(row)", "row_exp_sum(row, largest)", "NAN"
        start, passed = float_literal(self.start if isinstance(self.start, float) else 0.0), ""
        if isinstance(self.start, Tensor):
            start, passed = "get(start)", f", const {self.start.layout.stored}_t *start"
        named = {
            "ROW_PARAMETERS": parameters, "LARGEST": largest, "SUM": total, "ELSEWHERE": elsewhere,
            "START_PARAMETER": passed, "START": start,
        }  # fmt: skip
        return "".join(f"#define {name} {value}\n" for name, value in named.items())

    @property
    def arguments(self) -> tuple[Place, ...]:
        """Scores, labels, what is given for each row, and the start if it is in memory."""
        start = (self.start.place,) if isinstance(self.start, Tensor) else ()
        return (self.scores.place, self.label.place, *(row.place for row in self.rows), *start)


def loss_at(site: Site) -> Loss:
    """A loss, alone or fused with its gradient."""
    if isinstance(site.op, Fused):
        return _with_grad(site, site.op)
    scores, label, *rows = site.operands
    return Loss(site.op, scores, label, tuple(rows), _count(site.op, scores))


def _with_grad(site: Site, op: Fused) -> Loss:
    """From a number or from an operand."""
    head, *fills, grad = op.parts
    count = len(site.operands)
    assert isinstance(head.op, LossOp)
    assert isinstance(grad.op, LossGrad)
    assert op.yields == (count, count + len(fills) + 2)
    start = grad.operands[0]
    made = next((float(part.op.value) for part in fills if isinstance(part.op, Fill)), None)
    scores, label = (site.operands[number] for number in head.operands)
    value = site.operands[start] if start < count else made
    return Loss(head.op, scores, label, (), _count(head.op, scores), value, _count(grad.op, scores))


def _count(op: Op, scores: Tensor) -> int:
    count = op.count if isinstance(op, LossOp | LossGrad) else 0
    return count or scores.shape[0]


def label_macros(op: LossGrad) -> str:
    """How a kernel of a loss's gradient alone knows which column of a row is its label: none, of slopes."""
    if isinstance(op, SoftmaxCrossEntropyGrad):
        return f"#define LABEL_PARAMETER , const int *label\n#define OWN(n) (label[n] - {op.first})\n"
    return "#define LABEL_PARAMETER\n#define OWN(n) -1\n"
