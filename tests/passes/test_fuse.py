"""fuse: the text before and after for each rule, and what is refused, with its reason."""

from __future__ import annotations

import pytest

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.fuse import FUSIONS, Fuse, fusions

CONV_BIAS_RELU = """\
graph net {
  input %x : f32[2, 1, 4, 4]
  state %conv1.weight : f32[3, 1, 3, 3] = normal(std = 0.1)
  state %conv1.bias : f32[3] = constant(value = 0.0)
  state %conv2.weight : f32[3, 3, 1, 1] = normal(std = 0.1)
  state %fc3.weight : f32[5, 48] = normal(std = 0.1)
  state %fc3.bias : f32[5] = constant(value = 1.0)
  %conv1 = conv(%x, %conv1.weight) {pad = 1} : f32[2, 3, 4, 4] loc(m.alx:3:8)
  %conv1.bias_add = bias_add(%conv1, %conv1.bias) : f32[2, 3, 4, 4] loc(m.alx:3:8)
  %relu1 = relu(%conv1.bias_add) : f32[2, 3, 4, 4] loc(m.alx:3:30)
  %conv2 = conv(%relu1, %conv2.weight) : f32[2, 3, 4, 4] loc(m.alx:4:8)
  %tanh2 = tanh(%conv2) : f32[2, 3, 4, 4] loc(m.alx:4:30)
  %flat = flatten(%tanh2) : f32[2, 48]
  %fc3 = fc(%flat, %fc3.weight) : f32[2, 5] loc(m.alx:5:8)
  %fc3.bias_add = bias_add(%fc3, %fc3.bias) : f32[2, 5] loc(m.alx:5:8)
  output score = %fc3.bias_add
}
"""
CONV_BIAS_RELU_AFTER = """\
%relu1 = fused(%x, %conv1.weight, %conv1.bias) {rule = "conv_bias_relu", parts = [conv(0, 1) {pad = 1}; bias_add(3, \
2); relu(4)], yields = (5,)} : f32[2, 3, 4, 4] loc(m.alx:3:30)
%tanh2 = fused(%relu1, %conv2.weight) {rule = "conv_bias_relu", parts = [conv(0, 1); tanh(2)], yields = (3,)} : \
f32[2, 3, 4, 4] loc(m.alx:4:30)
%flat = flatten(%tanh2) : f32[2, 48]
%fc3.bias_add = fused(%flat, %fc3.weight, %fc3.bias) {rule = "conv_bias_relu", parts = [fc(0, 1); bias_add(3, 2)], \
yields = (4,)} : f32[2, 5] loc(m.alx:5:8)
"""
LRN_MAXPOOL = """\
graph net {
  input %x : f32[2, 3, 5, 5]
  input %g : f32[2, 3, 2, 2]
  %lrn1 = lrn(%x) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] loc(m.alx:4:8)
  %pool1, %pool1.argmax = maxpool(%lrn1) {size = 3, stride = 2} : f32[2, 3, 2, 2], u8[2, 3, 2, 2] loc(m.alx:5:8)
  %pool1.grad_input = maxpool_grad(%g, %pool1.argmax) {size = 3, stride = 2, input_size = 5} : f32[2, 3, 5, 5] \
loc(m.alx:5:8)
  %lrn1.grad_input = lrn_grad(%pool1.grad_input, %x) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] \
loc(m.alx:4:8)
  %norm2 = local_norm(%x) {size = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] loc(m.alx:6:8)
  %pool2, %pool2.argmax = maxpool(%norm2) {size = 5, stride = 5} : f32[2, 3, 1, 1], u8[2, 3, 1, 1] loc(m.alx:7:8)
  output pool1 = %pool1
  output grad = %lrn1.grad_input
  output pool2 = %pool2
}
"""
LRN_MAXPOOL_AFTER = """\
%pool1, %pool1.argmax = fused(%x) {rule = "lrn_maxpool", parts = [lrn(0) {n = 3, k = 2.0, alpha = 0.1, beta = \
0.75}; maxpool(1) {size = 3, stride = 2}], yields = (2, 3), names = ("argmax",)} : f32[2, 3, 2, 2], u8[2, 3, 2, 2] \
loc(m.alx:5:8)
%pool1.grad_input = maxpool_grad(%g, %pool1.argmax) {size = 3, stride = 2, input_size = 5} : f32[2, 3, 5, 5] \
loc(m.alx:5:8)
%lrn1.grad_input = lrn_grad(%pool1.grad_input, %x) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] \
loc(m.alx:4:8)
%pool2 = fused(%x) {rule = "lrn_maxpool", parts = [local_norm(0) {size = 3, k = 2.0, alpha = 0.1, beta = 0.75}; \
maxpool(1) {size = 5, stride = 5}], yields = (2,)} : f32[2, 3, 1, 1] loc(m.alx:7:8)
"""
BIAS_RELU_DROPOUT = """\
graph net {
  input %x : f32[4, 6]
  input %g : f32[4, 5]
  input %train.seed : i64[] = 0
  input %train.step : i64[] = 0
  state %fc6.weight : f32[5, 6] = normal(std = 0.1)
  state %fc6.bias : f32[5] = constant(value = 1.0)
  %fc6 = fc(%x, %fc6.weight) : f32[4, 5] loc(m.alx:3:8)
  %fc6.bias_add = bias_add(%fc6, %fc6.bias) : f32[4, 5] loc(m.alx:3:8)
  %relu6 = relu(%fc6.bias_add) : f32[4, 5] loc(m.alx:3:20)
  %drop6 = dropout(%relu6, %train.seed, %train.step) {p = 0.5, stream = 3} : f32[4, 5] loc(m.alx:3:30)
  %drop6.grad_input = dropout(%g, %train.seed, %train.step) {p = 0.5, stream = 3} : f32[4, 5] loc(m.alx:3:30)
  %relu6.grad_input = relu_grad(%drop6.grad_input, %relu6) : f32[4, 5] loc(m.alx:3:20)
  output y = %drop6
  output grad = %relu6.grad_input
}
"""
BIAS_RELU_DROPOUT_AFTER = """\
%drop6 = fused(%x, %fc6.weight, %fc6.bias, %train.seed, %train.step) {rule = "bias_relu_dropout", parts = [fc(0, \
1); bias_add(5, 2); relu(6); dropout(7, 3, 4) {p = 0.5, stream = 3}], yields = (8,)} : f32[4, 5] loc(m.alx:3:30)
%relu6.grad_input = fused(%g, %train.seed, %train.step, %drop6) {rule = "grad_relu", parts = [dropout(0, 1, 2) {p = \
0.5, stream = 3}; relu_grad(4, 3)], yields = (5,)} : f32[4, 5] loc(m.alx:3:20)
"""
GRAD_RELU = """\
graph net {
  input %g : f32[2, 3, 4, 4]
  input %relu1 : f32[2, 2, 6, 6]
  input %tanh2 : f32[2, 72]
  state %conv2.weight : f32[3, 2, 3, 3] = normal(std = 0.1)
  state %fc3.weight : f32[72, 72] = normal(std = 0.1)
  %conv2.grad_input = conv_grad_input(%g, %conv2.weight) {input_size = 6} : f32[2, 2, 6, 6] loc(m.alx:5:8)
  %relu1.grad_input = relu_grad(%conv2.grad_input, %relu1) : f32[2, 2, 6, 6] loc(m.alx:4:8)
  %flat = flatten(%relu1.grad_input) : f32[2, 72]
  %fc3.grad_input = fc_grad_input(%flat, %fc3.weight) : f32[2, 72] loc(m.alx:7:8)
  %tanh2.grad_input = tanh_grad(%fc3.grad_input, %tanh2) : f32[2, 72] loc(m.alx:6:8)
  output first = %relu1.grad_input
  output second = %tanh2.grad_input
}
"""
GRAD_RELU_AFTER = """\
%relu1.grad_input = fused(%g, %conv2.weight, %relu1) {rule = "grad_relu", parts = [conv_grad_input(0, 1) \
{input_size = 6}; relu_grad(3, 2)], yields = (4,)} : f32[2, 2, 6, 6] loc(m.alx:4:8)
%flat = flatten(%relu1.grad_input) : f32[2, 72]
%tanh2.grad_input = fused(%flat, %fc3.weight, %tanh2) {rule = "grad_relu", parts = [fc_grad_input(0, 1); \
tanh_grad(3, 2)], yields = (4,)} : f32[2, 72] loc(m.alx:6:8)
"""
LOSS_GRAD = """\
graph net {
  input %x : f32[4, 5]
  input %train.label : i32[4]
  %loss, %loss.softmax = softmax_cross_entropy(%x, %train.label) : f32[], f32[4, 5] loc(m.alx:9:8)
  %loss.grad = fill() {value = 1.0} : f32[] loc(m.alx:9:8)
  %loss.grad_input = softmax_cross_entropy_grad(%loss.grad, %loss.softmax, %train.label) : f32[4, 5] loc(m.alx:9:8)
  output loss = %loss
  output grad = %loss.grad_input
}
"""
LOSS_GRAD_AFTER = """\
%loss, %loss.grad_input = fused(%x, %train.label) {rule = "loss_grad", parts = [softmax_cross_entropy(0, 1); fill() \
{value = 1.0}; softmax_cross_entropy_grad(4, 3, 1)], yields = (2, 5), names = ("grad_input",)} : f32[], f32[4, 5] \
loc(m.alx:9:8)
"""
TWO_LOSSES = """\
graph net {
  input %x : f32[4, 5]
  input %z : f32[4, 5]
  input %train.label : i32[4]
  %score.loss, %score.loss.slopes = hinge(%x, %train.label) : f32[], f32[4, 5]
  %score.2.loss, %score.2.loss.slopes = hinge(%z, %train.label) : f32[], f32[4, 5]
  %score.2.weighted = scale(%score.2.loss) {factor = 0.3} : f32[]
  %loss = add(%score.loss, %score.2.weighted) : f32[]
  %loss.grad = fill() {value = 1.0} : f32[]
  %score.2.weighted.grad_input = scale(%loss.grad) {factor = 0.3} : f32[]
  %score.2.loss.grad_input = hinge_grad(%score.2.weighted.grad_input, %score.2.loss.slopes) : f32[4, 5]
  %score.loss.grad_input = hinge_grad(%loss.grad, %score.loss.slopes) : f32[4, 5]
  output loss = %loss
  output first = %score.loss.grad_input
  output second = %score.2.loss.grad_input
}
"""
TWO_LOSSES_AFTER = """\
%loss.grad = fill() {value = 1.0} : f32[]
%score.2.weighted.grad_input = scale(%loss.grad) {factor = 0.3} : f32[]
%score.2.loss, %score.2.loss.grad_input = fused(%z, %train.label, %score.2.weighted.grad_input) {rule = \
"loss_grad", parts = [hinge(0, 1); hinge_grad(2, 4)], yields = (3, 5), names = ("grad_input",)} : f32[], f32[4, 5]
%score.2.weighted = scale(%score.2.loss) {factor = 0.3} : f32[]
%score.loss, %score.loss.grad_input = fused(%x, %train.label, %loss.grad) {rule = "loss_grad", parts = [hinge(0, \
1); hinge_grad(2, 4)], yields = (3, 5), names = ("grad_input",)} : f32[], f32[4, 5]
%loss = add(%score.loss, %score.2.weighted) : f32[]
"""
UPDATES = """\
graph net {
  input %ga : f32[2]
  input %gb : f32[2]
  input %gc : f32[65537]
  input %lr : f32[]
  input %one : f32[]
  state %a : f32[2] = constant(value = 0.0)
  state %a.v : f32[2] = constant(value = 0.0) {role = "slot"}
  state %b : f32[2] = constant(value = 0.0)
  state %b.v : f32[2] = constant(value = 0.0) {role = "slot"}
  state %c : f32[65537] = constant(value = 0.0)
  state %c.v : f32[65537] = constant(value = 0.0) {role = "slot"}
  %a.next, %a.next.velocity = sgd(%a, %a.v, %ga, %lr, %one, %one, %one, %one) : f32[2], f32[2] loc(m.alx:2:8)
  %b.next, %b.next.velocity = sgd(%b, %b.v, %gb, %lr, %one, %one, %lr, %one) : f32[2], f32[2] loc(m.alx:3:8)
  %c.next, %c.next.velocity = sgd(%c, %c.v, %gc, %lr, %one, %one, %one, %one) : f32[65537], f32[65537] \
loc(m.alx:4:8)
  update %a = %a.next
  update %a.v = %a.next.velocity
  update %b = %b.next
  update %b.v = %b.next.velocity
  update %c = %c.next
  update %c.v = %c.next.velocity
}
"""
UPDATES_AFTER = """\
%a.next, %a.next.velocity, %a.next.b.next, %a.next.b.next.velocity = fused(%a, %a.v, %ga, %lr, %one, %b, %b.v, %gb) \
{rule = "updates", parts = [sgd(0, 1, 2, 3, 4, 4, 4, 4); sgd(5, 6, 7, 3, 4, 4, 3, 4)], yields = (8, 9, 10, 11), \
names = ("velocity", "b.next", "b.next.velocity")} : f32[2], f32[2], f32[2], f32[2] loc(m.alx:2:8)
%c.next, %c.next.velocity = sgd(%c, %c.v, %gc, %lr, %one, %one, %one, %one) : f32[65537], f32[65537] loc(m.alx:4:8)
"""

