"""Weights files: safetensors, channels first as PyTorch lays them out, with all that evaluation needs beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from alexnet_ir.diagnostics import error
from alexnet_ir.durable import write_durably
from alexnet_ir.ir.op import Array

FORMAT = "alexnet-ir weights 1"
MEAN = "data.mean"
SLOTS, TRAINING = "slots", "training"
"""In a checkpoint's metadata: which tensors are the optimizer's, and where training stands."""
Piece = bytes | memoryview


@dataclass(frozen=True)
class Saved:
    """A net's weights with the text of its model, how it was read (`choice`: recipe, settings ...), the class names,
    the mean image that its data is taken minus, [channels, rows, columns] or None, and the shape of the images that its
    data stores (None where an older file does not say)."""

    tensors: Mapping[str, Array]
    model: str
    model_path: str
    choice: Mapping[str, Any]
    classes: tuple[str, ...]
    mean: Array | None
    stored: tuple[int, int, int] | None
    version: str
    seed: int
    step: int


def write_weights(path: Path, saved: Saved) -> None:
    """Write a weights file; a reader finds the old one or the new one, never a part."""
    write_durably(path, pieces_of(saved))


def pieces_of(
    saved: Saved, tensors: Mapping[str, Array] = MappingProxyType({}), about: Mapping[str, str] = MappingProxyType({})
) -> list[Piece]:
    """The content of a weights file, with more `tensors` and more to say `about` it where it is a checkpoint. The same
    content gives the same bytes, and no tensor is copied; safetensors' own function does neither."""
    kept = {name: np.asarray(value, order="C") for name, value in (*saved.tensors.items(), *tensors.items())}
    if saved.mean is not None:
        kept[MEAN] = np.asarray(saved.mean, np.float32, order="C")
    metadata = {
        "format": FORMAT,
        "version": saved.version,
        "model": saved.model,
        "model_path": saved.model_path,
        "choice": json.dumps(dict(saved.choice)),
        "classes": json.dumps(list(saved.classes)),
        "stored": json.dumps(saved.stored),
        "seed": str(saved.seed),
        "step": str(saved.step),
        **about,
    }
    header: dict[str, Any] = {"__metadata__": metadata | {"hash": _hash(metadata, kept)}}
    end, pieces = 0, list[Piece]()
    for name, value in sorted(kept.items()):
        begin, end = end, end + value.nbytes
        dtype = f"{value.dtype.kind.upper()}{8 * value.dtype.itemsize}"
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [begin, end]}
        pieces.append(_raw(value))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *pieces]


def _hash(metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
    """SHA-256 of the metadata, but for the hash itself, and of each tensor's name, type, shape and content."""
    digest = hashlib.sha256(json.dumps({k: v for k, v in metadata.items() if k != "hash"}, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(json.dumps([name, value.dtype.str, value.shape]).encode())
        digest.update(_raw(value))
    return digest.hexdigest()


def _raw(value: Array) -> memoryview:
    """The bytes of an array in row order."""
    return value.reshape(-1).view(np.uint8).data


def read_weights(path: Path) -> Saved:
    """Read a weights file, or the weights of a checkpoint; AlexnetError where it is none of ours, or damaged."""
    return read(path)[0]


def read(path: Path) -> tuple[Saved, dict[str, Array], str | None]:
    """The weights of a file; and of a checkpoint the optimizer's tensors and where training stands, as JSON."""
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
    if metadata.get("hash") != _hash(metadata, tensors):
        raise error(f"{path}: damaged, or changed by another program: its content does not have the hash it names")
    mean = tensors.pop(MEAN, None)
    slots = {name: tensors.pop(name) for name in json.loads(metadata.get(SLOTS, "[]"))}
    stored = json.loads(metadata.get("stored", "null"))
    saved = Saved(
        tensors, metadata["model"], metadata["model_path"], json.loads(metadata["choice"]),
        tuple(json.loads(metadata["classes"])), mean, stored and (stored[0], stored[1], stored[2]),
        metadata["version"], int(metadata["seed"]), int(metadata["step"]),
    )  # fmt: skip
    return saved, slots, metadata.get(TRAINING)
