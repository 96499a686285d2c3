"""A loss that stays at what guessing costs: said once, with what it may come from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.compiler import LOSSES, recipe_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.names import SCORE
from alexnet_ir.ir.op import Array
from alexnet_ir.training.activations import activations, computed_layers
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.run import read_metrics
from alexnet_ir.training.step import Predictor

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun

PATIENCE, EPOCHS, LEAST = 2000, 3, 100
"""Nothing is said before so many updates: three epochs, within which a net that learns a small set has begun to, but at
least 100 updates, and at most 2,000, a fifth of an epoch of ImageNet at batch 128. AlexNet with weights from
normal(0.01) may need longer; the text says so."""
NEAR = 0.01
"""Of the loss of guessing: what a batch's mean moves by on the plateau, and less than a net gains once it learns."""

SAID = "the loss is that of guessing"


def guessing(model: Model) -> float:
    """The loss where all scores are alike: ln(classes) for one softmax; of several results, weighed as they are."""
    loss, scores = recipe_of(model).loss, [model.graph.tensor(value).shape[1] for value in model.graph.outputs.values()]
    weights = loss.weights or (1.0,) * len(scores)
    each = [float(LOSSES[loss.name].evaluate([np.zeros((1, n)), np.zeros(1, np.int32)])[0]) for n in scores]
    return math.fsum(weight * one for weight, one in zip(weights, each, strict=True))


def dead_units(net: Predictor, images: ArrayLike | Augmented) -> dict[str, float]:
    """For each relu, the share of its units (of maps, channels) that are 0 for every image at every position: no
    gradient reaches what makes them."""
    layers = [layer.path for layer in computed_layers(net.model) if layer.op == "relu"]
    found = activations(net, layers)(images) if layers else {}
    return {layer: _dead(values) for layer, values in found.items()}


def _dead(values: Array) -> float:
    return float((values <= 0).all(axis=(0, *range(2, values.ndim))).mean())


class Stuck(Observer):
    """Warns once where the mean loss of the last updates is that of guessing, or more."""

    def at_start(self, run: TrainingRun) -> None:
        """A run that is taken up has said it, or not."""
        self.chance = guessing(run.model)
        self.patience = min(PATIENCE, max(LEAST, EPOCHS * run.steps_per_epoch))
        self._losses: deque[float] = deque(maxlen=LEAST)
        self._warned = any(SAID in line.get("text", "") for line in read_metrics(run.folder.path))

    def after_step(self, run: TrainingRun, update: Update) -> None:
        """Look at the last losses."""
        self._losses.append(update.loss)
        if self._warned or update.step < self.patience or len(self._losses) < LEAST:
            return
        mean = math.fsum(self._losses) / len(self._losses)
        if mean >= (1 - NEAR) * self.chance:
            self._warned = True
            run.warn(self._text(mean, run, update))

    def _text(self, mean: float, run: TrainingRun, update: Update) -> str:
        classes = run.model.graph.tensor(run.model.graph.outputs[SCORE]).shape[1]
        lines = [
            f"after {update.step:,} steps {SAID}: a mean of {mean:.4g} over the last "
            f"{len(self._losses)}, where {classes} equal scores cost {self.chance:.4g}",
            *_dead_lines(dead_units(run.step, update.images)),
            *_image_lines(update.images),
            f"the rate, {update.lr:g}, may be too high or too low by far: try a tenth, and ten times it",
            "weights may be too small for so deep a net, or too large: weight = he() fits them to each layer",
            "labels may not belong to their images: `train --overfit-one-batch` tells whether the net can learn at all",
            "AlexNet with weights from normal(0.01) stays here for some thousand steps, and then learns",
        ]
        return "\n  - ".join(lines)


def _dead_lines(dead: Mapping[str, float]) -> list[str]:
    if not dead:
        return []
    shares = ", ".join(f"{layer} {share:.0%}" for layer, share in dead.items())
    worst = max(dead.values())
    meaning = "; where most are dead, the rate was too high, or biases are too low" if worst > 0.5 else ""
    return [f"dead units, 0 for every image of the batch: {shares}{meaning}"]


def _image_lines(images: Array | Augmented) -> list[str]:
    values = images.evaluate() if isinstance(images, Augmented) else np.asarray(images)
    mean, spread = float(values.mean()), float(values.std())
    line = f"images of this batch have mean {mean:.3g} and standard deviation {spread:.3g}"
    if abs(mean) > max(spread, 1e-3):
        return [f"{line}: subtract_mean() would centre them"]
    return [f"{line}: they are all alike"] if spread < 1e-3 else [line]
