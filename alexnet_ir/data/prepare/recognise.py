"""What a source is, by what lies in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from alexnet_ir.data import cifar10, mnist
from alexnet_ir.data.container.layout import MANIFEST, PLAN
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.prepare.folders import TRAIN_TAR, VAL_TAR, find_imagenet
from alexnet_ir.data.prepare.labels import CLASS_LISTS, LABEL_LISTS
from alexnet_ir.data.prepare.parts import Found, Pictures
from alexnet_ir.diagnostics import error

UNDERSTOOD = (
    "a folder with `train` and, perhaps, `val`, each a folder for each class; `val` may be flat with a list of labels",
    f"a folder with {TRAIN_TAR} and, perhaps, {VAL_TAR} with a list of labels",
    "a folder of classes, each a folder of photographs",
    "a folder of photographs named n01440764_NAME, by their class",
    "the folder of CIFAR-10's batches, or of MNIST's idx files",
    f"class names and their order: {' or '.join(CLASS_LISTS)}; labels: {', '.join(LABEL_LISTS[:4])}, or --labels FILE",
)


def recognise(source: Path, labels: Path | None) -> Found:
    """The sets of a source; AlexnetError that lists what is understood where it is nothing of that."""
    if not source.is_dir():
        there = "a file" if source.exists() else "nothing"
        raise error(f"{source}: expected a folder of images, found {there}", helps=UNDERSTOOD)
    if (source / MANIFEST).exists():
        raise error(f"{source}: expected images as they come, found a set that is prepared already")
    if (source / PLAN).exists():
        helps = (f"go on with it: alexnet-ir prepare SOURCE {source}",)
        raise error(f"{source}: expected images, found a set whose preparation was interrupted", helps=helps)
    arrays = _cifar10(source) or _mnist(source)
    if arrays and labels:
        raise error(f"--labels {labels}: {arrays.kind} has labels of its own")
    found = arrays or find_imagenet(source, labels)
    if found is None:
        raise error(f"{source}: expected a folder of images, found nothing that is understood", helps=UNDERSTOOD)
    return found


def _cifar10(source: Path) -> Found | None:
    folders = ("", "cifar-10-batches-bin/", "cifar-10-batches-py/")

    def has(name: str) -> bool:
        return any((source / f"{folder}{name}{end}").is_file() for folder in folders for end in ("", ".bin"))

    if not has("data_batch_1"):
        return None
    train = cifar10.read_cifar10(source, (1, 2, 3, 4, 5))
    test = cifar10.read_cifar10(source, (6,)) if has("test_batch") else None
    return _arrays("CIFAR-10", cifar10.CLASSES, train, test)


def _mnist(source: Path) -> Found | None:
    stems = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
    if not any((source / "".join(p)).is_file() for p in itertools.product(mnist.FOLDERS, stems, ("", ".gz"))):
        return None
    return _arrays("MNIST", mnist.CLASSES, mnist.read_mnist(source, "train"), mnist.read_mnist(source, "t10k"))


def _arrays(kind: str, classes: tuple[str, ...], train: Split, test: Split | None) -> Found:
    _, channels, side, _ = train.images.shape
    evaluation = _pictures(test, "test") if test else None
    return Found(kind, classes, classes, _pictures(train, "train"), evaluation, (channels, side))


def _pictures(split: Split, name: str) -> Pictures:
    names = tuple(f"{name}/{place}" for place in range(len(split)))
    return Pictures(names, split.labels, np.asarray(split.images[:], np.uint8))
