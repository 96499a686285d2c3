"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011), vectorised.

A number is a pure function of (seed, domain, stream, step, index): nothing is drawn in order, so any slice of a tensor
can be computed alone, anywhere, and again. For a `Key`, element i is word i % 4 of

    philox4x32(counter = (i // 4, stream, step, domain), key = (low 32 bits of seed, high 32 bits of seed))

and that is all that another implementation (a kernel) has to know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_MASK = 0xFFFFFFFF
_CHUNK = 8192  # blocks at a time: what is worked on (three [2, chunk] arrays of 8 bytes) stays in the cache


class Domain(IntEnum):
    """What numbers are drawn for; part of the counter, so that no two uses ever share one."""

    DROPOUT = 0
    AUGMENT = 1
    INIT = 2
    ORDER = 3
    HOLDOUT = 4
    SYNTHETIC = 5


@dataclass(frozen=True, slots=True)
class Key:
    """Names one endless row of random numbers. `seed` has 64 bits, `stream` and `step` 32; a name (of a parameter)
    as the stream is hashed."""

    seed: int
    domain: Domain
    stream: int | str = 0
    step: int = 0

    @property
    def words(self) -> tuple[int, int]:
        """The generator's key: the seed, low half first."""
        return self.seed & _MASK, self.seed >> 32 & _MASK

    @property
    def counter(self) -> tuple[int, int, int]:
        """The upper three words of the generator's counter."""
        stream = stream_number(self.stream) if isinstance(self.stream, str) else self.stream
        return stream & _MASK, self.step & _MASK, int(self.domain)


def stream_number(name: str) -> int:
    """A 32-bit number for `name`, the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def philox4x32(counter: Sequence[ArrayLike], key: tuple[int, int]) -> NDArray[np.uint32]:
    """The four words for each counter: uint32 [4, ...], of the broadcast shape of the four counter words."""
    words = np.broadcast_arrays(*(np.asarray(word, np.uint64) for word in counter))
    flat = [word.reshape(-1) for word in words]
    out = np.empty((flat[0].size, 4), np.uint32)
    for start in range(0, len(out), _CHUNK):
        part = slice(start, start + _CHUNK)
        even, odd = _rounds(np.stack([flat[0][part], flat[2][part]]), np.stack([flat[1][part], flat[3][part]]), key)
        out[part, 0::2], out[part, 1::2] = even.T, odd.T
    return np.moveaxis(out.reshape(*words[0].shape, 4), -1, 0)


def _rounds(even: NDArray[Any], odd: NDArray[Any], key: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """All ten rounds, in place, on words (0, 2) and (1, 3) of the counters, both uint64 [2, n] below 2**32."""
    multipliers = np.array(MULTIPLIERS, np.uint64)[:, None]
    product = np.empty_like(even)
    swapped = product[::-1]
    for r in range(ROUNDS):
        round_key = np.array([(k + r * w) & _MASK for k, w in zip(key, WEYL, strict=True)], np.uint64)[:, None]
        np.multiply(even, multipliers, out=product)
        np.right_shift(swapped, np.uint64(32), out=even)
        even ^= odd
        even ^= round_key
        np.bitwise_and(swapped, np.uint64(_MASK), out=odd)
    return even, odd


def random_blocks(key: Key, blocks: ArrayLike) -> NDArray[np.uint32]:
    """Four words for each block number: uint32 [4, ...]. For draws by item, such as a sample's crop."""
    return philox4x32((blocks, *key.counter), key.words)


def random_bits(key: Key, count: int, start: int = 0) -> NDArray[np.uint32]:
    """Elements `start` to `start + count` of the row: uint32 [count]. Rows end at 2**34 elements."""
    first = start // 4
    words = random_blocks(key, np.arange(first, -(-(start + count) // 4), dtype=np.uint64))
    return words.T.reshape(-1)[start - 4 * first :][:count]


def keep_threshold(p: float) -> int:
    """An element is dropped iff its bits, as an integer, are below this: with probability `p`."""
    return round(p * 2**32)


def keep_mask(key: Key, p: float, count: int, start: int = 0) -> NDArray[np.bool_]:
    """True where dropout with probability `p` keeps the element: bool [count]."""
    return np.asarray(random_bits(key, count, start) >= keep_threshold(p), np.bool_)


def uniform(key: Key, count: int, start: int = 0) -> NDArray[np.float64]:
    """Uniform in [0, 1), 32 bits each: float64 [count]."""
    drawn: NDArray[np.float64] = np.multiply(random_bits(key, count, start), 2.0**-32)
    return drawn


def random_normals(key: Key, blocks: ArrayLike) -> NDArray[np.float64]:
    """Four standard normal numbers for each block number, float64 [4, ...]: `normal`'s elements of that block."""
    words = random_blocks(key, blocks)
    return np.stack([*_normals(words[0], words[1]), *_normals(words[2], words[3])])


def normal(key: Key, count: int, start: int = 0) -> NDArray[np.float64]:
    """Standard normal by Box and Muller: float64 [count]. Elements 2j and 2j + 1 come from the same two elements of
    the row."""
    first = start - start % 2
    out = np.empty(((start + count - first + 1) // 2, 2))
    for low in range(0, len(out), 4 * _CHUNK):
        part = out[low : low + 4 * _CHUNK]
        bits = random_bits(key, part.size, first + 2 * low).reshape(-1, 2)
        part[:, 0], part[:, 1] = _normals(bits[:, 0], bits[:, 1])
    return out.reshape(-1)[start - first :][:count]


def _normals(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two normal numbers of two words."""
    radius = np.sqrt(-2.0 * np.log((first + 1.0) * 2.0**-32))
    angle = second * (2.0 * np.pi * 2.0**-32)
    return radius * np.cos(angle), radius * np.sin(angle)
