"""Error rates: top-1 and top-5, ties counted against us, by the centre crop or the average over ten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.compiler import recipe_of
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.loader import Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.dsl.spec import SoftmaxCrossEntropy
from alexnet_ir.ir.op import Array
from alexnet_ir.training.step import Predictor

Predict = Callable[[Array | Augmented], Array]


@dataclass(frozen=True, slots=True)
class Errors:
    """Fractions of `images` whose label is not the best, or not among the best five."""

    images: int
    top1: float
    top5: float

    @classmethod
    def of(cls, found: NDArray[np.intp]) -> Errors:
        """By the ranks of the labels."""
        return cls(len(found), float((found >= 1).mean()), float((found >= 5).mean()))


def ranks(scores: Array, labels: Array) -> NDArray[np.intp]:
    """How many other classes score as high as the label's, or higher (NaN counts as higher): 0 is right."""
    own = scores[np.arange(len(labels)), labels][:, None]
    return np.asarray((~(scores < own)).sum(axis=1) - (own[:, 0] == own[:, 0]))


def probabilities(net: Predictor, scores: Array) -> NDArray[np.float64]:
    """What scores [..., classes] are averaged as: the softmax, where the net was trained with it; else themselves."""
    trained = isinstance(recipe_of(net.model).loss, SoftmaxCrossEntropy)
    return softmax(scores) if trained else np.asarray(scores, np.float64)


def softmax(scores: Array) -> NDArray[np.float64]:
    """Probabilities [..., classes]."""
    values = np.asarray(scores, np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def scored(
    net: Predictor,
    split: Split,
    preprocessing: Preprocessing,
    *,
    ten_crop: bool = False,
    predict: Predict | None = None,
) -> Iterator[tuple[Array, Array]]:
    """Scores [n, classes] and labels [n] of a set, each image once, a batch at a time: the net's scores of the centre,
    or the mean of its probabilities over ten crops. `predict` maps images to scores, where not the net itself does."""
    predict = predict or net.predict
    for images, labels in Loader(split, preprocessing, net.model.batch).eval(views=ten_crop):
        scores = predict(images)
        if ten_crop:
            scores = probabilities(net, scores).reshape(len(labels), -1, scores.shape[1]).mean(axis=1)
        yield scores, labels


def evaluate(
    net: Predictor,
    split: Split,
    preprocessing: Preprocessing,
    *,
    ten_crop: bool = False,
    predict: Predict | None = None,
) -> Errors:
    """The errors on a set, by the centre view of each image, or, with `ten_crop`, by the average over the views that
    the data section's `ten_crop(n)` gives (`preprocessing.ten_crop` says whether it has one)."""
    batches = scored(net, split, preprocessing, ten_crop=ten_crop, predict=predict)
    return Errors.of(np.concatenate([ranks(scores, labels) for scores, labels in batches]))
