"""`alexnet-ir draw`: a picture of the net."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from alexnet_ir.cli.model import choice_of, model_path, setup_from
from alexnet_ir.compiler import compile_step
from alexnet_ir.diagnostics import error
from alexnet_ir.drawing.chart import Chart
from alexnet_ir.drawing.chart_svg import chart_svg
from alexnet_ir.drawing.charting import chart
from alexnet_ir.drawing.diagram import Diagram, diagram
from alexnet_ir.drawing.dot import chart_dot, dot
from alexnet_ir.drawing.svg import svg
from alexnet_ir.dsl.model import Model, load, read_source

NETS: dict[str, Callable[[Diagram], str]] = {".svg": svg, ".dot": dot}
CHARTS: dict[str, Callable[[Chart], str]] = {".svg": chart_svg, ".dot": chart_dot}


def run(args: argparse.Namespace) -> int:
    """Write the picture in the format that the file's name asks for."""
    path = Path(args.output)
    if path.suffix not in NETS:
        raise error(f"{path}: cannot draw this kind of file", helps=[f"name it {path.stem}.svg or {path.stem}.dot"])
    model = load(read_source(model_path(args.file)), choice_of(args))
    text = picture(args, model, path.suffix)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise error(f"{path}: {failure.strerror or failure}") from None
    print(f"wrote {path}")
    return 0


def picture(args: argparse.Namespace, model: Model, suffix: str) -> str:
    """The net as it is written; or, placed on devices or as a whole step, in a column for each device."""
    if args.level == "net" and args.place is None and args.devices is None:
        return NETS[suffix](diagram(model))
    step = compile_step(model, setup_from(args, model, present=False))
    return CHARTS[suffix](chart(model, step, whole=args.level == "step"))
