"""A model file, read and checked: what the command line and the compiler start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from alexnet_ir.diagnostics import AlexnetError, Diagnostic, Diagnostics, Source, Span, error, listed, nearest
from alexnet_ir.dsl import spec, syntax
from alexnet_ir.dsl.agree import check_place, check_recipe, image_shape
from alexnet_ir.dsl.lower import Lowering
from alexnet_ir.dsl.names import blocks_of, check_argument, check_names, parameter_slots
from alexnet_ir.dsl.parser import parse, parse_expression
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.dsl.sections import Fields, SectionReader, data_spec, place_spec, train_spec
from alexnet_ir.dsl.signature import FAILED, match_arguments
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.types import TensorType

SectionKind = Literal["data", "train", "place"]
DEFAULT_BATCH = 128


@dataclass(frozen=True)
class Choice:
    """What a caller says beside the file: which section of a kind, which net, and single values (`train.batch`)."""

    recipe: str | None = None
    data_section: str | None = None
    net: str | None = None
    batch: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A net as its forward graph at one batch size, with the recipe and data chosen for it."""

    source: Source
    net: str
    graph: Graph
    layers: tuple[Layer, ...]
    image: tuple[int, int, int]
    batch: int
    train: spec.TrainSpec | None
    data: spec.DataSpec | None
    places: tuple[spec.PlaceSpec, ...]
    warnings: tuple[Diagnostic, ...]
    choice: Choice = field(default_factory=Choice, repr=False, compare=False)

    def at_batch(self, batch: int) -> Model:
        """The same for another batch size; AlexnetError where something does not suit it."""
        return load(self.source, replace(self.choice, batch=batch))


