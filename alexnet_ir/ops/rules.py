"""What several type rules ask of their operands."""

from __future__ import annotations

from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.types import TensorType, sample_text


def want_map(op: str, value: TensorType) -> None:
    """Refuse anything but maps [batch, channels, rows, columns]."""
    if len(value.shape) != 4:
        raise TypeRuleError(
            "S002",
            f"`{op}` wants a map of channels x rows x columns",
            label=f"the input here is a vector of {sample_text(value)}",
            helps=["put it before `flatten` and `global_avgpool`, which make vectors"],
        )


def want_vector(op: str, value: TensorType) -> None:
    """Refuse anything but vectors [batch, units]."""
    if len(value.shape) != 2:
        raise TypeRuleError(
            "S003",
            f"`{op}` wants a vector",
            label=f"the input here is a map of {sample_text(value)}",
            helps=["write `-> flatten` before it (or `-> global_avgpool`, for the mean of each channel)"],
        )


def want_groups(op: str, what: str, count: int, groups: int) -> None:
    """Refuse groups that do not divide a number of channels or kernels."""
    if count % groups:
        below, above = count - count % groups, count - count % groups + groups
        near = f"{below} or {above}" if below else str(above)
        raise TypeRuleError(
            "S010",
            f"`{op}`: {groups} groups do not divide {count} {what}",
            argument="groups",
            label=f"{count} / {groups} = {count / groups:g}",
            helps=[f"{near} {what} would do, or another number of groups"],
        )


def want_rank(op: str, what: str, found: TensorType, least: int, most: int | None = None) -> None:
    """Refuse an operand with fewer axes, or more (`most` is `least` unless it is given)."""
    if not least <= len(found.shape) <= (least if most is None else most):
        raise TypeRuleError("S004", f"`{op}`: {what} of {found} has the wrong number of axes")


def want_shape(op: str, what: str, found: TensorType, expected: tuple[int, ...]) -> None:
    """Refuse an operand of another shape than the others call for."""
    if found.shape != expected:
        raise TypeRuleError("S004", f"`{op}`: expected {what} of shape {expected}, found {found.shape}")


def want_dtype(op: str, what: str, found: TensorType, expected: str) -> None:
    """Refuse an operand of another element type."""
    if found.dtype != expected:
        raise TypeRuleError("S004", f"`{op}`: expected {what} of type {expected}, found {found.dtype}")
