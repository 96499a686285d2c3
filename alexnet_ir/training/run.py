"""A run's folder: the model's text, the environment, metrics as JSON lines and CSV, and weights. What is in it can be
read at any moment; only the last line of the metrics may be torn where a run was killed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alexnet_ir.diagnostics import error
from alexnet_ir.durable import PART, is_ours, write_durably

MODEL, RESOLVED, ENVIRONMENT = "model.alx", "resolved.alx", "environment.json"
METRICS, TABLE = "metrics.jsonl", "metrics.csv"
BEST, FINAL, CHECKPOINTS = "best.safetensors", "final.safetensors", "checkpoints"


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One line of the metrics. Loss and error (a fraction) of training are means over the epoch's steps, as they came;
    the evaluation's are of the weights after it. `waited` are the seconds, of all, that steps waited for data."""

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
    waited: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: step {self.step}, loss {self.loss:.4f}, training error {self.error:.2%}, evaluation "
            f"error {self.eval_top1:.2%} (top-5 {self.eval_top5:.2%}), {self.images_per_second:,.0f} images/s"
        )


class _Lines:
    """A file that grows by whole lines from a size that is known. What cannot be written, on a full disk, is kept and
    tried again with the next line."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self._pending, self._synced = path, size, b"", False

    def add(self, line: str) -> None:
        self._pending += line.encode()
        with suppress(OSError):  # `sync` says so
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write what is pending, behind what counts: what lies beyond was left by a run that was killed."""
        if self._synced and not self._pending:
            return
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            self.size = min(self.size, file.seek(0, os.SEEK_END))
            file.truncate(self.size)
            file.seek(self.size)
            file.write(self._pending)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        self.size += len(self._pending)
        self._pending, self._synced = b"", sync


class RunFolder:
    """The files of a run, but for its checkpoints. `sizes` are those of the metrics that count where a run is taken up;
    a new one has none. Until it is closed nobody else can have it: AlexnetError where somebody has."""

    def __init__(self, path: Path, sizes: tuple[int, int] = (0, 0)) -> None:
        self.path = path
        self._lock = (path / METRICS).open("ab")
        if not is_ours(self._lock):
            self._lock.close()
            raise error(f"{path}: another process is at this run", helps=["wait for its end, or interrupt it"])
        self._metrics, self._table = _Lines(path / METRICS, sizes[0]), _Lines(path / TABLE, sizes[1])

    @classmethod
    def create(cls, path: Path, model: str) -> RunFolder:
        """A new run's; AlexnetError where there is something of that name or it cannot be written. One that was killed
        before its first checkpoint is begun again."""
        if path.exists() and not _never_begun(path):
            helps = ["choose another --run-dir"]
            if (path / CHECKPOINTS).is_dir():
                helps.insert(0, f"go on with that run: alexnet-ir train --resume {path}")
            raise error(f"{path}: there is something of that name already", helps=helps)
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            write_durably(path / MODEL, model.encode())
        except OSError as failure:
            raise error(f"{failure.filename}: {failure.strerror or failure}") from None
        folder.log_row(field.name for field in fields(EpochMetrics))
        return folder

    def close(self) -> None:
        """Let others have it; the end of the process does so too."""
        self._lock.close()

    def describe(self, resolved: str, environment: Mapping[str, Any]) -> None:
        """Write the model as it is trained, and what trains it."""
        write_durably(self.path / RESOLVED, resolved.encode())
        write_durably(self.path / ENVIRONMENT, (json.dumps(environment, indent=2) + "\n").encode())

    def log(self, kind: str, step: int, **values: Any) -> None:
        """A line of the metrics."""
        self._metrics.add(json.dumps({"kind": kind, "step": step} | values) + "\n")

    def log_epoch(self, metrics: EpochMetrics) -> None:
        """The end of an epoch."""
        self.log("epoch", **asdict(metrics))
        self.log_row(asdict(metrics).values())

    def log_row(self, values: Iterable[object]) -> None:
        """A row of the table of epochs."""
        text = io.StringIO()
        csv.writer(text).writerow(values)
        self._table.add(text.getvalue())

    def sync(self) -> tuple[int, int]:
        """Bring the metrics to the disk, and say their sizes. OSError, which names the file, where the disk is full."""
        for lines in (self._metrics, self._table):
            try:
                lines.flush(sync=True)
            except OSError as failure:
                failure.filename = str(lines.path)
                raise
        return self._metrics.size, self._table.size


def _never_begun(path: Path) -> bool:
    """Whether there is nothing in a folder but what a run writes before its first checkpoint."""
    ours = {MODEL, RESOLVED, ENVIRONMENT, METRICS, TABLE, CHECKPOINTS}
    names = {found.name.removesuffix(PART) for found in path.iterdir()} if path.is_dir() else {"a file"}
    return names <= ours and not any((path / CHECKPOINTS).glob("*.safetensors"))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, without one that was torn when the run was killed. Empty where there are none."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def new_run_path(model: Path, root: Path = Path("runs")) -> Path:
    """runs/<file>-<n> with the first n that is free."""
    number = 1
    while (root / f"{model.stem}-{number}").exists():
        number += 1
    return root / f"{model.stem}-{number}"


def newest_run(model: Path, root: Path = Path("runs")) -> Path:
    """The last of runs/<file>-<n>; AlexnetError where there is none."""
    found = [path for path in root.glob(f"{model.stem}-*") if path.name.removeprefix(f"{model.stem}-").isdecimal()]
    if not found:
        raise error(f"there is no run of {model} in {root}", helps=["name its folder: --resume RUN"])
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]))


def weights_path(run_or_weights: Path) -> Path:
    """A run's final weights, or the weights file itself. Of a run that did not come to its end, the best ones; before
    its first epoch, the newest checkpoint."""
    run = run_or_weights
    if not run.is_dir():
        return run
    there = [path for path in (run / FINAL, run / BEST) if path.exists()]
    return (there or sorted((run / CHECKPOINTS).glob("step-*.safetensors"), reverse=True) or [run / FINAL])[0]
