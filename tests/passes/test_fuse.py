"""fuse: the text before and after for each rule, and what is refused, with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.fuse import FUSIONS, Fuse, fusions

from .fuse_texts import (
    BATCHNORM_RELU,
    BATCHNORM_RELU_AFTER,
    BIAS_RELU_DROPOUT,
    BIAS_RELU_DROPOUT_AFTER,
    CONV_BIAS_RELU,
    CONV_BIAS_RELU_AFTER,
    DEVICES,
    GRAD_RELU,
    GRAD_RELU_AFTER,
    GRAD_SUM,
    GRAD_SUM_AFTER,
    LOSS_GRAD,
    LOSS_GRAD_AFTER,
    LRN_MAXPOOL,
    LRN_MAXPOOL_AFTER,
    TWO_LOSSES,
    TWO_LOSSES_AFTER,
    UPDATES,
    UPDATES_AFTER,
)

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
        (["lrn_maxpool", "maxpool_lrn_grad"], LRN_MAXPOOL, LRN_MAXPOOL_AFTER),
        (["bias_relu_dropout", "grad_relu"], BIAS_RELU_DROPOUT, BIAS_RELU_DROPOUT_AFTER),
        (["batchnorm_relu"], BATCHNORM_RELU, BATCHNORM_RELU_AFTER),
        (["grad_relu"], GRAD_RELU, GRAD_RELU_AFTER),
        (["grad_relu"], GRAD_SUM, GRAD_SUM_AFTER),
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
    assert [f.hidden for f in pooled] == [("lrn1",), ("norm2", "pool2.argmax"), ("pool1.grad_input",)]
    assert pooled[1].saved_bytes == 2 * 4 * 150 + 6, "nobody would have read the argmax"


def test_updates_above_a_size_stay_alone() -> None:
    graph = parse(UPDATES)
    assert names(fusions(graph, ALL).fusions) == ["a.next + b.next"]
    assert names(fusions(graph, replace(ALL, together_bytes=4 * 65537)).fusions) == ["a.next + b.next + c.next"]
    assert names(fusions(graph, replace(ALL, together_bytes=7)).fusions) == []
    found = run_passes(graph, [Fuse(replace(ALL, together_bytes=4 * 65537))])
    assert [n.op.rule for n in found.topo() if isinstance(n.op, Fused)] == ["updates"]


def test_updates_at_other_rates_stay_apart() -> None:
    text = UPDATES.replace("sgd(%b, %b.v, %gb, %lr, %one,", "sgd(%b, %b.v, %gb, %one, %lr,")
    assert names(fusions(parse(text), replace(ALL, together_bytes=4 * 65537)).fusions) == ["a.next + c.next"]


def test_an_update_that_depends_on_another_stays_apart() -> None:
    graph = parse(UPDATES.replace("sgd(%b, %b.v, %gb, %lr,", "sgd(%b, %b.v, %a.next, %lr,"))
    assert names(fusions(graph, ALL).fusions) == []
    assert names(fusions(graph, replace(ALL, together_bytes=4 * 65537)).fusions) == ["a.next + c.next"]


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
