"""Layered layout: vertices in ranks from top to bottom, few crossings, long arrows in lanes of their own.

Ranks are longest paths; an arrow over several ranks gets a thin vertex in each of them; sweeps of barycentres order the
ranks; positions are least-squares fits to the neighbours', with the order and the gaps kept.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, ...]

GAP_X = 18.0
GAP_Y = 38.0
LANE = 10.0
LIGHT = 1e-4
SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Size:
    """A vertex; `first` ones stand in the first rank, `last` ones in a rank behind all others, those `alone` in a rank
    of their own. Where not all can stand straight under each other, those of small weight give way."""

    width: float
    height: float
    weight: float = 1.0
    first: bool = False
    last: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one vertex to another; the offsets say how far from the vertices' centres it ends."""

    source: Key
    target: Key
    value: str
    source_offset: float = 0.0
    target_offset: float = 0.0


@dataclass
class Placed:
    """For each vertex its centre and the (top, bottom) of its rank; for each arrow its lanes as (x, top, bottom); and
    the size of it all."""

    xs: dict[Key, float] = field(default_factory=dict)
    ranks: dict[Key, tuple[float, float]] = field(default_factory=dict)
    lanes: dict[Arrow, list[tuple[float, float, float]]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class _Link:
    """A piece of an arrow between neighbouring ranks."""

    upper: Key
    lower: Key
    offset: float


def place(sizes: Mapping[Key, Size], arrows: Sequence[Arrow], *, hanging: bool = False) -> Placed:
    """Lay out an acyclic graph; `hanging`, vertices stand under those above rather than over those below."""
    ranks = _ranks(sizes, arrows)
    rows: list[list[Key]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for key in sizes:
        rows[ranks[key]].append(key)
    all_sizes, links, chains = dict(sizes), list[_Link](), dict[Arrow, list[Key]]()
    for number, arrow in enumerate(arrows):
        between = range(ranks[arrow.source] + 1, ranks[arrow.target])
        chain: list[Key] = [("lane", str(number), str(rank)) for rank in between]
        for rank, key in zip(between, chain, strict=True):
            rows[rank].append(key)
            all_sizes[key] = Size(LANE, 0, LIGHT)
        for upper, lower in itertools.pairwise([arrow.source, *chain, arrow.target]):
            offset = arrow.source_offset * (upper == arrow.source) - arrow.target_offset * (lower == arrow.target)
            links.append(_Link(upper, lower, offset))
        chains[arrow] = chain
    rows = _ordered(rows, links)
    xs = _positions(rows, all_sizes, links, chains.values(), SWEEPS + hanging)
    return _placed(rows, all_sizes, xs, chains)


def _ranks(sizes: Mapping[Key, Size], arrows: Sequence[Arrow]) -> dict[Key, int]:
    ranks = dict.fromkeys(sizes, 0)
    for _ in sizes:  # longest paths: as many rounds as there are vertices are enough
        before = dict(ranks)
        for arrow in arrows:
            ranks[arrow.target] = max(ranks[arrow.target], ranks[arrow.source] + 1)
        if ranks == before:
            break
    if any(size.first for size in sizes.values()):
        ranks = {key: rank if sizes[key].first else max(rank, 1) for key, rank in ranks.items()}
    behind = max((rank for key, rank in ranks.items() if not sizes[key].last), default=0) + 1
    return _secluded(sizes, {key: behind if sizes[key].last else rank for key, rank in ranks.items()})


def _secluded(sizes: Mapping[Key, Size], ranks: Mapping[Key, int]) -> dict[Key, int]:
    """The same ranks, with one more for each vertex that stands alone, above the others of its rank."""
    slots = {key: (ranks[key], at if size.alone else len(sizes)) for at, (key, size) in enumerate(sizes.items())}
    place = {slot: at for at, slot in enumerate(sorted(set(slots.values())))}
    return {key: place[slot] for key, slot in slots.items()}


def _ordered(rows: list[list[Key]], links: Sequence[_Link]) -> list[list[Key]]:
    """Rows sorted by the mean place of their neighbours, downwards and upwards in turn; the best seen."""
    best, fewest = rows, _crossings(rows, links)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        rows = [list(row) for row in rows]
        steps = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for i in steps:
            place = {key: at for at, key in enumerate(rows[i - 1 if down else i + 1])}
            near: dict[Key, list[int]] = {key: [] for key in rows[i]}
            for link in links:
                own, other = (link.lower, link.upper) if down else (link.upper, link.lower)
                if own in near and other in place:
                    near[own].append(place[other])
            means = {key: sum(ats) / len(ats) if ats else at for at, (key, ats) in enumerate(near.items())}
            rows[i].sort(key=means.__getitem__)
        if (count := _crossings(rows, links)) < fewest:
            best, fewest = rows, count
    return best


def _crossings(rows: list[list[Key]], links: Sequence[_Link]) -> int:
    place = {key: (rank, at) for rank, row in enumerate(rows) for at, key in enumerate(row)}
    ends = sorted((place[link.upper], place[link.lower][1]) for link in links)
    count = 0
    for i, ((rank, at), low) in enumerate(ends):
        for (other_rank, other_at), other_low in ends[i + 1 :]:
            if other_rank != rank:
                break
            count += other_at > at and other_low < low
    return count


def _positions(
    rows: list[list[Key]],
    sizes: Mapping[Key, Size],
    links: Sequence[_Link],
    chains: Iterable[Sequence[Key]],
    sweeps: int,
) -> dict[Key, float]:
    xs = dict.fromkeys(sizes, 0.0)
    above: dict[Key, list[tuple[Key, float]]] = {key: [] for key in sizes}
    below: dict[Key, list[tuple[Key, float]]] = {key: [] for key in sizes}
    for link in links:
        below[link.upper].append((link.lower, -link.offset))
        above[link.lower].append((link.upper, link.offset))
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            if len(row) == 1 and (sizes[row[0]].first or sizes[row[0]].last):
                continue  # the way in and the way out stay above each other
            wanted = [_wanted(xs[key], (above if down else below)[key], xs, sizes) for key in row]
            xs.update(zip(row, _fitted(wanted, [sizes[key] for key in row]), strict=True))
    _straighten(rows, chains, sizes, xs)
    return xs


def _wanted(x: float, ends: Sequence[tuple[Key, float]], xs: Mapping[Key, float], sizes: Mapping[Key, Size]) -> float:
    """Straight under (or over) the neighbours, by their weight."""
    total = sum(sizes[key].weight for key, _ in ends)
    return sum(sizes[key].weight * (xs[key] + offset) for key, offset in ends) / total if ends else x


def _fitted(wanted: Sequence[float], row: Sequence[Size]) -> list[float]:
    """The places nearest to those wanted (least squares) that keep the order and the gaps: neighbours that would
    overlap are pooled, and stand around the mean of what they want."""
    starts, total = [], 0.0
    for i, size in enumerate(row):
        total += _apart(row[i - 1], size) if i else 0.0
        starts.append(total)
    pools: list[tuple[float, float, int]] = []
    for want, start, size in zip(wanted, starts, row, strict=True):
        pools.append((want - start, size.weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, weight, count), (last, more, others) = pools[-2:]
            pools[-2:] = [((mean * weight + last * more) / (weight + more), weight + more, count + others)]
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + start for mean, start in zip(means, starts, strict=True)]


def _straighten(
    rows: list[list[Key]], chains: Iterable[Sequence[Key]], sizes: Mapping[Key, Size], xs: dict[Key, float]
) -> None:
    """Give all lanes of an arrow one place, where their neighbours leave room for it."""
    beside = {key: (row[at - 1 : at], row[at + 1 : at + 2]) for row in rows for at, key in enumerate(row)}
    for chain in chains:
        least = [xs[left] + _apart(sizes[left], sizes[key]) for key in chain for left in beside[key][0]]
        most = [xs[right] - _apart(sizes[right], sizes[key]) for key in chain for right in beside[key][1]]
        low, high = max(least, default=-math.inf), min(most, default=math.inf)
        if chain and low <= high:
            xs.update(dict.fromkeys(chain, min(max(sum(xs[key] for key in chain) / len(chain), low), high)))


def _apart(left: Size, right: Size) -> float:
    return (left.width + right.width) / 2 + GAP_X


def _placed(
    rows: list[list[Key]], sizes: Mapping[Key, Size], xs: Mapping[Key, float], chains: Mapping[Arrow, list[Key]]
) -> Placed:
    left = min(xs[key] - sizes[key].width / 2 for row in rows for key in row)
    right = max(xs[key] + sizes[key].width / 2 for row in rows for key in row)
    placed, y = Placed(width=right - left), 0.0
    for row in rows:
        height = max(sizes[key].height for key in row)
        for key in row:
            placed.xs[key] = xs[key] - left
            placed.ranks[key] = (y, y + height)
        y += height + GAP_Y
    placed.height = y - GAP_Y
    for arrow, lane in chains.items():
        placed.lanes[arrow] = [(placed.xs[key], *placed.ranks[key]) for key in lane]
    return placed
