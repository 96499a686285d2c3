"""Files that are whole at any moment, whatever happens: killed processes, full disks, a power cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

PART = ".part"
"""At the end of the name of a file that is still being written; one that is found was left by a killed process."""


def write_durably(path: Path, content: bytes | Sequence[bytes | memoryview]) -> None:
    """Write a file, given whole or in pieces; a reader finds the old content or the new one, never a part, and it is on
    the disk when this returns. OSError, which names the file, leaves the old one."""
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            for piece in [content] if isinstance(content, bytes) else content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except BaseException as failure:
        part.unlink(missing_ok=True)
        if isinstance(failure, OSError):
            failure.filename = str(path)  # not the part; and a failed write names no file
        raise


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, where the system can."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
