"""Weights files: safetensors, channels first as PyTorch lays them out, with all that evaluation needs beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from alexnet_ir.diagnostics import error
from alexnet_ir.ir.op import Array

FORMAT = "alexnet-ir weights 1"
MEAN = "data.mean"


@dataclass(frozen=True)
class Saved:
    """A net's weights with the text of its model, how it was read (`choice`: recipe, settings ...), the class names,
    and the mean image that its data is taken minus, [channels, rows, columns] or None."""

    tensors: Mapping[str, Array]
    model: str
    model_path: str
    choice: Mapping[str, Any]
    classes: tuple[str, ...]
    mean: Array | None
    version: str
    seed: int
    step: int


def write_weights(path: Path, saved: Saved) -> None:
    """Write a weights file; a reader finds the old one or the new one, never a part."""
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in saved.tensors.items()}
    if saved.mean is not None:
        tensors[MEAN] = np.ascontiguousarray(saved.mean, np.float32)
    metadata = {
        "format": FORMAT,
        "version": saved.version,
        "model": saved.model,
        "model_path": saved.model_path,
        "choice": json.dumps(dict(saved.choice)),
        "classes": json.dumps(list(saved.classes)),
        "seed": str(saved.seed),
        "step": str(saved.step),
    }
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(save(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_weights(path: Path) -> Saved:
    """Read a weights file; AlexnetError where it is none of ours, or damaged."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise error(
            f"{path}: there is no such file", helps=["a run's weights are in runs/NAME/final.safetensors"]
        ) from None
    except (SafetensorError, OSError) as failure:
        raise error(f"{path}: expected a safetensors file of this program, found {failure}") from None
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format in its metadata")
        raise error(f"{path}: expected {FORMAT!r}, found {found!r}", helps=["`alexnet-ir train` writes such files"])
    mean = tensors.pop(MEAN, None)
    return Saved(
        tensors, metadata["model"], metadata["model_path"], json.loads(metadata["choice"]),
        tuple(json.loads(metadata["classes"])), mean, metadata["version"], int(metadata["seed"]),
        int(metadata["step"]),
    )  # fmt: skip
