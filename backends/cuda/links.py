"""Copies from one GPU to another: directly where they can reach each other, elsewhere by way of the host.

Some machines say that GPUs can reach each other, and what is copied between them never arrives, without any error:
behind an IOMMU that translates addresses, for one. Therefore every link is tried before it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.card import Card

PEERS_ALREADY = 704  # cudaError_t
TRIED = 1 << 20
"""Bytes that are copied along a link to try it."""


class Links:
    """Between these GPUs, by their numbers; `cuda` is the module of CuPy."""

    def __init__(self, cuda: Any, cards: Mapping[int, Card]) -> None:
        self._cuda, self._cards = cuda, cards
        self._staged: dict[tuple[int, int], bool] = {}
        for number in cards:
            self._reach(number)

    def is_staged(self, at: int, to: int) -> bool:
        """Whether copies must pass through memory of ours on the host: CUDA refuses them, or loses them."""
        if (at, to) not in self._staged:
            self._staged[at, to] = not self._works(at, to)
        return self._staged[at, to]

    def _reach(self, number: int) -> None:
        """Let a GPU read and write the others' memory, where it can; elsewhere CUDA copies by way of the host."""
        runtime = self._cuda.runtime
        with self._cards[number].current():
            for other in self._cards:
                if other != number and runtime.deviceCanAccessPeer(number, other):
                    try:
                        runtime.deviceEnablePeerAccess(other)
                    except RuntimeError as failure:
                        if getattr(failure, "status", None) != PEERS_ALREADY:
                            warnings.warn(f"GPU {number} cannot reach GPU {other}: {failure}", stacklevel=5)

    def _works(self, at: int, to: int) -> bool:
        """Whether CUDA copies along a link; if not while they reach each other, then without that."""
        try:
            if self._arrives(at, to):
                return True
            warnings.warn(
                f"copies from GPU {at} to GPU {to} do not arrive (an IOMMU?): they go by way of the host", stacklevel=6
            )
            self._part(at, to)
            self._part(to, at)
            return self._arrives(at, to)
        except RuntimeError:
            return False

    def _arrives(self, at: int, to: int) -> bool:
        """Copy some bytes and look at them."""
        sent = np.random.default_rng(0).integers(0, 256, TRIED, np.uint8)
        blocks = {}
        for number, content in ((at, sent), (to, ~sent)):
            with self._cards[number].current():
                blocks[number] = self._cuda.memory.Memory(TRIED)
                self._cards[number].upload(blocks[number].ptr, content)
                self._cards[number].main.synchronize()
        with self._cards[at].current():
            main = self._cards[at].main
            self._cuda.runtime.memcpyPeerAsync(blocks[to].ptr, to, blocks[at].ptr, at, TRIED, main.ptr)
            main.synchronize()
        with self._cards[to].current():
            return bool(np.array_equal(self._cards[to].download(blocks[to].ptr, TRIED), sent))

    def _part(self, number: int, other: int) -> None:
        """No GPU reads or writes the other's memory any more."""
        with self._cards[number].current(), suppress(RuntimeError):  # it never did
            self._cuda.runtime.deviceDisablePeerAccess(other)
