"""How two recipes, two sets of data and two lots of placements differ."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alexnet_ir.difference import notes
from alexnet_ir.difference.meaning import FACTORS
from alexnet_ir.difference.nets import Difference, Lines
from alexnet_ir.difference.words import Words, attributes, both
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.parser import parse
from alexnet_ir.dsl.signature import spelled
from alexnet_ir.ir.attributes import Attributes

Places = Mapping[tuple[str, str, str], int]
RECIPE = ("loss", "batch", "stop", "optimizer", "schedule", "events", "seed")
DATA = ("source", "holdout", "train", "eval")
PLACE = ("devices", "splits")
_Spec = spec.TrainSpec | spec.DataSpec | spec.PlaceSpec


class SectionComparison:
    """The sections of two models; `names` calls the first net's layers as the second does."""

    def __init__(self, old: Model, new: Model, names: Mapping[str, str]) -> None:
        self.old, self.new, self.names = old, new, names
        self.written = _written(old), _written(new)

    def recipe(self) -> Iterator[Difference]:
        """The factors of `sgd` aside: they are the layers'."""
        yield from self._sections("train", self.old.train, self.new.train, RECIPE)

    def data(self) -> Iterator[Difference]:
        """Where images come from, and what is done to them: what the recipes use, if there are two."""
        if self.old.train and self.new.train:
            yield from self._sections("data", self.old.data, self.new.data, DATA)

    def placements(self) -> Iterator[Difference]:
        """Sections of one name, and then the others in their order, against each other."""
        for a, b in self.placed():
            yield from self._sections("place", a, b, PLACE)

    def placed(self) -> Iterator[tuple[spec.PlaceSpec | None, spec.PlaceSpec | None]]:
        """The placements of these nets in pairs, None where there is no other."""
        old = {place.name: place for place in self.old.places if place.net == self.old.net}
        new = {place.name: place for place in self.new.places if place.net == self.new.net}
        yield from ((old[name], new[name]) for name in old if name in new)
        rest = [[p for n, p in side.items() if not (n in old and n in new)] for side in (old, new)]
        for number in range(max(map(len, rest))):
            a, b = (places[number] if number < len(places) else None for places in rest)
            yield a, b

    def lines(self, kind: str, old: str | None, new: str | None, field: str = "") -> Lines:
        """Where a field of two sections is written; the sections themselves, where it is left out."""
        found = [
            None if name is None else places.get((kind, name, field), places.get((kind, name, "")))
            for places, name in zip(self.written, (old, new), strict=True)
        ]
        return found[0], found[1]

    def _sections(self, kind: str, old: _Spec | None, new: _Spec | None, fields: Sequence[str]) -> Iterator[Difference]:
        if old is None or new is None:
            lines = self.lines(kind, old.name if old else None, new.name if new else None)
            if old is not None:
                yield Difference(kind, "section", "removed", old.name, "", lines)
            if new is not None:
                yield Difference(kind, "section", "added", "", new.name, lines)
            return
        for field in fields:
            written = "split" if field == "splits" else field
            lines = self.lines(kind, old.name, new.name, written)
            yield from self._field(
                Difference(kind, written, "", "", "", lines), getattr(old, field), getattr(new, field)
            )

    def _field(self, head: Difference, old: Any, new: Any) -> Iterator[Difference]:
        if head.subject == "stop":  # the first that is reached ends the run: their order says nothing
            old, new = (tuple(sorted(stops, key=Words(17).of)) for stops in (old, new))
        if head.subject == "stop" and len(old) == len(new) == 1:
            yield from self._value(head, "", old[0], new[0])
        elif isinstance(old, tuple):
            yield from self._list(head, old, new)
        elif type(old) is type(new) and isinstance(old, Attributes) and len(attributes(old)) > 1:
            a, b = attributes(old), attributes(new)
            for name in a:
                if name not in FACTORS:
                    yield from self._value(head, spelled(type(old), name), a[name], b[name])
        else:
            yield from self._value(head, "", old, new)

    def _value(self, head: Difference, what: str, old: Any, new: Any) -> Iterator[Difference]:
        texts = both(old, new, self.names)
        if texts[0] != texts[1]:
            yield _filled(head, what, *texts, notes.on_field(head.subject, old, new))

    def _list(self, head: Difference, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Difference]:
        """Items of one name are the same one: those in another order make one line, those gone or new one each."""
        a, b = self._keys(old, self.names), self._keys(new, {})
        if sorted(a) == sorted(b):
            if a != b:
                yield _filled(head, "order", ", ".join(a), ", ".join(b), notes.on_transforms(a, b))
            for key in dict.fromkeys(b):
                yield from self._value(head, key, old[a.index(key)], new[b.index(key)])
            return
        matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
        for tag, i, i_end, j, j_end in matcher.get_opcodes():
            if tag == "equal":
                for x, y in zip(old[i:i_end], new[j:j_end], strict=True):
                    yield from self._value(head, x.name, x, y)
            else:
                yield from (_filled(head, "removed", Words(names=self.names).of(x), "") for x in old[i:i_end])
                yield from (_filled(head, "added", "", Words().of(y)) for y in new[j:j_end])

    def _keys(self, items: Sequence[Any], names: Mapping[str, str]) -> list[str]:
        """Transforms go by their names; events and splits are what they say."""
        words = Words(17, names)
        return [item.name if isinstance(item, spec.Transform) else words.of(item) for item in items]


def _filled(head: Difference, what: str, old: str, new: str, note: str = "") -> Difference:
    lines = (head.lines[0] if old else None, head.lines[1] if new else None)
    return Difference(head.section, head.subject, what, old, new, lines, note)


def _written(model: Model) -> Places:
    """The lines of sections and their fields."""
    found: dict[tuple[str, str, str], int] = {}
    for section in parse(model.source).sections:
        found[section.kind, section.name, ""] = section.name_span.line
        found.update({(section.kind, section.name, field.name): field.name_span.line for field in section.fields})
    return found