def read_source(path: Path) -> Source:
    """A model file's text; AlexnetError where it cannot be read."""
    try:
        return Source(str(path), path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as failure:
        helps = ["`alexnet-ir new alexnet > model.alx` writes one"] if isinstance(failure, FileNotFoundError) else []
        raise error(f"{path}: {failure.strerror or failure}", helps=helps) from None
    except UnicodeDecodeError as failure:
        raise error(f"{path}: byte {failure.start} is not UTF-8 text") from None


def check(source: Source) -> Diagnostics:
    """Everything that is wrong with a file, each of its recipes, placements and nets tried."""
    return examine(source)[0]


def examine(source: Source) -> tuple[Diagnostics, tuple[Graph, ...]]:
    """Everything that is wrong with a file, and the graphs of those of its nets that could be made."""
    report = Diagnostics()
    try:
        reader = _FileReader(source, {}, report)
    except AlexnetError as failure:
        for diagnostic in failure.diagnostics:
            report.add(diagnostic)
        return report, ()
    for section in reader.of_kind("data"):
        reader.read(section)
    for section in reader.of_kind("train"):
        reader.recipe(section, None, None)
    for section in reader.of_kind("place"):
        reader.place(section)
    lowerings = [reader.lowered_by_default(net) for net in reversed(reader.nets.values())]
    return report, tuple(lowering.graph for lowering in lowerings if lowering is not None)


def load(source: Source, choice: Choice | None = None) -> Model:
    """The model that a file and a choice describe; AlexnetError with all that is wrong."""
    choice = choice or Choice()
    report = Diagnostics()
    reader = _FileReader(source, choice.settings, report)
    if choice.net is not None and choice.recipe is not None:
        raise error("--net and --recipe were both given, and a recipe names its net", helps=["leave --net out"])
    section = reader.chosen("train", choice.recipe) if choice.net is None else None
    train, data, lowering = None, None, None
    if section is not None:
        train, data, lowering = reader.recipe(section, choice.data_section, choice.batch)
    else:
        definition = reader.chosen_net(choice.net)
        lowering = reader.lowered(spec.Reference(definition.name), choice.batch or DEFAULT_BATCH, {})
    own_batch = choice.batch is None and "train.batch" not in choice.settings
    places = [reader.place(s, tried=own_batch) for s in reader.of_kind("place")]
    report.raise_errors()
    reader.check_settings()
    shape = image_shape(lowering) if lowering else None
    if lowering is None or shape is None:
        raise error("this net reads no image", helps=["begin it with `image = input(3, 224, 224)`"])
    return Model(
        source, lowering.graph.name, lowering.graph, tuple(lowering.layers), (shape[0], shape[1], shape[2]),
        lowering.batch, train, data, tuple(p for p in places if p is not None), report.warnings, choice,
    )  # fmt: skip


class _FileReader:
    """One file's definitions and sections, and what they come to."""

    def __init__(self, source: Source, settings: Mapping[str, str], report: Diagnostics) -> None:
        self.report = report
        self.file = parse(source)
        self.settings = {key: (key.partition("."), text) for key, text in settings.items()}
        self.sections = SectionReader(report)
        check_names(self.file, report)
        self.nets = {d.name: d for d in reversed(self.file.definitions) if d.kind == "net"}
        self.blocks = blocks_of(self.file)
        self._check_section_names()
        self.fields: dict[tuple[str, str], Fields | None] = {}
        self._lowered: dict[str, Lowering] = {}
        self._set: set[str] = set()

    def _check_section_names(self) -> None:
        seen: dict[tuple[str, str], Span] = {}
        for section in self.file.sections:
            first = seen.setdefault((section.kind, section.name), section.name_span)
            if first is not section.name_span:
                self.report.error(
                    "N005",
                    f"there are two `{section.kind} {section.name}`",
                    section.name_span,
                    notes=[f"the first stands at {first}"],
                    helps=["choose another name"],
                )

    # --- choosing -------------------------------------------------------------------------------------------------

    def of_kind(self, kind: SectionKind) -> list[syntax.Section]:
        """The file's sections of a kind, in order."""
        return [s for s in self.file.sections if s.kind == kind]

    def chosen(self, kind: SectionKind, name: str | None) -> syntax.Section | None:
        """The section named, else the only one, else none if there is none; several need a choice."""
        sections = self.of_kind(kind)
        if name is None and len(sections) <= 1:
            return sections[0] if sections else None
        names = ", ".join(s.name for s in sections) or "none"
        flag = {"train": "--recipe", "data": "--data-section"}.get(kind, "--place")
        if name is None:
            raise error(f"the file has several `{kind}` sections: {names}", helps=[f"choose one with {flag} NAME"])
        found = [s for s in sections if s.name == name]
        if not found:
            raise error(f"the file has no `{kind}` section `{name}`", helps=[f"it has {names}"])
        return found[0]

    def chosen_net(self, name: str | None) -> syntax.Definition:
        """The net named, else the only one."""
        if name is None and len(self.nets) == 1:
            return next(iter(self.nets.values()))
        names = ", ".join(reversed(self.nets)) or "none"
        if not self.nets:
            self.report.raise_errors()
            raise error("the file has no net", helps=["`alexnet-ir new alexnet > model.alx` shows one"])
        if name is None:
            raise error(f"the file has several nets: {names}", helps=["choose one with --net NAME"])
        if name not in self.nets:
            raise error(f"the file has no net `{name}`", helps=[f"it has {names}"])
        return self.nets[name]

    # --- sections -------------------------------------------------------------------------------------------------

    def read(self, section: syntax.Section) -> Fields | None:
        """A section's fields, with the caller's settings in the place of the file's."""
        key = (section.kind, section.name)
        if key not in self.fields:
            self.fields[key] = self.sections.fields(self._with_settings(section))
        return self.fields[key]

    def _with_settings(self, section: syntax.Section) -> syntax.Section:
        fields = {f.name: f for f in section.fields}
        doubled = list(section.fields) if len(fields) < len(section.fields) else None
        for key, ((kind, _, name), text) in self.settings.items():
            if kind == section.kind:
                value = parse_expression(Source(f"--set {key}", text))
                fields[name] = syntax.Field(name, value, value.span, value.span)
                self._set.add(key)
        return replace(section, fields=tuple(doubled or fields.values()))

    def net_settings(self) -> dict[str, syntax.Argument]:
        """Arguments of the net given as settings: `net.act=tanh`."""
        found = {}
        for key, ((kind, _, name), text) in self.settings.items():
            if kind == "net" and name:
                value = parse_expression(Source(f"--set {key}", text))
                found[name] = syntax.Argument(name, value, value.span)
            elif kind not in ("train", "data") or not name:
                raise error(
                    f"--set {key}: a setting is `net.NAME`, `train.NAME` or `data.NAME`",
                    helps=["for instance --set train.batch=64"],
                )
        return found

    def check_settings(self) -> None:
        """Raise an error for settings of a section that is not there or was not chosen."""
        for key, ((kind, _, _), _) in self.settings.items():
            if kind in ("train", "data") and key not in self._set:
                raise error(f"--set {key}: no `{kind}` section is used here")

    def recipe(
        self, section: syntax.Section, data_section: str | None, batch: int | None
    ) -> tuple[spec.TrainSpec | None, spec.DataSpec | None, Lowering | None]:
        """A `train` section with its data and net, all three checked against each other."""
        fields = self.read(section)
        data_fields: Fields | None = None
        data_of = self._data_section(section, fields, data_section)
        if data_of is not None:
            data_fields = self.read(data_of)
        if fields is None:
            return None, None, None
        reference = fields["net"]
        net = self._net_of(reference, section)
        if net is None:
            return None, None, None
        reference = spec.Reference(net.name, reference.arguments if reference else (), reference and reference.span)
        factors = {
            name: getattr(fields["optimizer"], name, 1.0)
            for name in ("lr_mult", "decay_mult", "bias_lr_mult", "bias_decay_mult")
        }
        lowering = self.lowered(reference, batch or fields["batch"], factors)
        train = train_spec(section, fields, reference, data_of.name if data_of else "")
        if batch is not None:
            train = replace(train, batch=batch)
        if data_of is not None and data_fields is None:
            return train, None, lowering
        data = data_spec(data_of, data_fields, Path(self.file.source.name).parent) if data_of and data_fields else None
        if lowering is not None:
            check_recipe(train, data, lowering, self.sections)
        return train, data, lowering

    def _data_section(
        self, section: syntax.Section, fields: Fields | None, chosen: str | None
    ) -> syntax.Section | None:
        named = fields["data"] if fields else None
        if chosen is not None or named is None:
            try:
                return self.chosen("data", chosen)
            except AlexnetError as failure:
                if chosen is not None:
                    raise
                self.report.error(
                    "R008", failure.diagnostics[0].message, section.name_span, helps=["name one: `data: NAME`"]
                )
                return None
        found = [s for s in self.of_kind("data") if s.name == named.id]
        if not found:
            self._unknown("data section", named, [s.name for s in self.of_kind("data")])
        return found[0] if found else None

    def _net_of(self, reference: spec.Reference | None, section: syntax.Section) -> syntax.Definition | None:
        if reference is None:
            if len(self.nets) == 1:
                return next(iter(self.nets.values()))
            message = f"`{section.kind} {section.name}` does not say which net"
            self.report.error("R002", message, section.name_span, helps=["name one: `net: NAME`"])
            return None
        if reference.id not in self.nets:
            self._unknown("net", reference, list(self.nets))
        return self.nets.get(reference.id)

    def _unknown(self, what: str, reference: spec.Reference, known: list[str]) -> None:
        close = nearest(reference.id, known)
        helps = [f"did you mean `{close}`?"] if close else [f"the file has {', '.join(known) or 'none'}"]
        self.report.error("N009", f"unknown {what} `{reference.id}`", reference.span, helps=helps)

    def place(self, section: syntax.Section, *, tried: bool = True) -> spec.PlaceSpec | None:
        """A `place` section, its splits tried on the net (but not for a batch that the file did not choose)."""
        fields = self.read(section)
        net = self._net_of(fields["net"], section) if fields else None
        if fields is None or net is None:
            return None
        place = place_spec(section, fields, net.name)
        lowering = self.lowered_by_default(net)
        if tried and lowering is not None and _has_types(lowering):
            check_place(place, lowering, self.sections)
        return place

    # --- nets -----------------------------------------------------------------------------------------------------

    def lowered_by_default(self, definition: syntax.Definition) -> Lowering | None:
        """A net as a recipe lowered it, or with its parameters' defaults; None if some have none."""
        if definition.name in self._lowered:
            return self._lowered[definition.name]
        unknown = [f"`{p.name}`" for p in definition.parameters if p.default is None]
        if unknown:
            self.report.warning(
                "N010", f"net `{definition.name}` was not tried: it does not say what to take for {listed(unknown)}",
                definition.name_span,
                helps=["give a default: `classes = 10`", f"or name the net in a recipe: `net: {definition.name}(...)`"],
            )  # fmt: skip
            return None
        return self.lowered(spec.Reference(definition.name), DEFAULT_BATCH, {})

    def lowered(self, net: spec.Reference, batch: int, factors: dict[str, float]) -> Lowering | None:
        """A net's forward graph, or None if its arguments are wrong."""
        definition = self.nets[net.id]
        lowering = Lowering(self.blocks, batch, factors, self.report)
        slots = parameter_slots(definition)
        found = match_arguments(net.id, slots, [a for _, a in net.arguments], self.report)
        found |= match_arguments(net.id, slots, self.net_settings().values(), self.report)
        scope = lowering.outermost()
        for argument in found.values():
            check_argument(argument.value, self.blocks, self.report)
        given: dict[str, tuple[Any, Span]] = {
            name: (lowering.value(argument.value, scope), argument.span) for name, argument in found.items()
        }
        if any(value is FAILED for value, _ in given.values()):
            return None
        lowering.net(definition, given)
        self._lowered.setdefault(net.id, lowering)
        return lowering


def _has_types(lowering: Lowering) -> bool:
    """Whether every value of a net has a type: nothing went wrong in it."""
    return all(isinstance(type_, TensorType) for node in lowering.graph.topo() for type_ in node.types)
