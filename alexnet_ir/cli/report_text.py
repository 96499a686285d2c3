"""The compiler's report as it is read on a terminal of a hundred columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from alexnet_ir.cli.table import Row, bytes_text, count_text, table
from alexnet_ir.diagnostics import counted, listed
from alexnet_ir.figures import Edge, GraphFigures, Report
from alexnet_ir.ir.timeline import duration
from alexnet_ir.ir.types import shape_text
from alexnet_ir.passes.exchanges import PHASES

WIDTH = 100
MOST_REFUSALS = 3


def report_text(report: Report) -> str:
    """All sections, a blank line between them."""
    sections = (_head, _layers, _devices, _exchanges, _steps, _prediction, _passes, _graphs)
    return "\n\n".join(text for section in sections if (text := section(report)))


def _wrapped(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _section(title: str, rows: Sequence[Row], right: Sequence[int] = ()) -> str:
    """A table below its title, indented."""
    return f"{title}\n{textwrap.indent(table(rows, right), '  ')}"


def _total(rows: list[Row], total: Row) -> list[Row]:
    """Rows (the first of them the head) with a total, where there is more than one to add up."""
    return [*rows, total] if len(rows) > 2 else rows


# --- the net and where it lies ------------------------------------------------------------------------------------


def _head(report: Report) -> str:
    lines = [
        f"{report.net} ({report.file}), recipe {report.recipe}, batch {report.batch}",
        f"{report.parameters:,} parameters, {report.macs:,} MACs an image",
        _placed(report),
        *report.refusals,
    ]
    return "\n".join(_wrapped(line, "") for line in lines)


def _placed(report: Report) -> str:
    if len(report.devices) == 1:
        return f"on one device: {report.devices[0].name}"
    where = f"on {len(report.devices)} devices, {listed(device.name for device in report.devices)}: "
    if report.tried:
        tried = ", ".join(f"{name} {duration(seconds)}" for name, seconds in report.tried.items())
        return f"{where}`{report.place}` took `{report.found}`, the best of those tried (predicted: {tried})"
    how = {"--place": f"`{report.place}`, as --place says", "the file": f"the file's `{report.place}`"}
    return where + how[report.place_from]


def _layers(report: Report) -> str:
    rows: list[Row] = [("layer", "op", "output", "parameters", "MACs", "memory", "split")]
    for layer in report.layers:
        parameters = f"{layer.parameters:,}" if layer.parameters else ""
        macs = count_text(layer.macs) if layer.macs else ""
        memory = bytes_text(layer.activation_bytes)
        rows.append((layer.layer, layer.op, shape_text(layer.shape), parameters, macs, memory, layer.split))
    memory = bytes_text(sum(layer.activation_bytes for layer in report.layers))
    total = ("total", "", "", f"{report.parameters:,}", count_text(report.macs), memory, "")
    several = len(report.devices) > 1
    return _section("layers", [row if several else row[:-1] for row in _total(rows, total)], right=(3, 4, 5))


def _devices(report: Report) -> str:
    head = ("device", "parameters", "states", "arena", "peak", "lower bound", "unplanned", "temporary")
    rows: list[Row] = [head]
    for device in report.devices:
        sizes = (
            device.states_bytes, device.arena_bytes, device.peak_bytes, device.lower_bound_bytes,
            device.unplanned_bytes, device.temporary_bytes,
        )  # fmt: skip
        rows.append((device.name, f"{device.parameters:,}", *map(bytes_text, sizes)))
    lines = [_section("memory", rows, right=range(1, 8)), *map(_wrapped, _on_memory(report))]
    return "\n".join(lines)


def _on_memory(report: Report) -> Iterator[str]:
    """Whether it fits, what steps allocate, and what is computed again."""
    room = report.predicted.memory_bytes
    if room is not None:
        beyond = [d.name for d in report.devices if d.peak_bytes + d.temporary_bytes > room]
        has = f"the {bytes_text(room)} that {report.predicted.profile} has"
        yield f"more than {has}: {listed(beyond)}" if beyond else f"fits {has}"
    if report.temporaries:
        most = ", ".join(f"{found.step} {bytes_text(found.bytes)}" for found in report.temporaries)
        yield f"beside the arena, steps allocate at most: {most}"
    if report.memory_limit is not None:
        yield f"within --memory-limit, {bytes_text(report.memory_limit)}: {_again(report)}"


def _again(report: Report) -> str:
    nodes, flops = report.recomputed.nodes, report.recomputed.flops
    if not nodes:
        return "nothing is computed again"
    share = f"{count_text(flops)}FLOP more, {flops / report.step.flops:.1%}"
    return f"{counted(len(nodes), 'value')} computed again ({share}): {', '.join(nodes)}"


# --- what passes between devices ----------------------------------------------------------------------------------


def _exchanges(report: Report) -> str:
    if len(report.devices) == 1:
        return ""
    edges, made = report.exchange.edges, report.exchange
    if not edges:
        return "exchanges: none"
    phases = [phase for phase in PHASES if any(edge.phase == phase for edge in edges)]
    layers = dict.fromkeys(edge.layer for edge in edges)
    rows: list[Row] = [("layer", "line", "kind", *phases)]
    for layer in layers:
        own = [edge for edge in edges if edge.layer == layer]
        kinds = ", ".join(dict.fromkeys(edge.kind for edge in own))
        rows.append((layer, str(own[0].line or ""), kinds, *(_sum(own, phase) for phase in phases)))
    rows = _total(rows, ("total", "", "", *(_sum(edges, phase) for phase in phases)))
    table_ = _section("exchanges, bytes a step", rows, right=(1, *range(3, 3 + len(phases))))
    same = made.emitted_bytes == made.total_bytes
    emitted = "the plan's transfers move as many" if same else f"the plan's transfers move {made.emitted_bytes:,}"
    return f"{table_}\n  predicted: {made.total_bytes:,} bytes; {emitted}"


def _sum(edges: Sequence[Edge], phase: str) -> str:
    nbytes = sum(edge.bytes for edge in edges if edge.phase == phase)
    return f"{nbytes:,}" if nbytes else ""


# --- steps --------------------------------------------------------------------------------------------------------


def _steps(report: Report) -> str:
    title = f"fusion: {report.steps.before_fusion:,} steps become {report.steps.after_fusion:,}"
    rows: list[Row] = [("rule", "made", "traffic saved")]
    rows += [(r.rule, str(r.count), bytes_text(r.saved_bytes) if r.saved_bytes else "") for r in report.fusions]
    count, saved = sum(r.count for r in report.fusions), sum(r.saved_bytes for r in report.fusions)
    lines = [_section(title, _total(rows, ("total", str(count), bytes_text(saved))), right=(1, 2))]
    lines = lines if report.fusions else [title]
    lines += [_wrapped(f"refused: {refusal}") for refusal in report.fusion_refusals[:MOST_REFUSALS]]
    if len(report.fusion_refusals) > MOST_REFUSALS:
        lines.append(f"  and {len(report.fusion_refusals) - MOST_REFUSALS} more refused")
    return "\n".join(lines)


def _prediction(report: Report) -> str:
    made, several = report.predicted, len(report.devices) > 1
    title = f"predicted, not measured: {made.profile}, {made.description}"
    rows = [("step", f"{duration(made.seconds)}, {made.images_per_second:,.0f} images/s")]
    if several:
        rows.append(("one device", f"{duration(made.single_device_seconds)}; gain {made.gain:.2f}"))
    rows.append(("a million images", time_text(made.seconds_per_million_images)))
    if made.run_seconds is not None:
        rows.append((made.run, time_text(made.run_seconds)))
    lines = [_section(_wrapped(title, ""), rows)]
    return "\n".join([*lines, *([_wrapped(made.explanation)] if made.explanation else [])])


def time_text(seconds: float) -> str:
    """A length of time, up to days: `4.27 days`, `57.1 minutes`, and below two minutes as `duration` has it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return duration(seconds)


