"""`alexnet-ir data`: looks at a prepared set: is it whole, what is in it, how it looks, how fast it reads."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from alexnet_ir.cli.table import bytes_text, table
from alexnet_ir.data.bench import Rate, rates
from alexnet_ir.data.container.layout import EVAL, TRAIN, Manifest
from alexnet_ir.data.container.reading import Container, open_container
from alexnet_ir.data.container.verify import damage
from alexnet_ir.data.sheet import SEEN, contact_sheet, paper_transforms
from alexnet_ir.diagnostics import counted, error
from alexnet_ir.dsl.model import Choice, load, read_source
from alexnet_ir.dsl.spec import Transform
from alexnet_ir.durable import write_durably


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    code: int = {"verify": _verify, "stats": _stats, "show": _show, "bench": _bench}[args.action](args)
    return code


def _verify(args: argparse.Namespace) -> int:
    """Read everything; 1 if something is damaged."""
    folder = Path(args.dir)
    manifest = Manifest.read(folder)
    shards = sum(map(len, manifest.shards.values()))
    found = []
    with tqdm(total=shards, unit=" shards", disable=None, leave=False) as bar:
        for line in damage(folder, manifest):
            if line is None:
                bar.update()
            else:
                found.append(line)
    if args.json:
        print(json.dumps({"dir": args.dir, "fine": not found, "shards": shards, "damage": found}, indent=2))
    elif found:
        print("\n".join(found), file=sys.stderr)
        print(f"\n{folder}: damaged; to mend it: alexnet-ir prepare SOURCE {folder}", file=sys.stderr)
    else:
        print(f"{folder}: {counted(shards, 'shard')}, all as they were written")
    return 1 if found else 0


def _stats(args: argparse.Namespace) -> int:
    """Counts, sizes, colours."""
    found = _facts(open_container(Path(args.dir)))
    print(json.dumps(found, indent=2) if args.json else _facts_text(found))
    return 0


def _facts(container: Container) -> dict[str, Any]:
    manifest, statistics = container.manifest, container.train.statistics
    assert statistics is not None
    splits = {TRAIN: container.train} | ({EVAL: container.eval} if container.eval else {})
    sets = {}
    for name, split in splits.items():
        shards, counts = manifest.shards[name], np.bincount(split.labels, minlength=len(container.ids))
        sets[name] = {
            "images": len(split),
            "shards": len(shards),
            "bytes": sum(shard.bytes for shard in shards),
            "skipped": sum(shard.skipped for shard in shards),
            "fewest": int(counts.min()),
            "most": int(counts.max()),
            "by_class": counts.tolist(),
        }
    values, vectors = np.linalg.eigh(statistics.covariance)
    return {
        "source": manifest.plan.source,
        "shape": list(manifest.plan.shape),
        "codec": manifest.plan.codec,
        "encoding": manifest.plan.encoding,
        "resize": manifest.plan.resize,
        "classes": [{"id": id_, "name": name} for id_, name in zip(container.ids, container.classes, strict=True)],
        "sets": sets,
        "mean": statistics.mean.mean(axis=(1, 2), dtype=np.float64).tolist(),
        "covariance": statistics.covariance.tolist(),
        "eigenvalues": values[::-1].tolist(),
        "eigenvectors": vectors.T[::-1].tolist(),
    }


def _facts_text(found: dict[str, Any]) -> str:
    channels, rows, columns = found["shape"]
    lines = [
        f"{found['source']}: {len(found['classes'])} classes, images of {channels} x {rows} x {columns}, "
        f"{found['codec']} ({found['encoding']})",
        "",
        table(
            [("", "images", "of a class", "shards", "bytes", "an image", "skipped")]
            + [_set_row(name, facts) for name, facts in found["sets"].items()],
            right=range(1, 7),
        ),
        "",
        "mean " + _numbers(found["mean"]),
        "",
        "covariance of channels, its eigenvalues and eigenvectors:",
        table(
            [
                (_numbers(row), "", f"{value:.2f}", _numbers(vector, 4))
                for row, value, vector in zip(
                    found["covariance"], found["eigenvalues"], found["eigenvectors"], strict=True
                )
            ],
            right=[2],
        ),
    ]
    return "\n".join(lines)


def _set_row(name: str, facts: dict[str, Any]) -> tuple[str, ...]:
    each = f"{facts['fewest']:,}" if facts["fewest"] == facts["most"] else f"{facts['fewest']:,} to {facts['most']:,}"
    sizes = bytes_text(facts["bytes"]), bytes_text(facts["bytes"] / max(1, facts["images"]))
    return name, f"{facts['images']:,}", each, str(facts["shards"]), *sizes, str(facts["skipped"])


def _numbers(values: list[float], digits: int = 2) -> str:
    return " ".join(f"{value:{6 + digits}.{digits}f}" for value in values)


def _show(args: argparse.Namespace) -> int:
    """Write the contact sheet."""
    container = open_container(Path(args.dir))
    if args.images < 1:
        raise error(f"--images {args.images}: expected a whole number of at least 1")
    transforms, seed = _transforms(args.model, container)
    out = Path(args.output)
    write_durably(out, contact_sheet(container.train, container.classes, transforms, seed, args.images))
    print(f"{out}: each image as it is stored, and in {SEEN} epochs: {', '.join(map(_call, transforms))}")
    return 0


def _transforms(model_file: str | None, container: Container) -> tuple[tuple[Transform, ...], int]:
    """A model's training transforms and seed, or the paper's."""
    if model_file is None:
        return paper_transforms(container.train.images.shape[1:]), 0
    model = load(read_source(Path(model_file)), Choice())
    if model.data is None:
        raise error(f"{model_file}: it has no `data` section whose transforms could be shown")
    return model.data.train, model.train.seed if model.train else 0


def _call(step: Transform) -> str:
    return f"{step.name}({', '.join(str(value) for value in vars(step).values())})"


def _bench(args: argparse.Namespace) -> int:
    """Print rates of one thread, and of all of them."""
    container = open_container(Path(args.dir))
    transforms, seed = _transforms(args.model, container)
    found = rates(container.train, transforms, seed, args.batch, args.rounds)
    if args.json:
        print(json.dumps([vars(rate) for rate in found], indent=2))
    else:
        print(_rates_text(found))
    return 0


def _rates_text(found: list[Rate]) -> str:
    rows = [("", "threads", "images/s", "a core")]
    rows += [(r.what, str(r.threads), f"{r.images_per_second:,.0f}", f"{r.per_core:,.0f}") for r in found]
    return table(rows, right=[1, 2, 3])
