"""How two nets differ: layers, their order, what they read, and what was said of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alexnet_ir.difference import notes
from alexnet_ir.difference.align import Pair, aligned, moved, stages
from alexnet_ir.difference.meaning import RETURN, WINDOWED, Meaning, meanings, same_windows
from alexnet_ir.difference.words import both
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.types import shape_text

Lines = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is `old` in the first file and `new` in the second; empty where only the other has it. `what` is empty where
    it is all of the subject that differs. `lines` are those of both files, `note` says why it matters."""

    section: str
    subject: str
    what: str
    old: str
    new: str
    lines: Lines
    note: str = ""


class NetComparison:
    """Two nets' layers side by side. `names` calls the first net's layers as the second does."""

    def __init__(self, old: Model, new: Model) -> None:
        self.old, self.new = meanings(old), meanings(new)
        self.pairs = aligned(self.old, self.new)
        self.moved = moved(self.old, self.new, self.pairs)
        self.names = {a.path: b.path for a, b in (*self.pairs, *self.moved)}

    def differences(self) -> list[Difference]:
        """All that changes what the net computes or how its layers are trained, in the order of the layers."""
        found: list[tuple[float, Difference]] = []
        places = self._places()
        for a, b in (*self.pairs, *self.moved):
            found += [(places[b], difference) for difference in _values(a, b)]
        found += [(places[layer], difference) for layer, difference in self._unpaired()]
        found += [(places[b], difference) for b, difference in (*self._orders(), *self._sources())]
        return [difference for _, difference in sorted(found, key=lambda item: item[0])]

    def said_otherwise(self) -> list[Difference]:
        """Padding and rounding in other words, and other names."""
        return [*_windows(self.pairs), *self._renamed()]

    def _places(self) -> dict[Meaning, float]:
        """Where in the list each layer stands: those of the second net in its order, the others after their like."""
        places = {layer: float(number) for number, layer in enumerate(self.new)}
        paths = {layer.path: layer for layer in self.new}
        last = -1.0
        for layer in self.old:
            if layer.path in self.names:
                last = places[paths[self.names[layer.path]]]
            else:
                places[layer] = last + 0.5
        return places

    def _unpaired(self) -> Iterator[tuple[Meaning, Difference]]:
        """Layers that only one net has. Those at one place stand for each other: a tanh for a relu."""
        for gone, come in self._gaps():
            for a, b in zip(gone, come, strict=False):
                yield b, Difference("net", b.path, "op", a.text, b.text, (a.line, b.line))
            for a in gone[len(come) :]:
                yield a, Difference("net", a.path, "removed", f"{a.text}{_behind(a)}", "", (a.line, None))
            for b in come[len(gone) :]:
                yield b, Difference("net", b.path, "added", "", f"{b.text}{_behind(b)}", (None, b.line))

    def _gaps(self) -> list[tuple[list[Meaning], list[Meaning]]]:
        """Between one aligned pair and the next, the layers of either net that have no like in the other."""
        old, new = ({layer: number for number, layer in enumerate(layers)} for layers in (self.old, self.new))
        starts = [(-1, -1), *((old[a], new[b]) for a, b in self.pairs)]
        paired = set(self.names.values())
        return [
            (
                [layer for layer in self.old[i + 1 : i_next] if layer.path not in self.names],
                [layer for layer in self.new[j + 1 : j_next] if layer.path not in paired],
            )
            for (i, j), (i_next, j_next) in zip(starts, [*starts[1:], (len(self.old), len(self.new))], strict=True)
        ]

    def _orders(self) -> Iterator[tuple[Meaning, Difference]]:
        """A line for each stage whose layers stand in another order, and for each layer that left its stage."""
        before, after = stages(self.old), stages(self.new)
        done = set()
        for a, b in self.moved:
            stage, own = after[b.path], self.names.get(before[a.path]) == after[b.path]
            head = next((layer for layer in self.new if layer.path == stage), b)
            if not own:
                old, new = _behind(a).strip(", "), _behind(b).strip(", ")
                yield b, Difference("net", b.path, "place", old, new, (a.line, b.line))
            elif stage not in done:
                done.add(stage)
                yield head, self._order(before[a.path], stage, (a.line, b.line))

    def _order(self, old_stage: str, new_stage: str, lines: Lines) -> Difference:
        paired = set(self.names.values())
        old = [layer for layer in self._stage(self.old, old_stage) if layer.path in self.names]
        new = [layer for layer in self._stage(self.new, new_stage) if layer.path in paired]
        while old and new and self.names[old[-1].path] == new[-1].path:
            old, new = old[:-1], new[:-1]
        note = notes.on_order([layer.op for layer in old], [layer.op for layer in new])
        return Difference("net", new_stage, "followed by", _shorts(old), _shorts(new), lines, note)

    @staticmethod
    def _stage(layers: Sequence[Meaning], stage: str) -> list[Meaning]:
        found = stages(layers)
        return [layer for layer in layers if found[layer.path] == stage and not layer.weighted and layer.op != RETURN]

    def _sources(self) -> Iterator[tuple[Meaning, Difference]]:
        """Layers that read others than before, those left out that are new, gone or moved."""
        names = {a.path: b.path for a, b in self.pairs}
        before, after = _kept(self.old, set(names)), _kept(self.new, set(names.values()))
        for a, b in self.pairs:
            old = [names[path] for source in a.sources for path in before[source]]
            new = [path for source in b.sources for path in after[source]]
            if old != new:
                yield b, Difference("net", b.path, "reads", ", ".join(old), ", ".join(new), (a.line, b.line))

    def _renamed(self) -> Iterator[Difference]:
        renamed = [
            (a, b)
            for a, b in self.pairs
            if a.path != b.path and not (a.nameless and b.nameless and _scope(a) == _scope(b))
        ]
        note = "names choose what initial weights are drawn, and what they are called in weights files"
        if len(renamed) > _SHOWN:
            lines = (renamed[0][0].line, renamed[0][1].line)
            texts = [f"{', '.join(pair[side].path for pair in renamed[:_SHOWN])}, ..." for side in range(2)]
            yield Difference("net", f"{len(renamed)} layers", "name", texts[0], texts[1], lines, note)
            return
        for a, b in renamed:
            yield Difference("net", b.path, "name", a.path, b.path, (a.line, b.line), note)


