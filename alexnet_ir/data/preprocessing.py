"""From stored images to what the net sees: a `data` section's transforms, a batch at a time.

Steps happen in the order written, and the mean image goes along with the images: it is cropped and scaled as they are,
so that `subtract_mean` means the same wherever it stands. After a random crop, it subtracts the centre of the mean, as
the 2012 code did. All of them but `resize`, which is a part of reading, come to one `Augmented`: where each result's
window lies in its image and in the mean, a shift of its colours, and a factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.data.dataset import Images, Split, Store
from alexnet_ir.data.resize import resized
from alexnet_ir.data.statistics import statistics_of
from alexnet_ir.data.views import Views
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.spec import (
    CenterCrop,
    DataSpec,
    PcaLight,
    RandomCrop,
    RandomFlip,
    Resize,
    Scale,
    SubtractMean,
    TenCrop,
    Transform,
)
from alexnet_ir.philox import Domain, Key, random_blocks, random_normals

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The transforms and all they need, so that evaluation can do without the training set. `mean`, float32 [channels,
    rows, columns], is that of the stored training images, or None where no step subtracts it; `covariance`, float64
    [channels, channels], that of their colours, or None where no step shifts them."""

    train: tuple[Transform, ...]
    eval: tuple[Transform, ...]
    seed: int
    mean: Floats | None
    covariance: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, spec: DataSpec, seed: int, training: Split) -> Preprocessing:
        """The section's transforms, with what they need to know of the training images."""
        steps = (*spec.train, *spec.eval)
        mean, colours = _has(SubtractMean, steps), _has(PcaLight, steps)
        if not mean and not colours:
            return cls(spec.train, spec.eval, seed, None)
        found = statistics_of(training, colours=colours)
        return cls(spec.train, spec.eval, seed, found.mean if mean else None, found.covariance if colours else None)

    def __post_init__(self) -> None:
        if self.mean is None and _has(SubtractMean, (*self.train, *self.eval)):
            raise error("subtract_mean(...) needs the mean of the training images, and it is missing")

    def setting(self, step: str, **values: Any) -> Preprocessing:
        """The same with new values for the training steps of that name, as an event sets them:
        `setting("pca_light", std=0)`. What is random is drawn as before."""
        changed = (replace(own, **values) if own.name == step else own for own in self.train)
        return replace(self, train=tuple(changed))

    @property
    def ten_crop(self) -> bool:
        """Whether evaluation averages over ten crops."""
        return _has(TenCrop, self.eval)

    def read_train(self, images: Images | Store) -> Images | Store:
        """Stored images as training's `resize` steps leave them, each made when it is asked for."""
        return resized(images, _sizes(self.train))

    def read_eval(self, images: Images | Store) -> Images | Store:
        """Stored images as evaluation's `resize` steps leave them, each made when it is asked for."""
        return resized(images, _sizes(self.eval))

    def train_batch(self, images: NDArray[Any], samples: ArrayLike, epoch: int) -> Augmented:
        """What the net trains on, of images that `read_train` gave. `samples` are their places in the training set:
        what is random is drawn by (seed, epoch, sample), so that the rest of the batch is of no matter."""
        return self._augmented(self.train, self._train_mean, images, samples, epoch)

    def eval_batch(self, images: NDArray[Any], first: int = 0) -> Augmented:
        """What the net is evaluated on, of images that `read_eval` gave: of ten crops, the centre. `first` is the first
        image's place in its set, which matters where a step is random."""
        steps = tuple(CenterCrop(step.size) if isinstance(step, TenCrop) else step for step in self.eval)
        return self._augmented(steps, self._eval_mean, images, first + np.arange(len(images)), 0)

    def eval_views(self, images: NDArray[Any], first: int = 0) -> Augmented:
        """As `eval_batch`, each image as often as `ten_crop` says: all ten of the first image (the four corners, the
        centre, and their reflections), then those of the second."""
        return self._augmented(self.eval, self._eval_mean, images, first + np.arange(len(images)), 0)

    def train_images(self, images: Images | Store, samples: ArrayLike, epoch: int) -> Floats:
        """`train_batch` of stored images, in floats [n, channels, rows, columns]."""
        return self.train_batch(self.read_train(images)[:], samples, epoch).evaluate()

    def _augmented(
        self, steps: Sequence[Transform], mean: Floats | None, images: NDArray[Any], samples: ArrayLike, epoch: int
    ) -> Augmented:
        views = Views(images, mean)
        for position, step in enumerate(steps):
            key = Key(self.seed, Domain.AUGMENT, position, epoch)
            match step:
                case SubtractMean(per=per):
                    views.subtract_mean(per)
                case Scale(factor=factor):
                    views.factor *= factor
                case CenterCrop(size=size):
                    views.center_crop(size)
                case RandomCrop(size=size):
                    views.crop(size, random_blocks(key, samples)[:2])
                case RandomFlip():
                    views.flip(random_blocks(key, samples)[0] < 2**31)
                case PcaLight(std=std):
                    views.shift(std * self._shifts(key, samples))
                case Resize() if views.is_cropped:
                    raise error("resize(...) stands after a crop, and whole images are resized")
                case TenCrop(size=size):
                    views.ten_crop(size)
                    samples = np.repeat(samples, 10)
        return views.augmented()

    def _shifts(self, key: Key, samples: ArrayLike) -> NDArray[np.float64]:
        """sum of a_i sqrt(l_i) p_i with a_i from N(0, 1), [n, channels]."""
        components = self._components
        return random_normals(key, samples)[: len(components)].T @ components

    @cached_property
    def _components(self) -> NDArray[np.float64]:
        """sqrt(l_i) p_i of the colours, a row each, the largest first, each with its greatest part above zero."""
        if self.covariance is None:
            raise error("pca_light(...) needs the covariance of the training images' colours, and it is missing")
        if len(self.covariance) > 4:
            raise error(
                f"pca_light(...) shifts the colours of images of up to 4 channels, found {len(self.covariance)}"
            )
        values, vectors = np.linalg.eigh(self.covariance)
        rows = (np.sqrt(np.maximum(values, 0)) * vectors).T[::-1]
        greatest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
        return np.asarray(rows * np.where(greatest < 0, -1, 1)[:, None])

    @cached_property
    def _train_mean(self) -> Floats | None:
        return self._resized_mean(self.train)

    @cached_property
    def _eval_mean(self) -> Floats | None:
        return self._resized_mean(self.eval)

    def _resized_mean(self, steps: Sequence[Transform]) -> Floats | None:
        return None if self.mean is None else np.asarray(resized(self.mean[None], _sizes(steps))[:][0])


def _has(step: type[Transform], steps: Sequence[Transform]) -> bool:
    return any(isinstance(own, step) for own in steps)


def _sizes(steps: Sequence[Transform]) -> list[int]:
    return [step.size for step in steps if isinstance(step, Resize)]
