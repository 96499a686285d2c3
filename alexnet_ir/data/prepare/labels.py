"""Lists beside the images: the classes' names and order, and the labels of validation images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from alexnet_ir.diagnostics import AlexnetError, error

CLASS_LISTS = ("synset_words.txt", "LOC_synset_mapping.txt")
LABEL_LISTS = ("val.txt", "LOC_val_solution.csv", "val_annotations.txt")
_TWO_COLUMNS = "lines of an image's name and its class, a number from 0 or the id of a class"


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


def read_labels(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """The class's id by the image's name without folder and suffix. A number counts in `ids`. Further columns (boxes)
    and the headline of a table are passed over."""
    found = {}
    known = set(ids)
    for number, line in enumerate(_lines(path), 1):
        name, _, rest = line.replace(",", " ", 1).partition(" ") if "," in line else line.partition(" ")
        words = rest.split()
        if words and words[0].isdecimal() and int(words[0]) < len(ids):
            found[stem(name)] = ids[int(words[0])]
        elif words and words[0] in known:
            found[stem(name)] = words[0]
        elif number > 1 or not words or words[0].isdecimal():
            raise _wrong(path, number, line, len(ids))
    return found


def stem(name: str) -> str:
    """`ILSVRC2012_val_00000001` of `val/ILSVRC2012_val_00000001.JPEG`."""
    return PurePosixPath(name).stem


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as failure:
        raise error(f"{path}: {failure.strerror}") from None
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _wrong(path: Path, number: int, line: str, classes: int) -> AlexnetError:
    notes: tuple[str, ...] = ()
    if len(line.split()) == 1:
        notes = ("numbers alone, as in ILSVRC2012_validation_ground_truth.txt, count the classes as the devkit does",)
    helps = ("Caffe's val.txt and Kaggle's LOC_val_solution.csv are such lists: --labels FILE",)
    return error(
        f"{path}: line {number}: expected {_TWO_COLUMNS} (there are {classes}), found `{line[:60]}`",
        notes=notes,
        helps=helps,
    )
