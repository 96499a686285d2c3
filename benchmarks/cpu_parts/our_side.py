"""Our side of a step, by the public interface alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import alexnet_ir
from alexnet_ir.training.step import TrainingStep

from .job import RATE, Job, Variant


class OurSide:
    """A trainer on the CPU. What is fed are floats, made of bytes in NumPy."""

    def __init__(self, job: Job, variant: Variant) -> None:
        self.trainer = trainer(job)
        if job.start:
            with np.load(job.start) as start:
                for name in self.trainer.weights:
                    self.trainer.weights[name] = start[dotted(name)]
        self.trainer.lr = RATE
        self._mean = job.mean()
        self._floats = np.empty((job.batch, *job.image), np.float32)

    def feed(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """The batch of the steps that follow."""
        self._images, self._labels = images, labels

    def step(self) -> float:
        """One update, and the loss from before it."""
        return self.trainer(*self.batch())

    def predict(self) -> NDArray[np.float32]:
        """Scores [n, classes]."""
        return np.asarray(self.trainer.predict(self.batch()[0]), np.float32)

    def weights(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """As they are, by the names of the other sides."""
        return ((dotted(name), value) for name, value in self.trainer.weights.items())

    def planned(self) -> int:
        """Bytes of our plan at its peak."""
        return sum(arena.peak for arena in self.trainer.compiled.plan.arenas)

    def batch(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Floats of what was fed, and the labels."""
        return np.subtract(self._images, self._mean, out=self._floats), self._labels


def trainer(job: Job) -> TrainingStep:
    """Of a job, on so many threads where the backend is told: else by what the environment says."""
    compiled = alexnet_ir.compile(job.text, batch=job.batch)
    threads = {"threads": job.threads} if "threads" in inspect.signature(compiled.trainer).parameters else {}
    return compiled.trainer(devices="cpu", **threads)  # type: ignore[arg-type]


def dotted(name: str) -> str:
    """`stage2.basic1.conv1.weight` for `stage2/basic1/conv1.weight`."""
    return name.replace("/", ".")
