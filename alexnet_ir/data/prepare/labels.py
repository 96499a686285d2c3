"""Lists beside the images: the classes' names and order, and the labels of validation images."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from alexnet_ir.diagnostics import error

DEVKIT = "ILSVRC2012_devkit_t12/data"
CLASS_LISTS = ("synset_words.txt", "LOC_synset_mapping.txt")
LABEL_LISTS = (
    "val.txt",
    "LOC_val_solution.csv",
    "val_annotations.txt",
    "ILSVRC2012_validation_ground_truth.txt",
    f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt",
)
LISTS = (
    "as downloaded they are in ILSVRC2012_devkit_t12.tar.gz: unpack it beside the images",
    "--labels FILE names a list: Caffe's val.txt, Kaggle's LOC_val_solution.csv, the devkit's ground truth beside its "
    "meta.mat, or lines `NAME WNID`",
)
META = "meta.mat"
"""In the devkit, beside its list of labels: which class has which number."""


def find(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    """The first file of these names in the first folder that has one."""
    names = tuple(names)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def read_classes(path: Path | None) -> dict[str, str]:
    """The name of each class by its id, in order, of lines such as `n01440764 tench, Tinca tinca`."""
    named = {}
    for line in _lines(path) if path else ():
        id_, _, name = line.partition(" ")
        named[id_] = name.strip() or id_
    return named


def in_order(ids: Iterable[str], named: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names of the classes that there are: as listed, then what is not listed, sorted."""
    listed = {id_: place for place, id_ in enumerate(named)}
    ordered = tuple(sorted(set(ids), key=lambda id_: (listed.get(id_, len(listed)), id_)))
    return ordered, tuple(named.get(id_, id_) for id_ in ordered)


def read_labels(path: Path, ids: Sequence[str], images: Iterable[str]) -> dict[str, str]:
    """The class's id by the stem of an image's name, of lines `NAME CLASS`, or `CLASS` for the images in the order of
    their names. A class is an id, a number that counts in `ids`, or, where it stands alone, the devkit's number.
    Further columns (boxes) and a table's headline are passed over."""
    rows = [line.replace(",", " ", 1).split() for line in _lines(path)]
    if all(len(row) == 1 for row in rows):
        images, classes = sorted(map(stem, images)), [row[0] for row in rows]
        if len(classes) != len(images):
            raise error(f"{path}: expected a line for each of the {len(images)} images, found {len(classes)}")
        numbers = _devkit_numbers(path.parent) if all(map(str.isdecimal, classes)) else {}
    else:
        rows = rows if all(word.isdecimal() or word in ids for word in rows[0][1:2]) else rows[1:]
        images, classes = [stem(row[0]) for row in rows], [row[1] if len(row) > 1 else "" for row in rows]
        numbers = {str(place): id_ for place, id_ in enumerate(ids)}
    known = numbers | {id_: id_ for id_ in ids}
    strange = next((class_ for class_ in classes if class_ not in known), None)
    if strange is not None:
        message = f"{path}: expected of each image its class, an id or a number below {len(ids)}, found `{strange}`"
        raise error(message, helps=LISTS)
    return {image: known[class_] for image, class_ in zip(images, classes, strict=True)}


def _devkit_numbers(folder: Path) -> dict[str, str]:
    """The id of each class by its number in the devkit, from 1."""
    path = folder / META
    if not path.is_file():
        message = f"{path}: expected the devkit's list of classes, for labels that are its numbers, found nothing"
        raise error(message, helps=LISTS)
    try:
        matlab = importlib.import_module("scipy.io")  # optional, and without types
    except ImportError:
        helps = ('pip install "alexnet-ir[examples]"', *LISTS)
        raise error(f"{path} is read by SciPy, which is not installed", helps=helps) from None
    try:
        synsets = matlab.loadmat(path, squeeze_me=True)["synsets"]
        return {
            str(int(number)): str(id_) for number, id_ in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)
        }
    except Exception as problem:  # damaged files raise anything at all
        raise error(f"{path}: expected the devkit's list of classes, found a damaged one ({problem!r})") from None


def stem(name: str) -> str:
    """`ILSVRC2012_val_00000001` of `val/ILSVRC2012_val_00000001.JPEG`."""
    return PurePosixPath(name).stem


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as failure:
        raise error(f"{path}: {failure.strerror}") from None
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
