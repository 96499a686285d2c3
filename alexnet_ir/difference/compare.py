"""How two model files differ in meaning, however they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alexnet_ir.difference import notes
from alexnet_ir.difference.meaning import FACTORS
from alexnet_ir.difference.nets import Difference, NetComparison
from alexnet_ir.difference.sections import RECIPE, SectionComparison
from alexnet_ir.difference.words import both
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.types import shape_text
from alexnet_ir.summary import Totals, summarize


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models. `differences` change what is computed or how it is trained; `said_otherwise` are other words for the
    same; `consequences` follow from the differences."""

    old: Model
    new: Model
    differences: tuple[Difference, ...]
    said_otherwise: tuple[Difference, ...]
    consequences: tuple[Difference, ...]
    totals: tuple[Totals, Totals]

    @property
    def same(self) -> bool:
        """Whether both mean the same."""
        return not self.differences


def compare(old: Model, new: Model) -> Comparison:
    """What turns the one model into the other."""
    net = NetComparison(old, new)
    sections = SectionComparison(old, new, net.names)
    of_net, factors = _factored(net.differences(), sections)
    recipe = sorted(
        [*sections.recipe(), *factors], key=lambda difference: ("section", *RECIPE).index(difference.subject)
    )
    differences = (*of_net, *recipe, *sections.data(), *sections.placements())
    said = (*net.said_otherwise(), *_names(sections))
    figures = summarize(old), summarize(new)
    totals = figures[0].trained, figures[1].trained
    return Comparison(old, new, differences, said, tuple(_consequences(old, new, net)), totals)


def _factored(
    differences: Sequence[Difference], sections: SectionComparison
) -> tuple[list[Difference], list[Difference]]:
    """The layers' differences, and apart from them those that all come from the factors of the two optimizers."""
    old, new = sections.old.train, sections.new.train
    rest, factors = list(differences), []
    for name in FACTORS:
        values = tuple(getattr(recipe.optimizer, name, 1.0) if recipe else 1.0 for recipe in (old, new))
        texts = both(values[0], values[1], {})
        own = [d for d in rest if (d.what, d.old, d.new) == (name, *texts)]
        if values[0] != values[1] and own:
            rest = [d for d in rest if d not in own]
            if old and new:  # where there is one recipe only, that is said of all of it
                lines = sections.lines("train", old.name, new.name, "optimizer")
                factors.append(Difference("train", "optimizer", name, *texts, lines, notes.on_factor(name)))
    return rest, factors


def _names(sections: SectionComparison) -> Iterator[Difference]:
    """Nets and sections of other names."""
    old, new = sections.old, sections.new
    if old.net != new.net:
        yield Difference("net", "net", "name", old.net, new.net, (None, None))
    pairs = [("train", old.train, new.train), ("data", old.data, new.data)]
    for kind, a, b in (*pairs, *(("place", a, b) for a, b in sections.placed())):
        if a is not None and b is not None and a.name != b.name:
            yield Difference(kind, kind, "name", a.name, b.name, sections.lines(kind, a.name, b.name))


def _consequences(old: Model, new: Model, net: NetComparison) -> Iterator[Difference]:
    """Shapes that differ where the layer itself does, and parameters that differ anywhere."""
    before, after = ({layer.path: layer for layer in summarize(model).layers} for model in (old, new))
    differing = {difference.subject for difference in net.differences()}
    for a, b in net.pairs:
        if b.path not in after or b.op == "input":
            continue
        x, y = before[a.path], after[b.path]
        if x.shape != y.shape and b.path in differing:
            yield Difference("net", b.path, "output", shape_text(x.shape), shape_text(y.shape), (a.line, b.line))
        if x.parameters != y.parameters:
            counts = f"{x.parameters:,}", f"{y.parameters:,}"
            yield Difference("net", b.path, "parameters", *counts, (a.line, b.line))
