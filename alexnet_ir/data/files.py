"""Files of published data sets: found, read and checked. Whatever is wrong with one is the user's to mend, so each
message names the file, what was expected, what was found, and where the set is to be had."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.diagnostics import AlexnetError, error

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Origin:
    """Where a data set is to be had: its home page, and its archives with their official md5 sums."""

    title: str
    home: str
    archives: tuple[tuple[str, str], ...]

    def wrong(self, path: Path, expected: str, found: str) -> AlexnetError:
        """The error for `path`, ready to raise."""
        get = f"get {self.title} from {self.home}"
        sums = [f"md5 of {name}: {md5}" for name, md5 in self.archives]
        return error(f"{path}: expected {expected}, found {found}", helps=(get, *sums))

    def locate(self, directory: Path, names: Sequence[str]) -> Path:
        """The first of `names` that exists below `directory`."""
        if not os.path.isdir(directory):  # unlike Path's, these return False where access is denied
            found = "a file" if os.path.exists(directory) else "nothing"
            raise self.wrong(directory, f"the folder with {self.title} (--data DIR names another one)", found)
        for name in names:
            if os.path.exists(directory / name):
                return directory / name
        raise self.wrong(directory / names[0], f"a file of {self.title}", "nothing, here or under another usual name")

    def read(self, path: Path) -> bytes:
        """What is in a file, unpacked if it is gzipped; its content decides, not its name."""
        try:
            content = path.read_bytes()
            return gzip.decompress(content) if content.startswith(_GZIP) else content
        except (OSError, EOFError, zlib.error) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise self.wrong(path, "a readable file", f"a damaged one ({reason})") from None

    def split(self, path: Path, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], classes: int) -> Split:
        """Images and the labels found in `path`, once the labels are known to fit."""
        if labels.shape != images.shape[:1] or not len(labels):
            raise self.wrong(path, "one label for each image", f"{len(images)} images and {labels.size} labels")
        outside = (labels < 0) | (labels >= classes)
        if outside.any():
            place = int(np.argmax(outside))
            raise self.wrong(path, f"labels from 0 to {classes - 1}", f"{labels[place]} at image {place}")
        return Split(images, labels.astype(np.int32))
