"""Memory of this process by its address."""

from __future__ import annotations

import ctypes

import numpy as np

from alexnet_ir.backends.emission.commands import Move
from alexnet_ir.backends.emission.machine import Block, Resolve
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.ir.op import Array

HUGE = 2 << 20
"""Bytes of a huge page. NumPy asks for such pages where it allocates much; whole ones take an aligned start."""


def at(address: int, nbytes: int) -> Array:
    """The bytes at an address, as a view."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def allocated(nbytes: int, alignment: int = ALIGNMENT) -> Block:
    """Memory with any content."""
    raw = np.empty(nbytes + alignment, np.uint8)
    start = -int(raw.ctypes.data) % alignment
    return Block(int(raw.ctypes.data) + start, nbytes, raw)


def move(command: Move, resolve: Resolve) -> None:
    """Copy bytes, unless they are where they shall be."""
    source, target = resolve(command.source), resolve(command.target)
    if source != target:
        ctypes.memmove(target, source, command.source.nbytes)
