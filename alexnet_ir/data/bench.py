"""How fast a prepared set is read and augmented."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.streams import cores
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.loader import Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.spec import DataSpec, Synthetic, Transform
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule

IMAGES = 1000
"""That a round reads at least."""


@dataclass(frozen=True)
class Rate:
    """Images a second by so many threads, and images a second of processor time: what one core does that has nothing
    else to do. Medians of several rounds."""

    what: str
    threads: int
    images_per_second: float
    per_core: float


def rates(split: Split, transforms: tuple[Transform, ...], seed: int, batch: int, rounds: int) -> list[Rate]:
    """Of the loader alone, and with what training on the CPU makes of its batches, with a reading thread and with as
    many as there are cores."""
    batch = min(batch, len(split))
    if batch < 1 or rounds < 1:
        raise error(f"expected --batch and --rounds of at least 1, found {batch} and {rounds}")
    preprocessing = Preprocessing.of(DataSpec("bench", Synthetic(1, 1), transforms, (), None, Path()), seed, split)
    found = []
    for threads in sorted({1, cores()}):
        loader = Loader(split, preprocessing, batch, threads)
        first, _ = next(loader.train(0))
        for what, augmenter in (("decoded", _nothing), ("decoded and augmented", cpu_augmenter(first.shape, threads))):
            found.append(Rate(what, threads, *_measured(loader, augmenter, rounds)))
    return found


def cpu_augmenter(shape: tuple[int, ...], threads: int) -> Callable[[Augmented], object]:
    """What makes floats of batches of a shape as training on the CPU does: emitted C, or NumPy without a compiler."""
    graph = Graph("augmented")
    graph.outputs["image"] = graph.emit(Relu(), graph.input("image", f32(*shape)), name="used")
    backend = CpuBackend(threads=threads)
    plan = PlanMemory(backend.target).run(Schedule().run(graph))
    executable = backend.build(plan, backend.storage(plan, {}))
    if isinstance(executable, EmittedExecutable):
        return lambda batch: executable.feed({"image": batch})
    return Augmented.evaluate


def _nothing(batch: Augmented) -> None:
    """For decoding alone."""


def _measured(loader: Loader, augmenter: Callable[[Augmented], object], rounds: int) -> tuple[float, float]:
    """Images a second, of time and of processor time."""
    epochs = -(-IMAGES // (loader.steps_per_epoch * loader.batch))
    times = []
    for number in range(rounds + 1):  # the first one fills caches
        images, clocks = 0, (time.perf_counter(), time.process_time())
        for epoch in range(number * epochs, (number + 1) * epochs):
            for batch, _ in loader.train(epoch):
                augmenter(batch)
                images += len(batch)
                if images >= IMAGES:
                    break
        times.append((images / (time.perf_counter() - clocks[0]), images / (time.process_time() - clocks[1])))
    return statistics.median(wall for wall, _ in times[1:]), statistics.median(own for _, own in times[1:])
