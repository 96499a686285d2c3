"""Whole nets against PyTorch: forward, gradients of all parameters, several steps, running statistics, evaluation.

The nets are those of the examples, at small sizes. The reference backend computes in float64, and must agree to
rounding; the cpu backend in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_ir.backends.base import Backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.compiler import plan_of, read_model, recipe_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.names import LABEL, LOSS, SCORE, SEED, gradient
from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.loss import Loss
from alexnet_ir.setup import Setup
from alexnet_ir.training.step import InitialValues, TrainingStep

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'alexnet-ir[torch]'")
from . import torch_nets  # noqa: E402 - needs torch

EXAMPLES = Path(__file__).parent.parent / "examples"
CLASSES, BATCH, SEED_VALUE, STEPS = 7, 4, 11, 4
MOMENTUM, DECAY = 0.9, 5e-3
RATE = 0.005  # at 0.02 float32 leads ResNet over a kink of relu that float64 misses, in torch as here

RECIPE = """
data made_up {{ source: synthetic(8, {classes}) }}
train few {{
  net: {net}
  data: made_up
  loss: softmax_cross_entropy({loss})
  batch: {batch}
  stop: steps(4)
  optimizer: sgd(lr = {rate}, momentum = {momentum}, weight_decay = {decay}, bias_lr_mult = 2, bias_decay_mult = 0)
  seed: {seed}
}}
"""

SMALL_INCEPTION = """
net Inception(classes) {
  defaults { maxpool: (round = "up") }
  image = input(3, 16, 16)
  low = image
    -> conv1: conv(8, 3, pad = 1) -> relu -> lrn(n = 5, k = 1, alpha = 0.02, beta = 0.75)
    -> maxpool(3, stride = 2)
    -> inception_3a: inception(4, 6, 8, 3, 5, 4)
  score = low -> inception_3b: inception(5, 4, 6, 2, 4, 3) -> global_avgpool -> dropout(0.4) -> fc: fc(classes)
  return score, low -> head1: head(classes)
}
"""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """An example's text up to `until`, made smaller by `changes`, and the same net in torch."""

    example: str
    net: str
    twin: type[Any]
    changes: tuple[tuple[str, str], ...] = ()
    until: str = "\ndata "
    more: str = ""
    weights: tuple[float, ...] = (1.0,)

    def text(self) -> str:
        text = (EXAMPLES / f"{self.example}.alx").read_text(encoding="utf-8").partition(self.until)[0]
        for old, new in self.changes:
            assert old in text
            text = text.replace(old, new)
        loss = f"weights = {list(self.weights)}" if len(self.weights) > 1 else ""
        return f"{text}{self.more}" + RECIPE.format(
            net=f"{self.net}(classes = {CLASSES})", loss=loss, classes=CLASSES, batch=BATCH, rate=RATE,
            momentum=MOMENTUM, decay=DECAY, seed=SEED_VALUE,
        )  # fmt: skip


CASES = {
    "alexnet": Case("alexnet", "AlexNet", torch_nets.AlexNet, (
        ("3, 224, 224", "3, 96, 96"), ("conv(96,", "conv(16,"), ("conv(256,", "conv(24,"), ("conv(384,", "conv(32,"),
        ("fc(4096,", "fc(40,"), ("alpha = 1e-4", "alpha = 0.02"))),
    "lenet5": Case("lenet5", "LeNet5", torch_nets.LeNet),
    "vgg13": Case("vgg16", "VGG", torch_nets.VGG13, (
        ("deep = 3", "deep = 2"), ("3, 224, 224", "3, 32, 32"), ("conv(64,", "conv(8,"), ("conv(128,", "conv(16,"),
        ("conv(256,", "conv(32,"), ("conv(512,", "conv(64,"), ("fc(4096", "fc(48"))),
    "inception": Case("googlenet", "Inception", torch_nets.Inception, (
        ("conv(128,", "conv(8,"), ("fc(1024)", "fc(24)")), "\nnet ", SMALL_INCEPTION, (1.0, 0.3)),
    "resnet18": Case("resnet18", "ResNet18", torch_nets.ResNet18, (
        ("3, 224, 224", "3, 64, 64"), ("conv(64, 7", "conv(8, 7"), ("basic(64)", "basic(8)"), ("basic(128", "basic(16"),
        ("basic(256", "basic(32"), ("basic(512", "basic(64"))),
}  # fmt: skip

BACKENDS: dict[str, tuple[Backend, float]] = {
    "reference": (ReferenceBackend(), 1e-9), "numpy": (NumpyBackend(), 2e-4), "cpu": (CpuBackend(threads=2), 2e-4)
}  # fmt: skip
"""A backend, and how far it may be from torch in float64, as a share of the largest element."""


@cache
def model_of(name: str) -> Model:
    return read_model(CASES[name].text())


def start(model: Model) -> Arrays:
    """Weights that give every layer something to do: as large as keeps its outputs about as large as its inputs, and no
    bias 0. In float32, so that both sides have the same."""
    rng = np.random.default_rng(5)
    found = {}
    for name, state in model.graph.states.items():
        shape = model.graph.tensor(state.read).shape
        noise = rng.standard_normal(shape)
        if state.role == "statistic":
            value = 1 + 0.1 * abs(noise) if name.endswith("var") else 0.1 * noise
        elif len(shape) > 1:
            value = noise * np.sqrt(2 / np.prod(shape[1:]))
        else:
            value = float(name.endswith("weight")) + 0.1 * noise
        found[name] = value.astype(np.float32)
    return found


