"""Training from a recipe: epochs of batches, a schedule, an evaluation after each; the best and last weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Never

import numpy as np
from tqdm import tqdm

from alexnet_ir.compiler import recipe_of
from alexnet_ir.data.batches import train_batches
from alexnet_ir.data.dataset import Dataset
from alexnet_ir.data.load import load
from alexnet_ir.data.load import unsupported as unsupported_data
from alexnet_ir.data.preprocessing import Floats, Preprocessing
from alexnet_ir.diagnostics import AlexnetError, Diagnostic, error
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import Setup
from alexnet_ir.training.control import Control
from alexnet_ir.training.evaluate import evaluate, ranks
from alexnet_ir.training.run import BEST, FINAL, EpochMetrics, RunFolder
from alexnet_ir.training.step import TrainingStep
from alexnet_ir.training.weights import Saved, write_weights
from alexnet_ir.version import __version__

Say = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """What the caller says of a run beside the recipe."""

    data_dir: Path | None = None
    stop: spec.Moment | None = None
    seed: int | None = None


class TrainingRun:
    """One run, from the recipe to the final weights. AlexnetError where the recipe asks for what nothing runs yet, or
    the data is not there; nothing is written before that is known."""

    def __init__(self, model: Model, choice: Choice, setup: Setup, limits: Limits) -> None:
        self.model, self.choice = model, choice
        self.recipe = recipe_of(model)
        data = _data_of(model, self.recipe)
        refusals = [Diagnostic("", line, data.span) for line in unsupported_data(data)]
        if refusals:
            raise AlexnetError(refusals)
        seed = self.recipe.seed if limits.seed is None else limits.seed
        self.data: Dataset = load(data, model.image, seed, limits.data_dir)
        self.preprocessing = Preprocessing.of(data, seed, self.data.train)
        # Made and thrown away, so that a set smaller than a batch is refused before anything is written.
        next(train_batches(self.data.train, self.preprocessing, model.batch, 0))
        self.steps_per_epoch = len(self.data.train) // model.batch
        self.control = Control(model, self.steps_per_epoch, [limits.stop] if limits.stop else ())
        self.step = TrainingStep(model, setup, seed)
        self.best = math.inf

    @property
    def total(self) -> int | None:
        """Steps to go in all, where that is known."""
        return self.control.total

    def run(self, folder: RunFolder, say: Say, *, show_progress: bool) -> EpochMetrics | None:
        """Train to the end; after an interruption the weights so far are written before it goes on."""
        last = None
        # The bar draws itself only on a terminal (disable=None).
        bar = tqdm(total=self.total, unit="step", disable=None if show_progress else True, leave=False)
        try:
            for epoch in range(10**9):
                last = self._epoch(epoch, folder, bar)
                tqdm.write(self._epoch_line(last)) if not bar.disable else say(self._epoch_line(last))
                self.control.end_of_epoch(last)
                if self.control.done(self.step.steps):
                    break
        finally:
            bar.close()
            if math.isfinite(self.step.last_loss):
                self._save(folder.path / FINAL)
        return last

    def _batches(self, epoch: int) -> Iterator[tuple[Floats, Array]]:
        left = None if self.total is None else self.total - self.step.steps
        for number, batch in enumerate(train_batches(self.data.train, self.preprocessing, self.model.batch, epoch)):
            if left is not None and number >= left:
                return
            yield batch

    def _epoch(self, epoch: int, folder: RunFolder, bar: tqdm[Never]) -> EpochMetrics:
        """One pass over the training set (or what is left of the run), and an evaluation."""
        start, losses, wrong = time.perf_counter(), [], []
        every = max(1, self.steps_per_epoch // 20)
        for images, labels in self._batches(epoch):
            self.control.steer(self.step)
            losses.append(self.step(images, labels))
            wrong.append(float((ranks(self.step.scores, labels) > 0).mean()))
            if not math.isfinite(losses[-1]):
                raise self._diverged(losses[-1])
            if self.step.steps % every == 0:
                folder.log_step(self.step.steps, losses[-1], self.step.lr)
            rate = len(losses) * self.model.batch / (time.perf_counter() - start)
            shown = f"loss {np.mean(losses[-every:]):.4f}, error {np.mean(wrong[-every:]):.1%}, {rate:.0f} images/s"
            bar.set_description(f"epoch {epoch + 1}", refresh=False)
            bar.set_postfix_str(shown, refresh=False)
            bar.update()
        seconds = time.perf_counter() - start
        errors = evaluate(self.step, self.data.eval, self.preprocessing)
        metrics = EpochMetrics(
            epoch + 1, self.step.steps, self.step.lr, float(np.mean(losses)), float(np.mean(wrong)),
            errors.images, errors.top1, errors.top5, len(losses) * self.model.batch / seconds, seconds,
        )  # fmt: skip
        folder.log_epoch(metrics)
        if errors.top1 < self.best:
            self.best = errors.top1
            self._save(folder.path / BEST)
        return metrics

    def _diverged(self, loss: float) -> AlexnetError:
        return error(
            f"the loss is {loss} at step {self.step.steps}: training has diverged",
            span=self.recipe.span,
            helps=["lower the learning rate: --set 'train.optimizer=sgd(lr = ...)'", "look at the scale of the images"],
        )

    def _save(self, path: Path) -> None:
        choice = asdict(self.choice) | {"settings": dict(self.choice.settings)}
        write_weights(
            path,
            Saved(
                dict(self.step.weights), self.model.source.text, str(Path(self.model.source.name).resolve()), choice,
                self.data.classes, self.preprocessing.mean, __version__, self.step.seed,
                self.step.steps,
            ),
        )  # fmt: skip

    def _epoch_line(self, m: EpochMetrics) -> str:
        return (
            f"epoch {m.epoch}: step {m.step}, loss {m.loss:.4f}, training error {m.error:.2%}, "
            f"evaluation error {m.eval_top1:.2%} (top-5 {m.eval_top5:.2%}), {m.images_per_second:,.0f} images/s"
        )


def _data_of(model: Model, recipe: spec.TrainSpec) -> spec.DataSpec:
    if model.data is None:
        raise error(
            f"{model.source.name} has no `data` section, which says what to train on",
            span=recipe.span,
            helps=["add one: data NAME { source: digits()  holdout: 20% }"],
        )
    return model.data
