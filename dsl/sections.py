"""From `data`, `train` and `place` sections to what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_ir.diagnostics import Diagnostics, Span, listed, nearest
from alexnet_ir.dsl import spec, syntax
from alexnet_ir.dsl.evaluate import Evaluator
from alexnet_ir.dsl.signature import FAILED, construct, describe, match_arguments, signature_text, slots_of
from alexnet_ir.ir.attributes import COUNT, FRACTION, WHOLE, Attributes, Kind, instance_of, optional, sequence_of

CALLS: dict[str, type[Attributes]] = {
    cls.name: cls
    for cls in (
        spec.Digits, spec.Mnist, spec.Cifar10, spec.Folder, spec.Synthetic,
        spec.Resize, spec.SubtractMean, spec.Scale, spec.RandomCrop, spec.CenterCrop, spec.RandomFlip, spec.PcaLight,
        spec.TenCrop,
        spec.Epochs, spec.Steps, spec.ErrorBelow,
        spec.Sgd, spec.Adam, spec.SoftmaxCrossEntropy, spec.Hinge,
        spec.Constant, spec.Drops, spec.Plateau, spec.Exponential, spec.Polynomial, spec.Cosine,
        spec.Freeze, spec.At,
        spec.BatchSplit, spec.ChannelSplit, spec.InputSplit, spec.OutputSplit, spec.OnDevice,
    )
}  # fmt: skip
"""Everything that sections can call, but `set`, whose arguments are those of what it sets."""


def _names(*classes: type[Attributes]) -> str:
    names = [f"{cls.name}(...)" for cls in classes]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _one_of(base: type[Attributes]) -> Kind:
    return instance_of(base, expects=_names(*(cls for cls in CALLS.values() if issubclass(cls, base))))


_TRANSFORMS = sequence_of(_one_of(spec.Transform), "transforms")
_STOPS = (spec.Epochs, spec.Steps, spec.ErrorBelow)
_STOP = instance_of(*_STOPS, expects=_names(*_STOPS))
_SPLITS = (spec.BatchSplit, spec.ChannelSplit, spec.InputSplit, spec.OutputSplit, spec.OnDevice)
_SPLIT = instance_of(*_SPLITS, expects=_names(*_SPLITS))
_NAME = instance_of(spec.Reference, expects="a name")


def _one_or_more(kind: Kind) -> Kind:
    """One value, or a list of at least one."""

    def convert(value: Any) -> tuple[Any, ...]:
        if value == []:
            raise ValueError
        return tuple(kind.convert(item) for item in (value if isinstance(value, list) else [value]))

    return Kind(f"{kind.expects}, or a list of them", convert)


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field of a section: what it takes, and its default unless it is required."""

    kind: Kind
    default: Any = None
    required: bool = False


FIELDS: dict[str, dict[str, FieldRule]] = {
    "data": {
        "source": FieldRule(_one_of(spec.Source), required=True),
        "train": FieldRule(_TRANSFORMS, ()),
        "eval": FieldRule(_TRANSFORMS, ()),
        "holdout": FieldRule(optional(FRACTION)),
    },
    "train": {
        "net": FieldRule(_NAME),
        "data": FieldRule(_NAME),
        "loss": FieldRule(_one_of(spec.Loss), spec.SoftmaxCrossEntropy()),
        "batch": FieldRule(COUNT, required=True),
        "stop": FieldRule(_one_or_more(_STOP), required=True),
        "optimizer": FieldRule(_one_of(spec.Optimizer), required=True),
        "schedule": FieldRule(_one_of(spec.Schedule), spec.Constant()),
        "events": FieldRule(sequence_of(instance_of(spec.At, expects="at(...)"), "at(moment, event)"), ()),
        "seed": FieldRule(WHOLE, 0),
    },
    "place": {
        "net": FieldRule(_NAME),
        "devices": FieldRule(COUNT, required=True),
        "split": FieldRule(_one_or_more(_SPLIT), required=True),
    },
}

Fields = dict[str, Any]


