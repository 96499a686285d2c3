"""docs/results.md: each claim with what came out, its verdict, the commands and the curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alexnet_ir.durable import write_durably
from alexnet_ir.pictures.curves import Line, Panel, curves
from benchmarks.results_parts.experiments import BUDGET, CLAIMS, SEEDS, Claim, Contender, Expected, Measure, Run
from benchmarks.results_parts.runner import Row, shown

NAMES = {"eval_top1": "evaluation error", "error": "training error"}
"""What curves show."""
HEAD = f"""\
# Results

What the paper (Krizhevsky, Sutskever and Hinton, 2012) and its nets' authors claim, tried on CIFAR-10 by one command,
which can be interrupted at any time:

    python benchmarks/results.py --data DIR [--photographs DIR]

Four batches of CIFAR-10 train, 40,000 images; the fifth judges, 10,000. The nets are small and the budget is the same
for all, so figures are not ImageNet's: what is asked is whether a change goes the way the paper says. Unless something
else is said, a net is [cifar-small.alx](../benchmarks/nets/cifar-small.alx), trained for {BUDGET} epochs with each of
{len(SEEDS)} seeds, as it is and with one thing changed.

A claim **comes out** where every seed of the one net is better than every seed of the other, **does not come out**
where it is the other way round, and is **within noise** where they overlap: one seed alone tells nothing of noise.
Errors of training are means over an epoch's steps, as they came. Bold curves are of the median seed, faint ones of the
others; of a net that was tried at several rates, of the best.

Commands are for the project's folder. DIR is where CIFAR-10 lies, SEED is {", ".join(map(str, SEEDS))}; with as many
`--threads` as below, on such a processor, the same numbers come out. The page is written from those in
[benchmarks/results/cifar-10](../benchmarks/results/cifar-10). They hold a hash of the net's text, and do not count for
a net that was changed since."""

Rows = Mapping[str, Row]


def write_report(page: Path, rows: Sequence[Row]) -> None:
    """The page, and its curves in a folder of its name."""
    page.with_suffix("").mkdir(parents=True, exist_ok=True)
    known = {row.arm.name: row for row in rows if row.runs}
    summary = [["claim", "here", "verdict"]]
    summary += [[claim.title, *judged(expected, claim, known)] for claim in CLAIMS for expected in claim.expected]
    machines = "; ".join(dict.fromkeys(row.machine for row in known.values()))
    parts = [HEAD, f"Machine: {machines}.", _table(summary), *(section(claim, known, page) for claim in CLAIMS)]
    write_durably(page, ("\n\n".join(parts) + "\n").encode())


def section(claim: Claim, rows: Rows, page: Path) -> str:
    """A claim: verdicts, a table of all that was trained, curves of the best, commands."""
    parts = [f"## {claim.title}", claim.said + f" {claim.remark}" * bool(claim.remark)]
    parts.append("\n".join("- {1}: {0}".format(*judged(expected, claim, rows)) for expected in claim.expected))
    measures = list(dict.fromkeys(expected.measure for expected in claim.expected))
    there = [(contender, rows[name]) for contender in claim.contenders for name in contender.arms if name in rows]
    if not there:
        return "\n\n".join(parts)
    picture = page.with_suffix("") / f"{claim.name}.svg"
    write_durably(picture, _curves(claim, measures, rows))
    cells = [[_label(contender, row), *(_cell(measure, row) for measure in measures)] for contender, row in there]
    parts.append(_table([["net", *(f"{measure.name}: median (each seed)" for measure in measures)], *cells]))
    parts += [line for _, row in there for line in _crops(row)]
    parts.append(f"![{claim.title}: curves]({page.stem}/{picture.name})")
    parts.append("\n".join(dict.fromkeys(f"    {shown(row.arm)}" for _, row in there)))
    return "\n\n".join(parts)


def judged(expected: Expected, claim: Claim, rows: Rows) -> tuple[str, str]:
    """The figures, and the verdict."""
    measure, contenders = expected.measure, {contender.label: contender for contender in claim.contenders}
    row = best(contenders[expected.smaller], measure, rows)
    below, names = _values(measure, row), f"{measure.name}: {expected.smaller}"
    if isinstance(expected.larger, str):
        other = best(contenders[expected.larger], measure, rows)
        above, larger = _values(measure, other), expected.larger
    else:
        other, above, larger = row, [expected.larger], "wanted below"
    if not below or not above:
        return measure.name, "not tried yet"
    figures = f"{names} {_median(measure, below)}, {larger} {_median(measure, above)}"
    found = [each for each in (row, other) if each is not None]
    seeds, wanted = min((len(each.runs), len(each.arm.seeds)) for each in found)
    so_far = f" by {seeds} of {wanted} seeds so far" if seeds < wanted else ""
    return figures, f"**{expected.verdict(below, above)}**{so_far}"


def best(contender: Contender, measure: Measure, rows: Rows) -> Row | None:
    """Of a contender's arms the one of the least median; where none came to an error, the one that came nearest."""
    there = [rows[name] for name in contender.arms if name in rows]
    nearest = replace(measure, of=lambda run: run[measure.curve][-1])

    def medians(row: Row) -> list[float]:
        return [statistics.median_low(_values(each, row)) for each in (measure, nearest)]

    return min(there, key=medians, default=None)


def _values(measure: Measure, row: Row | None) -> list[float]:
    return [measure.of(row.runs[seed]) for seed in sorted(row.runs)] if row else []


def _median(measure: Measure, values: Sequence[float]) -> str:
    return measure.text(statistics.median_low(values))


def _label(contender: Contender, row: Row) -> str:
    one = len(contender.arms) == 1
    return contender.label if one else f"{contender.label}, rate {row.arm.name.rpartition('-')[2]}"


def _cell(measure: Measure, row: Row) -> str:
    values = _values(measure, row)
    every = f" ({', '.join(map(measure.text, values))})" if len(values) > 1 else ""
    return f"{_median(measure, values)}{every}"


def _crops(row: Row) -> list[str]:
    """How the last weights were judged, where ten crops were averaged."""
    return [
        f"Of {final['images']} images, seed {seed}: centre crop top-1 {final['center']['top1']:.2%}, top-5 "
        f"{final['center']['top5']:.2%}; ten crops averaged {final['ten_crop']['top1']:.2%} and "
        f"{final['ten_crop']['top5']:.2%}."
        for seed, final in row.final.items()
        if final["ten_crop"]
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _curves(claim: Claim, measures: Sequence[Measure], rows: Rows) -> bytes:
    """Of each contender's best arm the run of the median, and the others faint."""
    shown_by = {measure.curve: measure for measure in reversed(measures)}
    panels = [Panel(NAMES[curve], _lines(claim, shown_by[curve], rows), percent=True) for curve in reversed(shown_by)]
    return curves(panels)


def _lines(claim: Claim, measure: Measure, rows: Rows) -> list[Line]:
    lines = []
    for contender in claim.contenders:
        row = best(contender, measure, rows)
        if row is None:
            continue
        ordered = sorted(row.runs.values(), key=measure.of)
        middle = ordered.pop((len(ordered) - 1) // 2)
        lines += [_line(f"_{n}", measure, run, faint=True) for n, run in enumerate(ordered)]  # not in the legend
        lines.append(_line(_label(contender, row), measure, middle))
    return lines


def _line(label: str, measure: Measure, run: Run, *, faint: bool = False) -> Line:
    values = run[measure.curve]
    return Line(label, range(1, len(values) + 1), values, faint)
