"""What evaluation makes of the weights alone is made when they change, and not at every run."""

from __future__ import annotations

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir.backends.emission.executable import EmittedExecutable

from .running import needs_cc

pytestmark = needs_cc
NET = """
alx 1
net Kept(classes = 4) {
  image = input(3, 12, 12)
  return image -> conv(8, 3, pad = 1) -> relu -> conv(16, 5, pad = 2) -> relu -> maxpool(2, stride = 2)
    -> flatten -> fc(classes)
}
train once {
  net: Kept
  data: noise
  loss: softmax_cross_entropy()
  batch: 5
  optimizer: sgd(lr = 0.1, momentum = 0.9)
  stop: epochs(1)
}
data noise { source: synthetic(16, 4) }
"""
RNG = np.random.default_rng(0)


@pytest.fixture
def step() -> alexnet_ir.TrainingStep:
    return alexnet_ir.compile(NET).trainer(devices="cpu")


def counted(step: alexnet_ir.TrainingStep, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows whenever an evaluation's prologue runs."""
    executable = step._inference
    assert isinstance(executable, EmittedExecutable)
    assert executable.plan.kept
    ran, prologue = [], executable._prologue
    assert prologue is not None

    def run() -> None:
        ran.append(len(ran))
        prologue()

    monkeypatch.setattr(executable, "_prologue", run)
    return ran


def test_once_until_weights_change(step: alexnet_ir.TrainingStep, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = RNG.standard_normal((5, 3, 12, 12)), np.arange(5) % 4
    ran = counted(step, monkeypatch)
    first = step.predict(images)
    np.testing.assert_array_equal(step.predict(images), first)
    assert len(ran) == 1
    step(images, labels)
    changed = step.predict(images)
    assert len(ran) == 2
    assert not np.allclose(changed, first)
    for name in step.weights:
        step.weights[name] = step.weights[name]
    np.testing.assert_array_equal(step.predict(images), changed)
    assert len(ran) == 3


def test_training_keeps_nothing(step: alexnet_ir.TrainingStep) -> None:
    assert isinstance(step._training, EmittedExecutable)
    assert step._training.plan.kept == {}
