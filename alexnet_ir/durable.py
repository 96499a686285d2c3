"""Files that are whole at any moment, whatever happens: killed processes, full disks, a power cut; and locks, so that
two processes do not write the same ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

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
        with suppress(OSError):  # there may be none, or the disk cannot be written
            part.unlink()
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


def is_ours(file: IO[bytes] | int) -> bool:
    """Lock a file or a folder until it is closed, which the end of the process does too; whether no other process has
    done so. Where the system has no locks, yes."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Lock a folder for a while, as `is_ours` does."""
    if fcntl is None:
        yield True
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield is_ours(opened)
    finally:
        os.close(opened)