ALL = Target("all", fusions=frozenset(FUSIONS))


def fused(graph: Graph, *rules: str) -> Graph:
    """The graph fused by these rules; by all, if none is given."""
    return run_passes(graph, [Fuse(Target("some", fusions=frozenset(rules or FUSIONS)))])


def nodes(graph: Graph) -> list[str]:
    """Their text."""
    return [line.strip() for line in print_graph(graph).splitlines() if line.startswith("  %")]


def sources(graph: Graph) -> list[str]:
    """The text of inputs and states, with the name and number of devices."""
    return print_graph(graph).partition("  %")[0].splitlines()


def names(report: object) -> list[str]:
    return list(map(str, report))  # type: ignore[call-overload]


# --- what is done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "before", "after"),
    [
        (["conv_bias_relu"], CONV_BIAS_RELU, CONV_BIAS_RELU_AFTER),
        (["lrn_maxpool"], LRN_MAXPOOL, LRN_MAXPOOL_AFTER),
        (["bias_relu_dropout", "grad_relu"], BIAS_RELU_DROPOUT, BIAS_RELU_DROPOUT_AFTER),
        (["grad_relu"], GRAD_RELU, GRAD_RELU_AFTER),
        (["loss_grad"], LOSS_GRAD, LOSS_GRAD_AFTER),
        (["loss_grad"], TWO_LOSSES, TWO_LOSSES_AFTER),
        (["updates"], UPDATES, UPDATES_AFTER),
    ],
    ids=lambda x: "+".join(x) if isinstance(x, list) else "",
)
def test_before_and_after(rules: list[str], before: str, after: str) -> None:
    graph = parse(before)
    assert print_graph(graph) == before
    found = fused(graph, *rules)
    assert nodes(found) == after.splitlines()
    assert sources(found) == sources(graph)
    assert print_graph(fused(graph)) == print_graph(found), "the other rules find nothing here"
    assert print_graph(graph) == before


