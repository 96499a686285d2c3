"""Gradients of a user's net: right ones pass, and one that is spoilt a little is found, with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from alexnet_ir.backends.base import Backend, Executable, Storage
from alexnet_ir.cli.tries import check_gradients
from alexnet_ir.compiler import compile_gradients, gradient_graph, read_model
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.elementwise import Elementwise, Scale, TanhGrad
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.setup import setup_of
from alexnet_ir.training.diagnosis.gradients import Checked, check_ops, check_parameters, slope_error

from .models import TINY
from .test_devices import HARD

DIGITS = Path(__file__).parents[2] / "examples" / "digits.alx"
RANDOM = np.random.default_rng


def two(source: str | Path) -> Model:
    return read_model(source, Choice(batch=2))


@pytest.mark.parametrize("source", [TINY, HARD, DIGITS], ids=["tiny", "hard", "digits"])
def test_every_op_is_right(source: str | Path) -> None:
    """All that have a gradient, the losses among them, each op that a layer is made of."""
    model = two(source)
    found = list(check_ops(model))
    layers = {layer.path for layer in model.layers if layer.op not in ("input", "dropout")}
    assert layers <= {checked.layer for checked in found}
    assert all(checked.ok and checked.span for checked in found)
    assert max(checked.error for checked in found) < 1e-8


@dataclass(frozen=True)
class WrongTanh(Elementwise):
    """Its gradient is a thousandth too large."""

    name: ClassVar[str] = "tanh"

    def reference(self, input: Array) -> Array:
        return np.tanh(input)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        right = build.emit(TanhGrad(), grads[0], node.results[0], name="grad_input")
        return (build.emit(Scale(1.001), right, name="spoilt"),)


def test_a_gradient_that_is_off_by_a_thousandth() -> None:
    assert slope_error(WrongTanh(), [f32(2, 3, 4, 4)], RANDOM(0)) == pytest.approx(1e-3, rel=0.7)


@dataclass(frozen=True)
class NanTanh(WrongTanh):
    """Its gradient is infinite: the difference from its slope, in proportion, is not a number."""

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(Scale(1e308), build.emit(Scale(1e308), grads[0], name="a"), name="b"),)


def test_a_gradient_of_nan_is_never_right() -> None:
    with np.errstate(all="ignore"):
        error = slope_error(NanTanh(), [f32(2, 3)], RANDOM(0))
    assert np.isnan(error)
    assert not Checked("a", "tanh", None, error, 1.0).ok


@pytest.mark.parametrize(
    ("devices", "place"), [("cpu", None), ("reference", None), ("cpu,cpu", "mixed"), ("cpu,cpu", "data")]
)
def test_parameters_on_every_device(devices: str, place: str | None) -> None:
    model = two(HARD)
    found = list(check_parameters(model, setup_of(devices, place)))
    assert {checked.layer for checked in found} == {n for n, s in model.graph.states.items() if s.role == "parameter"}
    assert all(checked.ok for checked in found), [(c.layer, c.error, c.limit) for c in found]
    if devices == "reference":
        assert max(checked.error for checked in found) < 1e-12


def test_the_training_step_without_its_update() -> None:
    model, setup = two(TINY), setup_of("cpu")
    outputs = set(compile_gradients(model, setup).plan.outputs)
    assert outputs == {"score", "loss", "conv1.weight.grad", "conv1.bias.grad", "batchnorm1.weight.grad",
                       "batchnorm1.bias.grad", "fc1.weight.grad", "fc1.bias.grad"}  # fmt: skip
    assert set(gradient_graph(model).outputs) == outputs


def test_a_wrong_gradient_names_its_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command itself, with an lrn whose gradient takes another beta: both parts find it."""

    def wrong(self: Lrn, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        op = LrnGrad(self.n, self.k, self.alpha, self.beta / 2, self.groups)
        return (build.emit(op, grads[0], node.operands[0], name="grad_input"),)

    model = read_model(DIGITS)
    assert check_gradients(model, setup_of("cpu")) == 0
    assert "all of them are right" in capsys.readouterr().out
    monkeypatch.setattr(Lrn, "gradient", wrong)
    with pytest.raises(AlexnetError, match=r"(?s)lrn1 \(lrn\): the gradient is off by .*-> act -> lrn") as failure:
        check_gradients(model, setup_of("cpu"))
    assert [d.message.partition(" ")[0] for d in failure.value.diagnostics] == ["lrn1", "lrn2"]
    assert capsys.readouterr().out.count("  wrong\n") == 2


class OneWrong:
    """A backend whose gradient of fc1.bias is a tenth too large; all else is the CPU's."""

    name = "wrong"

    def __init__(self, usual: Backend) -> None:
        self.usual, self.target, self.storage = usual, usual.target, usual.storage

    def build(self, plan: Plan, storage: Storage) -> Executable:
        executable = self.usual.build(plan, storage)
        run = executable.run

        def spoilt(inputs: Mapping[str, Any]) -> dict[str, Array]:
            outputs = run(inputs)
            return outputs | {"fc1.bias.grad": outputs["fc1.bias.grad"] * np.float32(1.1)}

        executable.run = spoilt  # type: ignore[assignment,method-assign]
        return executable


def test_a_wrong_kernel_is_found() -> None:
    setup = setup_of("cpu")
    found = list(check_parameters(two(TINY), replace(setup, backend=OneWrong(setup.backend))))
    assert [checked.layer for checked in found if not checked.ok] == ["fc1.bias"]
