"""Our side of a whole step: from uint8 images on the device to updated weights, with the loss read."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import numpy as np

from alexnet_ir.backends.augment import PLACES
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.emitters.augment import augmented
from alexnet_ir.backends.cuda.gpu import Precision
from alexnet_ir.backends.cuda.room import needed
from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.training.step import TrainingStep

from .lab import Lab

MEAN, FACTOR, RATE = 128.0, 1 / 64, 1e-3
"""What all sides subtract from bytes and multiply them by, and the learning rate."""


class Converter:
    """Bytes [n, rows, columns, channels] to the net's input, by the kernel that also crops and reflects: here it does
    neither, as the other sides do not."""

    def __init__(self, lab: Lab, batch: int, image: tuple[int, int, int]) -> None:
        self._lab, self._arrays = lab, lab.arrays()
        channels, rows, columns = image
        self._shape = (batch, channels, rows, columns)
        places = np.zeros((batch, len(PLACES)), np.int32)
        places[:, 0] = np.arange(batch)
        given: list[tuple[tuple[int, ...], Layout, Array | None]] = [
            (self._shape, Layout("u8", channels_last=True), None),
            (places.shape, Layout("i32"), places),
            ((batch, channels), Layout("f32"), np.zeros((batch, channels), np.float32)),
            ((1, channels, 1, 1), Layout("f32"), np.full((1, channels, 1, 1), MEAN, np.float32)),
        ]
        self._others = [lab.given(array) for _, _, array in given if array is not None]
        tensors = [
            Tensor(shape, layout, Place("operand", number, layout.nbytes(shape)))
            for number, (shape, layout, _) in enumerate(given)
        ]
        stored: Stored = "f32"
        layout = Layout(stored)
        result = Tensor(self._shape, layout, Place("result", 0, layout.nbytes(self._shape)))
        self._emission = augmented(*tensors, result, FACTOR)

    def __call__(self, images: Any) -> Any:
        """Float32 [n, channels, rows, columns], where the images are; it may not have been computed yet."""
        arrays = self._arrays
        with arrays.current():
            operands = [arrays.ready(array) for array in (images, *self._others)]
            made = arrays.empty(self._shape, "float32")
            found = {"operand": operands, "result": [made]}
            arrays.run(self._emission.commands, lambda place: arrays.address(found[place.kind][place.number]))
        return made


class Ours:
    """A training step of ours on logical devices of one GPU."""

    def __init__(self, lab: Lab, model: Model, precision: Precision, devices: str = "0") -> None:
        self._lab = lab
        self.name = "alexnet-ir" if devices == "0" else f"alexnet-ir on {devices}"
        setup = lab.setup(precision, devices)
        assert isinstance(setup.backend, CudaBackend)
        assert setup.backend.machine is not None
        free = setup.backend.machine.free_bytes(0)
        self._step = TrainingStep(model, setup)
        self._step.lr = RATE
        self.planned = sum(needed(self._step.compiled.plan))
        left = setup.backend.machine.free_bytes(0)
        self.taken = free - left if free is not None and left is not None else 0
        self._convert = Converter(lab, model.batch, model.image)
        self._images: Any = None
        self._labels: Any = None

    @property
    def memory(self) -> str:
        """Planned, and taken from the device for it."""
        return f"{self.planned / 2**20:,.0f} MiB planned, {self.taken / 2**20:,.0f} taken"

    def load(self, weights: Mapping[str, Array]) -> None:
        """Before the first step: momenta are 0 then."""
        self._step.load(weights)

    def feed(self, images: Array, labels: Array) -> None:
        """The batch of the steps that follow, to the device."""
        self._images, self._labels = self._lab.given(images), self._lab.given(labels)

    def convert(self) -> object:
        """Bytes to floats, alone."""
        return self._convert(self._images)

    def step(self) -> float:
        """One update, and the loss from before it."""
        return self._step(self._convert(self._images), self._labels)

    def close(self) -> None:
        """Give the memory back."""
        del self._step, self._convert
        self._images = self._labels = None
        gc.collect()
