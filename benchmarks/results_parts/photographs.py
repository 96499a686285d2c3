"""Photographs, each of another class, as a container: what `alexnet-ir prepare` makes of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.results_parts.runner import ALEXNET_IR

SIZE = 128
"""Of the shorter side: crops are of 112."""


def prepared(source: Path, work: Path) -> Path:
    """A container with each photograph of a folder as a class of its own, to train and to judge by: whether a net has
    learnt them by heart is asked. `prepare` goes on where it was interrupted, and begins anew what it has not made."""
    folders, out = work / "photographs-as-classes", work / "photographs"
    for photograph in sorted(source.glob("*.JPEG")):
        for part in ("train", "val"):
            folder = folders / part / photograph.stem
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(photograph, folder)
    subprocess.run([*ALEXNET_IR, "prepare", str(folders), str(out), "--size", str(SIZE)], check=True)
    return out
