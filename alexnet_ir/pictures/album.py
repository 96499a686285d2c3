"""A run's pictures and its page, after epochs and at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alexnet_ir.data.dataset import Dataset, Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import Source
from alexnet_ir.dsl.model import Choice, load
from alexnet_ir.durable import write_durably
from alexnet_ir.pictures.answers import Answer, answers_png
from alexnet_ir.pictures.canvas import EXTRA, MISSING, installed
from alexnet_ir.pictures.curves import run_curves
from alexnet_ir.pictures.kernels import first_kernels, kernels_png
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


class Album(Observer):
    """Draws pictures of a run, and never ends it: what goes wrong is said once."""

    def __init__(self) -> None:
        self._seconds, self._last, self._step, self._failed = FIRST, 0.0, -1, False
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
        try:
            if installed() and self._step != run.step.steps:
                (path / PICTURES).mkdir(exist_ok=True)
                for name, picture in self._pictures(run).items():
                    write_durably(path / PICTURES / name, picture)
            self._step = run.step.steps
            write_durably(path / PAGE, page(path, kept_pictures(path), _missing()).encode())
        except Exception as failure:
            if not self._failed:
                run.say(f"a picture could not be drawn: {failure}")
            self._failed = True
        self._last = time.monotonic()
        self._seconds = self._last - begin

    def _pictures(self, run: TrainingRun) -> dict[str, bytes]:
        net, data, preprocessing = run.step, run.data, run.preprocessing
        self._features = self._features or features(net, preprocessing)
        kernels = first_kernels(run.model, net.weights, net.compiled.placing)
        found = {
            CURVES: run_curves(read_metrics(run.folder.path)),
            KERNELS: kernels and kernels_png(kernels),
            ANSWERS: answers_png(_answers(net, data, preprocessing), data.classes),
            NEIGHBOURS: neighbours_png(list(_neighbours(self._features, data))),
        }
        return {name: picture for name, picture in found.items() if picture is not None}


def page_of(run: Path) -> str:
    """The page of any run, with the pictures in its folder; the curves are those of now, and where none was drawn
    before the run was killed, the kernels are those of the weights that it left."""
    pictures = kept_pictures(run)
    if installed():
        pictures |= _drawn(CURVES, run_curves(read_metrics(run)))
        path = weights_path(run)
        if KERNELS not in pictures and path.exists():
            saved = read_weights(path)
            kernels = first_kernels(load(Source(saved.model_path, saved.model), Choice(**saved.choice)), saved.tensors)
            pictures |= _drawn(KERNELS, kernels and kernels_png(kernels))
    return page(run, pictures, _missing())


def _drawn(name: str, picture: bytes | None) -> dict[str, bytes]:
    return {} if picture is None else {name: picture}


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
