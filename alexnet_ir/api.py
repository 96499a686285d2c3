"""The Python interface: a model file or text, compiled, and trained on arrays of one's own.

step = alexnet_ir.compile("model.alx", batch=128).trainer()
loss = step(images, labels)               # one update; images [128, channels, rows, columns], labels [128]
step.weights["conv1.weight"]              # by name, channels first
step.predict(images)                      # scores [n, classes] of any number of images
step.dense(384, 384)(images)              # maps of scores [n, classes, rows, columns] of larger images

net = alexnet_ir.compile("model.alx", batch=32).predictor()
net.load(step.weights)                    # without the memory that training takes
net.predict(images)

Arrays are NumPy's; on GPUs also CuPy's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.compiler import inference_graph, read_model, training_graph
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.setup import Kernels, Setup, setup_of
from alexnet_ir.training.step import Predictor, TrainingStep


@dataclass(frozen=True)
class Compiled:
    """A checked model at one batch size, and what the compiler makes of it."""

    model: Model

    def trainer(
        self,
        *,
        devices: str | None = None,
        place: str | None = None,
        memory_limit: int | None = None,
        seed: int | None = None,
        precision: str | None = None,
        graph: bool = True,
        threads: int | None = None,
        conv: str | None = None,
    ) -> TrainingStep:
        """The training step with fresh weights, on devices as in `--devices`, placed as in `--place`, in so many bytes
        a device; on GPUs in a precision as in `--precision`, replayed as a CUDA graph or not; on the CPU by so many
        threads, convolutions as in `--conv`. AlexnetError where the file has no `train` section, or that cannot be."""
        setup = _setup(devices, place, memory_limit, Kernels(precision, graph=graph, threads=threads, conv=conv))
        return TrainingStep(self.model, setup, seed)

    def predictor(
        self,
        *,
        devices: str | None = None,
        place: str | None = None,
        memory_limit: int | None = None,
        precision: str | None = None,
        graph: bool = True,
        threads: int | None = None,
        conv: str | None = None,
    ) -> Predictor:
        """The net without what only training needs, its weights to be loaded: `predictor.load(weights)`. As `trainer`
        otherwise."""
        setup = _setup(devices, place, memory_limit, Kernels(precision, graph=graph, threads=threads, conv=conv))
        return Predictor(self.model, setup)

    def training_graph(self) -> Graph:
        """Forward, loss, backward and update as one graph."""
        return training_graph(self.model)

    def inference_graph(self) -> Graph:
        """The forward graph as it evaluates."""
        return inference_graph(self.model)


def _setup(devices: str | None, place: str | None, memory_limit: int | None, kernels: Kernels) -> Setup:
    setup = setup_of(devices, place, memory_limit=memory_limit, kernels=kernels)
    if isinstance(setup.backend, CpuBackend) and setup.backend.remark:
        warnings.warn(setup.backend.remark, stacklevel=3)
    return setup


def compile(
    source: str | Path,
    *,
    batch: int | None = None,
    net: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, str | float] | None = None,
) -> Compiled:
    """Compile a model: the path of a file, or its text. `batch` replaces the recipe's; `settings` are those of `--set`,
    such as {"net.act": "tanh"}. AlexnetError, with everything that is wrong, for a model that does not check."""
    if batch is not None and index(batch) < 1:
        raise ValueError(f"batch: expected a whole number of at least 1, found {batch}")
    texts = {key: str(value) for key, value in (settings or {}).items()}
    return Compiled(read_model(source, Choice(recipe, None, net, batch, texts)))
