"""A run's folder: the model's text, metrics as JSON lines and CSV, and weights; each file is valid at any moment."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from alexnet_ir.diagnostics import error

MODEL, METRICS, TABLE = "model.alx", "metrics.jsonl", "metrics.csv"
BEST, FINAL = "best.safetensors", "final.safetensors"


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One line of the metrics. Loss and error (a fraction) of training are means over the epoch's steps, as they came;
    the evaluation's are of the weights after it."""

    epoch: int
    step: int
    lr: float
    loss: float
    error: float
    eval_images: int
    eval_top1: float
    eval_top5: float
    images_per_second: float
    seconds: float


class RunFolder:
    """Creates and fills a run's folder; AlexnetError where it is there already or cannot be written."""

    def __init__(self, path: Path, model: str) -> None:
        self.path = path
        try:
            path.mkdir(parents=True)
            (path / MODEL).write_text(model, encoding="utf-8")
            (path / METRICS).touch()
            with (path / TABLE).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow([f.name for f in fields(EpochMetrics)])
        except FileExistsError:
            raise error(
                f"{path}: there is something of that name already", helps=["choose another --run-dir"]
            ) from None
        except OSError as failure:
            raise error(f"{path}: {failure.strerror or failure}") from None

    def log_step(self, step: int, loss: float, lr: float) -> None:
        """A training step among many."""
        self._line({"kind": "step", "step": step, "loss": loss, "lr": lr})

    def log_epoch(self, metrics: EpochMetrics) -> None:
        """The end of an epoch."""
        self._line({"kind": "epoch"} | asdict(metrics))
        with (self.path / TABLE).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(asdict(metrics).values())

    def _line(self, record: dict[str, object]) -> None:
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def new_run_path(model: Path, root: Path = Path("runs")) -> Path:
    """runs/<file>-<n> with the first n that is free."""
    number = 1
    while (root / f"{model.stem}-{number}").exists():
        number += 1
    return root / f"{model.stem}-{number}"


def weights_path(run_or_weights: Path) -> Path:
    """A run's final weights, those it has if it was killed, or the weights file itself."""
    if not run_or_weights.is_dir():
        return run_or_weights
    killed = (run_or_weights / BEST).exists() and not (run_or_weights / FINAL).exists()
    return run_or_weights / (BEST if killed else FINAL)
