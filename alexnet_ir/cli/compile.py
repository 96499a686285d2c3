"""`alexnet-ir compile`: what the passes make of a net, as a report, as texts, and as files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.emission.manifest import files as kernel_files
from alexnet_ir.backends.emission.manifest import manifest
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.cli.dense import dense_text, size_of
from alexnet_ir.cli.kernels_text import kernels_text
from alexnet_ir.cli.model import choice_of, model_path, setup_from
from alexnet_ir.cli.pipelines import dumped, listing, listing_text, named, run_named
from alexnet_ir.cli.plan_text import plan_data, plan_text
from alexnet_ir.cli.report_text import report_text
from alexnet_ir.dense import DenseFigures, dense_figures
from alexnet_ir.diagnostics import error
from alexnet_ir.drawing.diagram import diagram
from alexnet_ir.drawing.svg import svg
from alexnet_ir.dsl.model import Model, load, read_source
from alexnet_ir.dsl.parser import parse
from alexnet_ir.dsl.tree_text import tree_data, tree_text
from alexnet_ir.figures import Report
from alexnet_ir.ir.text import print_graph
from alexnet_ir.passes.layout import ChooseLayouts
from alexnet_ir.report import Compilation, compile_all, report_of

Texts = dict[str, object]
"""Texts by name; where JSON is asked for, a plan as plain data."""
LANGUAGES = {
    "c": ("C", ".c", "use --devices cpu; where there is no C compiler, say what to emit for: --arch avx2"),
    "cuda": ("CUDA kernels", ".cu", "use --devices 0, or leave it out"),
}
"""What kernels are written in: its name, its files, and how to have them."""


def run(args: argparse.Namespace) -> int:
    """Print the report, or the texts that are asked for; with -o, write all of it to files."""
    if args.passes == "":
        print(json.dumps(listing(), indent=2) if args.json else listing_text())
        return 0
    chosen, passes = dumped(args.dump_after), named(args.passes) if args.passes else ()
    source = read_source(model_path(args.file))
    if args.emit == "ast":
        tree = tree_data(parse(source))
        print(json.dumps(tree, indent=2) if args.json else tree_text(tree))
        return 0
    model = load(source, choice_of(args))
    if passes:
        only(passes, args, model)
    elif args.emit == "graph" and not (chosen or args.output):  # which a file without a recipe has too
        show({"graph": print_graph(model.graph)}, args.json)
    else:
        compiled(args, model, chosen)
    return 0


def only(passes: tuple[str, ...], args: argparse.Namespace, model: Model) -> None:
    """Run these passes, and show the last graph; with -o, write all of them to files."""
    if args.emit or args.dump_after:
        raise error("--passes prints the IR after its last pass: leave --emit and --dump-after out")
    graphs = run_named(passes, model, setup_from(args, model, present=False), args.dense)
    texts = [print_graph(graph) for graph in graphs]
    if args.output:
        numbered = enumerate(zip(passes, texts, strict=True), 1)
        write({f"{number:02}-{name}.ir": text for number, (name, text) in numbered}, Path(args.output))
    show({passes[-1]: texts[-1]}, args.json)


def compiled(args: argparse.Namespace, model: Model, chosen: tuple[str, ...]) -> None:
    """Compile, and show or write what came of it."""
    dense = dense_figures(model, size_of(args.dense)) if args.dense else None
    made = compile_all(model, setup_from(args, model, present=False), dumped("all") if args.output else chosen)
    texts: Texts = {name: text for name, text in made.texts.items() if name in chosen}
    if args.emit:
        texts[args.emit] = emitted(args.emit, made, args.json)
    if texts and not args.output:
        show(texts, args.json)
        return
    report = report_of(made)
    if args.output:
        write(files(made, report, dense), Path(args.output))
    print((whole_json if args.json else whole_text)(report, dense))


def emitted(what: str, made: Compilation, as_json: bool) -> object:
    """What --emit asks for."""
    plan = made.step.plan
    if what == "plan":
        return plan_data(plan) if as_json else plan_text(plan, reasons(made))
    if what in LANGUAGES:
        emitter, (language, suffix, help_) = emitter_of(made), LANGUAGES[what]
        if emitter is None or emitter.suffix != suffix:
            raise error(f"--emit {what}: these devices run no {language}", helps=[help_])
        return manifest(plan, emitter) if as_json else kernels_text(plan, emitter)
    return print_graph(made.model.graph if what == "graph" else made.step.fused)


def emitter_of(made: Compilation) -> Emitter | None:
    """What makes kernels of steps, where they are emitted."""
    return made.setup.backend.emitter if isinstance(made.setup.backend, CudaBackend | CpuBackend) else None


def reasons(made: Compilation) -> dict[int, str]:
    """Why a step's kernels are as they are, and its results lie so, by its position."""
    emitter, plan = emitter_of(made), made.step.plan
    if emitter is None:
        return {}
    stored = ChooseLayouts(emitter.target).reasons(plan)
    found = {}
    for at, step in enumerate(plan.steps):
        why = [emitter.step(plan, step).reason, *(stored[name] for name in step.results if name in stored)]
        if any(why):
            found[at] = "; ".join(filter(None, why))
    return found


def whole_text(report: Report, dense: DenseFigures | None) -> str:
    """The report, and the dense evaluation if it was asked for."""
    return "\n\n".join([report_text(report)] + ([dense_text(dense)] if dense else []))


def whole_json(report: Report, dense: DenseFigures | None) -> str:
    """The same as JSON."""
    return json.dumps(report.to_json() | ({"dense": dense.to_json()} if dense else {}), indent=2)


def show(texts: Texts, as_json: bool) -> None:
    """Print texts; a single graph can be read back as it is."""
    if as_json:
        data = next((texts[name] for name in ("plan", *LANGUAGES) if list(texts) == [name]), texts)
        print(json.dumps(data, indent=2))
    elif len(texts) == 1:
        print(*texts.values(), end="")
    else:
        print("\n".join(f"# {name}\n{text}" for name, text in texts.items()), end="")


def files(made: Compilation, report: Report, dense: DenseFigures | None) -> dict[str, str]:
    """Everything there is to see, by file names."""
    found = {"forward.ir": print_graph(made.model.graph)}
    found |= {f"{number:02}-{record.name}.ir": made.texts[record.name] for number, record in enumerate(made.passes, 1)}
    if emitter := emitter_of(made):
        found |= {f"kernels/{name}": text for name, text in kernel_files(made.step.plan, emitter).items()}
        found["kernels/manifest.json"] = json.dumps(manifest(made.step.plan, emitter), indent=2) + "\n"
    return found | {
        "step.ir": print_graph(made.step.fused),
        "inference.ir": print_graph(made.inference.fused),
        "plan.txt": plan_text(made.step.plan, reasons(made)),
        "plan.json": json.dumps(plan_data(made.step.plan), indent=2) + "\n",
        "report.txt": f"{whole_text(report, dense)}\n",
        "report.json": f"{whole_json(report, dense)}\n",
        "net.svg": svg(diagram(made.model)),
    }


def write(texts: Mapping[str, str], folder: Path) -> None:
    """Texts as files of a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as failure:
        raise error(f"{failure.filename or folder}: {failure.strerror or failure}") from None
