"""What was compiled, kept on disk. Any number of processes may share the folder, and may be killed at any time."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path


def folder(kind: str) -> Path:
    """Where things of a kind are kept: below ALEXNET_IR_CACHE, else where the platform keeps what can be made anew."""
    if os.environ.get("ALEXNET_IR_CACHE"):
        return Path(os.environ["ALEXNET_IR_CACHE"]) / kind
    base = Path(os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "alexnet-ir" / kind


def write_whole(path: Path, content: bytes) -> None:
    """A file of this content, all or nothing, whoever else writes it; none where the disk is full or read-only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        os.unlink(name)


def sealed(content: bytes) -> bytes:
    """Content behind its checksum."""
    return hashlib.sha256(content).digest() + content


def read_sealed(path: Path) -> bytes | None:
    """The content of a sealed file; None where there is none, or a damaged one."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    content = found[hashlib.sha256().digest_size :]
    return content if found == sealed(content) else None
