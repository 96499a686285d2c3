"""What a worker is told to run: JSON between processes. Nothing of ours is imported here, so that the other sides'
memory is their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN = (123.0, 116.0, 103.0)
"""Of each channel: what all sides subtract from bytes."""
RATE = 1e-5
"""The learning rate, of all nets: so small that three updates of a deep net do not make more of a rounding."""


@dataclass(frozen=True)
class Job:
    """A net at a batch, to be trained or asked for scores: its twin's name, our text, and what the twin has to know.
    `factors` are those of the learning rate and the weight decay, by parameter."""

    key: str
    text: str
    batch: int
    train: bool
    dropout: bool
    threads: int
    image: tuple[int, int, int]
    classes: int
    shapes: Mapping[str, tuple[int, ...]]
    factors: Mapping[str, tuple[float, float]]
    momentum: float
    weight_decay: float
    start: str
    """A file of the weights to begin with, by our names."""

    def to_json(self) -> str:
        """The text of it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """It again."""
        found = json.loads(text)
        shapes = {name: tuple(shape) for name, shape in found["shapes"].items()}
        return cls(**found | {"shapes": shapes, "image": tuple(found["image"])})

    def given(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images [n, c, h, w] and labels of a batch by its number."""
        random = np.random.default_rng(number)
        images = random.integers(0, 256, (self.batch, *self.image), np.uint8)
        return images, random.integers(0, self.classes, self.batch)

    def mean(self) -> NDArray[np.float32]:
        """[c, 1, 1], for the channels there are."""
        return np.array(MEAN[: self.image[0]], np.float32)[:, None, None]


@dataclass(frozen=True)
class Variant:
    """How a side is run. `name` is what is printed, `side` the module; the rest is PyTorch's: `tuned` with the fused
    update and settings of malloc, `by_hand` with normalisations from slices."""

    name: str
    side: str
    tuned: bool = False
    by_hand: bool = False
    channels_last: bool = False
    compiled: bool = False

    def to_json(self) -> str:
        """The text of it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Variant:
        """It again."""
        found: dict[str, Any] = json.loads(text)
        return cls(**found)
