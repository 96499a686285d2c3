"""Compiled kernels, kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

from alexnet_ir.backends.cuda import nvrtc
from alexnet_ir.backends.cuda.nvrtc import Compiled, Usage
from alexnet_ir.backends.emission.cache import folder, read_sealed, sealed, write_whole
from alexnet_ir.backends.emission.commands import Kernel


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
