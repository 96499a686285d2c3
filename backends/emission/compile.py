"""Sources made into libraries, kept in a folder of the user so that each is compiled once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from alexnet_ir.backends.emission.cache import folder, write_whole


class CompileError(Exception):
    """The compiler's words."""


def library(kind: str, name: str, source: str, command: Sequence[str], depends: str) -> Path:
    """The shared library that `command` makes of `source` on its standard input (with `-o FILE` added), from the folder
    of this kind if it was made before: of the same source, by the same command, with the same `depends`, which says
    all else that the code depends on (the compiler's version, the processor, headers)."""
    key = hashlib.sha256("\0".join([source, *command, depends]).encode()).hexdigest()
    target = folder(kind) / f"{name}-{key[:24]}.so"
    if not os.access(target, os.R_OK):
        place = tempfile.TemporaryDirectory(prefix="alexnet-ir-")
        made = Path(place.name) / target.name
        done = subprocess.run([*command, "-o", str(made)], input=source, capture_output=True, text=True)
        if done.returncode:
            raise CompileError(done.stderr or f"exit status {done.returncode}")
        write_whole(target, made.read_bytes())
        if not os.access(target, os.R_OK):  # the disk is full, or nobody may write there
            _KEPT.append(place)
            return made
        place.cleanup()
    return target


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Folders of libraries that could be kept nowhere else, for as long as this process runs."""