def _passes(report: Report) -> str:
    rows: list[Row] = [("pass", "nodes", "", "", "ms")]
    for record in report.passes:
        before, after = str(record.nodes_before), str(record.nodes_after)
        rows.append((record.name, before, "->", after, f"{1000 * record.seconds:.1f}"))
    return _section("passes", rows, right=(1, 3, 4))


def _graphs(report: Report) -> str:
    peaks = ", ".join(map(bytes_text, report.inference_peak_bytes))
    evaluation = _graph("evaluation", report.inference, [("peak", peaks)])
    return f"{_graph('training step', report.step)}\n\n{evaluation}"


def _graph(title: str, figures: GraphFigures, more: Sequence[Row] = ()) -> str:
    counts = ", ".join(f"{count}\N{NO-BREAK SPACE}{op}" for op, count in figures.ops.items())
    wrapped = textwrap.wrap(f"{sum(figures.ops.values()):,}: {counts}", WIDTH - 14)
    ops = [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]
    rows: list[Row] = [("ops" if line is ops[0] else "", line) for line in ops]
    rows.append(("work", f"{count_text(figures.flops)}FLOP"))
    rows += [(f"{state.role}s", f"{state.count}, {bytes_text(state.nbytes)}") for state in figures.states]
    return _section(title, [*rows, *more])
