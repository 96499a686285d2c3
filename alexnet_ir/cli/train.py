"""`alexnet-ir train`: train a net on the data that its file names, or go on with a run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.cli.model import choice_of, model_path, remark_on, setup_from
from alexnet_ir.cli.terminal import show
from alexnet_ir.cli.tries import check_gradients, overfit_one_batch
from alexnet_ir.diagnostics import Diagnostic, Source, error
from alexnet_ir.dsl.model import Choice, Model, load, read_source
from alexnet_ir.pictures.album import Album
from alexnet_ir.setup import Setup
from alexnet_ir.training.checkpoint import KEEP, Checkpoint, Checkpoints, read_checkpoint
from alexnet_ir.training.diagnosis.divergence import Divergence
from alexnet_ir.training.diagnosis.norms import Norms
from alexnet_ir.training.diagnosis.stuck import Stuck
from alexnet_ir.training.environment import differences, environment_of
from alexnet_ir.training.initialise import initialise_from
from alexnet_ir.training.interrupt import Interrupted, ended_at_once
from alexnet_ir.training.loop import Options, TrainingRun
from alexnet_ir.training.observe import Observer
from alexnet_ir.training.run import CHECKPOINTS, MODEL, RunFolder, new_run_path, newest_run
from alexnet_ir.training.step import SEEDS
from alexnet_ir.training.tensorboard import TENSORBOARD, TensorBoard

DEVICES = (
    "devices", "place", "profile", "memory_limit", "precision", "arch", "graph", "check", "threads", "conv",
)  # fmt: skip
KEPT = (*DEVICES, "data", "workers", "checkpoint_every", "keep", "freeze", "norms", "pictures")
"""Options that a run goes on with unless others are given; of DEVICES, unless one is given of what it runs on."""
DEFAULTS = {"graph": True, "pictures": True} | dict.fromkeys(
    ["check", "norms", "tensorboard", "check_gradients"], False
)
"""What an option is that was not given, where it is not None."""
CHANGEABLE = ("train.optimizer", "train.schedule", "train.events", "train.stop")
"""Settings that may be others when a run goes on."""


def run(args: argparse.Namespace) -> int:
    """Train, and say where the run lies."""
    counts = {"--checkpoint-every": args.checkpoint_every, "--keep": args.keep, "--workers": args.workers}
    for flag, value in counts.items():
        if value is not None and value < 1:
            raise error(f"{flag} {value}: expected a whole number of at least 1")
    is_try = args.check_gradients or args.overfit_one_batch is not None
    command = _try if is_try else _begin if args.resume is None else _resume
    try:
        with ended_at_once():
            return command(args)
    except Interrupted as interrupted:  # before the first step
        print("interrupted", file=sys.stderr)
        return interrupted.code


def _try(args: argparse.Namespace) -> int:
    """Train nothing that is kept."""
    if args.resume is not None:
        raise error("--resume goes on with a run: leave out --check-gradients and --overfit-one-batch")
    model = _model(args, model_path(args.file))
    if args.check_gradients:
        return check_gradients(model, _setup(args, model))
    training = _training(args, model)
    if args.init_from:
        print(initialise_from(training.step, Path(args.init_from)).head, flush=True)
    return overfit_one_batch(training, args.overfit_one_batch)


def _model(args: argparse.Namespace, path: Path) -> Model:
    choice = choice_of(args)
    return load(read_source(path), replace(choice, settings={**choice.settings, **_flags(args)}))


def _begin(args: argparse.Namespace) -> int:
    path = model_path(args.file)
    model = _model(args, path)
    training = _training(args, model)
    taken = initialise_from(training.step, Path(args.init_from)) if args.init_from else None
    where = Path(args.run_dir) if args.run_dir else new_run_path(path)
    with closing(RunFolder.create(where, model.source.text)) as folder:
        _announce(training, str(path), args)
        if taken is not None:
            print("\n".join([taken.head, *taken.reasons]), flush=True)
            folder.log("event", 0, event=taken.head)
        training.begin(folder, environment_of(training.step, _given(args)))
        return _train(training)


def _resume(args: argparse.Namespace) -> int:
    named = Path(args.resume or args.run_dir or newest_run(model_path(args.file)))
    path, checkpoint, problems = _found(named)
    _warn([f"{problem}; going on from step {checkpoint.saved.step}, which is whole" for problem in problems])
    with closing(RunFolder(path, checkpoint.sizes)) as folder:
        return _go_on(args, folder, checkpoint)


def _found(named: Path) -> tuple[Path, Checkpoint, list[str]]:
    """The run's folder, the checkpoint to go on from, and why not from newer ones."""
    if not named.is_file():
        return named, *Checkpoints(named).newest()
    if named.absolute().parent.name != CHECKPOINTS:
        raise error(f"{named}: expected a run's folder, or a file in its {CHECKPOINTS}/")
    return named.absolute().parents[1], read_checkpoint(named), []


