"""Calls: which argument goes where, and what is said when one does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from alexnet_ir.diagnostics import Diagnostics, Span, counted, listed, nearest
from alexnet_ir.dsl import syntax
from alexnet_ir.ir.attributes import Attributes, AttributeValueError, kinds_of

Made = TypeVar("Made", bound=Attributes)


class Failed:
    """Stands for a value whose making failed and was reported: what depends on it stays silent."""


FAILED = Failed()


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter of something that can be called. `field` is its Python name."""

    name: str
    field: str
    required: bool
    positional: bool = True


def slots_of(cls: type[Attributes]) -> tuple[Slot, ...]:
    """The arguments that a class takes in the language, in order."""
    return tuple(
        Slot(f.metadata["spelled"] or f.name, f.name, f.default is dataclasses.MISSING, not f.kw_only)
        for f in dataclasses.fields(cls)
        if "kind" in f.metadata and not f.metadata["hidden"]
    )


def signature_text(callee: str, slots: Iterable[Slot]) -> str:
    """`conv(kernels, size, [stride], ...)`: optional ones in brackets, those that are always named last."""
    ordered = sorted(slots, key=lambda slot: not slot.positional)
    shown = [slot.name if slot.required else f"[{slot.name}]" for slot in ordered]
    return f"{callee}({', '.join(shown)})"


def match_arguments(
    callee: str, slots: Sequence[Slot], arguments: Iterable[syntax.Argument], report: Diagnostics
) -> dict[str, syntax.Argument]:
    """Arguments by the field they belong to. Unknown, doubled and surplus ones are reported and left out."""
    positional = [slot for slot in slots if slot.positional]
    places = iter(positional)
    found: dict[str, syntax.Argument] = {}
    for argument in arguments:
        slot = _named(callee, slots, argument, report) if argument.name else next(places, None)
        if slot is None:
            if argument.name is None:
                limit = f"at most {counted(len(positional), 'argument')} without a name" if slots else "no arguments"
                notes = [f"it is {signature_text(callee, slots)}"]
                report.error("T003", f"`{callee}` takes {limit}", argument.span, notes=notes)
        elif slot.field in found:
            first = found[slot.field].span
            report.error(
                "T002", f"`{slot.name}` of `{callee}` is given twice", argument.span, notes=[f"first given at {first}"]
            )
        else:
            found[slot.field] = argument
    return found


def _named(callee: str, slots: Sequence[Slot], argument: syntax.Argument, report: Diagnostics) -> Slot | None:
    name = argument.name or ""
    known = {slot.name: slot for slot in slots}
    if name not in known:
        close = nearest(name, known)
        helps = [f"did you mean `{close}`?"] if close else []
        notes = [f"it is {signature_text(callee, slots)}"]
        report.error("N002", f"`{callee}` has no argument `{name}`", argument.span, notes=notes, helps=helps)
    return known.get(name)


def missing(callee: str, slots: Sequence[Slot], given: Iterable[str], span: Span, report: Diagnostics) -> bool:
    """Report the required arguments that were not given; whether there are any."""
    have = set(given)
    names = [f"`{slot.name}`" for slot in slots if slot.required and slot.field not in have]
    if names:
        notes = [f"it is {signature_text(callee, slots)}"]
        report.error("T001", f"`{callee}` lacks {listed(names)}", span, notes=notes)
    return bool(names)


def construct(
    cls: type[Made], callee: str, values: Mapping[str, Any], spans: Mapping[str, Span], span: Span, report: Diagnostics
) -> Made | Failed:
    """An instance of `cls` from evaluated arguments; wrong values are reported, all of them."""
    if missing(callee, slots_of(cls), values, span, report) or any(v is FAILED for v in values.values()):
        return FAILED
    good = True
    for field, kind in kinds_of(cls).items():
        if field in values:
            try:
                kind.convert(values[field])
            except (ValueError, TypeError):
                good = False
                wrong_type(callee, spelled(cls, field), kind.expects, values[field], spans.get(field, span), report)
    try:
        return cls(**values) if good else FAILED
    except AttributeValueError as failure:  # a rule over several attributes at once
        report.error("T004", str(failure), span)
        return FAILED


def spelled(cls: type[Attributes], field: str) -> str:
    """An attribute's name in the language."""
    return next((slot.name for slot in slots_of(cls) if slot.field == field), field)


def wrong_type(callee: str, name: str, expects: str, value: object, span: Span, report: Diagnostics) -> None:
    """Say that an argument is not what its place takes."""
    report.error("T004", f"`{name}` of `{callee}`: expected {expects}", span, label=f"found {describe(value)}")


def describe(value: object) -> str:
    """A value as messages show it."""
    if isinstance(value, bool) or value is None:
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, list):
        return f"[{', '.join(describe(v) for v in value)}]"
    if isinstance(value, tuple):
        return f"({', '.join(describe(v) for v in value)})"
    if isinstance(value, Attributes):
        return f"`{value.name}(...)`"
    return str(value)
