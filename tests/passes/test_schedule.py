"""schedule: the order of the steps, and what is freed when."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from alexnet_ir.backends.reference.executor import NumpyExecutable, ReferenceBackend
from alexnet_ir.compiler import inference_graph, plan_of, read_model, training_graph
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ops.table import parse
from alexnet_ir.ops.update import UpdateOp

from .. import strategies

GRAPH = """\
graph net {
  input %x : f32[2, 1, 4, 4] loc(m.alx:1:1)
  input %lr : f32[] = 0.5
  state %w : f32[2, 16] = normal(std = 0.1)
  state %kept : f32[2, 16] = constant(value = 1.0)
  %pool, %pool.argmax = maxpool(%x) {size = 1} : f32[2, 1, 4, 4], u8[2, 1, 4, 4] loc(m.alx:2:1)
  %a = flatten(%pool) : f32[2, 16]
  %b = tanh(%a) : f32[2, 16]
  %dead = relu(%a) : f32[2, 16]
  %c = add(%b, %a) : f32[2, 16]
  %w.next, %w.next.velocity = sgd(%w, %kept, %b, %lr, %lr, %lr, %lr, %lr) : f32[2, 16], f32[2, 16]
  output y = %c
  output same = %c
  update %w = %w.next
}
"""


def test_the_plan_of_a_graph() -> None:
    plan = plan_of(parse(GRAPH))
    steps = [(step.op.name, step.operands, step.results, step.frees) for step in plan.steps]
    assert steps == [
        ("maxpool", ("x",), ("pool", "pool.argmax"), ("pool.argmax",)),
        ("flatten", ("pool",), ("a",), ("pool",)),
        ("tanh", ("a",), ("b",), ()),
        ("sgd", ("w", "kept", "b", "lr", "lr", "lr", "lr", "lr"), ("w.next", "w.next.velocity"), ("w.next.velocity",)),
        ("relu", ("a",), ("dead",), ("dead",)),
        ("add", ("b", "a"), ("c",), ("a", "b")),
    ]
    assert plan.outputs == {"y": "c", "same": "c"}
    assert plan.inputs["lr"].default == 0.5
    assert plan.inputs["x"].default is None
    assert (plan.states["w"].update, plan.states["kept"].update) == ("w.next", None)
    assert str(plan.steps[0].span) == "m.alx:2:1"


def check(plan: Plan) -> None:
    """Values are there when they are read; each is freed once, after its last reading, unless it is kept."""
    there = {*plan.inputs, *plan.states}
    kept = there | set(plan.outputs.values()) | {s.update for s in plan.states.values() if s.update is not None}
    freed: set[str] = set()
    last = {}
    for position, step in enumerate(plan.steps):
        last.update(dict.fromkeys((*step.results, *step.operands), position))
    for position, step in enumerate(plan.steps):
        assert set(step.operands) <= there, "read before it is made, or after it was freed"
        assert not there & set(step.results)
        there |= set(step.results)
        assert len(set(step.frees)) == len(step.frees)
        assert set(step.frees) == {name for name, at in last.items() if at == position} - kept
        there -= set(step.frees)
        freed |= set(step.frees)
    assert there == kept & there
    assert kept <= there
    assert freed.isdisjoint(kept)
    assert set(plan.types) == there | freed


def check_updates_are_early(plan: Plan) -> None:
    """Nothing stands before an update that it could have gone before, but other updates."""
    made = {name: position for position, step in enumerate(plan.steps) for name in step.results}
    for position, step in enumerate(plan.steps):
        if isinstance(step.op, UpdateOp):
            ready = max((made[name] + 1 for name in step.operands if name in made), default=0)
            assert all(isinstance(between.op, UpdateOp) for between in plan.steps[ready:position])


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_plans_of_any_net(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model), model.graph):
        plan = plan_of(graph)
        check(plan)
        check_updates_are_early(plan)
        assert sorted(name for step in plan.steps for name in step.results) == sorted(
            graph.value_name(v) for n in graph.topo() if n.name not in {*graph.inputs, *graph.states} for v in n.results
        )


class Poisoned(NumpyExecutable):
    """Writes over a value as soon as it may be forgotten; no two values share memory."""

    def step(self, step: Step, values: dict[str, Array]) -> None:
        ending = [values[name] for name in step.frees if name in values]
        super().step(step, values)
        for name in step.results:
            if name in values:
                values[name] = values[name].copy(order="K")
        for array in ending:
            array.fill(np.nan if array.dtype.kind == "f" else 99)


@settings(max_examples=40, deadline=None)
@given(strategies.nets())
def test_what_is_freed_is_never_read(grown: strategies.Grown) -> None:
    graph = training_graph(read_model(grown.text))
    plan, states, feeds = plan_of(graph), strategies.initial(graph), grown.feeds()
    expected, expected_states = strategies.run(graph, states, feeds)
    backend = ReferenceBackend()
    made = Poisoned(plan, backend.storage(states), {}, backend.dtype)
    outputs = made.run(feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-9, atol=1e-12)
    for name, value in expected_states.items():
        np.testing.assert_allclose(made.storage.read(name), value, rtol=1e-9, atol=1e-12)