def batches(model: Model) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Images and labels, a pair a step and one more."""
    rng = np.random.default_rng(6)
    return [
        (rng.standard_normal((BATCH, *model.image)).astype(np.float32), rng.integers(0, CLASSES, BATCH))
        for _ in range(STEPS + 1)
    ]


class Twin:
    """The net in torch, float64, with weights under our names."""

    def __init__(self, name: str) -> None:
        self.case, self.model = CASES[name], model_of(name)
        self.net = self.case.twin(SEED_VALUE, CLASSES).double()
        tensors = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        self.tensors = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
        ours = start(self.model)
        assert {n.replace("/", ".") for n in ours} == set(self.tensors)
        with torch.no_grad():
            for n, value in ours.items():
                self.tensors[n.replace("/", ".")].copy_(torch.from_numpy(value))
        biases = [p for n, p in self.net.named_parameters() if n.endswith("bias")]
        others = [p for n, p in self.net.named_parameters() if not n.endswith("bias")]
        groups = [{"params": others}, {"params": biases, "lr": 2 * RATE, "weight_decay": 0}]
        self.optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        self.steps = 0

    def backward(self, images: NDArray[Any], labels: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Loss and scores of the net in training; the gradients are on the parameters then."""
        for module in self.net.modules():
            if isinstance(module, torch_nets.Dropout):
                module.step = self.steps
        self.optimizer.zero_grad()
        results = self.net.train()(torch.from_numpy(images).double())
        results = results if isinstance(results, tuple) else (results,)
        target = torch.from_numpy(labels)
        losses = [torch.nn.functional.cross_entropy(r, target) for r in results]
        loss = sum(w * one for w, one in zip(self.case.weights, losses, strict=True))
        loss.backward()
        return loss.item(), results[0].detach().numpy()

    def step(self, images: NDArray[Any], labels: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """One update; loss and scores from before it."""
        found = self.backward(images, labels)
        self.optimizer.step()
        self.steps += 1
        return found

    def predict(self, images: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(self.net.eval()(torch.from_numpy(images).double()))

    def named(self, what: str = "data") -> Arrays:
        """The tensors, or their gradients, under our names."""
        found = {n: getattr(self.tensors[n.replace("/", ".")], what) for n in self.model.graph.states}
        return {n: t.numpy().copy() for n, t in found.items() if t is not None}


def agree(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]], tolerance: float) -> None:
    """Each array within `tolerance` of the other, as a share of its largest element."""
    assert set(found) == set(expected)
    far = {}
    for name, value in expected.items():
        assert found[name].shape == value.shape
        distance = abs(found[name] - value).max() / max(abs(value).max(), 1e-6)
        if not distance <= tolerance:
            far[name] = distance
    assert far == {}


both = pytest.mark.parametrize("backend", BACKENDS)
every_net = pytest.mark.parametrize("name", CASES)


@every_net
@both
def test_forward_and_gradients(name: str, backend: str) -> None:
    """Loss, scores, and the gradient of every parameter."""
    model, (runs, tolerance) = model_of(name), BACKENDS[backend]
    loss = Loss(weights=recipe_of(model).loss.weights)
    plan = plan_of(run_passes(model.graph, [loss, Backward()]), runs.target)
    storage = runs.storage(plan, {**InitialValues(plan, SEED_VALUE), **start(model)})
    images, labels = batches(model)[0]
    feeds = {"image": images, LABEL: labels}
    outputs = runs.build(plan, storage).run(feeds | ({SEED: SEED_VALUE} if SEED in plan.inputs else {}))
    twin = Twin(name)
    expected_loss, scores = twin.backward(images, labels)
    assert outputs[LOSS] == pytest.approx(expected_loss, rel=tolerance)
    agree({SCORE: outputs[SCORE]}, {SCORE: scores}, tolerance)
    grads = twin.named("grad")
    assert all(np.any(grad) for grad in grads.values())
    agree({n: outputs[gradient(n)] for n in grads}, grads, tolerance)


@every_net
@both
def test_steps_and_evaluation(name: str, backend: str) -> None:
    """Losses of several updates (momentum, decay, twice the rate and no decay for biases, another mask each), weights
    and running statistics after them, and the scores that the net then gives at test time."""
    model, (runs, tolerance) = model_of(name), BACKENDS[backend]
    step, twin = TrainingStep(model, Setup(runs)), Twin(name)
    step.weights.update(start(model))
    *training, (unseen, _) = batches(model)
    for images, labels in training:
        loss, scores = twin.step(images, labels)
        assert step(images, labels) == pytest.approx(loss, rel=tolerance)
        agree({SCORE: step.scores}, {SCORE: scores}, tolerance)
    agree(dict(step.weights), twin.named(), tolerance)
    agree({SCORE: step.predict(unseen)}, {SCORE: twin.predict(unseen)}, tolerance)
