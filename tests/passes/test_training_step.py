"""loss, backward and update: what they add, and that it is right by differences and by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from alexnet_ir.compiler import read_model, recipe_of, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array, TypeRuleError
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.loss import Hinge, SoftmaxCrossEntropy
from alexnet_ir.ops.table import parse
from alexnet_ir.ops.update import Adam, Sgd
from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.update import Update

from .. import strategies

FORWARD = """\
graph net {
  input %x : f32[2, 3] loc(m.alx:1:1)
  state %fc.weight : f32[4, 3] = normal(std = 0.1) {lr_mult = 2.0} loc(m.alx:2:5)
  state %other : f32[3] = constant(value = 1.0)
  %fc = fc(%x, %fc.weight) : f32[2, 4] loc(m.alx:2:5)
  %act = tanh(%fc) : f32[2, 4] loc(m.alx:2:16)
"""
ONE = FORWARD + "  output score = %act\n}\n"
TWO = FORWARD + "  output score = %act\n  output score.2 = %fc\n}\n"

WITH_LOSS = """\
graph net {
  input %x : f32[2, 3] loc(m.alx:1:1)
  input %train.label : i32[2]
  state %fc.weight : f32[4, 3] = normal(std = 0.1) {lr_mult = 2.0} loc(m.alx:2:5)
  state %other : f32[3] = constant(value = 1.0)
  %fc = fc(%x, %fc.weight) : f32[2, 4] loc(m.alx:2:5)
  %act = tanh(%fc) : f32[2, 4] loc(m.alx:2:16)
  %score.loss, %score.loss.slopes = hinge(%act, %train.label) : f32[], f32[2, 4] loc(m.alx:2:16)
  %score.2.loss, %score.2.loss.slopes = hinge(%fc, %train.label) : f32[], f32[2, 4] loc(m.alx:2:5)
  %score.2.weighted = scale(%score.2.loss) {factor = 0.3} : f32[] loc(m.alx:2:5)
  %loss = add(%score.loss, %score.2.weighted) : f32[] loc(m.alx:2:5)
  output score = %act
  output loss = %loss
}
"""
BACKWARD = """\
  %score.loss, %score.loss.softmax = softmax_cross_entropy(%act, %train.label) : f32[], f32[2, 4] loc(m.alx:2:16)
  %loss.grad = fill() {value = 1.0} : f32[] loc(m.alx:2:16)
  %score.loss.grad_input = softmax_cross_entropy_grad(%loss.grad, %score.loss.softmax, %train.label) : f32[2, 4] \
loc(m.alx:2:16)
  %act.grad_input = tanh_grad(%score.loss.grad_input, %act) : f32[2, 4] loc(m.alx:2:16)
  %fc.grad_input = fc_grad_input(%act.grad_input, %fc.weight) : f32[2, 3] loc(m.alx:2:5)
  %fc.grad_weight = fc_grad_weight(%act.grad_input, %x) : f32[4, 3] loc(m.alx:2:5)
  output score = %act
  output loss = %score.loss
  output fc.weight.grad = %fc.grad_weight
}
"""
UPDATED = """\
graph net {
  input %x : f32[2, 3] loc(m.alx:1:1)
  input %train.label : i32[2]
  input %train.lr : f32[]
  input %train.momentum : f32[]
  input %train.weight_decay : f32[]
  input %fc.weight.lr_mult : f32[] = 2.0 loc(m.alx:2:5)
  input %fc.weight.decay_mult : f32[] = 1.0 loc(m.alx:2:5)
  state %fc.weight : f32[4, 3] = normal(std = 0.1) {lr_mult = 2.0} loc(m.alx:2:5)
  state %fc.weight.velocity : f32[4, 3] = constant(value = 0.0) {role = "slot"} loc(m.alx:2:5)
  %fc = fc(%x, %fc.weight) : f32[2, 4] loc(m.alx:2:5)
  %act = tanh(%fc) : f32[2, 4] loc(m.alx:2:16)
  %score.loss, %score.loss.softmax = softmax_cross_entropy(%act, %train.label) : f32[], f32[2, 4] loc(m.alx:2:16)
  %loss.grad = fill() {value = 1.0} : f32[] loc(m.alx:2:16)
  %score.loss.grad_input = softmax_cross_entropy_grad(%loss.grad, %score.loss.softmax, %train.label) : f32[2, 4] \
loc(m.alx:2:16)
  %act.grad_input = tanh_grad(%score.loss.grad_input, %act) : f32[2, 4] loc(m.alx:2:16)
  %fc.grad_weight = fc_grad_weight(%act.grad_input, %x) : f32[4, 3] loc(m.alx:2:5)
  %fc.weight.next, %fc.weight.next.velocity = sgd(%fc.weight, %fc.weight.velocity, %fc.grad_weight, %train.lr, \
%train.momentum, %train.weight_decay, %fc.weight.lr_mult, %fc.weight.decay_mult) : f32[4, 3], f32[4, 3] loc(m.alx:2:5)
  output score = %act
  output loss = %score.loss
  update %fc.weight = %fc.weight.next
  update %fc.weight.velocity = %fc.weight.next.velocity
}
"""


# Before and after


def test_loss_of_several_results_is_a_weighted_sum() -> None:
    after = run_passes(parse(TWO), [Loss(Hinge(), (1.0, 0.3))])
    assert print_graph(after) == WITH_LOSS


def test_loss_refuses_a_map() -> None:
    graph = parse("graph net {\n  input %x : f32[2, 3, 4, 4]\n  output score = %x\n}\n")
    with pytest.raises(TypeRuleError, match="wants a vector"):
        run_passes(graph, [Loss()])


def test_backward_reads_outputs_and_stops_at_what_no_parameter_lies_behind() -> None:
    after = print_graph(run_passes(parse(ONE), [Loss(), Backward()]))
    assert after.endswith(BACKWARD)
    assert "other.grad" not in after


def test_backward_of_a_net_without_parameters() -> None:
    graph = parse("graph net {\n  input %x : f32[2, 3]\n  output score = %x\n}\n")
    after = run_passes(graph, [Loss(), Backward(), Update(), Cleanup()])
    assert list(after.outputs) == ["score", "loss"]
    assert not after.states


def test_update_is_the_whole_step() -> None:
    after = run_passes(parse(ONE), [Loss(), Backward(), Update(), Cleanup()])
    assert print_graph(after) == UPDATED


def test_update_gives_adam_its_slots_and_the_step() -> None:
    after = run_passes(parse(ONE), [Loss(), Backward(), Update(Adam()), Cleanup()])
    assert [s for s, state in after.states.items() if state.role == "slot"] == ["fc.weight.mean", "fc.weight.square"]
    rates = [name for name in after.inputs if name.startswith("train.")]
    assert rates == [
        "train.label", "train.step", "train.lr", "train.beta1", "train.beta2", "train.eps", "train.weight_decay",
    ]  # fmt: skip


def test_a_value_read_twice_gets_the_sum_of_its_gradients() -> None:
    text = "alx 1 net N { image = input(2, 1, 1) a = image -> flatten -> c: fc(3) return add(a, a) } " + RECIPE
    graph = training_graph(read_model(text))
    assert [node.op.name for node in graph.topo()].count("add") == 2
    values = {name: graph.node(value).op.name for name, value in graph.outputs.items()}
    assert values == {"score": "add", "loss": "softmax_cross_entropy"}


RECIPE = "train r { batch: 2 stop: steps(1) optimizer: sgd(0.1) }"


def test_every_node_added_has_a_place_in_the_file() -> None:
    text = (
        "alx 1 net N { image = input(2, 3, 3) a = image -> conv(2, 2) -> batchnorm -> relu -> dropout(0.5) "
        f"return a -> flatten -> fc(3), a -> global_avgpool -> fc(3) }} {RECIPE}"
    )
    graph = training_graph(read_model(text))
    assert [node.name for node in graph.topo() if node.span is None] == []


# Right by differences


def with_gradients(grown: strategies.Grown) -> Graph:
    """The training step before its update: the loss, and each parameter's gradient."""
    model = read_model(grown.text)
    passes = [p for p in strategies.training_passes(model) if p.name != "update"]
    return run_passes(model.graph, passes)


