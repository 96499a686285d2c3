"""`alexnet-ir prepare`: makes a container of photographs or arrays, for fast reading."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

from alexnet_ir.cli.table import bytes_text
from alexnet_ir.data.container.layout import SKIPPED, Manifest, Shard
from alexnet_ir.data.prepare.run import Options, prepare
from alexnet_ir.diagnostics import counted, error


def run(args: argparse.Namespace) -> int:
    """Prepare, and say what was made."""
    options = Options(
        _count("--size", args.size),
        _count("--jobs", args.jobs) or 0,
        Path(args.labels) if args.labels else None,
        _share("--holdout", args.holdout) if args.holdout else None,
        _share("--max-broken", args.max_broken),
        _count("--shard-images", args.shard_images),
    )
    begin = time.monotonic()
    manifest = prepare(Path(args.source), Path(args.out), options, show_progress=True)
    print(_made(Path(args.out), manifest, time.monotonic() - begin))
    return 0


def _made(out: Path, manifest: Manifest, seconds: float) -> str:
    plan, shards = manifest.plan, [shard for some in manifest.shards.values() for shard in some]
    sets = ", ".join(f"{_images(some):,} images of {part}" for part, some in manifest.shards.items())
    size, stored = " x ".join(map(str, plan.shape)), bytes_text(sum(shard.bytes for shard in shards))
    skipped = sum(shard.skipped for shard in shards)
    lines = [
        f"{out}: {plan.source}: {sets}, classes: {len(plan.ids):,}",
        f"{size}, {plan.codec}, {stored} in {counted(len(shards), 'shard')}, in {seconds:.1f} s",
    ]
    if skipped:
        lines.append(f"{counted(skipped, 'file')} skipped, as {out / SKIPPED} says")
    return "\n".join(lines)


def _images(shards: Sequence[Shard]) -> int:
    return sum(shard.images for shard in shards)


def _count(flag: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise error(f"{flag} {value}: expected a whole number of at least 1")
    return value


def _share(flag: str, text: str) -> float:
    """`5%` or 0.05, from 0 to 1."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", text.strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else -1
    if not 0 <= share <= 1:
        raise error(f"{flag} {text}: expected a share such as 5% or 0.05")
    return share
