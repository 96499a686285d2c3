"""Several ops as one step. Its meaning is that of its parts, one after another, so it cannot go stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.op import Op


@dataclass(frozen=True, slots=True)
class Part:
    """One op of a fused one. Its operands are numbers: first the fused op's operands, then the parts' results in
    order."""

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Fused(Op):
    """`parts` in order; the values numbered `yields` leave it. `rule` is the fusion that made it."""

    name: ClassVar[str] = "fused"
    operands: ClassVar[tuple[str, ...]] = ("operand...",)
    rule: str = ""
    parts: tuple[Part, ...] = ()
    yields: Sequence[int] = ()
