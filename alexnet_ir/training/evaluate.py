"""Error rates: top-1 and top-5, ties counted against us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.batches import eval_batches
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.ir.op import Array
from alexnet_ir.training.step import Predictor

Predict = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Errors:
    """Fractions of `images` whose label is not the best, or not among the best five."""

    images: int
    top1: float
    top5: float


def ranks(scores: Array, labels: Array) -> NDArray[np.intp]:
    """How many other classes score as high as the label's, or higher (NaN counts as higher): 0 is right."""
    own = scores[np.arange(len(labels)), labels][:, None]
    return np.asarray((~(scores < own)).sum(axis=1) - (own[:, 0] == own[:, 0]))


def evaluate(net: Predictor, split: Split, preprocessing: Preprocessing, predict: Predict | None = None) -> Errors:
    """Each image of a set once; `predict` maps images to scores, where not the net itself does."""
    predict, found = predict or net.predict, []
    for images, labels, valid in eval_batches(split, preprocessing, net.model.batch):
        found.append(ranks(predict(images[:valid]), labels[:valid]))
    all_ranks = np.concatenate(found)
    return Errors(len(all_ranks), float((all_ranks >= 1).mean()), float((all_ranks >= 5).mean()))
