"""Constants: numbers, strings, tuples, lists, arithmetic and `if`, the same in nets and in sections.

What a name, a call or a chain means is the business of whoever evaluates: subclasses say it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from alexnet_ir.diagnostics import Diagnostics, Span
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.signature import FAILED, describe

ScopeT = TypeVar("ScopeT")

CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None}


class Evaluator(ABC, Generic[ScopeT]):
    """Turns expressions into values; what fails is reported once and comes out as FAILED."""

    def __init__(self, report: Diagnostics) -> None:
        self.report = report

    @abstractmethod
    def name(self, expr: syntax.Name, scope: ScopeT) -> Any:
        """The value of a name that is no constant of the language."""

    @abstractmethod
    def call(self, expr: syntax.Call, scope: ScopeT) -> Any:
        """The value of a call."""

    @abstractmethod
    def chain(self, expr: syntax.Chain, scope: ScopeT) -> Any:
        """The value of a chain of stages."""

    def value(self, expr: syntax.Expr, scope: ScopeT) -> Any:
        """The value of an expression."""
        match expr:
            case syntax.Number() | syntax.String():
                return expr.value
            case syntax.Name():
                return CONSTANTS[expr.id] if expr.id in CONSTANTS else self.name(expr, scope)
            case syntax.Call():
                return self.call(expr, scope)
            case syntax.Chain():
                return self.chain(expr, scope)
            case syntax.Sequence():
                items = [self.value(item, scope) for item in expr.items]
                if any(item is FAILED for item in items):
                    return FAILED
                return tuple(items) if expr.bracket == "(" else items
            case syntax.Negate():
                return self._arithmetic("-", 0, self.value(expr.operand, scope), expr.span)
            case syntax.Binary():
                left, right = self.value(expr.left, scope), self.value(expr.right, scope)
                return self._arithmetic(expr.op, left, right, expr.span)
            case syntax.If():
                chosen = self.condition(expr.condition, scope)
                if chosen is None:
                    return FAILED
                return self.value(expr.then if chosen else expr.otherwise, scope)

    def condition(self, expr: syntax.Expr, scope: ScopeT) -> bool | None:
        """A condition's value, or None after reporting that it is none."""
        value = self.value(expr, scope)
        if isinstance(value, bool):
            return value
        if value is not FAILED:
            self.report.error(
                "T005", "a condition is `true`, `false`, or a parameter that is one", expr.span,
                label=f"found {describe(value)}",
            )  # fmt: skip
        return None

    def _arithmetic(self, op: str, left: Any, right: Any, span: Span) -> Any:
        if left is FAILED or right is FAILED:
            return FAILED
        for side in (left, right):
            if isinstance(side, bool) or not isinstance(side, int | float):
                self.report.error("T006", f"`{op}` wants numbers", span, label=f"found {describe(side)}")
                return FAILED
        try:
            return _compute(op, left, right)
        except (ZeroDivisionError, OverflowError) as failure:
            self.report.error("T006", f"this has no value: {failure}", span)
            return FAILED


def _compute(op: str, left: int | float, right: int | float) -> int | float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right
