"""`alexnet-ir compile`: what the passes make of a net, as figures and as text."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

from alexnet_ir.cli.dense import dense_text, size_of
from alexnet_ir.cli.model import choice_of, model_path
from alexnet_ir.cli.table import bytes_text, count_text, table
from alexnet_ir.dense import DenseFigures, dense_figures
from alexnet_ir.diagnostics import error, listed, nearest
from alexnet_ir.drawing.diagram import diagram
from alexnet_ir.drawing.svg import svg
from alexnet_ir.dsl.model import load, read_source
from alexnet_ir.dsl.parser import parse
from alexnet_ir.dsl.tree_text import tree_data, tree_text
from alexnet_ir.ir.text import print_graph
from alexnet_ir.passes.table import PIPELINES
from alexnet_ir.report import Compiled, GraphFigures, Report, compile_graphs

ALL = "all"
WIDTH = 85


def run(args: argparse.Namespace) -> int:
    """Print the report, or the texts that --emit and --dump-after ask for; with -o, write all of it to files."""
    chosen = passes_chosen(args.dump_after)
    source = read_source(model_path(args.file))
    if args.emit == "ast":
        tree = tree_data(parse(source))
        print(json.dumps(tree, indent=2) if args.json else tree_text(tree))
        return 0
    model = load(source, choice_of(args))
    if args.emit == "graph" and not (chosen or args.output):  # which a file without a recipe has too
        show({"graph": print_graph(model.graph)}, args.json)
        return 0
    compiled = compile_graphs(model)
    dense = dense_figures(model, size_of(args.dense)) if args.dense else None
    if args.output:
        write(compiled, dense, Path(args.output))
    texts = {record.name: text for record, text in compiled.passes if record.name in chosen}
    if args.emit:
        texts[args.emit] = print_graph(model.graph if args.emit == "graph" else compiled.step)
    if texts and not args.output:
        show(texts, args.json)
    else:
        print((whole_json if args.json else whole_text)(compiled.report, dense))
    return 0


def whole_text(report: Report, dense: DenseFigures | None) -> str:
    """The report, and the dense evaluation if it was asked for."""
    return "\n\n".join([report_text(report)] + ([dense_text(dense)] if dense else []))


def whole_json(report: Report, dense: DenseFigures | None) -> str:
    """The same as JSON."""
    return json.dumps(report.to_json() | ({"dense": dense.to_json()} if dense else {}), indent=2)


def show(texts: dict[str, str], as_json: bool) -> None:
    """Print graphs; a single one can be read back as it is."""
    if as_json:
        print(json.dumps(texts, indent=2))
    elif len(texts) == 1:
        print(*texts.values(), end="")
    else:
        print("\n".join(f"# {name}\n{text}" for name, text in texts.items()), end="")


def passes_chosen(name: str | None) -> tuple[str, ...]:
    """The passes whose result is asked for."""
    known = PIPELINES["train"]
    if name is None or name == ALL:
        return known if name else ()
    if name not in known:
        close = nearest(name, known)
        hints = [f"did you mean `{close}`?"] if close else []
        raise error(f"--dump-after {name}: no such pass", helps=[*hints, f"there are {listed(known)}, or `{ALL}`"])
    return (name,)


def write(compiled: Compiled, dense: DenseFigures | None, folder: Path) -> None:
    """Everything there is to see, as files."""
    files = {"forward.ir": print_graph(compiled.model.graph)}
    files |= {f"{number:02}-{record.name}.ir": text for number, (record, text) in enumerate(compiled.passes, 1)}
    files |= {
        "step.ir": print_graph(compiled.step),
        "inference.ir": print_graph(compiled.inference),
        "report.txt": f"{whole_text(compiled.report, dense)}\n",
        "report.json": f"{whole_json(compiled.report, dense)}\n",
        "net.svg": svg(diagram(compiled.model)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as failure:
        raise error(f"{failure.filename or folder}: {failure.strerror or failure}") from None


def report_text(report: Report) -> str:
    """The report as it is read."""
    passes = [("pass", "nodes", "", "", "ms")]
    for record in report.passes:
        before, after = str(record.nodes_before), str(record.nodes_after)
        passes.append((record.name, before, "->", after, f"{1000 * record.seconds:.1f}"))
    return "\n\n".join(
        [
            f"{report.net} ({report.file}), recipe {report.recipe}, batch {report.batch}\n"
            f"{report.parameters:,} parameters, {report.macs:,} MACs an image",
            table(passes, right=(1, 3, 4)),
            _graph_text("training step", report.step),
            _graph_text("evaluation", report.inference),
        ]
    )


def _graph_text(title: str, figures: GraphFigures) -> str:
    counts = ", ".join(f"{count} {op}" for op, count in figures.ops.items())
    ops = textwrap.wrap(f"{sum(figures.ops.values())}: {counts}", WIDTH)
    rows = [("ops" if line is ops[0] else "", line) for line in ops]
    rows.append(("work", f"{count_text(figures.flops)}FLOP"))
    rows += [(f"{state.role}s", f"{state.count}, {bytes_text(state.nbytes)}") for state in figures.states]
    return f"{title}\n{table([('', *row) for row in rows])}"
