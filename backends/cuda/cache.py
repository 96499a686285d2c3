"""Compiled kernels, kept on disk. Any number of processes may share the folder, and may be killed at any time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

from alexnet_ir.backends.cuda import nvrtc
from alexnet_ir.backends.cuda.launch import Kernel
from alexnet_ir.backends.cuda.nvrtc import Compiled, Usage


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


# --- kernels ----------------------------------------------------------------------------------------------------------


def cubins(kernels: Iterable[Kernel], arch: str) -> dict[Kernel, Compiled]:
    """Each kernel compiled, several at a time."""
    distinct = list(dict.fromkeys(kernels))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(distinct, pool.map(lambda kernel: cubin(kernel, arch), distinct), strict=True))


def cubin(kernel: Kernel, arch: str) -> Compiled:
    """A kernel compiled, now or earlier."""
    path = folder("cubins") / f"{key(kernel, arch)}.cubin"
    content = read_sealed(path)
    if content is not None:
        return _decode(content)
    compiled = nvrtc.compile(kernel.source, kernel.name, arch)
    write_whole(path, sealed(_encode(compiled)))
    return compiled


def key(kernel: Kernel, arch: str) -> str:
    """Of all that the machine code depends on."""
    said = (kernel.name, kernel.source, arch, nvrtc.OPTIONS, nvrtc.nvrtc().version)
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _encode(compiled: Compiled) -> bytes:
    return json.dumps([compiled.log, astuple(compiled.usage)]).encode() + b"\n" + compiled.cubin


def _decode(content: bytes) -> Compiled:
    head, _, code = content.partition(b"\n")
    log, usage = json.loads(head)
    return Compiled(code, log, Usage(*usage))
