"""`alexnet-ir eval`: the error of a trained net on the evaluation set."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from alexnet_ir.cli.dense import averaged, size_of, uncropped
from alexnet_ir.cli.model import remark_on, setup_from
from alexnet_ir.data.load import load as load_data
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import Source, error
from alexnet_ir.dsl.model import Choice, load
from alexnet_ir.training.evaluate import Predict, evaluate
from alexnet_ir.training.run import weights_path
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import read_weights


def run(args: argparse.Namespace) -> int:
    """Print top-1 and top-5 error."""
    path = weights_path(Path(args.run_or_weights))
    saved = read_weights(path)
    model = load(Source(saved.model_path, saved.model), Choice(**saved.choice))
    if model.data is None:
        raise error(f"{path}: its model has no `data` section to evaluate on")
    setup = setup_from(args, model)
    remark_on(setup)
    net = Predictor(model, setup)
    net.load(saved.tensors)
    section, image = model.data, model.image
    predict: Predict = net.predict
    if args.dense:
        size = size_of(args.dense)
        section, image, predict = uncropped(section, size), (image[0], *size), averaged(net, size)
    data = load_data(section, image, saved.seed, Path(args.data) if args.data else None)
    errors = evaluate(net, data.eval, Preprocessing(section.train, section.eval, saved.seed, saved.mean), predict)
    if args.json:
        print(json.dumps({"weights": str(path), "data": model.data.source.name} | asdict(errors)))
    else:
        at = f" at {args.dense}" if args.dense else ""
        print(f"{path}: {errors.images:,} images of {section.source.name}{at}: ", end="")
        print(f"top-1 error {errors.top1:.2%}, top-5 error {errors.top5:.2%}")
    return 0