def test_a_target_that_names_no_fusion_gets_none() -> None:
    graph = parse(CONV_BIAS_RELU)
    assert not Fuse().run(graph)
    assert print_graph(graph) == CONV_BIAS_RELU
    assert nodes(fused(graph, "updates", "lrn_maxpool")) == nodes(graph)


def test_a_fusion_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="own: there is no fusion conv_and_all"):
        Fuse(Target("own", fusions=frozenset(["updates", "conv_and_all"]))).run(parse(UPDATES))


def test_the_longest_wins() -> None:
    with_dropout = fusions(parse(BIAS_RELU_DROPOUT), ALL)
    assert [f.rule for f in with_dropout.fusions] == ["bias_relu_dropout", "grad_relu"]
    without = fusions(parse(BIAS_RELU_DROPOUT), Target("some", fusions=frozenset(["conv_bias_relu"])))
    assert names(without.fusions) == ["fc6 + fc6.bias_add + relu6"]


def test_the_report_says_what_is_hidden_and_saved() -> None:
    report = fusions(parse(CONV_BIAS_RELU), ALL)
    assert (report.steps_before, report.steps_after) == (8, 4)
    assert names(report.fusions) == ["conv1 + conv1.bias_add + relu1", "fc3 + fc3.bias_add", "conv2 + tanh2"]
    assert [f.hidden for f in report.fusions] == [("conv1", "conv1.bias_add"), ("fc3",), ("conv2",)]
    assert [f.saved_bytes for f in report.fusions] == [2 * 2 * 4 * 96, 2 * 4 * 10, 2 * 4 * 96]
    assert report.saved_bytes == 2384
    pooled = fusions(parse(LRN_MAXPOOL), ALL).fusions
    assert [f.hidden for f in pooled] == [("lrn1",), ("norm2", "pool2.argmax")]
    assert pooled[1].saved_bytes == 2 * 4 * 150 + 6, "nobody would have read the argmax"


