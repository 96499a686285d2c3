"""A run's metrics as TensorBoard shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alexnet_ir.diagnostics import error
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.run import METRICS, EpochMetrics

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun

TENSORBOARD, FILES = "tensorboard", "events.out.tfevents.*"
EVERY = 10.0
"""Seconds between looks at the metrics."""
EPOCH = {
    "loss": "loss/epoch",
    "error": "error/training",
    "eval_top1": "error/validation_top1",
    "eval_top5": "error/validation_top5",
    "images_per_second": "speed/images_per_second",
    "waited": "speed/seconds_waited_for_data",
}


class TensorBoard(Observer):
    """Follows metrics.jsonl, and writes RUN/tensorboard/. A run that is taken up has its events written anew from the
    beginning, in the place of the old ones: no point is there twice, and none is missing."""

    def __init__(self) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise error(
                "--tensorboard needs tensorboardX, which is not installed",
                helps=['pip install "alexnet-ir[tensorboard]"'],
            ) from None
        self._open: Any = SummaryWriter
        self._read, self._looked = 0, 0.0

    def at_start(self, run: TrainingRun) -> None:
        folder = run.folder.path / TENSORBOARD
        for old in folder.glob(FILES):
            old.unlink()
        self._writer = self._open(str(folder), purge_step=0)  # a TensorBoard that is watching drops what it had
        self._follow(run)

    def after_step(self, run: TrainingRun, update: Update) -> None:
        if time.monotonic() - self._looked >= EVERY:
            self._follow(run)

    def after_epoch(self, run: TrainingRun, metrics: EpochMetrics) -> None:
        self._follow(run)

    def at_end(self, run: TrainingRun) -> None:
        self._follow(run)
        self._writer.close()

    def _follow(self, run: TrainingRun) -> None:
        """Write what has come to the metrics since the last look: whole lines of it."""
        with (run.folder.path / METRICS).open("rb") as file:
            file.seek(self._read)
            lines, _, _ = file.read().rpartition(b"\n")
        self._read += len(lines) + bool(lines)
        for line in lines.splitlines():
            record = json.loads(line)
            for tag, value in scalars(record):
                self._writer.add_scalar(tag, value, record["step"])
        self._writer.flush()
        self._looked = time.monotonic()


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a line of the metrics comes to: names of curves, and their values at its step."""
    match record["kind"]:
        case "step":
            yield "loss/step", record["loss"]
            yield "rate/lr", record["lr"]
        case "epoch":
            yield from ((tag, record[key]) for key, tag in EPOCH.items())
        case "norms":
            for parameter, norms in record["layers"].items():
                yield from ((f"norms_{of}/{parameter}", value) for of, value in norms.items())
        case "final":
            for crops in ("center", "ten_crop"):
                for name, value in (record[crops] or {}).items():
                    yield f"final/{crops}_{name}", value
