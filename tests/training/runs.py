"""Runs compared: what is in their folders, but for what the clock says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from alexnet_ir.ir.op import Array
from alexnet_ir.training.checkpoint import Checkpoint, Checkpoints
from alexnet_ir.training.run import read_metrics

TRAIN = ["train", "--no-pictures"]
SETTINGS = {
    "train.schedule": "plateau(0.9, patience = 1, max_drops = 1_000_000)",
    "train.optimizer": "sgd(lr = 0.4, momentum = 0.9)",  # too much, so that it comes to plateaus
    "train.events": "[at(steps(8), set(conv1, lr_mult = 0.5)), at(epochs(3), freeze(fc1))]",
}
"""A recipe of which all that a run has to keep in mind comes up within a few epochs."""
CLOCK = {"seconds", "waited", "images_per_second"}


def lines(run: Path) -> list[dict[str, Any]]:
    """The metrics, but for times and for what tells that a run was taken up."""
    records = [record for record in read_metrics(run) if record["kind"] != "resume"]
    return [{key: value for key, value in record.items() if key not in CLOCK} for record in records]


def table(run: Path) -> list[list[str]]:
    """The rows of the table, but for times."""
    rows = [row.split(",") for row in (run / "metrics.csv").read_text().splitlines()]
    kept = [n for n, name in enumerate(rows[0]) if name not in CLOCK]
    return [[row[n] for n in kept] for row in rows]


def newest(run: Path) -> Checkpoint:
    return Checkpoints(run).newest()[0]


def everything(run: Path) -> dict[str, Any]:
    """What a finished run comes to, bit for bit."""
    last = newest(run)
    weights = {name: bits(load_file(run / name)) for name in ("final.safetensors", "best.safetensors")}
    return {"metrics": lines(run), "table": table(run), "step": last.saved.step, "states": bits(last.states)} | weights


def bits(tensors: Mapping[str, Array]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in tensors.items()}