def test_updates_above_a_size_stay_alone() -> None:
    graph = parse(UPDATES)
    assert names(fusions(graph, ALL).fusions) == ["a.next + b.next"]
    assert names(fusions(graph, ALL, together_bytes=4 * 65537).fusions) == ["a.next + b.next + c.next"]
    assert names(fusions(graph, ALL, together_bytes=7).fusions) == []
    found = run_passes(graph, [Fuse(ALL, together_bytes=4 * 65537)])
    assert [n.op.rule for n in found.topo() if isinstance(n.op, Fused)] == ["updates"]


def test_updates_at_other_rates_stay_apart() -> None:
    text = UPDATES.replace("sgd(%b, %b.v, %gb, %lr, %one,", "sgd(%b, %b.v, %gb, %one, %lr,")
    assert names(fusions(parse(text), ALL, together_bytes=4 * 65537).fusions) == ["a.next + c.next"]


def test_an_update_that_depends_on_another_stays_apart() -> None:
    graph = parse(UPDATES.replace("sgd(%b, %b.v, %gb, %lr,", "sgd(%b, %b.v, %a.next, %lr,"))
    assert names(fusions(graph, ALL).fusions) == []
    assert names(fusions(graph, ALL, together_bytes=4 * 65537).fusions) == ["a.next + c.next"]


