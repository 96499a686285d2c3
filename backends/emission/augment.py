"""Stored images made into an input on the devices: their bytes are brought there, and a kernel makes the floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.emission.commands import Emission, Place, Tensor
from alexnet_ir.backends.emission.encode import LAST, encode
from alexnet_ir.backends.emission.machine import Block, Machine, Task
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Stream
from alexnet_ir.ir.types import Split, TensorType

Given = tuple[tuple[Tensor, int], ...]
"""What a kernel reads on a device, each with its address: images, places, shifts, mean."""


@dataclass(frozen=True)
class Shard:
    """What a device holds of an input: how it lies, and where."""

    device: int
    result: Tensor
    address: int


class Intake:
    """Makes an input of a plan out of what is fed, again and again. What is uploaded has a fixed place on its device,
    which only a larger batch moves, so that what is prepared is prepared once; a mean is uploaded when it is another
    array than the last one. Where devices see the host's memory they read the batch as it lies."""

    def __init__(self, machine: Machine, emitter: Emitter, shards: Sequence[Shard]) -> None:
        self._machine, self._emitter, self._shards = machine, emitter, shards
        self._blocks: dict[tuple[int, int], Block] = {}  # by device and operand
        self._mean: Array | None = None
        self._form: tuple[object, ...] = ()
        self._prepared: Callable[[], None] = lambda: None

    def __call__(self, batch: Augmented, type_: TensorType, devices: int) -> None:
        """Fill the shards of the input of this type."""
        given = [self._given(s.device, _part(batch, type_, s.device, devices)) for s in self._shards]
        if (form := (*given, batch.factor)) != self._form:
            tasks = [self._task(*each, batch.factor) for each in zip(self._shards, given, strict=True)]
            self._prepared, self._form = self._machine.prepare(tasks), form
        self._mean = batch.mean
        self._prepared()

    def _given(self, device: int, batch: Augmented) -> Given:
        """Where a device reads its part of a batch."""
        found = []
        for number, (array, layout) in enumerate(_contents(batch)):
            if array is not self._mean:
                self._bring((device, number), encode(array, layout))
            block = self._blocks[device, number]
            shape = (1, *array.shape[-3:]) if array.ndim > 2 else array.shape
            found.append((Tensor(shape, layout, Place("operand", number, block.nbytes)), block.address))
        return tuple(found)

    def _bring(self, at: tuple[int, int], content: Array) -> None:
        """Bytes to where a device reads them."""
        seen, block = self._machine.seen(content), self._blocks.get(at)
        if seen is not None:
            self._blocks[at] = seen
            return
        if block is None or block.nbytes < content.nbytes:
            block = self._blocks[at] = self._machine.allocate(at[0], content.nbytes)
        self._machine.upload(at[0], block.address, content)

    def _task(self, shard: Shard, given: Given, factor: float) -> Task:
        emission = _emission(self._emitter, tuple(tensor for tensor, _ in given), shard.result, factor)

        def resolve(place: Place) -> int:
            return given[place.number][1] if place.kind == "operand" else shard.address

        return Task("augment", Stream(shard.device), (), emission.all, resolve)


@lru_cache(maxsize=256)
def _emission(emitter: Emitter, given: tuple[Tensor, ...], result: Tensor, factor: float) -> Emission:
    images, places, shifts, mean = given
    return emitter.augment(images, places, shifts, mean, result, factor)


def _contents(batch: Augmented) -> tuple[tuple[Array, Layout], ...]:
    """Images, places, shifts and mean, and how they lie for a kernel. Images are as they are where nothing is between
    them, channels first or last."""
    images = batch.images
    is_last = not images.flags.c_contiguous and images.transpose(LAST).flags.c_contiguous
    layout = Layout("u8" if images.dtype == np.uint8 else "f32", is_last)
    return (images, layout), (batch.places, Layout("i32")), (batch.shifts, Layout("f32")), (batch.mean, Layout("f32"))


def _part(batch: Augmented, type_: TensorType, device: int, devices: int) -> Augmented:
    """What a device's share is made of: of the images, those from the first to the last one that it names."""
    if isinstance(type_.placement, Split):
        axis = type_.placement.axis
        length = type_.local(devices)[axis]
        own = slice(device * length, (device + 1) * length)
        assert axis < 2, "inputs are split over images or channels"
        if axis == 0:
            batch = batch.rows(own)
        else:
            images, shifts, mean = batch.images[:, own], batch.shifts[:, own], batch.mean[own]
            batch = replace(batch, images=images, shifts=shifts, mean=mean)
    first, last = batch.places[:, 0].min(), batch.places[:, 0].max()
    places = batch.places.copy()
    places[:, 0] -= first
    return replace(batch, images=batch.images[first : last + 1], places=places)