def check_slopes(grown: strategies.Grown, most: int = 6) -> int:
    """Compare gradients with differences of the loss along random directions; how many could be compared. Where the
    slopes to both sides differ there is a kink, or too much curvature to tell."""
    graph = with_gradients(grown)
    states, feeds = strategies.initial(graph), grown.feeds(step=1)
    made = strategies.executable(graph, states)
    outputs = made.run(feeds)
    compared = 0
    names = [name.removesuffix(".grad") for name in outputs if name.endswith(".grad")]
    random = np.random.default_rng(0)
    for name in names[:most]:
        direction = random.standard_normal(states[name].shape)
        direction /= np.sqrt(direction.size)

        def loss(at: float, name: str = name, direction: Array = direction) -> float:
            made.storage.write(name, states[name] + at * direction)
            value = float(made.run(feeds)["loss"])
            made.storage.write(name, states[name])
            return value

        slope = float((outputs[f"{name}.grad"] * direction).sum())
        step, here = 1e-5, float(outputs["loss"])
        right, left = (loss(step) - here) / step, (here - loss(-step)) / step
        size = max(1e-2, abs(right), abs(left))
        if abs(right - left) < 1e-3 * size:
            assert (right + left) / 2 == pytest.approx(slope, rel=1e-4, abs=1e-4 * size), name
            compared += 1
    return compared


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_gradients_are_the_slopes_of_the_loss(grown: strategies.Grown) -> None:
    check_slopes(grown)


