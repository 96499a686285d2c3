"""`alexnet-ir features`: images as the values of a layer, in a NumPy file."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np

from alexnet_ir.cli.images import read_files
from alexnet_ir.cli.model import remark_on
from alexnet_ir.cli.runs import open_run
from alexnet_ir.diagnostics import counted
from alexnet_ir.durable import write_durably
from alexnet_ir.training.activations import last_hidden
from alexnet_ir.training.features import features


def run(args: argparse.Namespace) -> int:
    """Write float32 [n, units], a row for each image in the order given."""
    opened = open_run(args.run_or_weights, args, len(args.images))
    layer = args.layer or last_hidden(opened.model)
    of = features(opened.net, opened.preprocessing, layer)
    images = read_files(args.images, opened.stored)
    remark_on(opened.net.setup)
    found = of(images)
    content = io.BytesIO()
    np.save(content, found)
    write_durably(Path(args.output), content.getvalue())
    if args.json:
        told = {"weights": str(opened.path), "layer": layer, "images": args.images}
        print(json.dumps({**told, "file": args.output, "shape": found.shape}))
    else:
        rows, units = found.shape
        print(f"wrote {args.output}: {layer} of {counted(rows, 'image')}, float32 [{rows}, {units}]")
    return 0
