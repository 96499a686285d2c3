"""Containers made of arrays, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.container.layout import EVAL, TRAIN, Plan, Shard, Sums
from alexnet_ir.data.container.writing import Encoded, write_manifest, write_shard
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.decode import decode_stored, encode_stored


def write_container(folder: Path, train: Split, eval: Split | None, codec: str = "raw", shard_images: int = 7) -> Path:
    """A container of splits of uint8 arrays [n, channels, rows, columns]."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {TRAIN: train} | ({EVAL: eval} if eval else {})
    channels, rows, columns = train.images.shape[1:]
    count = int(max(split.labels.max() for split in splits.values())) + 1
    ids, classes = zip(*[(f"n{label:08}", f"class {label}") for label in range(count)], strict=True)
    sets = {part: {"files": len(split), "sha256": ""} for part, split in splits.items()}
    plan = Plan("arrays", sets, ids, classes, (channels, rows, columns), "", codec, "", shard_images, None)
    shards = {
        part: [_write(folder, name, plan, splits[part], chosen) for name, chosen in plan.shards(part)]
        for part in splits
    }
    write_manifest(folder, plan, shards)
    return folder


def _write(folder: Path, name: str, plan: Plan, split: Split, samples: range) -> Shard:
    images, sums = [], Sums.none(plan.shape)
    for sample in samples:
        pixels: NDArray[np.uint8] = np.ascontiguousarray(split.images[sample].transpose(1, 2, 0))
        encoded = encode_stored(plan.codec, pixels)
        stored = np.empty_like(pixels)
        decode_stored(plan.codec, encoded, stored)
        sums.add_image(stored)
        images.append((f"image-{sample}", int(split.labels[sample]), encoded))
    return write_shard(folder, name, plan.shape, [Encoded(images, (), sums)])
