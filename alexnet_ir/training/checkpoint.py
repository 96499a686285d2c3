"""Checkpoints: a weights file each that also holds the optimizer's tensors and where training stands."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.durable import PART, write_durably
from alexnet_ir.ir.op import Array
from alexnet_ir.training.run import CHECKPOINTS, EpochMetrics
from alexnet_ir.training.weights import SLOTS, TRAINING, Piece, Saved, pieces_of, read

KEEP = 3
LEAST_SECONDS, SHARE = 10, 30
"""Time between saves, when nobody sets it: at least so long, and so many times what the last one took."""
ASIDE = ".aside"
"""At the end of the name of a file that a run was not taken up from."""


@dataclass
class Tally:
    """The epoch under way, from 0: its steps so far, and sums over them of loss and share of wrong answers; seconds in
    all, and those that steps waited for data."""

    epoch: int = 0
    steps: int = 0
    loss: float = 0.0
    wrong: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class Progress:
    """What a run knows beside its net. `lr` is the rate of the last update, `best` the lowest top-1 error so far, None
    before the first; `judged` and `finished` are after how many updates it was evaluated last, and came to its end."""

    tally: Tally = field(default_factory=Tally)
    lr: float = 0.0
    best: float | None = None
    last: EpochMetrics | None = None
    judged: int = 0
    finished: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Progress:
        """From what `asdict` made of one."""
        last = record["last"]
        nested = {"tally": Tally(**record["tally"]), "last": last and EpochMetrics(**last)}
        return cls(**{**record, **nested})


@dataclass(frozen=True)
class Checkpoint:
    """A run after `saved.step` updates. `slots` are the optimizer's tensors, `control` is what schedules and stops have
    seen, `sizes` are those of metrics.jsonl and metrics.csv then; `images` of the training set and `batch` say where in
    the data a step is; `options` were the caller's, `environment` is on what and by which versions it ran."""

    saved: Saved
    slots: Mapping[str, Array]
    progress: Progress
    control: Mapping[str, Any]
    sizes: tuple[int, int]
    images: int
    batch: int
    options: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def states(self) -> dict[str, Array]:
        """All that training changes: weights, running statistics and the optimizer's tensors."""
        return {**self.saved.tensors, **self.slots}

    def pieces(self) -> list[Piece]:
        """The file's content."""
        training = {
            "progress": asdict(self.progress),
            "control": dict(self.control),
            "sizes": self.sizes,
            "images": self.images,
            "batch": self.batch,
            "options": dict(self.options),
            "environment": dict(self.environment),
        }
        return pieces_of(self.saved, self.slots, {SLOTS: json.dumps(list(self.slots)), TRAINING: json.dumps(training)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; AlexnetError where it is none of ours, or damaged."""
    saved, slots, text = read(path)
    if text is None:
        raise error(f"{path}: these are weights alone, without the optimizer's tensors and where training stands")
    record = json.loads(text)
    progress, sizes = Progress.of(record.pop("progress")), tuple(record.pop("sizes"))
    found = Checkpoint(saved=saved, slots=slots, progress=progress, sizes=sizes, **record)
    tally, epochs = progress.tally, found.images // found.batch
    if tally.epoch * epochs + tally.steps != saved.step:
        place = f"step {tally.steps} of epoch {tally.epoch + 1}, of {epochs} steps each"
        raise error(f"{path}: damaged: {saved.step} updates are not {place}")
    return found


class Checkpoints:
    """The checkpoints of a run: when to save one, the last `keep` of them, and the newest that can be read. Saves are
    `every` so many steps, or, where that is None, so far apart that they take about 3% of the time."""

    def __init__(self, run: Path, keep: int = KEEP, every: int | None = None) -> None:
        self.folder, self.keep, self.every = run / CHECKPOINTS, keep, every
        self._next = time.monotonic() + LEAST_SECONDS

    def due(self, step: int) -> bool:
        """Whether a run is to save after this step, which ends no epoch."""
        return step % self.every == 0 if self.every else time.monotonic() >= self._next

    def save(self, checkpoint: Checkpoint) -> None:
        """Write one, and only then remove the oldest. OSError leaves those that there are."""
        started = time.monotonic()
        try:
            self.folder.mkdir(exist_ok=True)
            write_durably(self.path(checkpoint.saved.step), checkpoint.pieces())
            for old in self.paths()[self.keep :]:
                old.unlink()
        finally:
            now = time.monotonic()
            self._next = now + max(LEAST_SECONDS, SHARE * (now - started))

    def path(self, step: int) -> Path:
        """Of the one after so many updates."""
        return self.folder / f"step-{step:09d}.safetensors"

    def paths(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def newest(self, up_to: int | None = None) -> tuple[Checkpoint, list[str]]:
        """The newest that can be read (of those after at most `up_to` steps), and why newer ones cannot; AlexnetError
        where none can."""
        problems: list[str] = []
        for path in self.paths():
            if up_to is None or step_of(path) <= up_to:
                try:
                    return read_checkpoint(path), problems
                except AlexnetError as failure:
                    problems.append(failure.diagnostics[0].message)
        raise error(
            f"{self.folder}: there is no checkpoint to go on from", notes=problems, helps=["start the run anew"]
        )

    def tidy(self, step: int) -> None:
        """Before a run goes on from `step`: remove what killed saves left, and put aside what is newer: damaged, or
        not wanted."""
        for part in self.folder.parent.rglob(f"*{PART}"):
            part.unlink()
        for path in self.paths():
            if step_of(path) > step:
                put_aside(path)


def step_of(path: Path) -> int:
    """After how many updates a checkpoint was made, by its name."""
    return int(path.stem.removeprefix("step-"))


def put_aside(path: Path) -> None:
    """Have nobody take this file, where it exists, for one of the run's."""
    if path.exists():
        path.replace(path.with_name(path.name + ASIDE))
