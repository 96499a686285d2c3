"""Our side of a step, by the public interface alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import alexnet_ir
from alexnet_ir.training.step import Predictor, TrainingStep

from .job import RATE, Job, Variant


class OurSide:
    """A net on the CPU. What is fed are floats, made of bytes in NumPy."""

    def __init__(self, job: Job, variant: Variant) -> None:
        self.net: Predictor = trainer(job) if job.train else predictor(job)
        if job.start:
            with np.load(job.start) as start:
                for name in self.net.weights:
                    self.net.weights[name] = start[dotted(name)]
        self._mean = job.mean()
        self._floats = np.empty((job.batch, *job.image), np.float32)

    def feed(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """The batch of the steps that follow."""
        self._images, self._labels = images, labels

    def step(self) -> float:
        """One update, and the loss from before it."""
        assert isinstance(self.net, TrainingStep)
        return self.net(*self.batch())

    def predict(self) -> NDArray[np.float32]:
        """Scores [n, classes]."""
        return np.asarray(self.net.predict(self.batch()[0]), np.float32)

    def weights(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """As they are, by the names of the other sides."""
        return ((dotted(name), value) for name, value in self.net.weights.items())

    def planned(self) -> int:
        """Bytes of our plan at its peak."""
        return sum(arena.peak for arena in self.net.plan.arenas)

    def batch(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Floats of what was fed, and the labels."""
        return np.subtract(self._images, self._mean, out=self._floats), self._labels


def trainer(job: Job) -> TrainingStep:
    """Of a job."""
    made = alexnet_ir.compile(job.text, batch=job.batch).trainer(devices="cpu", threads=job.threads)
    made.lr = RATE
    return made


def predictor(job: Job) -> Predictor:
    """Of a job that trains nothing."""
    return alexnet_ir.compile(job.text, batch=job.batch).predictor(devices="cpu", threads=job.threads)


def dotted(name: str) -> str:
    """`stage2.basic1.conv1.weight` for `stage2/basic1/conv1.weight`."""
    return name.replace("/", ".")