# --- what is refused ----------------------------------------------------------------------------------------------

READ = "  %more = abs(%{}) : {}\n"
CONV1, LRN1 = "f32[2, 3, 4, 4]", "f32[2, 3, 5, 5]"


@pytest.mark.parametrize(
    ("before", "old", "new", "refusals"),
    [
        (
            CONV_BIAS_RELU, "  %flat", READ.format("conv1.bias_add", CONV1) + "  %flat",
            ["conv1 + conv1.bias_add + relu1: conv1.bias_add is read by more too"],
        ),
        (
            CONV_BIAS_RELU, "  output score", "  output before = %conv1\n  output score",
            [
                "conv1 + conv1.bias_add + relu1: conv1 is read by the output before too",
                "conv1 + conv1.bias_add: conv1 is read by the output before too",
            ],
        ),
        (
            LRN_MAXPOOL, "  %norm2", READ.format("lrn1", LRN1) + "  %norm2",
            ["lrn1 + pool1: lrn1 is read by more too"],
        ),
        (
            GRAD_RELU, "  %flat =", READ.format("conv2.grad_input", "f32[2, 2, 6, 6]") + "  %flat =",
            ["conv2.grad_input + relu1.grad_input: conv2.grad_input is read by more too"],
        ),
        (
            BIAS_RELU_DROPOUT, "%g, %train.seed, %train.step) {p = 0.5, stream = 3}",
            "%g, %train.seed, %train.step) {p = 0.5, stream = 4}",
            [
                "drop6.grad_input + relu6.grad_input: drop6.grad_input does not draw the numbers of drop6",
                "fc6 + fc6.bias_add + relu6 + drop6: relu6 is read by relu6.grad_input too",
            ],
        ),
        (
            BIAS_RELU_DROPOUT, "%g, %train.seed, %train.step)", "%g, %train.seed, %train.seed)",
            [
                "drop6.grad_input + relu6.grad_input: drop6.grad_input does not draw the numbers of drop6",
                "fc6 + fc6.bias_add + relu6 + drop6: relu6 is read by relu6.grad_input too",
            ],
        ),
        (
            LOSS_GRAD, "  output loss = %loss\n", "  output loss = %loss\n  output softmax = %loss.softmax\n",
            [
                "loss + loss.grad + loss.grad_input: loss.softmax is read by the output softmax too",
                "loss + loss.grad_input: loss.softmax is read by the output softmax too",
            ],
        ),
        (
            LOSS_GRAD, "  %loss.grad = fill() {value = 1.0}", "  %loss.grad = scale(%loss) {factor = 0.5}",
            ["loss + loss.grad_input: loss.grad depends on it, and it on loss.grad"],
        ),
    ],
)  # fmt: skip
def test_refusals(before: str, old: str, new: str, refusals: list[str]) -> None:
    graph = parse(before.replace(old, new))
    report = fusions(graph, ALL)
    assert names(report.refusals) == refusals
    again = fusions(fused(graph), ALL)
    assert not again.fusions


