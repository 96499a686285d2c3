"""Training from a recipe: updates, an evaluation after each epoch, checkpoints; and the same taken up again."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never, TextIO

from tqdm import tqdm

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.compiler import recipe_of
from alexnet_ir.data.dataset import Dataset
from alexnet_ir.data.load import data_of, load_for
from alexnet_ir.data.loader import Fed, Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.resolved import resolved
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import Setup
from alexnet_ir.training.checkpoint import KEEP, Checkpoint, Progress, Tally, put_aside
from alexnet_ir.training.control import Control
from alexnet_ir.training.evaluate import evaluate, ranks
from alexnet_ir.training.interrupt import Interrupt
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.resume import check_data, rate_before, take_states
from alexnet_ir.training.run import FINAL, EpochMetrics, RunFolder
from alexnet_ir.training.saving import Saver
from alexnet_ir.training.step import TrainingStep


@dataclass(frozen=True)
class Options:
    """What the caller says of a run beside its model; `freeze` names layers. `kept` is what goes into checkpoints for
    whoever takes the run up, as JSON has it."""

    data_dir: Path | None = None
    freeze: tuple[str, ...] = ()
    workers: int | None = None
    checkpoint_every: int | None = None
    keep: int = KEEP
    kept: Mapping[str, Any] = field(default_factory=dict)


class TrainingRun:
    """One run. It is made, then begun in a new folder or taken up in its own, then run to its end. AlexnetError where
    the data is not there or does not suit the net; nothing is written before that is known."""

    folder: RunFolder
    saver: Saver

    def __init__(
        self, model: Model, setup: Setup, options: Options = Options(), observers: Sequence[Observer] = ()
    ) -> None:
        self.model, self.options, self.observers = model, options, observers
        self.recipe = recipe_of(model)
        self.data: Dataset = load_for(model, self.recipe.seed, options.data_dir)
        self.preprocessing = Preprocessing.of(data_of(model), self.recipe.seed, self.data.train)
        self._loader = Loader(self.data.train, self.preprocessing, model.batch, options.workers)
        self.steps_per_epoch = self._loader.steps_per_epoch
        self.control = Control(model, self.steps_per_epoch, freeze=options.freeze)
        self.step = TrainingStep(model, setup)
        self.progress = Progress()
        self.is_whole = True  # not in the midst of an update, nor after one that failed
        self._interrupt, self.every = Interrupt(), max(1, self.steps_per_epoch // 20)
        self._last: Update | None = None
        self._set: Mapping[str, Mapping[str, float]] = {}
        self._preprocessing = self.preprocessing

    # --- beginning ----------------------------------------------------------------------------------------------------

    def begin(self, folder: RunFolder, environment: Mapping[str, Any]) -> None:
        """Start in a new folder, with a checkpoint of what nothing was done to."""
        self._open(folder, environment)
        self._describe(environment)
        self.saver.write()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be where a checkpoint was made; nothing is written. AlexnetError where the net or the data are not those of
        the checkpoint."""
        check_data(checkpoint, self.data, self.preprocessing)
        take_states(checkpoint, self.step)
        self.progress = checkpoint.progress
        self.control.restore(checkpoint.control)

    def go_on(
        self, folder: RunFolder, environment: Mapping[str, Any], checkpoint: Checkpoint, changes: Mapping[str, str]
    ) -> None:
        """Take the run up in its folder from the checkpoint that it was restored from; `changes` are what is new."""
        self._open(folder, environment)
        self.saver.checkpoints.tidy(self.step.steps)
        if self.progress.finished:  # and its end was moved
            put_aside(folder.path / FINAL)
        name = self.saver.checkpoints.path(self.step.steps).name
        folder.log("resume", self.step.steps, checkpoint=name, changes=dict(changes))
        if changes:
            before, rate = rate_before(checkpoint, self.control), self.control.at(self.step.steps).lr
            if rate != before:
                self._log_rate(rate, f"it was {before:g} before the run was taken up")
            self._describe(environment)
            self.saver.write()  # so that a kill does not take them back

    def _open(self, folder: RunFolder, environment: Mapping[str, Any]) -> None:
        self.folder = folder
        self.saver = Saver(self, environment)

    def _describe(self, environment: Mapping[str, Any]) -> None:
        placing = self.step.compiled.placing
        self.folder.describe(resolved(self.model, placing.best or placing.name), environment)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.progress.finished == self.step.steps > 0 and self.control.done(self.step.steps) is not None

    # --- running ------------------------------------------------------------------------------------------------------

    def run(self, *, show_progress: bool = True) -> EpochMetrics | None:
        """Train to the end. Interrupted, or whatever else ends it, the last finished step is saved first."""
        # The bar draws itself only on a terminal (disable=None).
        disable = None if show_progress else True
        total, steps = self.control.total, self.step.steps
        with self._interrupt, tqdm(total=total, initial=steps, unit="step", disable=disable, leave=False) as bar:
            try:
                for observer in self.observers:
                    observer.at_start(self)
                self._train(bar)
                self._finish()
            except BaseException:
                self.saver.rescue()
                raise
        return self.progress.last

    def _train(self, bar: tqdm[Never]) -> None:
        with closing(self._batches()) as batches:
            while True:
                if self._ends_epoch():
                    self._end_epoch()
                if self.control.done(self.step.steps) is not None:
                    return
                self._interrupt.check()
                self._update(batches)
                self._show(bar)
                if self.saver.checkpoints.due(self.step.steps):
                    self.saver.save()

    def _batches(self) -> Generator[Fed, None, None]:
        """Those of the updates to come, one epoch after another."""
        while True:
            yield from self._loader.train(*divmod(self.step.steps, self.steps_per_epoch))

    def _update(self, batches: Iterator[Fed]) -> None:
        """One update."""
        began, tally = time.perf_counter(), self.progress.tally
        self._loader.preprocessing = self._preprocessing_at(self.step.steps)
        images, labels = next(batches)
        waited = time.perf_counter() - began
        for observer in self.observers:
            observer.before_step(self)
        self.is_whole = False
        self._steer()
        loss = self.step(images, labels)
        wrong = float((ranks(self.step.scores, labels) > 0).mean())
        self._last = Update(self.step.steps, tally.epoch + 1, loss, wrong, self.step.lr, images, labels)
        if not math.isfinite(loss):
            raise self.diverged(f"the loss is {loss} at step {self.step.steps}")
        tally.steps, tally.loss, tally.wrong = tally.steps + 1, tally.loss + loss, tally.wrong + wrong
        self.progress.lr = self.step.lr
        self.is_whole = True
        if self.step.steps % self.every == 0:
            self.folder.log("step", self.step.steps, loss=loss, lr=self.step.lr)
        for observer in self.observers:
            observer.after_step(self, self._last)
        tally.seconds, tally.waited = tally.seconds + time.perf_counter() - began, tally.waited + waited

    def _steer(self) -> None:
        """Set what holds for the next update, and log what changed."""
        for change in self.control.steer(self.step):
            if change.kind == "rate":
                self._log_rate(self.step.lr, change.text)
            else:
                self.folder.log("event", self.step.steps, event=change.text)
                self.say(f"step {self.step.steps}: {change.text}")

    def _log_rate(self, lr: float, reason: str) -> None:
        self.folder.log("rate", self.step.steps, lr=lr, reason=reason)
        self.say(f"step {self.step.steps}: the rate is {lr:g}: {reason}")

    def _preprocessing_at(self, steps: int) -> Preprocessing:
        """With what events have set of the transforms: made when that changes."""
        transforms = self.control.at(steps).transforms
        if transforms != self._set:
            self._set, self._preprocessing = transforms, self.preprocessing
            for name, values in transforms.items():
                self._preprocessing = self._preprocessing.setting(name, **values)
        return self._preprocessing

    def _show(self, bar: tqdm[Never]) -> None:
        tally = self.progress.tally
        rate, waited = tally.steps * self.model.batch / tally.seconds, tally.waited / tally.seconds
        shown = f"loss {tally.loss / tally.steps:.4f}, error {tally.wrong / tally.steps:.1%}"
        bar.set_description(f"epoch {tally.epoch + 1}", refresh=False)
        bar.set_postfix_str(f"{shown}, {rate:,.0f} images/s, {waited:.0%} waiting for data", refresh=False)
        bar.update()

    # --- the end of an epoch, and of the run --------------------------------------------------------------------------

    def _ends_epoch(self) -> bool:
        """Whether an evaluation is due: an epoch is full, or the run ends within it."""
        full = self.progress.tally.steps == self.steps_per_epoch
        return self.progress.judged != self.step.steps and (full or self.control.done(self.step.steps) is not None)

    def _end_epoch(self) -> None:
        """Evaluate, log, and save."""
        progress, tally = self.progress, self.progress.tally
        errors = evaluate(self.step, self.data.eval, self.preprocessing, predict=self._predict)
        metrics = EpochMetrics(
            tally.epoch + 1, self.step.steps, progress.lr, tally.loss / tally.steps, tally.wrong / tally.steps,
            errors.images, errors.top1, errors.top5, tally.steps * self.model.batch / tally.seconds, tally.seconds,
            tally.waited,
        )  # fmt: skip
        self.folder.log_epoch(metrics)
        self.say(str(metrics))
        self.control.end_of_epoch(metrics)
        progress.last, progress.judged = metrics, self.step.steps
        if tally.steps == self.steps_per_epoch:
            progress.tally = Tally(tally.epoch + 1)
        self.saver.save(errors.top1 if progress.best is None or errors.top1 < progress.best else None)
        for observer in self.observers:
            observer.after_epoch(self, metrics)

    def _predict(self, images: Array | Augmented) -> Array:
        """Scores, as long as nobody interrupts: evaluation can take a while, and is made again."""
        self._interrupt.check()
        return self.step.predict(images)

    def _finish(self) -> None:
        """The final weights, and what they are worth."""
        reason = self.control.done(self.step.steps)
        if self.step.steps != self.control.total:  # else it is known
            self.say(f"the end: {reason}")
        last = self.progress.last
        if last is not None:
            center, ten_crop = {"top1": last.eval_top1, "top5": last.eval_top5}, None
            if self.preprocessing.ten_crop:
                ten = evaluate(self.step, self.data.eval, self.preprocessing, ten_crop=True, predict=self._predict)
                ten_crop = {"top1": ten.top1, "top5": ten.top5}
                self.say(f"averaged over ten crops: evaluation error {ten.top1:.2%} (top-5 {ten.top5:.2%})")
            self.folder.log(
                "final", self.step.steps, center=center, ten_crop=ten_crop, images=last.eval_images, reason=reason
            )
        self.saver.write_final()
        for observer in self.observers:
            observer.at_end(self)
        self.progress.finished = self.step.steps
        self.saver.write()

    # --- what observers may ask ---------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Print a line, above the progress bar."""
        _print(line, sys.stdout)

    def warn(self, text: str) -> None:
        """The same as a warning, which the metrics keep."""
        self.folder.log("warning", self.step.steps, text=text)
        _print(f"warning: {text}", sys.stderr)

    def batch_of(self, steps: int) -> Fed:
        """Images and labels of the update that follows after so many."""
        loader = Loader(self.data.train, self._preprocessing_at(steps), self.model.batch, self.options.workers)
        return next(loader.train(*divmod(steps, self.steps_per_epoch)))

    def rewind(self, steps: int) -> None:
        """Bring the net back to where it was after so many updates, from the newest checkpoint up to there. The run
        cannot go on from it."""
        self.is_whole = False
        checkpoint, _ = self.saver.checkpoints.newest(up_to=steps)
        self.step.restore(checkpoint.states, checkpoint.saved.step)
        while self.step.steps < steps:
            self.control.steer(self.step)
            self.step(*self.batch_of(self.step.steps))

    def diverged(self, what: str) -> AlexnetError:
        """The error that ends the run, which is not to be saved as it is, with what observers know of it."""
        self.is_whole = False
        found = [observer.on_divergence(self, self._last) for observer in self.observers] if self._last else []
        usual = error(
            f"{what}: training has diverged",
            span=self.recipe.span,
            helps=["lower the learning rate: --set 'train.optimizer=sgd(lr = ...)'", "look at the scale of the images"],
        )
        return next((each for each in found if each), usual)


def _print(line: str, to: TextIO) -> None:
    """Above the progress bar. Where nobody can read it, a closed terminal, a pipe or a full disk, training goes on."""
    with tqdm.external_write_mode(), suppress(OSError):
        print(line, file=to, flush=True)
