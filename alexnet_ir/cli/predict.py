"""`alexnet-ir predict`: what a trained net says of images."""

from __future__ import annotations

import argparse
import json

import numpy as np

from alexnet_ir.cli.images import read_files
from alexnet_ir.cli.model import remark_on
from alexnet_ir.cli.runs import Opened, open_run
from alexnet_ir.cli.table import table
from alexnet_ir.compiler import recipe_of
from alexnet_ir.data.dataset import Split
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.spec import SoftmaxCrossEntropy
from alexnet_ir.ir.op import Array
from alexnet_ir.training.evaluate import probabilities, scored


def run(args: argparse.Namespace) -> int:
    """Print the best classes of each image."""
    if args.top < 1:
        raise error(f"--top {args.top}: expected a whole number of at least 1")
    opened = open_run(args.run_or_weights, args, len(args.images))
    images = read_files(args.images, opened.stored)
    remark_on(opened.net.setup)
    values = _values(opened, images)
    best = np.argsort(-values, axis=1, kind="stable")[:, : args.top]
    classes = opened.saved.classes
    word = "probability" if isinstance(recipe_of(opened.model).loss, SoftmaxCrossEntropy) else "score"
    found = [
        (name, [(classes[n], float(own[n])) for n in order])
        for name, own, order in zip(args.images, values, best, strict=True)
    ]
    if args.json:
        plain = [{"image": name, "classes": [{"class": c, word: value} for c, value in rows]} for name, rows in found]
        print(json.dumps({"weights": str(opened.path), "images": plain}))
    else:
        style = ".2%" if word == "probability" else ".4g"
        for name, rows in found:
            print(f"{name}\n{table([('', format(value, style), c) for c, value in rows], right=[1])}")
    return 0


def _values(opened: Opened, images: Split) -> Array:
    """Probabilities [n, classes], the mean over ten crops where the run is evaluated so; scores of a net that was
    trained for none."""
    ten = opened.preprocessing.ten_crop
    scores = np.concatenate([part for part, _ in scored(opened.net, images, opened.preprocessing, ten_crop=ten)])
    return scores if ten else probabilities(opened.net, scores)
