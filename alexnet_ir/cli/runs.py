"""A trained run, opened: what every command starts from that asks one for scores."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from alexnet_ir.cli.model import setup_from
from alexnet_ir.data.dataset import Dataset
from alexnet_ir.data.load import Shape, load_for
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import Source, error
from alexnet_ir.dsl.model import Choice, Model, load
from alexnet_ir.dsl.spec import DataSpec
from alexnet_ir.training.run import weights_path
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import Saved, read_weights


@dataclass(frozen=True)
class Opened:
    """A run's weights file and what is in it, its model, the net with these weights, and the way images take into it:
    `net.predict(preprocessing.eval_batch(preprocessing.read_eval(images)))` scores stored images, uint8
    [n, *stored]."""

    path: Path
    saved: Saved
    model: Model
    net: Predictor
    preprocessing: Preprocessing

    @property
    def section(self) -> DataSpec:
        """Its data section."""
        assert self.model.data is not None
        return self.model.data

    @property
    def stored(self) -> Shape:
        """(channels, rows, columns) that a picture is brought to, in the way of `prepare`, before its transforms."""
        if self.saved.stored is None:
            helps = ["take its run up: what that saves says it"]
            raise error(f"{self.path}: an older file, which does not say of what size its data is", helps=helps)
        return self.saved.stored

    def data(self, directory: str | None) -> Dataset:
        """The sets that the run was trained and evaluated on; `directory` is that of `--data`."""
        return load_for(self.model, self.saved.seed, Path(directory) if directory else None)


def open_run(run_or_weights: str, args: argparse.Namespace, images: int | None = None) -> Opened:
    """Open a run's folder or a weights file on the devices that a command's arguments name, for batches of the
    recipe's size or, where that is less, for so many `images`; AlexnetError where it is none, or damaged."""
    path = weights_path(Path(run_or_weights))
    saved = read_weights(path)
    model = load(Source(saved.model_path, saved.model), Choice(**saved.choice))
    section = model.data
    if section is None:
        raise error(f"{path}: its model has no `data` section, which says how images are fed")
    setup = setup_from(args, model)
    if images is not None:
        devices = len(setup.devices)  # a batch that can be shared out evenly
        model = model.at_batch(min(model.batch, -(-images // devices) * devices))
    net = Predictor(model, setup)
    net.load(saved.tensors)
    preprocessing = Preprocessing(section.train, section.eval, saved.seed, saved.mean)
    return Opened(path, saved, model, net, preprocessing)
