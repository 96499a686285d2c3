"""Folders and tars of photographs: where each file lies, and of which class it is."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alexnet_ir.data.container.layout import MANIFEST, PLAN
from alexnet_ir.data.prepare.labels import (
    CLASS_LISTS,
    LABEL_LISTS,
    LISTS,
    META,
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
_NO_IMAGES = {*CLASS_LISTS, *LABEL_LISTS, META, "Thumbs.db"}
_WNID = re.compile(r"(n\d{8})_")


@dataclass(frozen=True, slots=True)
class File:
    """A file: its name below the root, its size, its place in a tar, and its folder, which may be its class."""

    name: str
    size: int
    offset: int
    folder: str


@dataclass(frozen=True)
class Files:
    """What lies in a folder or in a tar."""

    root: Path
    files: list[File]

    def in_folders(self) -> Files:
        """Without files of no class."""
        return Files(self.root, [file for file in self.files if file.folder])


@dataclass(frozen=True)
class Lists:
    """The list of validation labels that was named, and the folders where lists are looked for."""

    labels: Path | None
    beside: list[Path]


def find_imagenet(source: Path, labels: Path | None) -> Found | None:
    """ImageNet's tars, a folder with train and validation folders, a folder of classes, or one of photographs that are
    named by their wnid; None where it is none of them."""
    root = source / KAGGLE if (source / KAGGLE).is_dir() else source
    lists = Lists(labels, [root, source, *list(source.absolute().parents)[:3]])
    train, val = source / TRAIN_TAR, source / VAL_TAR
    if train.is_file():
        evaluation = Files(val, list(_tar(val))) if val.is_file() else None
        return _found("ImageNet's tars", Files(train, list(_train_tar(train))), evaluation, lists)
    if (root / "train").is_dir():
        folder = _validation(root)
        evaluation = Files(folder, list(_walk(folder))) if folder else None
        return _found(
            "train and validation folders", Files(root / "train", list(_walk(root / "train"))), evaluation, lists
        )
    files = list(_walk(source))
    if any(file.folder for file in files):
        return _found("a folder of classes", Files(source, files), None, lists)
    if named := [replace(file, folder=match[1]) for file in files if (match := _WNID.match(file.name))]:
        return _found("photographs named by wnid", Files(source, named), None, lists)
    return None


def _found(kind: str, train: Files, evaluation: Files | None, lists: Lists) -> Found:
    named = read_classes(find(lists.beside, CLASS_LISTS))
    train = train.in_folders()
    of = [file.folder for file in train.files]
    ids, classes = in_order(of, named)
    if not ids:
        raise error(f"{train.root}: expected a folder of photographs for each class, found none")
    part = _part(train, ids, of)
    if evaluation is None:
        if lists.labels:
            raise error(f"--labels {lists.labels}: there are no validation images that it could be of")
        return Found(kind, ids, classes, part, None)
    if not lists.labels and any(file.folder in ids for file in evaluation.files):
        evaluation = evaluation.in_folders()
        of = [file.folder for file in evaluation.files]
    else:
        of = _listed(evaluation, lists, tuple(named) or ids)
    strange = sorted(set(of) - set(ids))
    if strange:
        raise error(f"{evaluation.root}: {len(strange)} classes have no training images, such as {strange[0]}")
    return Found(kind, ids, classes, part, _part(evaluation, ids, of))


def _listed(evaluation: Files, lists: Lists, ids: tuple[str, ...]) -> list[str]:
    """The class of each validation image, by a list."""
    where, files = evaluation.root, evaluation.files
    path = lists.labels or find([where, *lists.beside], LABEL_LISTS)
    if path is None:
        raise error(f"{where}: the images lie in no class's folder, and no list of their labels is beside", helps=LISTS)
    labels = read_labels(path, ids, [file.name for file in files])
    missing = [file.name for file in files if stem(file.name) not in labels]
    if missing:
        raise error(f"{path}: {len(missing)} of the {len(files)} images of {where} are not in it, such as {missing[0]}")
    return [labels[stem(file.name)] for file in files]


def _part(found: Files, ids: tuple[str, ...], of: list[str]) -> Photographs:
    """In the order of classes and names, or, of a tar, as they lie: it is read from front to back."""
    tar, labels, files = found.root.is_file(), numbered(ids, of), found.files
    order = range(len(files)) if tar else sorted(range(len(files)), key=lambda n: (labels[n], files[n].name))
    files = [files[place] for place in order]
    sizes = np.array([file.size for file in files], np.int64)
    offsets = np.array([file.offset for file in files], np.int64) if tar else None
    return Photographs(found.root, tuple(file.name for file in files), labels[order], sizes, offsets)


def _validation(root: Path) -> Path | None:
    """The folder of validation images; `test` only where it has classes: ImageNet's has no labels."""
    folders = [root / name for name in VALIDATION if (root / name).is_dir()]
    return next((f for f in folders if f.name != "test" or any(entry.is_dir() for entry in f.iterdir())), None)


def _walk(root: Path, parts: tuple[str, ...] = (), above: tuple[Path, ...] = ()) -> Iterator[File]:
    """All files below a folder but hidden ones, lists and what `prepare` made; the first folder on the way is the
    class. A link back to a folder `above` is not followed: it has no end."""
    here = root.joinpath(*parts)
    real = here.resolve()
    if real in above:
        return
    for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not _prepared(here / entry.name):
                yield from _walk(root, (*parts, entry.name), (*above, real))
        elif entry.name not in _NO_IMAGES and (size := _size(entry)) is not None:
            yield File("/".join((*parts, entry.name)), size, 0, parts[0] if parts else "")


def _prepared(folder: Path) -> bool:
    return (folder / PLAN).exists() or (folder / MANIFEST).exists()


def _size(entry: os.DirEntry[str]) -> int | None:
    """In bytes; None of what is no file, such as a pipe; 0 of a link to nowhere, which reading it will tell."""
    try:
        status = entry.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _train_tar(path: Path) -> Iterator[File]:
    """The images in a tar of tars, one a class: their places in the outer one."""
    with _opened(path) as outer:
        for member in _entries(outer):
            inner = outer.extractfile(member)
            if inner is not None and member.name.endswith(".tar"):
                with inner, tarfile.open(fileobj=inner, mode="r:") as images:
                    yield from _images(images, member.offset_data, stem(member.name))


def _tar(path: Path) -> Iterator[File]:
    with _opened(path) as images:
        yield from _images(images, 0, "")


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except tarfile.TarError as failure:
        helps = ("compare its checksum, and get it again",)
        raise error(f"{path}: expected a whole tar, found a damaged one ({failure})", helps=helps) from None


def _images(tar: tarfile.TarFile, start: int, folder: str) -> Iterator[File]:
    for member in _entries(tar):
        if member.isfile():
            name = f"{folder}/{member.name}" if folder else member.name
            yield File(name, member.size, start + member.offset_data, folder)


def _entries(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All of a tar; TarError where what follows is not its end: tarfile itself takes a damaged entry for that."""
    yield from tar
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"neither an entry nor the end at byte {tar.offset:,}")
