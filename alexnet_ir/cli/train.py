"""`alexnet-ir train`: train a net on the data that its file names."""

from __future__ import annotations

import argparse
from pathlib import Path

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.cli.model import choice_of, model_path, remark_on, setup_from
from alexnet_ir.cli.terminal import show
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import load, read_source
from alexnet_ir.setup import Setup
from alexnet_ir.training.loop import Limits, TrainingRun
from alexnet_ir.training.run import RunFolder, new_run_path
from alexnet_ir.training.step import SEEDS


def run(args: argparse.Namespace) -> int:
    """Train, and say where the run lies."""
    path, choice = model_path(args.file), choice_of(args)
    model = load(read_source(path), choice)
    setup = setup_from(args, model)
    if model.warnings:
        show(model.warnings)
    remark_on(setup)
    if args.seed is not None and not 0 <= args.seed < SEEDS:
        raise error(f"--seed {args.seed}: expected a whole number of at least 0 and less than 2 to the power of 63")
    limits = Limits(Path(args.data) if args.data else None, _stop(args), args.seed)
    training = TrainingRun(model, choice, setup, limits)
    folder = RunFolder(Path(args.run_dir) if args.run_dir else new_run_path(path), model.source.text)
    print(
        f"training {model.net} of {path} by `train {training.recipe.name}` on {_devices(setup, args)}"
        f"{_placed(training)}: "
        f"{len(training.data.train):,} images, batch {model.batch}, {training.steps_per_epoch} steps an epoch, "
        f"seed {training.step.seed}",
        flush=True,
    )
    try:
        training.run(folder, lambda line: print(line, flush=True), show_progress=True)
    finally:
        print(f"the run is in {folder.path}", flush=True)
    return 0


def _devices(setup: Setup, args: argparse.Namespace) -> str:
    """What the run is on: in which precision kernels are, or for which vectors; and why on no GPU, where nobody said
    so."""
    names = ", ".join(f"GPU {name}" if name.isdecimal() else name for name in setup.devices)
    if isinstance(setup.backend, CudaBackend):
        return f"{names} in {setup.backend.precision}"
    said = [setup.backend.about] if isinstance(setup.backend, CpuBackend) else []
    said += [] if args.devices else ["no GPU can be used"]
    return f"{names} ({'; '.join(said)})" if said else names


def _placed(training: TrainingRun) -> str:
    """Which placement, where there are several devices."""
    placing = training.step.compiled.placing
    return f", placed by `{placing}`" if placing.devices > 1 else ""


def _stop(args: argparse.Namespace) -> spec.Moment | None:
    for flag, value in (("--epochs", args.epochs), ("--steps", args.steps)):
        if value is not None and not value > 0:
            raise error(f"{flag} {value:g}: expected a number above 0")
    if args.epochs is not None and args.steps is not None:
        raise error("--epochs and --steps both say when to stop: give one")
    if args.epochs is not None:
        return spec.Epochs(args.epochs)
    return None if args.steps is None else spec.Steps(args.steps)