def _go_on(args: argparse.Namespace, folder: RunFolder, checkpoint: Checkpoint) -> int:
    saved, path = checkpoint.saved, folder.path
    if args.file is not None and read_source(Path(args.file)).text != saved.model:
        _warn([f"{args.file} has changed since: the run goes on with its own text, {path / MODEL}"])
    args.tensorboard |= (path / TENSORBOARD).is_dir()
    before, settings = Choice(**saved.choice), _new_settings(args)
    _take_over(args, checkpoint.options)
    model = load(Source(saved.model_path, saved.model), replace(before, settings={**before.settings, **settings}))
    training = _training(args, model)
    training.restore(checkpoint)
    if training.is_finished:
        print(f"{path} is finished: {training.control.done(saved.step)}; --epochs or --steps move the end")
        return 0
    environment = environment_of(training.step, _given(args))
    changes = _changes(before.settings, settings) | differences(checkpoint.environment, environment)
    _announce(training, str(path), args)
    print(
        "\n".join([f"going on after step {saved.step}", *(f"changed: {k}: {v}" for k, v in changes.items())]),
        flush=True,
    )
    training.go_on(folder, environment, checkpoint, changes)
    return _train(training)


def _take_over(args: argparse.Namespace, options: Mapping[str, Any]) -> None:
    """Set what was not given as it was when the run began."""
    moved = args.devices is not None or args.place is not None
    for name in KEPT:
        if getattr(args, name) == DEFAULTS.get(name) and not (moved and name in DEVICES):
            setattr(args, name, options.get(name, DEFAULTS.get(name)))


def _setup(args: argparse.Namespace, model: Model) -> Setup:
    setup = setup_from(args, model)
    if model.warnings:
        show(model.warnings)
    remark_on(setup)
    return setup


def _training(args: argparse.Namespace, model: Model) -> TrainingRun:
    kept = {name: getattr(args, name) for name in KEPT}
    data = Path(args.data).resolve() if args.data else None
    kept["data"] = data and str(data)  # a run can be taken up from another folder
    if args.profile and Path(args.profile).is_file():
        kept["profile"] = str(Path(args.profile).resolve())
    frozen = tuple(name.strip() for names in args.freeze or () for name in names.split(","))
    options = Options(data, frozen, args.workers, args.checkpoint_every, args.keep or KEEP, kept)
    return TrainingRun(model, _setup(args, model), options, _observers(args))


def _observers(args: argparse.Namespace) -> list[Observer]:
    """What watches the run."""
    found: list[Observer] = [Divergence(), Stuck()]
    if args.norms:
        found.append(Norms())
    if args.tensorboard:
        found.append(TensorBoard())
    if args.pictures:
        found.append(Album())
    return found


def _train(training: TrainingRun) -> int:
    folder = training.folder.path
    try:
        training.run()
    except Interrupted as interrupted:
        command = f"alexnet-ir train --resume {shlex.quote(str(folder))}"
        print(f"interrupted; step {training.saver.saved_step} is saved; to go on: {command}", file=sys.stderr)
        return interrupted.code
    finally:
        training.say(f"the run is in {folder}")
    return 0


# --- what is printed --------------------------------------------------------------------------------------------------


def _announce(training: TrainingRun, what: str, args: argparse.Namespace) -> None:
    print(
        f"training {training.model.net} of {what} by `train {training.recipe.name}` on "
        f"{_devices(training.step.setup, args)}{_placed(training)}: "
        f"{len(training.data.train):,} images, batch {training.model.batch}, "
        f"{training.steps_per_epoch} steps an epoch, seed {training.step.seed}",
        flush=True,
    )


def _warn(texts: list[str]) -> None:
    if texts:
        show(Diagnostic("", text, severity="warning") for text in texts)


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


# --- what was given ---------------------------------------------------------------------------------------------------


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The options that say something."""
    given = {name: value for name, value in vars(args).items() if name != "command" and value != []}
    return {name: value for name, value in given.items() if value is not None and value is not DEFAULTS.get(name)}


def _flags(args: argparse.Namespace) -> dict[str, str]:
    """--epochs, --steps and --seed as settings of the recipe."""
    for flag, value in (("--epochs", args.epochs), ("--steps", args.steps)):
        if value is not None and not value > 0:
            raise error(f"{flag} {value:g}: expected a number above 0")
    if args.epochs is not None and args.steps is not None:
        raise error("--epochs and --steps both say when to stop: give one")
    if args.seed is not None and not 0 <= args.seed < SEEDS:
        raise error(f"--seed {args.seed}: expected a whole number of at least 0 and less than 2 to the power of 63")
    found = {
        "train.stop": None if args.epochs is None else f"epochs({args.epochs:g})",
        "train.seed": None if args.seed is None else str(args.seed),
    }
    if args.steps is not None:
        found["train.stop"] = f"steps({args.steps})"
    return {name: text for name, text in found.items() if text is not None}


def _new_settings(args: argparse.Namespace) -> dict[str, str]:
    """The settings that a run goes on with; AlexnetError for what cannot change within one."""
    choice = choice_of(args)
    settings = {**choice.settings, **_flags(args)}
    fixed = [f"--set {key}" for key in choice.settings if key not in CHANGEABLE]
    named = {"--recipe": choice.recipe, "--data-section": choice.data_section, "--batch": choice.batch}
    named |= {"--seed": args.seed, "--freeze": args.freeze, "--init-from": args.init_from}
    fixed += [flag for flag, value in named.items() if value is not None]
    if fixed:
        raise error(
            f"{', '.join(fixed)}: that cannot change within a run",
            helps=[f"what can: --devices, --place, --epochs, --steps, and --set of {', '.join(CHANGEABLE)}"],
        )
    return settings


def _changes(before: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Settings that are others than before, as `old -> new`."""
    return {
        key: f"{before.get(key, 'as the file says')} -> {text}"
        for key, text in settings.items()
        if before.get(key) != text
    }
