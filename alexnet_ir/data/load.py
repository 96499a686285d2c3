"""From a `data` section to the images it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alexnet_ir.data import cifar10, mnist
from alexnet_ir.data.dataset import Dataset, Split, holdout_mask
from alexnet_ir.data.generated import make_synthetic, read_digits
from alexnet_ir.diagnostics import AlexnetError, Diagnostic, error
from alexnet_ir.dsl.spec import Cifar10, DataSpec, Digits, Folder, Mnist, Resize, Synthetic
from alexnet_ir.ir.op import Array

Shape = tuple[int, int, int]
NOT_YET = (Folder,)
USUAL_SIZE = 256
"""Rows and columns of a folder's images where nothing says otherwise."""


@dataclass(frozen=True)
class _Parts:
    """How a source's two sets are read; `eval` is None where it has no evaluation set of its own."""

    train: Callable[[], Split]
    eval: Callable[[], Split] | None
    classes: tuple[str, ...]


def load(spec: DataSpec, image: Shape, seed: int, data_dir: Path | None = None) -> Dataset:
    """The training and evaluation set of a `data` section.

    `image` is the (channels, rows, columns) of the net's input, which made-up images take; `data_dir` replaces the
    source's directory. With `holdout` the evaluation set is carved out of the training set, and the source's own, if it
    has one, is neither read nor needed. AlexnetError where files are missing or damaged.
    """
    refusals = unsupported(spec)
    if refusals:
        raise AlexnetError(Diagnostic("", refusal, spec.span) for refusal in refusals)
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


def stored_shape(spec: DataSpec, image: Shape, mean: Array | None) -> Shape:
    """The (channels, rows, columns) that the source keeps, as far as can be said without reading it: `image` is the
    net's own, `mean` the mean image, which has it where there is one."""
    known = spec.source.stored or (None if mean is None else mean.shape)
    if known is not None:
        return known[0], known[1], known[2]
    return image if isinstance(spec.source, Synthetic) else (3, size_read(spec), size_read(spec))


def size_read(spec: DataSpec) -> int:
    """Rows and columns that a folder's pictures are brought to: the largest that `resize` asks for."""
    sizes = [next((step.size for step in steps if isinstance(step, Resize)), 0) for steps in (spec.train, spec.eval)]
    return max(sizes) or USUAL_SIZE


def unsupported(spec: DataSpec) -> list[str]:
    """One line for each thing in the section that the language has and nothing reads or runs yet."""
    calls = [(spec.source, "reads"), *((step, "runs") for step in (*spec.train, *spec.eval))]
    found = {call.name: verb for call, verb in calls if isinstance(call, NOT_YET)}
    return [f"{name}(...) is accepted by check, but nothing {verb} it yet" for name, verb in found.items()]


def _parts(spec: DataSpec, image: Shape, seed: int, data_dir: Path | None) -> _Parts:
    match spec.source:
        case Digits():
            return _Parts(read_digits, None, mnist.CLASSES)
        case Mnist(dir=name):
            read_mnist = partial(mnist.read_mnist, data_dir or spec.base / name)
            return _Parts(partial(read_mnist, "train"), partial(read_mnist, "t10k"), mnist.CLASSES)
        case Cifar10(dir=name, train=train, eval=test):
            _check_batches(spec, train, test)
            read = partial(cifar10.read_cifar10, data_dir or spec.base / name)
            return _Parts(partial(read, train), partial(read, test) if test else None, cifar10.CLASSES)
        case Synthetic(images=count, classes=classes):
            make = partial(make_synthetic, classes=classes, shape=image, seed=seed)
            names = tuple(str(label) for label in range(classes))
            return _Parts(partial(make, count, part="train"), partial(make, -(-count // 10), part="eval"), names)
    raise TypeError(f"no reader for {spec.source!r}")


def _check_batches(spec: DataSpec, train: tuple[int, ...], test: tuple[int, ...]) -> None:
    """A batch counts once, or what is evaluated has been trained on."""
    if not train:
        raise error("cifar10: `train` is an empty list of batches", span=spec.span)
    used = train if spec.holdout is not None else train + test
    twice = sorted({number for number in used if used.count(number) > 1})
    if twice:
        raise error(f"cifar10: batch {twice[0]} is named twice in `train` and `eval`", span=spec.span)
