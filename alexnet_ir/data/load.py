"""From a `data` section to the images it means."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from alexnet_ir.data import cifar10, mnist
from alexnet_ir.data.dataset import Dataset, holdout_mask
from alexnet_ir.data.folder import Parts, read_folder
from alexnet_ir.data.generated import make_synthetic, read_digits
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.dsl.agree import wrong_classes
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.spec import Cifar10, DataSpec, Digits, Folder, Mnist, Resize, Synthetic
from alexnet_ir.ir.types import shape_text

Shape = tuple[int, int, int]


def load(spec: DataSpec, image: Shape, seed: int, data_dir: Path | None = None) -> Dataset:
    """The training and evaluation set of a `data` section.

    `image` is the (channels, rows, columns) of the net's input, which made-up images take; `data_dir` replaces the
    source's directory. With `holdout` the evaluation set is carved out of the training set, and the source's own, if it
    has one, is neither read nor needed. AlexnetError where files are missing or damaged.
    """
    if data_dir is not None and isinstance(spec.source, Digits | Synthetic):
        message = f"--data {data_dir}: {spec.source.name}(...) reads no directory"
        raise error(message, span=spec.span, helps=["leave --data out"])
    parts = _parts(spec, image, seed, data_dir)
    if spec.holdout is None:
        if parts.eval is None:
            message = f"{spec.source.name}(...) has no evaluation set of its own"
            raise error(message, span=spec.span, helps=("set some of it aside: holdout: 20%",))
        return Dataset(parts.train(), parts.eval(), parts.classes)
    train = parts.train()
    held = holdout_mask(train.labels, spec.holdout, seed)
    if held.all() or not held.any():
        message = f"holdout: {spec.holdout:.2%} of {len(held)} images, by class, leaves one of the two sets empty"
        raise error(message, span=spec.span)
    return Dataset(train.take(~held), train.take(held), parts.classes)


def load_for(model: Model, seed: int, data_dir: Path | None = None) -> Dataset:
    """`load` for a model with a `data` section; AlexnetError also where the net scores other classes than the data has,
    or reads images of another size than the data gives."""
    spec = data_of(model)
    data = load(spec, model.image, seed, data_dir)
    if not len(data.eval):
        raise error("the evaluation set has no image", span=spec.span, helps=["set some aside: holdout: 20%"])
    scores = {model.graph.tensor(value).shape[1] for value in model.graph.outputs.values()}
    if model.train is not None and scores != {len(data.classes)}:
        where = f"the data is {data_dir or spec.base / getattr(spec.source, 'dir', '')}"
        raise AlexnetError([wrong_classes(min(scores), len(data.classes), model.train, spec, where)])
    stored = data.train.images.shape[1:]
    prep = Preprocessing(spec.train, spec.eval, seed, np.zeros(stored, np.float32), np.eye(stored[0]))
    given = {
        "train": prep.train_batch(prep.read_train(data.train.images)[:0], [], 0).shape[1:],
        "eval": prep.eval_batch(prep.read_eval(data.eval.images)[:0]).shape[1:],
    }
    for which, shape in given.items():
        if shape != model.image:
            message = f"`{model.net}` reads images of {shape_text(model.image)}, the data gives {shape_text(shape)}"
            notes = [f"`{which}` makes that of stored images of {shape_text(stored)}"]
            raise error(message, code="R006", span=spec.span, notes=notes, helps=["crop to the net's size, or resize"])
    return data


def data_of(model: Model) -> DataSpec:
    """The model's data; AlexnetError where it names none."""
    if model.data is None:
        raise error(
            f"{model.source.name} has no `data` section, which says what to train on",
            span=model.train.span if model.train else None,
            helps=["add one: data NAME { source: digits()  holdout: 20% }"],
        )
    return model.data


def _resized(spec: DataSpec) -> int | None:
    """The larger of the sizes that training and evaluation first resize to."""
    sizes = [next((step.size for step in steps if isinstance(step, Resize)), 0) for steps in (spec.train, spec.eval)]
    return max(sizes) or None


def _parts(spec: DataSpec, image: Shape, seed: int, data_dir: Path | None) -> Parts:
    match spec.source:
        case Digits():
            return Parts(read_digits, None, mnist.CLASSES)
        case Mnist(dir=name):
            read_mnist = partial(mnist.read_mnist, data_dir or spec.base / name)
            return Parts(partial(read_mnist, "train"), partial(read_mnist, "t10k"), mnist.CLASSES)
        case Cifar10(dir=name, train=train, eval=test):
            _check_batches(spec, train, test)
            read = partial(cifar10.read_cifar10, data_dir or spec.base / name)
            return Parts(partial(read, train), partial(read, test) if test else None, cifar10.CLASSES)
        case Synthetic(images=count, classes=classes):
            make = partial(make_synthetic, classes=classes, shape=image, seed=seed)
            names = tuple(str(label) for label in range(classes))
            return Parts(partial(make, count, part="train"), partial(make, -(-count // 10), part="eval"), names)
        case Folder(dir=name):
            return read_folder(data_dir or spec.base / name, _resized(spec))
    raise TypeError(f"no reader for {spec.source!r}")


def _check_batches(spec: DataSpec, train: tuple[int, ...], test: tuple[int, ...]) -> None:
    """A batch counts once, or what is evaluated has been trained on."""
    if not train:
        raise error("cifar10: `train` is an empty list of batches", span=spec.span)
    used = train if spec.holdout is not None else train + test
    twice = sorted({number for number in used if used.count(number) > 1})
    if twice:
        raise error(f"cifar10: batch {twice[0]} is named twice in `train` and `eval`", span=spec.span)
