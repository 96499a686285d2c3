"""recompute: values dropped and computed again, bit by bit the same, until a step fits its limit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.compiler import read_model, training_graph
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.fit import fit
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.recompute import Recompute, can_be_cloned, forward
from alexnet_ir.passes.schedule import Schedule

from .. import strategies
from ..plans import SIMPLE, Machine, check, legal_order, same
from .replicas import replicas

EXAMPLES = Path(__file__).parents[2] / "examples"


def plan_of(graph: Graph) -> Plan:
    return PlanMemory(SIMPLE).run(Schedule().run(graph))


def flops(plan: Plan) -> int:
    types = plan.types
    return sum(s.op.cost([types[n] for n in s.operands], [types[n] for n in s.results]).flops for s in plan.steps)


BEFORE = """\
graph net {
  input %x : f32[2, 16]
  input %lr : f32[] = 0.5
  state %w : f32[2, 16] = normal(std = 0.1)
  state %v : f32[2, 16] = constant(value = 0.0)
  %a = add(%x, %w) : f32[2, 16]
  %b = tanh(%a) : f32[2, 16]
  %c = relu(%b) : f32[2, 16]
  %c.grad = relu_grad(%c, %c) : f32[2, 16]
  %b.grad = tanh_grad(%c.grad, %b) : f32[2, 16]
  %w.next, %w.next.velocity = sgd(%w, %v, %b.grad, %lr, %lr, %lr, %lr, %lr) : f32[2, 16], f32[2, 16]
  output y = %c
  update %v = %w.next.velocity
  update %w = %w.next
}
"""

AFTER = BEFORE.replace("tanh_grad(%c.grad, %b)", "tanh_grad(%c.grad, %b.again)").replace(
    "  %c.grad = ",
    "  %a.again = add(%x, %w) : f32[2, 16]\n  %b.again = tanh(%a.again) : f32[2, 16]\n  %c.grad = ",
)


def test_a_clone_for_the_readers_in_backward() -> None:
    graph = run_passes(parse(BEFORE), [Recompute(("b", "a"))])
    assert sorted(print_graph(graph).splitlines()) == sorted(AFTER.splitlines())
    order = [step.name for step in plan_of(graph).steps]
    assert order == ["a", "b", "c", "c.grad", "a.again", "b.again", "b.grad", "w.next"], "right before its first reader"


def test_what_nobody_reads_in_backward_has_no_clone() -> None:
    graph = parse(BEFORE)
    assert not Recompute(("a",)).run(graph)
    assert print_graph(graph) == print_graph(parse(BEFORE))


def run(graph: Graph, grown: strategies.Grown, plan: Plan) -> tuple[dict[str, Array], dict[str, Array]]:
    states = {name: array.astype("f4") for name, array in strategies.initial(graph).items()}
    return Machine(plan, states).run(fed(plan, grown.feeds()))


def fed(plan: Plan, feeds: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {name: planned.default for name, planned in plan.inputs.items() if planned.default is not None}
    return {**defaults, **{name: value for name, value in feeds.items() if name in plan.inputs}}


@settings(max_examples=30, deadline=None)
@given(strategies.nets(), st.integers(0, 2**32))
def test_any_net_gives_the_same_bits(grown: strategies.Grown, seed: int) -> None:
    graph = training_graph(read_model(grown.text))
    early = forward(graph)
    nodes = [node.name for node in graph.topo() if node.id in early and can_be_cloned(node)]
    choose = random.Random(seed)
    dropped = tuple(choose.sample(nodes, choose.randint(0, len(nodes))))
    again = run_passes(graph, [Recompute(dropped)])
    plan = plan_of(again)
    check(plan, SIMPLE)
    assert plan.aliases == plan_of(graph).aliases, "updates are still in place"
    expected, found = run(graph, grown, plan_of(graph)), run(graph, grown, plan)
    same(found[0], expected[0])
    same(found[1], expected[1])


@settings(max_examples=25, deadline=None)
@given(strategies.nets(), st.sampled_from((0.95, 0.8, 0.6)))
def test_any_net_fits_its_limit_or_says_what_is_the_least(grown: strategies.Grown, share: float) -> None:
    graph = training_graph(read_model(grown.text))
    before = plan_of(graph)
    limit = int(before.arenas[0].peak * share)
    try:
        made, plan, dropped = fit(graph, limit, plan_of)
    except AlexnetError:
        with pytest.raises(AlexnetError, match=f"--memory-limit is {limit:,}"):
            fit(graph, limit, plan_of)
        return
    assert plan.arenas[0].peak <= limit
    assert plan == plan_of(made)
    assert dropped
    check(plan, SIMPLE)
    expected, found = run(graph, grown, before), run(graph, grown, plan)
    same(found[0], expected[0])
    same(found[1], expected[1])


@settings(max_examples=10, deadline=None)
@given(strategies.nets(), st.integers(0, 2**32))
def test_several_devices_give_the_same_bits(grown: strategies.Grown, seed: int) -> None:
    graph = replicas(training_graph(read_model(grown.text)))
    choose, early = random.Random(seed), forward(graph)
    nodes = [node.name for node in graph.topo() if node.id in early and can_be_cloned(node)]
    again = run_passes(graph, [Recompute(tuple(choose.sample(nodes, choose.randint(0, len(nodes)))))])
    plan, fitted = plan_of(graph), plan_of(again)
    check(plan, SIMPLE)
    check(fitted, SIMPLE)
    original = strategies.initial(training_graph(read_model(grown.text)))
    states = {f"{name}@{d}": array.astype("f4") for name, array in original.items() for d in range(2)}
    feeds = {f"{name}@{d}": value for name, value in grown.feeds().items() for d in range(2)}
    feeds = {name: value for name, value in feeds.items() if name in graph.inputs}
    defaults = {name: graph.node(v).op.default for name, v in graph.inputs.items() if name not in feeds}  # type: ignore[attr-defined]
    expected = Machine(plan, states).run(feeds | defaults)
    found = Machine(fitted, states).run(feeds | defaults, legal_order(fitted, choose))
    same(found[0], expected[0])
    same(found[1], expected[1])


def test_nothing_is_dropped_where_all_fits() -> None:
    graph = training_graph(read_model(EXAMPLES / "lenet5.alx"))
    made, plan, dropped = fit(graph, plan_of(graph).arenas[0].peak, plan_of)
    assert made is graph
    assert plan == plan_of(graph)
    assert dropped == ()


@pytest.mark.parametrize(
    ("name", "share", "work"), [("alexnet-2012", 0.9, 1.06), ("all-cnn-c", 0.75, 1.05), ("resnet18", 0.7, 1.01)]
)
def test_examples_under_a_limit(name: str, share: float, work: float) -> None:
    graph = training_graph(read_model(EXAMPLES / f"{name}.alx"))
    before = plan_of(graph)
    limit = int(before.arenas[0].peak * share)
    _, plan, dropped = fit(graph, limit, plan_of)
    assert plan.arenas[0].peak <= limit
    assert flops(before) < flops(plan) <= work * flops(before)
    print(f"{name}: {before.arenas[0].peak:,} -> {plan.arenas[0].peak:,} bytes by running {', '.join(dropped)} again")


@pytest.mark.slow
def test_the_limit_holds_on_every_device() -> None:
    graph = replicas(training_graph(read_model(EXAMPLES / "all-cnn-c.alx")))
    limit = int(plan_of(graph).arenas[0].peak * 0.8)
    _, plan, dropped = fit(graph, limit, plan_of)
    assert all(arena.peak <= limit for arena in plan.arenas)
    assert {name[-2:] for name in dropped} == {"@0", "@1"}


def test_a_limit_that_is_out_of_reach_says_so() -> None:
    graph = training_graph(read_model(EXAMPLES / "alexnet-2012.alx"))
    with pytest.raises(AlexnetError) as caught:
        fit(graph, 600_000_000, plan_of)
    message = str(caught.value)
    assert "error: the step needs at least 1," in message
    assert "--memory-limit is 600,000,000" in message
    assert "the states take 487,721,792 bytes" in message
    assert message.count(" takes ") == 5, "the largest values are named"
