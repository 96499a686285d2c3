"""Images as a net sees them: the values of its last hidden layer, and which are near each other in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.loader import Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.training.activations import activations, last_hidden
from alexnet_ir.training.step import Floats, Predictor

Features = Callable[[Split], Floats]
"""From a set to float32 [n, units], a row for each image in its order."""


def features(net: Predictor, preprocessing: Preprocessing, layer: str | None = None) -> Features:
    """The values of a layer (as a rule of the last hidden one) for a set's images, seen as in evaluation: of ten crops,
    the centre. They are those of the weights when it is called. AlexnetError for a name that is no layer's."""
    name = layer or last_hidden(net.model)
    run = activations(net, [name])

    def of(split: Split) -> Floats:
        batches = Loader(split, preprocessing, net.model.batch).eval()
        found = [run(images)[name].reshape(len(labels), -1) for images, labels in batches]
        return np.concatenate(found).astype(np.float32, copy=False)

    return of


def nearest(among: Floats, query: Floats, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The rows of `among` [n, units] that are nearest to `query` [units], and their Euclidean distances; of equally
    near ones the first comes first."""
    distances = np.sqrt(np.square(among - query).sum(axis=1, dtype=np.float64))
    order = np.argsort(distances, kind="stable")[:count]
    return order, distances[order]