@settings(max_examples=30, deadline=None)
@given(strategies.nets(smooth=True))
def test_gradients_of_smooth_nets_are_the_slopes_of_the_loss(grown: strategies.Grown) -> None:
    check_slopes(grown, most=10)


# Right by hand


def rate(feeds: Mapping[str, Any], name: str) -> float:
    return float(feeds[f"train.{name}"])


@settings(max_examples=50, deadline=None)
@given(strategies.nets())
def test_one_update_is_the_formula(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    graph, adam = training_graph(model), recipe_of(model).optimizer.name == "adam"
    states = strategies.initial(graph)
    random = np.random.default_rng(1)
    for name, state in graph.states.items():
        if state.role == "slot":
            states[name] = random.random(states[name].shape)
    feeds = grown.feeds(step=3)
    gradients, _ = strategies.run(with_gradients(grown), states, feeds)
    _, after = strategies.run(graph, states, feeds)
    lr, decay = rate(feeds, "lr"), rate(feeds, "weight_decay")
    for name, state in graph.states.items():
        if state.role != "parameter":
            continue
        old = states[name]
        if state.update is None:  # of a branch that no result reads
            np.testing.assert_array_equal(after[name], old)
            continue
        grad = gradients[f"{name}.grad"] + decay * state.decay_mult * old
        if adam:
            b1, b2, eps = (rate(feeds, r) for r in ("beta1", "beta2", "eps"))
            mean = b1 * states[f"{name}.mean"] + (1 - b1) * grad
            square = b2 * states[f"{name}.square"] + (1 - b2) * grad**2
            unit = (mean / (1 - b1**4)) / (np.sqrt(square / (1 - b2**4)) + eps)
            slots = {"": old - lr * state.lr_mult * unit, ".mean": mean, ".square": square}
        else:
            velocity = rate(feeds, "momentum") * states[f"{name}.velocity"] - lr * state.lr_mult * grad
            slots = {"": old + velocity, ".velocity": velocity}
        for suffix, value in slots.items():
            np.testing.assert_allclose(after[name + suffix], value, rtol=1e-10, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(strategies.nets())
def test_statistics_move_towards_those_of_the_batch(grown: strategies.Grown) -> None:
    """Batch normalisation's running statistics, from the values that it reads."""
    model = read_model(grown.text)
    graph = training_graph(model)
    states, feeds = strategies.initial(graph), grown.feeds(step=3)
    nodes = [node for node in graph.topo() if node.op.name == "batchnorm"]
    for node in nodes:
        graph.outputs[f"{node.name}.reads"] = node.operands[0]
    outputs, after = strategies.run(graph, states, feeds)
    for node in nodes:
        read = np.moveaxis(outputs[f"{node.name}.reads"], 1, 0).reshape(len(states[f"{node.name}.weight"]), -1)
        for what, batch in (("running_mean", read.mean(axis=1)), ("running_var", read.var(axis=1, ddof=1))):
            old, new = states[f"{node.name}.{what}"], after[f"{node.name}.{what}"]
            (average,) = [n.op for n in graph.topo() if n.name == f"{node.name}.{what}.next"]
            momentum = average.momentum  # type: ignore[attr-defined]
            np.testing.assert_allclose(new, (1 - momentum) * old + momentum * batch, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("op", [Sgd(), Adam()])
def test_update_takes_only_what_has_a_gradient(op: Sgd | Adam) -> None:
    after = run_passes(parse(ONE), [Loss(SoftmaxCrossEntropy()), Backward(), Update(op)])
    assert after.states["other"].update is None
    assert after.states["fc.weight"].update is not None
    assert not [name for name in after.outputs if name.endswith(".grad")]
