"""`alexnet-ir report`: a run as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from alexnet_ir.diagnostics import error
from alexnet_ir.durable import write_durably
from alexnet_ir.pictures.album import PAGE, page_of
from alexnet_ir.training.run import MODEL


def run(args: argparse.Namespace) -> int:
    """Write the page, of a run that is finished or not."""
    folder = Path(args.run)
    if not (folder / MODEL).is_file():
        raise error(f"{folder}: expected the folder of a run, found no {MODEL} in it", helps=["runs are in runs/NAME"])
    path = Path(args.output) if args.output else folder / PAGE
    write_durably(path, page_of(folder).encode())
    print(f"wrote {path}")
    return 0
