"""A run's pictures and its page, after epochs and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from alexnet_ir.data.dataset import Dataset, Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError, Source
from alexnet_ir.dsl.model import Choice, load
from alexnet_ir.durable import write_durably
from alexnet_ir.pictures.answers import Answer, answers_png
from alexnet_ir.pictures.canvas import EXTRA, MISSING, installed
from alexnet_ir.pictures.curves import run_curves
from alexnet_ir.pictures.kernels import Kernels, first_kernels, kernels_png
from alexnet_ir.pictures.neighbours import Shown, neighbours_png
from alexnet_ir.pictures.page import ANSWERS, CAPTIONS, CURVES, KERNELS, NEIGHBOURS, page
from alexnet_ir.training.evaluate import scored, softmax
from alexnet_ir.training.features import Features, features, nearest
from alexnet_ir.training.loop import TrainingRun
from alexnet_ir.training.observe import Observer
from alexnet_ir.training.run import EpochMetrics, read_metrics, weights_path
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import read_weights

PICTURES, PAGE = "pictures", "report.html"
ANSWERED, ASKED, FOUND, AMONG = 8, 5, 6, 5000
"""Of the paper's figure 4: images on the left; on the right rows, images in each, and those they are looked for in."""
SHARE, FIRST = 0.05, 2.0
"""Of the time of a run, what pictures may take; the seconds that they are thought to take before any was made."""


Make = Callable[[], bytes | None]
"""Draws a picture, where there is something to draw."""


class Album(Observer):
    """Draws pictures of a run, and never ends it: what goes wrong with one is said once."""

    def __init__(self) -> None:
        self._seconds, self._last, self._step = FIRST, 0.0, -1
        self._failed: set[str] = set()
        self._features: Features | None = None

    def at_start(self, run: TrainingRun) -> None:
        self._last = time.monotonic()
        if not installed():
            run.say(_missing())

    def after_epoch(self, run: TrainingRun, metrics: EpochMetrics) -> None:
        if self._seconds <= SHARE * (time.monotonic() - self._last):
            self._draw(run)

    def at_end(self, run: TrainingRun) -> None:
        self._draw(run)

    def _draw(self, run: TrainingRun) -> None:
        begin = time.monotonic()
        path = run.folder.path
        if installed() and self._step != run.step.steps:
            for name, make in self._pictures(run).items():
                self._write(run, f"{PICTURES}/{name}", make)
        self._write(run, PAGE, lambda: page(path, kept_pictures(path), _missing()).encode())
        self._step, self._last = run.step.steps, time.monotonic()
        self._seconds = self._last - begin

    def _write(self, run: TrainingRun, name: str, make: Make) -> None:
        path = run.folder.path / name
        try:
            if content := make():
                path.parent.mkdir(exist_ok=True)
                write_durably(path, content)
        except Exception as failure:
            if name not in self._failed:
                run.say(f"{path} could not be drawn: {failure}")
            self._failed.add(name)

    def _pictures(self, run: TrainingRun) -> dict[str, Make]:
        net, data, preprocessing = run.step, run.data, run.preprocessing

        def neighbours() -> bytes:
            self._features = self._features or features(net, preprocessing)
            return neighbours_png(list(_neighbours(self._features, data)))

        return {
            CURVES: lambda: run_curves(read_metrics(run.folder.path)),
            KERNELS: lambda: _kernels(first_kernels(run.model, net.weights, net.compiled.placing)),
            ANSWERS: lambda: answers_png(_answers(net, data, preprocessing), data.classes),
            NEIGHBOURS: neighbours,
        }


def page_of(run: Path) -> str:
    """The page of any run, with the pictures in its folder; the curves are those of now, and where no kernels were
    drawn before the run was killed, they are those of the weights that it left."""
    pictures = kept_pictures(run)
    if installed():
        fresh = {CURVES: run_curves(read_metrics(run))}
        fresh |= {} if KERNELS in pictures else {KERNELS: _kernels(_kernels_left(run))}
        pictures |= {name: picture for name, picture in fresh.items() if picture}
    return page(run, pictures, _missing())


def _kernels_left(run: Path) -> Kernels | None:
    """The kernels of a run's weights; None where there are no weights, or damaged ones."""
    try:
        saved = read_weights(weights_path(run))
    except AlexnetError:
        return None
    return first_kernels(load(Source(saved.model_path, saved.model), Choice(**saved.choice)), saved.tensors)


def _kernels(found: Kernels | None) -> bytes | None:
    return kernels_png(found) if found else None


def _missing() -> str:
    """Why there are no pictures."""
    return "" if installed() else f"no pictures: {MISSING}: {EXTRA}"


def kept_pictures(run: Path) -> dict[str, bytes]:
    """Those in a run's folder, by name."""
    paths = [run / PICTURES / name for name in CAPTIONS]
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def spread(split: Split, count: int) -> Split:
    """At most so many images, at even distances in a set: the same at every call."""
    count = min(count, len(split))
    return split.take(np.arange(count) * len(split) // max(count, 1))


def _answers(net: Predictor, data: Dataset, preprocessing: Preprocessing) -> list[Answer]:
    asked = spread(data.eval, ANSWERED)
    scores = np.concatenate([part for part, _ in scored(net, asked, preprocessing)])
    return [Answer(*found) for found in zip(asked.images[:], asked.labels, softmax(scores), strict=True)]


def _neighbours(of: Features, data: Dataset) -> Iterator[tuple[Shown, list[Shown]]]:
    asked, among = spread(data.eval, ASKED), spread(data.train, AMONG)
    known = of(among)
    for image, label, feature in zip(asked.images[:], asked.labels, of(asked), strict=True):
        near = among.take(nearest(known, feature, FOUND)[0])
        found = [Shown(*each) for each in zip(near.images[:], (data.classes[n] for n in near.labels), strict=True)]
        yield Shown(image, data.classes[label]), found