_SHOWN = 3


def _scope(layer: Meaning) -> str:
    return layer.path.rpartition("/")[0]


def _behind(layer: Meaning) -> str:
    return f", after {', '.join(layer.sources)}" if layer.sources else ""


def _shorts(layers: Sequence[Meaning]) -> str:
    return ", ".join(layer.short for layer in layers)


def _kept(layers: Sequence[Meaning], kept: set[str]) -> Mapping[str, list[str]]:
    """For each layer itself if it is kept, else the nearest kept ones that it reads."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        through = dict.fromkeys(path for source in layer.sources for path in found[source])
        found[layer.path] = [layer.path] if layer.path in kept else list(through)
    return found


def _values(old: Meaning, new: Meaning) -> Iterator[Difference]:
    """A line for each value that both have and that differs; padding and rounding only where it is not the same."""
    idle = _idle(old, new)
    for name in old.values:
        if name in new.values and old.values[name] != new.values[name] and name not in idle:
            texts = both(old.values[name], new.values[name], {})
            note = notes.on_value(old, new, name)
            yield Difference("net", new.path, name, *texts, (old.line, new.line), note)


def _idle(old: Meaning, new: Meaning) -> tuple[str, ...]:
    """What may be said differently of two windows without a difference in meaning."""
    if new.op not in WINDOWED:
        return ()
    if same_windows(old, new):
        return ("pad", "round")
    return ("round",) if old.whole and new.whole else ()


def _windows(pairs: Sequence[Pair]) -> Iterator[Difference]:
    """Padding and rounding said otherwise: one line for all layers where only an idle rounding differs."""
    idle: dict[tuple[str, str], list[Pair]] = {}
    for a, b in pairs:
        differing = [name for name in _idle(a, b) if a.values[name] != b.values[name]]
        if differing == ["round"] and a.whole and b.whole:
            idle.setdefault(both(a.values["round"], b.values["round"], {}), []).append((a, b))
        elif differing:
            old, new = (", ".join(f"{name} = {text}" for name, text in side) for side in _said(a, b, differing))
            note = f"the same {shape_text(b.gives)} from the same windows: {_PAST[b.op in ('conv', 'local')]}"
            yield Difference("net", b.path, "windows", old, new, (a.line, b.line), note)
    for (old, new), found in idle.items():
        a, b = found[0]
        subject = b.path if len(found) == 1 else f"{len(found)} layers"
        note = f"nothing to round: sizes come out whole in {', '.join(b.path for _, b in found)}"
        yield Difference("net", subject, "round", old, new, (a.line, b.line), note)


_PAST = ("what lies past the edge never counts", "rounding up reads zeros past the edge, as padding does")


def _said(old: Meaning, new: Meaning, names: Sequence[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    texts = {name: both(old.values[name], new.values[name], {}) for name in names}
    return [(name, text) for name, (text, _) in texts.items()], [(name, text) for name, (_, text) in texts.items()]
