"""Which layer of one net is which of another."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence

from alexnet_ir.difference.meaning import Meaning

MOST = 1_000_000
"""Pairs of layers that are weighed against each other; beyond, only the order of the ops is looked at."""

Pair = tuple[Meaning, Meaning]


def aligned(old: Sequence[Meaning], new: Sequence[Meaning]) -> list[Pair]:
    """Pairs in the order of both nets: all of them, if the nets are of one structure, else the best by likeness."""
    if _structure(old) == _structure(new):
        return list(zip(old, new, strict=True))
    first = _common(zip(old, new, strict=False))
    last = _common(zip(reversed(old[first:]), reversed(new[first:]), strict=False))
    middle = old[first : len(old) - last], new[first : len(new) - last]
    inner = _weighed(*middle) if len(middle[0]) * len(middle[1]) <= MOST else _by_op(*middle)
    return [
        *zip(old[:first], new[:first], strict=True),
        *inner,
        *zip(old[len(old) - last :], new[len(new) - last :], strict=True),
    ]


def _structure(layers: Sequence[Meaning]) -> list[tuple[str, tuple[int, ...]]]:
    """Each layer's op, and how far back its sources stand."""
    place = {layer.path: number for number, layer in enumerate(layers)}
    return [(layer.op, tuple(place[source] for source in layer.sources)) for layer in layers]


def _common(pairs: Iterable[Pair]) -> int:
    """How many pairs at the front are of one name and meaning."""
    alike = (_key(old) == _key(new) for old, new in pairs)
    return sum(1 for _ in itertools.takewhile(bool, alike))


def _key(layer: Meaning) -> tuple[str, str, Mapping[str, object]]:
    return layer.path, layer.op, layer.values


def _weighed(old: Sequence[Meaning], new: Sequence[Meaning]) -> list[Pair]:
    """The pairs, in order, whose likenesses have the largest sum (Needleman and Wunsch 1970, without gap costs)."""
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, a in reversed(list(enumerate(old))):
        for j, b in reversed(list(enumerate(new))):
            like = _likeness(a, b)
            paired = like + best[i + 1][j + 1] if like else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs: list[Pair] = []
    i = j = 0
    while i < len(old) and j < len(new):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((old[i], new[j]))
            i, j = i + 1, j + 1
    return pairs


def _likeness(old: Meaning, new: Meaning) -> float:
    """0 for different ops; else more for the same name, and the more values agree."""
    if old.op != new.op:
        return 0.0
    agree = sum(old.values.get(name) == value for name, value in new.values.items())
    share = agree / len(new.values) if new.values else 0.5
    named = 0.5 if old.nameless and new.nameless else 2.0
    return 1.0 + share + (share == 1.0) + named * (old.path == new.path)


def _by_op(old: Sequence[Meaning], new: Sequence[Meaning]) -> list[Pair]:
    matcher = difflib.SequenceMatcher(None, [layer.op for layer in old], [layer.op for layer in new], autojunk=False)
    return [(old[block.a + k], new[block.b + k]) for block in matcher.get_matching_blocks() for k in range(block.size)]


def moved(old: Sequence[Meaning], new: Sequence[Meaning], pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs among the layers left over: the same op, with the same name or behind the same layer with parameters."""
    kept = {a.path: b.path for a, b in pairs}
    before, after = stages(old), stages(new)
    taken = set(kept.values())
    found: list[Pair] = []
    for a in old:
        if a.path in kept:
            continue
        stage = kept.get(before[a.path])
        rest = [b for b in new if b.path not in taken and b.op == a.op]
        near = [b for b in rest if b.path == a.path and not a.nameless] + [b for b in rest if after[b.path] == stage]
        if near:
            found.append((a, near[0]))
            taken.add(near[0].path)
    return found


def stages(layers: Sequence[Meaning]) -> dict[str, str]:
    """For each layer the last one with parameters (or the image) before it."""
    found, stage = {}, ""
    for layer in layers:
        found[layer.path] = stage
        if layer.weighted or layer.op == "input":
            stage = layer.path
    return found
