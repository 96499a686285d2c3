"""Whole training steps as emitted CUDA, run by the host runner, against the reference with the precision's roundings:
on one device and on several logical ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda.gpu import Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.encode import decode
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.compiler import read_model
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.names import LABEL, SEED, STEP
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import Kernels, setup_of
from alexnet_ir.training.step import InitialValues, TrainingStep

from .rounded import Rounded, meaning
from .running import needs_gxx

pytestmark = needs_gxx

ALEXNET = """\
alx 1
net Small {
  image = input(3, 67, 67)
  return image -> conv1: conv(16, 11, stride = 4) -> relu -> lrn(5, k = 2, alpha = 1e-2, beta = 0.75) -> maxpool(3, 2)
    -> conv2: conv(32, 5, pad = 2, groups = 2) -> relu -> lrn(5, k = 2, alpha = 1e-2, beta = 0.75) -> maxpool(3, 2)
    -> conv3: conv(32, 3, pad = 1) -> relu -> conv4: conv(32, 3, pad = 1, groups = 2) -> relu
    -> conv5: conv(32, 3, pad = 1, groups = 2) -> relu -> flatten
    -> fc6: fc(32) -> relu -> dropout(0.5) -> fc7: fc(32) -> relu -> dropout(0.5) -> fc8: fc(10)
}
train recipe {
  batch: 4
  stop: steps(3)
  optimizer: sgd(lr = 0.01, momentum = 0.9, weight_decay = 5e-4)
}
"""
"""The paper's net with fewer and smaller maps."""
DIGITS = Path(__file__).parents[3] / "examples" / "digits.alx"
TOLERANCE: dict[Precision, float] = {"fp32": 2e-6, "tf32": 5e-3, "bf16": 5e-2}
"""Of whole steps. A value near the middle of two that can be stored is rounded the one way by the kernel and the other
by the reference: what follows differs by that. So the steps of a plan are compared one by one as well."""
ULP: dict[Stored, float] = {"f32": 2**-23, "tf32": 2**-10, "bf16": 2**-7}
"""What one such rounding makes, of a value."""
STEP_TOLERANCE = 1e-5


def trained(text: str, devices: int, precision: Precision, steps: int, place: str | None = None) -> TrainingStep:
    """Some steps on the host runner and by the reference give the same losses and scores, and in fp32 parameters; then
    one more, of which each step of the plan makes what its op means of what is in memory."""
    model = read_model(text)
    setup = setup_of(",".join(["host"] * devices), place, kernels=Kernels(precision))
    step = TrainingStep(model, setup, seed=1)
    plan = step.compiled.plan
    reference = Rounded(plan, InitialValues(plan, 1), precision)
    random = np.random.default_rng(0)
    (image,) = model.graph.inputs.keys() - {SEED, STEP}
    for _ in range(steps):
        images = random.standard_normal((model.batch, *model.image)).astype("f4")
        labels = random.integers(10, size=model.batch)
        fed = step.scalars() | {image: images, LABEL: labels}
        loss, outputs = step(images, labels), reference.run(fed)
        assert loss == pytest.approx(float(outputs["loss"]), rel=TOLERANCE[precision])
        close(step.scores, outputs["score"], TOLERANCE[precision], "score")
    for name, value in step.weights.items() if precision == "fp32" else ():
        close(value, reference.states[name], TOLERANCE[precision], name)
    one_by_one(step, precision, step.scalars() | {image: images, LABEL: labels})
    return step


def one_by_one(step: TrainingStep, precision: Precision, fed: Mapping[str, Any]) -> None:
    """Run the commands of each step of the plan on what the memory holds."""
    executable, plan = step._training, step.compiled.plan
    assert isinstance(executable, EmittedExecutable)
    machine = executable.machine
    assert isinstance(machine, HostMachine)

    def value(name: str) -> Array:
        found = machine.download(plan.device(name), executable.address(name), plan.nbytes(name))
        return decode(found, plan.layouts[name], plan.types[name].shape)

    def exact(name: str) -> Array:
        return value(name).astype("f8") if plan.types[name].dtype == "f32" else value(name)

    executable.feed(fed)
    for task, planned in zip(executable.tasks, plan.steps, strict=False):
        expected = meaning(planned.op, [exact(name) for name in planned.operands], precision)
        machine.run(task.commands, task.resolve)
        for name, want in zip(planned.results, expected, strict=True):
            if plan.types[name].dtype == "f32":
                ulp = ULP[plan.layouts[name].stored]
                allowed = STEP_TOLERANCE * np.abs(want).max(initial=0) + ulp * np.abs(want)
                assert (np.abs(value(name) - want) <= allowed).all(), f"{name} of {task.name}"


def close(found: Array, expected: Array, tolerance: float, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_small_alexnet(precision: Precision) -> None:
    trained(ALEXNET, 1, precision, 2)


@pytest.mark.parametrize(("devices", "precision"), [(1, "fp32"), (1, "tf32"), (2, "bf16")])
def test_the_digits_net(devices: int, precision: Precision) -> None:
    text = DIGITS.read_text(encoding="utf-8").replace("batch: 32", "batch: 6")
    trained(text, devices, precision, 2, "columns" if devices > 1 else None)


@pytest.mark.parametrize(("place", "precision"), [("columns", "fp32"), ("data", "bf16"), ("weird_trick", "tf32")])
def test_a_small_alexnet_on_two_devices(place: str, precision: Precision) -> None:
    step = trained(ALEXNET, 2, precision, 1, place)
    assert step.exchanged_bytes > 0
