"""layout: how values lie for a target of its own kind, and why."""

from __future__ import annotations

from hypothesis import given, settings

from alexnet_ir.compiler import plan_of, read_model, training_graph
from alexnet_ir.ir.layout import Layout, plain
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Storing, Target
from alexnet_ir.ops.conv import Conv, ConvGradWeight
from alexnet_ir.ops.dense import FcGradWeight
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.layout import ChooseLayouts

from .. import strategies

TEXT = """\
alx 1
net N {
  image = input(3, 8, 8)
  stem = image -> conv1: conv(8, 3, pad = 1) -> relu1: relu -> lrn(3, 2, 1e-2, 0.75)
  left = stem -> conv2: conv(8, 3, pad = 1) -> relu2: relu
  return add(left, stem) -> pool: maxpool(2) -> conv3: conv(8, 3) -> relu3: relu -> flatten -> fc(4)
}
train r { batch: 4 stop: steps(3) optimizer: sgd(lr = 0.05, momentum = 0.9) }
"""
TF32, BF16 = Target("tf32", storing=Storing("f32", "tf32")), Target("bf16", storing=Storing("bf16", "bf16"))


def planned(target: Target) -> Plan:
    return plan_of(training_graph(read_model(TEXT)), target)


def test_as_their_types_say() -> None:
    plan = planned(Target("none"))
    assert plan.layouts == {name: plain(type_) for name, type_ in plan.types.items()}


def test_rounded_where_only_products_and_signs_read_it() -> None:
    layouts = planned(TF32).layouts
    last = {name: Layout(stored, channels_last=True) for name, stored in [("f", "f32"), ("t", "tf32"), ("u", "u8")]}
    assert layouts["image"] == Layout("f32"), "it is fed as it is"
    assert layouts["conv1.weight"] == layouts["conv1.weight.next"] == layouts["conv1.grad_weight"] == last["f"]
    assert layouts["relu1"] == last["f"], "the normalisation reads it"
    assert layouts["pool"] == last["t"], "conv3 and its gradient read it"
    assert layouts["pool.argmax"] == last["u"]
    assert layouts["relu3.grad_input"] == last["t"], "products read it, and a sum"
    assert layouts["flatten1"] == Layout("tf32")
    assert layouts["fc1.bias_add"] == Layout("f32"), "it is fetched"
    assert layouts["conv1.bias"] == Layout("f32")


def test_reasons() -> None:
    plan = planned(TF32)
    assert ChooseLayouts(TF32).reasons(plan) == {"lrn1": "lrn1 stays f32: add should see all of its bits"}
    assert ChooseLayouts(Target("none")).reasons(plan) == {}


def test_half_of_the_bits() -> None:
    plan = planned(BF16)
    stored = {name: layout.stored for name, layout in plan.layouts.items()}
    assert {stored[name] for name in ("relu1", "lrn1", "pool", "flatten1", "relu2.grad_input")} == {"bf16"}
    kept = ["image", "conv1.weight", "conv1.grad_weight", "conv1.weight.next", "conv1.bias", "fc1.bias_add"]
    assert {stored[name] for name in kept} == {"f32"}
    assert plan.slots["relu1"].nbytes == plan.types["relu1"].size * 2
    assert plan.arenas[0].peak < planned(TF32).arenas[0].peak


@settings(max_examples=40)
@given(strategies.nets())
def test_what_any_net_keeps(grown: strategies.Grown) -> None:
    """Parameters, what replaces them and their gradients have 32 bits; an update lies as what it replaces; a product
    reads one stored type, or f32."""
    plan = plan_of(training_graph(read_model(grown.text)), BF16)
    for step in plan.steps:
        if isinstance(step.op, UpdateOp):
            made, read = ([plan.layouts[name] for name in names] for names in (step.results, step.operands))
            assert made == read[: len(made)]
        if isinstance(step.op, ConvGradWeight | FcGradWeight):
            assert plan.layouts[step.results[0]].stored == "f32"
        if isinstance(step.op, Conv):
            assert plan.layouts[step.operands[1]] == Layout("f32", channels_last=True)
    for name, layout in plan.layouts.items():
        assert layout.channels_last == (len(plan.types[name].shape) == 4 and name not in plan.inputs)
        assert plan.types[name].dtype == layout.stored or layout.stored == "bf16"
