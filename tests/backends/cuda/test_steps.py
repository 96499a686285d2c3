"""Whole training steps as emitted CUDA, run by the host runner, against the reference with the precision's roundings:
on one device and on several logical ones."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cuda.gpu import Precision
from alexnet_ir.compiler import read_model
from alexnet_ir.ir.names import LABEL, SEED, STEP
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import Kernels, setup_of
from alexnet_ir.training.step import TrainingStep, initial_values

from .rounded import Rounded
from .running import needs_gxx

pytestmark = needs_gxx

ALEXNET = """\
alx 1
net Small {
  image = input(3, 67, 67)
  image -> conv1: conv(16, 11, stride = 4) -> relu -> lrn(5, k = 2, alpha = 1e-2, beta = 0.75) -> maxpool(3, 2)
    -> conv2: conv(32, 5, pad = 2, groups = 2) -> relu -> lrn(5, k = 2, alpha = 1e-2, beta = 0.75) -> maxpool(3, 2)
    -> conv3: conv(24, 3, pad = 1) -> relu -> conv4: conv(24, 3, pad = 1, groups = 2) -> relu
    -> conv5: conv(16, 3, pad = 1, groups = 2) -> relu -> flatten
    -> fc6: fc(32) -> relu -> dropout(0.5) -> fc7: fc(32) -> relu -> dropout(0.5) -> fc8: fc(10)
}
train recipe {
  batch: 4
  stop: steps(3)
  optimizer: sgd(lr = 0.01, momentum = 0.9, weight_decay = 5e-4)
}
"""
"""The paper's net with fewer and smaller maps."""
TOLERANCE: dict[Precision, float] = {"fp32": 2e-6, "tf32": 2e-5, "bf16": 2e-3}


def check(text: str, devices: int, precision: Precision, steps: int, place: str | None = None) -> TrainingStep:
    """Some steps on the host runner and by the reference give the same losses, scores and parameters."""
    model = read_model(text)
    setup = setup_of(",".join(["host"] * devices), place, kernels=Kernels(precision))
    step = TrainingStep(model, setup, seed=1)
    plan = step.compiled.plan
    reference = Rounded(plan, initial_values(plan, 1), precision)
    random = np.random.default_rng(0)
    (image,) = model.graph.inputs.keys() - {SEED, STEP}
    for _ in range(steps):
        images = random.standard_normal((model.batch, *model.image)).astype("f4")
        labels = random.integers(10, size=model.batch)
        fed = step.scalars() | {image: images, LABEL: labels}
        loss, outputs = step(images, labels), reference.run(fed)
        assert loss == pytest.approx(float(outputs["loss"]), rel=TOLERANCE[precision])
        close(step.scores, outputs["score"], TOLERANCE[precision], "score")
    for name, value in step.weights.items():
        close(value, reference.states[name], TOLERANCE[precision], name)
    return step


def close(found: Array, expected: Array, tolerance: float, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_small_alexnet(precision: Precision) -> None:
    check(ALEXNET, 1, precision, 2)


@pytest.mark.parametrize("place", ["columns", "data", "weird_trick"])
def test_a_small_alexnet_on_two_devices(place: str) -> None:
    step = check(ALEXNET, 2, "tf32", 1, place)
    assert step.exchanged_bytes > 0