class SectionReader(Evaluator[None]):
    """Evaluates sections; the spans of fields, by (kind, section, field), are kept for the checks that compare sections
    with nets."""

    def __init__(self, report: Diagnostics) -> None:
        super().__init__(report)
        self.spans: dict[tuple[str, str, str], Span] = {}
        self._made: list[tuple[object, Span]] = []

    def span_of(self, made: object) -> Span | None:
        """Where a value of a section was written."""
        return next((span for value, span in self._made if value is made), None)

    def fields(self, section: syntax.Section) -> Fields | None:
        """A section's fields as values, defaults filled in; None where one is wrong or missing."""
        rules = FIELDS[section.kind]
        found: Fields = {}
        meant: set[str | None] = set()
        good = True
        for field in section.fields:
            if field.name not in rules:
                close = nearest(field.name, rules)
                meant.add(close)
                helps = [f"did you mean `{close}`?"] if close else [f"it has {listed(rules)}"]
                self.report.error(
                    "N007", f"a `{section.kind}` section has no field `{field.name}`", field.name_span, helps=helps
                )
            elif (place := (section.kind, section.name, field.name)) in self.spans:
                first = self.spans[place]
                self.report.error(
                    "T002", f"`{field.name}` is given twice", field.name_span, notes=[f"first given at {first}"]
                )
            else:
                self.spans[place] = field.value.span
                good &= self._field(section, field, rules[field.name].kind, found)
        lacking = [name for name, rule in rules.items() if rule.required and name not in found]
        lacking = [name for name in lacking if (section.kind, section.name, name) not in self.spans]
        if missed := [name for name in lacking if name not in meant]:
            what = listed(f"`{name}`" for name in missed)
            example = "; for instance " + ", ".join(f"`{EXAMPLES[name]}`" for name in missed)
            self.report.error(
                "R001", f"`{section.kind} {section.name}` lacks {what}", section.name_span, helps=[f"add it{example}"]
            )
        return {name: rule.default for name, rule in rules.items()} | found if good and not lacking else None

    def _field(self, section: syntax.Section, field: syntax.Field, kind: Kind, found: Fields) -> bool:
        value = self._net_call(field.value) if field.name == "net" else self.value(field.value, None)
        if value is FAILED:
            return False
        try:
            found[field.name] = kind.convert(value)
        except (ValueError, TypeError):
            label = f"found {describe(value)}"
            message = f"`{field.name}` of `{section.kind} {section.name}`: expected {kind.expects}"
            self.report.error("T004", message, field.value.span, label=label, helps=_with_brackets(value))
            return False
        return True

    def _net_call(self, expr: syntax.Expr) -> Any:
        """`AlexNet` or `AlexNet(classes = 10)`: the arguments stay expressions, for the net to read."""
        if isinstance(expr, syntax.Call):
            return spec.Reference(expr.callee, tuple((a.name or "", a) for a in expr.arguments), expr.name_span)
        return self.value(expr, None)

    def name(self, expr: syntax.Name, scope: None) -> Any:
        return spec.Reference(expr.id, (), expr.span)

    def chain(self, expr: syntax.Chain, scope: None) -> Any:
        self.report.error("T015", "a section has no chains: they stand in nets and blocks", expr.span)
        return FAILED

    def call(self, expr: syntax.Call, scope: None) -> Any:
        if expr.callee == spec.SetEvent.name:
            return self._set(expr)
        cls = CALLS.get(expr.callee)
        if cls is None:
            close = nearest(expr.callee, (*CALLS, spec.SetEvent.name))
            helps = [f"did you mean `{close}`?"] if close else ["`alexnet-ir explain N008` lists what there is"]
            self.report.error("N008", f"unknown word `{expr.callee}` in a section", expr.name_span, helps=helps)
            return FAILED
        found = match_arguments(expr.callee, slots_of(cls), expr.arguments, self.report)
        values = {name: self.value(argument.value, None) for name, argument in found.items()}
        spans = {name: argument.span for name, argument in found.items()}
        made = construct(cls, expr.callee, values, spans, expr.span, self.report)
        self._made.append((made, expr.span))
        return made

    def _set(self, expr: syntax.Call) -> Any:
        """`set(conv1, lr_mult = 0.001)`."""
        target, *rest = [(a.name, self.value(a.value, None), a.span) for a in expr.arguments] or [
            (None, None, expr.span)
        ]
        if any(value is FAILED for _, value, _ in (target, *rest)):
            return FAILED
        if target[0] is not None or not isinstance(target[1], spec.Reference) or not rest:
            self.report.error(
                "T004", "`set` takes a layer or transform and what to set: `set(conv1, lr_mult = 0.1)`", expr.span
            )
            return FAILED
        values: dict[str, Any] = {}
        for name, value, span in rest:
            if name is None or isinstance(value, bool) or not isinstance(value, int | float):
                self.report.error("T004", "`set` sets numbers by name: `lr_mult = 0.1`", span)
                return FAILED
            if name in values:
                self.report.error("T002", f"`{name}` of `set` is given twice", span)
                return FAILED
            values[name] = value
        made = spec.SetEvent(target[1], tuple(values.items()))
        self._made.append((made, expr.span))
        return made


def _with_brackets(value: object) -> list[str]:
    """Help for `schedule: cosine`, which is a call."""
    cls = CALLS.get(value.id) if isinstance(value, spec.Reference) else None
    return [f"write it with its brackets: `{signature_text(cls.name, slots_of(cls))}`"] if cls else []


EXAMPLES: Mapping[str, str] = {
    "source": "source: digits()",
    "batch": "batch: 128",
    "stop": "stop: epochs(10)",
    "optimizer": "optimizer: sgd(lr = 0.01, momentum = 0.9)",
    "devices": "devices: 2",
    "split": "split: channels(from = conv1, to = fc7)",
}


def data_spec(section: syntax.Section, fields: Fields, base: Path) -> spec.DataSpec:
    """A checked `data` section."""
    return spec.DataSpec(
        section.name, fields["source"], fields["train"], fields["eval"], fields["holdout"], base, section.name_span
    )


def train_spec(section: syntax.Section, fields: Fields, net: spec.Reference, data: str) -> spec.TrainSpec:
    """A checked `train` section, with the net and data it uses."""
    values = {k: v for k, v in fields.items() if k not in ("net", "data")}
    return spec.TrainSpec(section.name, net, data, span=section.name_span, **values)


def place_spec(section: syntax.Section, fields: Fields, net: str) -> spec.PlaceSpec:
    """A checked `place` section."""
    return spec.PlaceSpec(section.name, net, fields["devices"], fields["split"], section.name_span)
