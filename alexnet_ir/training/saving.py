"""What a run saves of itself, and what it does where the disk does not let it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_ir.ir.op import Array
from alexnet_ir.training.checkpoint import Checkpoint, Checkpoints
from alexnet_ir.training.run import BEST, FINAL
from alexnet_ir.training.weights import Saved, write_weights
from alexnet_ir.version import __version__

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun


class Saver:
    """Writes a run's checkpoints and weights into its folder. `saved_step` is after how many updates the last one was
    made."""

    def __init__(self, run: TrainingRun, environment: Mapping[str, Any]) -> None:
        self.checkpoints = Checkpoints(run.folder.path, run.options.keep, run.options.checkpoint_every)
        self.saved_step = run.step.steps
        self._run, self._environment = run, environment
        self._warned = False

    def save(self, best: float | None = None) -> None:
        """Write if the disk lets us; if not, training goes on, and the next time may be better."""
        try:
            self.write(best)
            self._warned = False
        except OSError as failure:
            if not self._warned:
                self._run.warn(f"{_why(failure)}; training goes on, and what is saved is step {self.saved_step}")
            self._warned = True

    def rescue(self) -> None:
        """On the way out: the last finished step, if there is one that was not spoiled."""
        try:
            if self._run.is_whole:
                self.write()
        except OSError as failure:
            self._run.warn(f"{_why(failure)}; what is saved is step {self.saved_step}")

    def write_final(self) -> None:
        """The weights that the run ends with. OSError where they cannot be written."""
        write_weights(self._run.folder.path / FINAL, self._weights(self._states()))

    def write(self, best: float | None = None) -> None:
        """A checkpoint of the run as it is; before it its weights alone where `best` is their error, and none before
        them had a lower one. OSError where it cannot be written."""
        run = self._run
        states = self._states()
        weights = self._weights(states)
        if best is not None:
            write_weights(run.folder.path / BEST, weights)
            run.progress.best = best
        slots = {name: value for name, value in states.items() if name not in weights.tensors}
        self.checkpoints.save(
            Checkpoint(
                weights, slots, run.progress, run.control.state(), run.folder.sync(), len(run.data.train),
                run.model.batch, run.options.kept, self._environment,
            )
        )  # fmt: skip
        self.saved_step = run.step.steps

    def _states(self) -> dict[str, Array]:
        """All that training changes; AlexnetError where some of it is not finite, and so of no use."""
        states = self._run.step.states()
        for name, value in states.items():
            if not np.isfinite(value).all():
                raise self._run.diverged(f"{name} is not finite after step {self._run.step.steps}")
        return states

    def _weights(self, states: Mapping[str, Array]) -> Saved:
        run, model = self._run, self._run.model
        choice = asdict(model.choice) | {"settings": dict(model.choice.settings)}
        _, channels, rows, columns = run.data.train.images.shape
        return Saved(
            {name: states[name] for name in run.step.weights}, model.source.text,
            str(Path(model.source.name).resolve()), choice, run.data.classes, run.preprocessing.mean,
            (channels, rows, columns), __version__, run.step.seed, run.step.steps,
        )  # fmt: skip


def _why(failure: OSError) -> str:
    return f"{failure.filename} cannot be written: {failure.strerror or failure}"
