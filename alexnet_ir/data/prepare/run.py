"""From a source to a container: planned beforehand, made by threads, continued where it was interrupted.

Which images make up a shard is planned by their number alone, each image's bytes are a function of its file, sums of
pixels are whole numbers: so the container's bytes depend on nothing but the source and what was asked for. Images stay
in the order of their source, which a disk gives fastest; training shuffles them anyway.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Never

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from alexnet_ir.backends.streams import cores
from alexnet_ir.data.container.layout import (
    EVAL,
    PLAN,
    SKIPPED,
    TRAIN,
    Manifest,
    Plan,
    Shard,
    Sums,
    sealed,
    unsealed,
)
from alexnet_ir.data.container.writing import Encoded, finished, write_manifest, write_shard, write_skipped
from alexnet_ir.data.dataset import holdout_mask
from alexnet_ir.data.decode import ENCODINGS, JPEG, RAW, decode_stored, encode_stored
from alexnet_ir.data.photograph import BrokenImageError
from alexnet_ir.data.prepare.parts import Found, Part
from alexnet_ir.data.prepare.recognise import recognise
from alexnet_ir.diagnostics import error
from alexnet_ir.durable import PART, held, write_durably

SIZE, RAW_SIZE = 256, 64
"""Of photographs unless asked otherwise; up to which images are stored raw."""
SHARD_BYTES = 256_000_000
RESIZE = "shorter side to the size, bicubic and antialiased; the middle square"
_CHUNK = 16
"""Images that a thread takes at a time."""

Shards = Mapping[str, list[Shard]]


@dataclass(frozen=True)
class Options:
    """What is asked for: `size` in pixels (photographs: 256; CIFAR-10 and MNIST: their own), the `jobs` at a time, a
    list of validation `labels`, the share of each class to hold out for evaluation, the share of files that may be
    broken, and how many images make up a shard (some 256 MB)."""

    size: int | None = None
    jobs: int = 0
    labels: Path | None = None
    holdout: float | None = None
    max_broken: float = 0.01
    shard_images: int | None = None


def prepare(source: Path, out: Path, options: Options, show_progress: bool = False) -> Manifest:
    """Make the container `out`, or what is missing of it. AlexnetError where the source is not understood, `out` is
    made of something else, or too many files are broken; finished shards stay whatever happens."""
    found = _hold_out(recognise(source, options.labels), options.holdout)
    parts = {TRAIN: found.train} | ({EVAL: found.eval} if found.eval else {})
    plan, jobs = _plan(found, parts, options), options.jobs or cores()
    if out.exists() and not out.is_dir():
        raise error(f"{out}: expected a new folder, found a file", helps=("choose another OUT",))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with held(out) as ours, threadpool_limits(1, "blas"), warnings.catch_warnings():
            if not ours:
                raise error(f"{out}: another process prepares it", helps=("wait for its end, or interrupt it",))
            _claim(out, plan)
            warnings.filterwarnings("ignore", module="PIL")  # of what it makes the best of
            with ThreadPoolExecutor(jobs) as pool:
                try:
                    shards = _make(out, plan, parts, pool, options, show_progress)
                finally:
                    pool.shutdown(cancel_futures=True)
            return write_manifest(out, plan, shards)
    except OSError as failure:
        helps = ("finished shards stay: the same command goes on from there",) if (out / PLAN).exists() else ()
        raise error(f"{failure.filename or out}: {failure.strerror or failure}", helps=helps) from None


def _hold_out(found: Found, holdout: float | None) -> Found:
    """The same with a share of each class as the evaluation set."""
    if holdout is None:
        return found
    if found.eval is not None:
        raise error(f"--holdout {holdout:.2%}: the source has an evaluation set of its own", helps=("leave it out",))
    held = holdout_mask(found.train.labels, holdout, seed=0)
    if held.all() or not held.any():
        raise error(f"--holdout {holdout:.2%} of {len(held)} images, by class, leaves one of the two sets empty")
    return replace(found, train=found.train.take(~held), eval=found.train.take(held))


def _plan(found: Found, parts: Mapping[str, Part], options: Options) -> Plan:
    channels, own = found.own or (3, SIZE)
    size = options.size or own
    codec = RAW if size <= RAW_SIZE else JPEG
    image_bytes = channels * size**2 if codec == RAW else size**2 // 3  # as photographs come out
    count = options.shard_images or max(1, SHARD_BYTES // image_bytes)
    sets = {name: {"files": len(part.labels), "sha256": part.digest()} for name, part in parts.items()}
    shape = (channels, size, size)
    return Plan(
        found.kind, sets, found.ids, found.classes, shape, RESIZE, codec, ENCODINGS[codec], count, options.holdout
    )


def _claim(out: Path, plan: Plan) -> None:
    """Begin a container, or find that `out` is one that was begun by the same plan; AlexnetError if it is neither."""
    if (out / PLAN).exists():
        there = Plan.from_json(unsealed(out / PLAN, helps=(f"remove {out}, and begin anew",)))
    elif any(path.suffix != PART for path in out.iterdir()):
        raise error(f"{out}: expected a new folder, found other files there", helps=("choose another OUT",))
    else:
        write_durably(out / PLAN, sealed(asdict(plan)))
        there = plan
    other = [name for name, value in asdict(plan).items() if value != asdict(there)[name]]
    if other:
        notes = [_difference(name, asdict(there)[name], asdict(plan)[name]) for name in other]
        message = f"{out}: it was prepared from another source, or otherwise; nothing was changed"
        raise error(message, notes=notes, helps=("choose another OUT, or ask for the same",))
    for left in out.glob(f"*{PART}"):  # by a process that was killed
        left.unlink()


def _difference(name: str, there: object, asked: object) -> str:
    if name in ("sets", "ids", "classes"):
        return f"{name}: the source has other images or classes than the one that it was made of"
    return f"{name}: {there} there, {asked} now"


def _make(
    out: Path, plan: Plan, parts: Mapping[str, Part], pool: ThreadPoolExecutor, options: Options, show_progress: bool
) -> Shards:
    """All shards of each set in order: those that are there and whole, and the rest, made now."""
    work = {name: (part, samples) for set_, part in parts.items() for name, samples in plan.shards(set_)}
    total = sum(len(samples) for _, samples in work.values())
    done: dict[str, Shard] = {}
    with tqdm(total=total, unit=" images", disable=None if show_progress else True, leave=False) as bar:
        for name, shard in zip(work, pool.map(partial(finished, out), work), strict=True):
            if shard:
                done[name] = shard
                bar.update(len(work[name][1]))
        _check_broken(out, done, total, options.max_broken)
        missing = {name: entry for name, entry in work.items() if name not in done}
        chunks = ((part, chunk) for part, samples in missing.values() for chunk in _chunks(samples))
        tasks = (partial(_encode, part, chunk, plan) for part, chunk in chunks)
        encoded = _in_order(pool, tasks, ahead=8 * (options.jobs or cores()))
        for name, (_, samples) in missing.items():
            done[name] = write_shard(out, name, plan.shape, _following(encoded, samples, bar))
            _check_broken(out, done, total, options.max_broken)
    return {set_: [done[name] for name, _ in plan.shards(set_)] for set_ in parts}


def _check_broken(out: Path, done: Mapping[str, Shard], total: int, limit: float) -> None:
    """AlexnetError where more than a share of all files could not be read."""
    skipped = sum(shard.skipped for shard in done.values())
    if skipped > limit * total:
        write_skipped(out, done.values())
        message = f"{skipped:,} of {total:,} files could not be read, more than {limit:.2%}"
        helps = (
            f"{out / SKIPPED} lists them, and why",
            f"--max-broken {min(1, 2 * skipped / total):.0%} goes on without them",
        )
        raise error(message, helps=helps)


def _chunks(samples: range) -> list[range]:
    return [samples[first : first + _CHUNK] for first in range(0, len(samples), _CHUNK)]


def _encode(part: Part, samples: range, plan: Plan) -> Encoded:
    """Images as they are to be stored. Sums count the pixels that readers will get."""
    images, skipped, sums = [], [], Sums.none(plan.shape)
    channels, rows, columns = plan.shape
    stored = np.empty((rows, columns, channels), np.uint8)
    for sample in samples:
        try:
            encoded = encode_stored(plan.codec, part.square(sample, rows))
        except BrokenImageError as problem:
            skipped.append((part.names[sample], str(problem)))
            continue
        decode_stored(plan.codec, encoded, stored)
        sums.add_image(stored)
        images.append((part.names[sample], int(part.labels[sample]), encoded))
    return Encoded(images, skipped, sums)


def _in_order(pool: ThreadPoolExecutor, tasks: Iterator[Callable[[], Encoded]], ahead: int) -> Iterator[Encoded]:
    """What the tasks give, in their order, while so many more are at work."""
    waiting: deque[Future[Encoded]] = deque()
    for task in tasks:
        waiting.append(pool.submit(task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _following(encoded: Iterator[Encoded], samples: range, bar: tqdm[Never]) -> Iterator[Encoded]:
    """The next chunks, as many as make up the samples."""
    for chunk in _chunks(samples):
        yield next(encoded)
        bar.update(len(chunk))