def test_what_a_state_becomes_is_not_hidden() -> None:
    state = "  state %last : f32[2, 3, 4, 4] = constant(value = 0.0)\n"
    graph = parse(CONV_BIAS_RELU.replace("  state %fc3.weight", state + "  state %fc3.weight"))
    graph.set_update("last", graph.named("conv2"))
    assert names(fusions(graph, ALL).refusals) == ["conv2 + tanh2: conv2 is read by the state last too"]


DEVICES = """\
graph net on 2 devices {
  input %g0 : f32[2] on(0)
  input %g1 : f32[2] on(1)
  input %x : f32[2, 2, 4, 4] on(0)
  input %w : f32[2, 2, 1, 1] on(0)
  input %lr : f32[]
  state %a : f32[2] on(0) = constant(value = 0.0)
  state %b : f32[2] on(1) = constant(value = 0.0)
  state %c : f32[2] on(1) = constant(value = 0.0)
  %conv1 = conv(%x, %w) : f32[2, 2, 4, 4] on(0)
  %conv1.1 = copy(%conv1) {to = 1} : f32[2, 2, 4, 4] on(1)
  %relu1 = relu(%conv1.1) : f32[2, 2, 4, 4] on(1)
  %a.next, %a.next.velocity = sgd(%a, %a, %g0, %lr, %lr, %lr, %lr, %lr) : f32[2] on(0), f32[2] on(0)
  %b.next, %b.next.velocity = sgd(%b, %b, %g1, %lr, %lr, %lr, %lr, %lr) : f32[2] on(1), f32[2] on(1)
  %c.next, %c.next.velocity = sgd(%c, %c, %g1, %lr, %lr, %lr, %lr, %lr) : f32[2] on(1), f32[2] on(1)
  output y = %relu1
  update %a = %a.next
  update %b = %b.next
  update %c = %c.next
}
"""
"""What crosses devices is a copy, which is no part of any rule."""


def test_devices_stay_apart() -> None:
    text = DEVICES.replace("%lr : f32[]", "%lr : f32[] on(1)").replace(
        "%g0, %lr, %lr, %lr, %lr, %lr", "%g0, " + "%r, " * 4 + "%r"
    )
    graph = parse(text.replace("  input %lr", "  input %r : f32[] on(0)\n  input %lr"))
    found = fused(graph)
    assert [node.name for node in found.topo() if isinstance(node.op, Fused)] == ["b.next"]
    assert found.tensor(found.named("b.next")).device == 1
    assert names(fusions(graph, ALL).refusals) == []


def test_a_piece_on_several_devices_is_refused() -> None:
    report = fusions(parse(DEVICES), ALL)
    assert names(report.refusals) == ["b.next + c.next: not on one device: b is on(1) and lr is replicated"]
    split = CONV_BIAS_RELU.replace("f32[2, 3, 4, 4]", "f32[2, 3, 4, 4] split(0)").replace("net {", "net on 2 devices {")
    split = split.replace("f32[2, 1, 4, 4]", "f32[2, 1, 4, 4] split(0)").replace("[2, 48]", "[2, 48] split(0)")
    refusals = fusions(parse(split.replace("[2, 5]", "[2, 5] split(0)")), ALL).refusals
    assert str(refusals[0]) == (
        "conv1 + conv1.bias_add + relu1: not on one device: x is split(0) and conv1.weight is replicated"
    )
