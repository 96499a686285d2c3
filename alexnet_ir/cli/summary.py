"""`alexnet-ir summary`: each layer's shape, parameters, work and memory."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from alexnet_ir.cli.model import choice_of, model_path
from alexnet_ir.cli.table import bytes_text, count_text, table
from alexnet_ir.dsl.model import load, read_source
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.types import shape_text
from alexnet_ir.summary import LayerFigures, Summary, Totals, summarize

HEAD = ("layer", "op", "output", "parameters", "MACs", "memory", "field", "stride")


def run(args: argparse.Namespace) -> int:
    """Print the table, or all of it as JSON."""
    model = load(read_source(model_path(args.file)), choice_of(args))
    summary = summarize(model)
    print(json.dumps(to_json(summary), indent=2) if args.json else text(summary))
    return 0


def to_json(summary: Summary) -> dict[str, object]:
    """Totals by name, and `layers` as a list; MACs and neurons are those of one image."""
    totals = summary.trained
    return {
        "net": summary.net,
        "batch": summary.batch,
        "parameters": totals.parameters,
        "macs": totals.macs,
        "neurons": totals.neurons,
        "activation_bytes": totals.activation_bytes,
        "evaluated": asdict(summary.evaluated),
        "layers": [asdict(layer) for layer in summary.layers],
    }


def text(summary: Summary) -> str:
    """The table, and the totals under it."""
    rows = [HEAD, *(_row(layer) for layer in summary.layers)]
    lines = table(rows, right=(3, 4, 5, 6, 7)).split("\n")
    rule = "-" * max(map(len, lines))
    totals = [_totals(f"{summary.net}, batch {summary.batch}", summary.trained)]
    if summary.evaluated != summary.trained:
        totals += ["", "* exists in training only; without it:", _totals("evaluation", summary.evaluated)]
    return "\n".join([lines[0], rule, *lines[1:], rule, *totals])


def _row(layer: LayerFigures) -> tuple[str, ...]:
    field = layer.field
    return (
        layer.path + " *" * layer.training_only,
        layer.op,
        shape_text(layer.shape),
        f"{layer.parameters:,}" if layer.parameters else "",
        count_text(layer.macs) if layer.macs else "",
        bytes_text(layer.activation_bytes),
        _pair(field.size) if field else "",
        _pair(field.stride) if field else "",
    )


def _pair(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} x {pair[1]}"


def _totals(title: str, totals: Totals) -> str:
    rows = [
        ("layers", f"{totals.layers:,} ({totals.weighted_layers:,} with parameters)"),
        ("parameters", f"{totals.parameters:,}"),
        ("MACs an image", f"{totals.macs:,}"),
        ("neurons", f"{totals.neurons:,}"),
        ("memory of all outputs", bytes_text(totals.activation_bytes)),
    ]
    return f"{title}\n{table([('', *row) for row in rows])}"
