"""From a command's arguments to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.model import Choice


def model_path(file: str | None) -> Path:
    """The model file meant: the one given, else ./model.alx, else the only .alx file in this folder."""
    if file is not None:
        return Path(file)
    if Path("model.alx").exists():
        return Path("model.alx")
    found = sorted(Path().glob("*.alx"))
    if len(found) == 1:
        return found[0]
    what = f"several model files here: {', '.join(map(str, found))}" if found else "no model file here"
    raise error(what, helps=["name one"] if found else ["`alexnet-ir new alexnet > model.alx` writes one"])


def choice_of(args: argparse.Namespace) -> Choice:
    """What the arguments say beside the file."""
    settings = {}
    for setting in args.set:
        key, equals, value = setting.partition("=")
        if not equals or not value.strip():
            raise error(f"--set {setting}: expected KEY=VALUE", helps=["for instance --set train.batch=64"])
        settings[key.strip()] = value
    if args.batch is not None and args.batch < 1:
        raise error(f"--batch {args.batch}: expected a whole number of at least 1")
    return Choice(args.recipe, args.data_section, args.net, args.batch, settings)
