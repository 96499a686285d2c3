"""A model file with the caller's choice written into it, so that it says by itself what was trained."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import Model, SectionKind
from alexnet_ir.dsl.parser import parse


def resolved(model: Model, place: str | None = None) -> str:
    """The text of a model: single values in their sections' fields, arguments of the net in `net: NAME(...)`, the data
    named; recipes that were not chosen, and placements but the one named, left out: they need not suit the batch. Read
    without a choice, it gives the same graph and recipe."""
    recipe, choice = model.train, model.choice
    if recipe is None:
        return format_source(model.source)
    page = _Page(model.source)
    page.drop("train", recipe.name)
    page.drop("place", place)
    values: dict[str, dict[str, str]] = {"train": {}, "data": {}, "net": {}}
    for key, text in choice.settings.items():
        kind, _, name = key.partition(".")
        values[kind][name] = text.strip()
    if choice.batch is not None:
        values["train"]["batch"] = str(choice.batch)
    if choice.data_section is not None:
        values["train"]["data"] = choice.data_section
    page.set_fields("data", recipe.data, values["data"])
    page.set_fields("train", recipe.name, values["train"])
    if values["net"]:
        page.set_fields("train", recipe.name, {"net": page.call_of(recipe.name, recipe.net.id, values["net"])})
    return format_source(page.source)


class _Page:
    """A text that is edited; it is read anew for each edit, so that places are those of the text as it is."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def drop(self, kind: SectionKind, kept: str | None) -> None:
        """Take out all sections of a kind but the one kept, with the lines of comment right above."""
        while others := [s for s in parse(self.source).sections if s.kind == kind and s.name != kept]:
            lines, first = self.source.text.split("\n"), others[0].span.line - 1
            while first and lines[first - 1].lstrip().startswith("#"):
                first -= 1
            begin = sum(len(line) + 1 for line in lines[:first])
            self._replace(min(begin, self._at(others[0].span)[0]), self._at(others[0].span)[1], "")

    def set_fields(self, kind: SectionKind, name: str, values: Mapping[str, str]) -> None:
        """Give fields of a section these values."""
        for field, text in values.items():
            section = self._section(kind, name)
            there = [own for own in section.fields if own.name == field]
            if there:
                self._replace(*self._at(there[0].value.span), text)
            else:
                end = self._at(section.span)[1] - 1
                begins_line = not self.source.text[:end].rstrip(" ").endswith("\n")
                self._replace(end, end, "\n" * begins_line + f"{field}: {text}\n")

    def call_of(self, recipe: str, net: str, values: Mapping[str, str]) -> str:
        """The recipe's `NET(...)` with arguments of these values."""
        written = next((own.value for own in self._section("train", recipe).fields if own.name == "net"), None)
        arguments = written.arguments if isinstance(written, syntax.Call) else ()
        parts = [self.source.text[slice(*self._at(a.span))] for a in arguments if a.name not in values]
        return f"{net}({', '.join([*parts, *(f'{name} = {text}' for name, text in values.items())])})"

    def _section(self, kind: SectionKind, name: str) -> syntax.Section:
        return next(s for s in parse(self.source).sections if (s.kind, s.name) == (kind, name))

    def _at(self, span: Span) -> tuple[int, int]:
        """Where a span begins and ends, in characters from the text's start."""
        starts = [0]
        for line in self.source.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts[span.line - 1] + span.column - 1, starts[span.end_line - 1] + span.end_column - 1

    def _replace(self, begin: int, end: int, text: str) -> None:
        whole = self.source.text
        self.source = Source(self.source.name, whole[:begin] + text + whole[end:])
