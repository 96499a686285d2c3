"""One batch learnt by heart: what any net that is put together rightly can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from alexnet_ir.data.loader import Fed
from alexnet_ir.training.diagnosis.divergence import explain
from alexnet_ir.training.evaluate import ranks
from alexnet_ir.training.step import TrainingStep

EVERY = 10
"""Steps from one look to the next."""


@dataclass(frozen=True)
class Learnt:
    """How far it came: after so many steps, so many images of the batch right, the loss at the beginning and now."""

    steps: int
    right: int
    images: int
    first: float
    loss: float

    @property
    def all(self) -> bool:
        """Whether the batch is learnt."""
        return self.right == self.images


def overfit(step: TrainingStep, batch: Fed, steps: int, tell: Callable[[Learnt], None]) -> Learnt:
    """Update on one batch, its augmentation fixed, at the recipe's first rate, until all its images are right or
    `steps` are made; `tell` hears how it goes. Dropout and all else is as in training, but what is right is judged as
    evaluation sees the net. AlexnetError, explained, where it diverges."""
    images, labels = batch
    start, losses = step.states(), list[float]()

    def rewind(updates: int) -> None:
        step.restore(start, 0)
        for _ in range(updates):
            step(images, labels)

    while True:
        losses.append(step(images, labels))
        if not math.isfinite(losses[-1]):
            raise explain(step, len(losses), losses[-1], rewind, lambda _: batch, losses[-6:-1])
        if len(losses) % EVERY == 0 or len(losses) == steps:
            right = int((ranks(step.predict(images), labels) == 0).sum())
            found = Learnt(len(losses), right, len(labels), losses[0], losses[-1])
            tell(found)
            if found.all or found.steps == steps:
                return found
