"""Folders and tars of photographs: where each file lies, and of which class it is."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_ir.data.prepare.labels import (
    CLASS_LISTS,
    LABEL_LISTS,
    find,
    in_order,
    read_classes,
    read_labels,
    stem,
)
from alexnet_ir.data.prepare.parts import Found, Photographs, numbered
from alexnet_ir.diagnostics import error

KAGGLE = "ILSVRC/Data/CLS-LOC"
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
VALIDATION = ("val", "validation", "valid", "eval", "test")
_WNID = re.compile(r"(n\d{8})_")


@dataclass(frozen=True, slots=True)
class File:
    """A file: its name below the root, its size, its place in a tar, and its folder, which may be its class."""

    name: str
    size: int
    offset: int
    folder: str


def find_imagenet(source: Path, labels: Path | None) -> Found | None:
    """ImageNet's tars, a folder with train and validation folders, a folder of classes, or one of photographs that are
    named by their wnid; None where it is none of them."""
    root = source / KAGGLE if (source / KAGGLE).is_dir() else source
    beside = [root, source, *list(source.absolute().parents)[:3]]
    named = read_classes(find(beside, CLASS_LISTS))
    if (source / TRAIN_TAR).is_file():
        train, validation = list(_train_tar(source / TRAIN_TAR)), source / VAL_TAR
        evaluation = list(_tar(validation)) if validation.is_file() else None
        return _found("ImageNet's tars", (source / TRAIN_TAR, train), (validation, evaluation), named, labels, beside)
    if (root / "train").is_dir():
        train, validation = list(_walk(root / "train")), _validation(root)
        evaluation = list(_walk(validation)) if validation else None
        places = (root / "train", train), (validation or root, evaluation)
        return _found("train and validation folders", *places, named, labels, [places[1][0], *beside])
    files = list(_walk(source))
    flat = [File(f.name, f.size, 0, match[1]) for f in files if (match := _WNID.match(f.name)) and not f.folder]
    classes = [file for file in files if file.folder]
    if not (classes or flat):
        return None
    kind = "a folder of classes" if classes else "photographs named by wnid"
    return _found(kind, (source, classes or flat), (source, None), named, labels, beside)


Place = tuple[Path, list[File]]


def _found(
    kind: str, train: Place, evaluation: tuple[Path, list[File] | None], named: dict[str, str], labels: Path | None,
    beside: list[Path],
) -> Found:  # fmt: skip
    ids, classes = in_order((file.folder for file in train[1]), named)
    if not ids:
        raise error(f"{train[0]}: expected a folder of photographs for each class, found none")
    part = _part(*train, ids, [file.folder for file in train[1]])
    where, files = evaluation
    if files is None:
        if labels:
            raise error(f"--labels {labels}: there are no validation images that it could be of")
        return Found(kind, ids, classes, part, None)
    path = labels or find(beside, LABEL_LISTS)
    by_folder = not labels and {file.folder for file in files} <= set(ids)
    of = [file.folder for file in files] if by_folder else _listed(where, files, path, tuple(named) or ids)
    strange = sorted(set(of) - set(ids))
    if strange:
        raise error(f"{where}: {len(strange)} classes have no training images, such as {strange[0]}")
    return Found(kind, ids, classes, part, _part(where, files, ids, of))


def _listed(where: Path, files: list[File], path: Path | None, ids: tuple[str, ...]) -> list[str]:
    """The class of each validation image, by a list."""
    if path is None:
        helps = ("--labels FILE names it: Caffe's val.txt, Kaggle's LOC_val_solution.csv, or lines `NAME WNID`",)
        raise error(f"{where}: the images lie in no class's folder, and no list of their labels is beside", helps=helps)
    labels = read_labels(path, ids)
    missing = [file.name for file in files if stem(file.name) not in labels]
    if missing:
        raise error(f"{path}: {len(missing)} of the {len(files)} images of {where} are not in it, such as {missing[0]}")
    return [labels[stem(file.name)] for file in files]


def _part(root: Path, files: list[File], ids: tuple[str, ...], of: list[str]) -> Photographs:
    """In the order of the ids and names (files), or as they lie (tars: read from front to back)."""
    labels = numbered(ids, of)
    names = np.array([file.name for file in files], object)
    tar = root.is_file()
    order = np.arange(len(files)) if tar else np.lexsort((np.argsort(np.argsort(names, kind="stable")), labels))
    sizes = np.array([file.size for file in files], np.int64)[order]
    offsets = np.array([file.offset for file in files], np.int64)[order] if tar else None
    return Photographs(root, tuple(names[order]), labels[order], sizes, offsets)


def _validation(root: Path) -> Path | None:
    """The folder of validation images; `test` only where it has classes: ImageNet's has no labels."""
    folders = [root / name for name in VALIDATION if (root / name).is_dir()]
    return next((f for f in folders if f.name != "test" or any(entry.is_dir() for entry in f.iterdir())), None)


def _walk(root: Path) -> Iterator[File]:
    """All files below a folder, but hidden ones; the first folder on the way is the class."""
    for path, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(path).relative_to(root)
        for name in sorted(names):
            if not name.startswith(".") and name != "Thumbs.db":
                full = relative / name
                folder = relative.parts[0] if relative.parts else ""
                yield File(full.as_posix(), os.stat(root / full).st_size, 0, folder)


def _train_tar(path: Path) -> Iterator[File]:
    """The images in a tar of tars, one a class: their places in the outer one."""
    with tarfile.open(path, "r:") as outer:
        for member in outer:
            inner = outer.extractfile(member)
            if inner is not None and member.name.endswith(".tar"):
                with inner, tarfile.open(fileobj=inner, mode="r:") as images:
                    yield from _members(images, member.offset_data, stem(member.name))


def _tar(path: Path) -> Iterator[File]:
    with tarfile.open(path, "r:") as images:
        yield from _members(images, 0, "")


def _members(images: Iterable[tarfile.TarInfo], start: int, folder: str) -> Iterator[File]:
    for member in images:
        if member.isfile():
            name = f"{folder}/{member.name}" if folder else member.name
            yield File(name, member.size, start + member.offset_data, folder)
