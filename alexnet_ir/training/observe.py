"""What watches a run without changing it: diagnosis, pictures, event files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.op import Array
from alexnet_ir.training.run import EpochMetrics

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun


@dataclass(frozen=True, eq=False)
class Update:
    """One update as it came out. `step` counts the updates made with this one, `epoch` from 1; `loss` and `error` (the
    share of the batch that was wrong) are from before it, `lr` is the rate it took."""

    step: int
    epoch: int
    loss: float
    error: float
    lr: float
    images: Augmented | Array
    labels: Array


class Observer:
    """Override what is wanted. Of the run it may read `model`, `recipe`, `step` (the TrainingStep: weights, states,
    predict), `data`, `preprocessing`, `folder`, `steps_per_epoch`, `every` (how often a step is logged), and call

    - `run.say(line)`: print a line above the progress bar; `run.warn(text)`: the same as a warning, and into metrics;
    - `run.folder.log(kind, step, **values)`: a line of metrics.jsonl;
    - `run.batch_of(steps)`: images and labels of the update that follows after so many;
    - `run.rewind(steps)`: bring the net back to where it was after so many updates (from the newest checkpoint up to
      there, updates repeated): in `on_divergence` only.

    An exception ends the run as any other does: the last finished step is saved first. What has to survive a kill must
    be read from the run's folder in `at_start`: a resumed run has new observers."""

    def at_start(self, run: TrainingRun) -> None:
        """Before the first update, or where a resumed run goes on: `run.step.steps` updates were made."""

    def before_step(self, run: TrainingRun) -> None:
        """Before each update."""

    def after_step(self, run: TrainingRun, update: Update) -> None:
        """After each update that came out finite."""

    def on_divergence(self, run: TrainingRun, update: Update) -> AlexnetError | None:
        """The loss of this update was not finite: the error that tells why, where this observer knows."""
        return None

    def after_epoch(self, run: TrainingRun, metrics: EpochMetrics) -> None:
        """After an epoch's evaluation (or that of its part, where the run ends within it), its line in the metrics and
        its checkpoint."""

    def at_end(self, run: TrainingRun) -> None:
        """After the last epoch of a run that came to its end; `final.safetensors` is written."""
