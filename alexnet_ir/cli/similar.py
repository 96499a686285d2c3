"""`alexnet-ir similar`: the images that are most like one, to a trained net."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from alexnet_ir.cli.images import images_in, read_files
from alexnet_ir.cli.model import remark_on
from alexnet_ir.cli.runs import open_run
from alexnet_ir.cli.table import table
from alexnet_ir.diagnostics import error
from alexnet_ir.durable import write_durably
from alexnet_ir.pictures.neighbours import Shown, neighbours_png
from alexnet_ir.training.features import features, nearest


def run(args: argparse.Namespace) -> int:
    """Print the nearest by the features of the last hidden layer, the nearest first."""
    if args.top < 1:
        raise error(f"--top {args.top}: expected a whole number of at least 1")
    opened = open_run(args.run_or_weights, args)
    image = read_files([args.image], opened.stored)
    among, names = images_in(Path(args.within), opened.stored)
    remark_on(opened.net.setup)
    of = features(opened.net, opened.preprocessing)
    order, distances = nearest(of(among), of(image)[0], args.top)
    rows = [(names[n], float(distance)) for n, distance in zip(order, distances, strict=True)]
    if args.output:
        found = [Shown(own, Path(names[n]).name) for own, n in zip(among.images[np.asarray(order)], order, strict=True)]
        query = Shown(image.images[:][0], Path(args.image).name)
        write_durably(Path(args.output), neighbours_png([(query, found)]))
    if args.json:
        nearest_ones = [{"image": name, "distance": distance} for name, distance in rows]
        told = {"weights": str(opened.path), "image": args.image}
        print(json.dumps({**told, "among": len(among), "nearest": nearest_ones}))
    else:
        print(table([(f"{distance:.4g}", name) for name, distance in rows], right=[0]))
    return 0
