"""`alexnet-ir draw`: a picture of the net."""

from __future__ import annotations

import argparse
from pathlib import Path

from alexnet_ir.cli.model import choice_of, model_path
from alexnet_ir.diagnostics import error
from alexnet_ir.drawing.diagram import diagram
from alexnet_ir.drawing.dot import dot
from alexnet_ir.drawing.svg import svg
from alexnet_ir.dsl.model import load, read_source

FORMATS = {".svg": svg, ".dot": dot}


def run(args: argparse.Namespace) -> int:
    """Write the picture in the format that the file's name asks for."""
    path = Path(args.output)
    if path.suffix not in FORMATS:
        raise error(f"{path}: cannot draw this kind of file", helps=[f"name it {path.stem}.svg or {path.stem}.dot"])
    model = load(read_source(model_path(args.file)), choice_of(args))
    try:
        path.write_text(FORMATS[path.suffix](diagram(model)), encoding="utf-8")
    except OSError as failure:
        raise error(f"{path}: {failure.strerror or failure}") from None
    print(f"wrote {path}")
    return 0
