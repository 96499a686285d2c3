"""(being written) What may be written over what it reads."""

from __future__ import annotations

from alexnet_ir.ir.op import Op


def in_place(op: Op) -> tuple[tuple[int, int], ...]:
    """Nothing yet."""
    return ()
