"""plan-memory: places that never collide, waits that suffice, and as few bytes as can be."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.compiler import compile_step, inference_graph, read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.plan import Plan, Program, Slot
from alexnet_ir.ir.target import Target
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.allocate import allocate
from alexnet_ir.passes.lifetimes import Buffer, most_live
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.setup import setup_of

from .. import strategies
from ..plans import (
    SIMPLE,
    Machine,
    apart,
    check,
    check_aliases,
    check_memory,
    check_waits,
    kept,
    legal_order,
    live,
    same,
)
from ..programs import MIXER, programs

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.alx"))
LARGE = {"googlenet", "resnet18", "resnet50", "vgg16"}


def plan_of(graph: Graph, target: Target = SIMPLE) -> Plan:
    return PlanMemory(target).run(Schedule().run(graph))


# --- one small plan ---------------------------------------------------------------------------------------------------

GRAPH = """\
graph net {
  input %x : f32[2, 16]
  input %lr : f32[] = 0.5
  state %w : f32[2, 16] = normal(std = 0.1)
  state %v : f32[2, 16] = constant(value = 0.0)
  state %s : f32[2, 16] = constant(value = 1.0)
  %a = add(%x, %w) : f32[2, 16]
  %b = tanh(%a) : f32[2, 16]
  %c = relu(%b) : f32[2, 16]
  %d = add(%c, %b) : f32[2, 16]
  %w.next, %w.next.velocity = sgd(%w, %v, %d, %lr, %lr, %lr, %lr, %lr) : f32[2, 16], f32[2, 16]
  %s.next = relu(%s) : f32[2, 16]
  output y = %c
  output old = %s
  update %w = %w.next
  update %v = %w.next.velocity
  update %s = %s.next
}
"""


def test_the_plan_of_a_graph() -> None:
    plan = plan_of(parse(GRAPH))
    check(plan, SIMPLE)
    assert plan.aliases == {"w.next": "w", "w.next.velocity": "v"}, "the old value of s is fetched: it must stay"
    assert plan.slots["a"] == plan.slots["b"], "tanh overwrites what nobody else reads"
    assert plan.slots["c"] != plan.slots["b"], "d reads b after relu"
    assert plan.slots["x"] != plan.slots["a"], "an input is not overwritten by its reader"
    assert {"w", "v", "s", *plan.aliases}.isdisjoint(plan.slots)
    assert plan.workspaces == {}
    assert plan.waits == ((),) * len(plan.steps)
    (arena,) = plan.arenas
    assert (arena.states, arena.temporary) == (3 * 128, 0)
    assert arena.separate == 3 * 128 + 9 * 128 + 64 - 128, "x, lr, a, b, c, d and three results of updates"
    assert arena.peak == arena.lower_bound


def test_an_update_waits_for_no_one_who_reads_the_old_value_later() -> None:
    text = GRAPH.replace("output y = %c", "%late = add(%w.next, %w) : f32[2, 16]\n  output y = %late")
    plan = plan_of(parse(text))
    check(plan, SIMPLE)
    assert plan.aliases == {"w.next.velocity": "v"}
    assert "w.next" in plan.slots


def test_nothing_is_in_place_where_the_target_says_nothing() -> None:
    plan = plan_of(parse(GRAPH), Target("none", alignment=256))
    check(plan, Target("none", alignment=256))
    assert plan.aliases == {}
    assert plan.slots["a"] != plan.slots["b"]


# --- any plan ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(programs())
def test_plans_of_any_program(program: Program) -> None:
    plan = PlanMemory(MIXER).run(program)
    check(plan, MIXER)
    assert plan == PlanMemory(MIXER).run(program)
    for device, arena in enumerate(plan.arenas):
        bound = most_at_once(plan, device, MIXER.alignment)
        assert arena.lower_bound >= bound
        assert arena.lower_bound == bound or any(step.stream.is_link for step in plan.steps)


def most_at_once(plan: Plan, device: int, alignment: int) -> int:
    """States, and the most bytes of one device that are live at a step: values that share bytes count once."""
    fed = {s for planned in plan.inputs.values() for s in planned.shards if s is not None}
    totals = []
    for position, names in enumerate([*live(plan), fed, kept(plan)]):
        slots = {plan.slots[name] for name in names if name in plan.slots and plan.device(name) == device}
        if position in plan.workspaces and plan.steps[position].stream.device == device:
            slots.add(plan.workspaces[position])
        totals.append(sum(-(-slot.nbytes // alignment) * alignment for slot in slots))
    return plan.arenas[device].states + max(totals)


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(0, 2**32))
def test_any_order_that_the_waits_allow_gives_the_same_bytes(program: Program, seed: int) -> None:
    random_bytes = np.random.default_rng(seed)
    values = {name: random_bytes.integers(256, size=t.shape, dtype="u1") for name, t in program.types.items()}
    feeds = {s: values[s] for planned in program.inputs.values() for s in planned.shards if s is not None}
    states = {s: values[s] for planned in program.states.values() for s in planned.shards if s is not None}
    outputs, after = Machine(apart(program), states).run(feeds)
    plan = PlanMemory(MIXER).run(program)
    for number in range(4):
        machine = Machine(plan, states)
        order = legal_order(plan, random.Random(seed + number))
        found, found_after = machine.run(feeds, order)
        same(found, outputs)
        same(found_after, after)


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_plans_of_any_net(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model), model.graph):
        check(plan_of(graph), SIMPLE)


@settings(max_examples=40, deadline=None)
@given(strategies.nets())
def test_memory_that_is_free_is_never_read(grown: strategies.Grown) -> None:
    graph = training_graph(read_model(grown.text))
    program = Schedule().run(graph)
    states = {name: array.astype("f4") for name, array in strategies.initial(graph).items()}
    feeds = {name: planned.default for name, planned in program.inputs.items() if planned.default is not None}
    feeds.update((name, value) for name, value in grown.feeds().items() if name in program.inputs)
    plan = PlanMemory(SIMPLE).run(program)
    plain, machine, needed = Machine(apart(program), states), Machine(plan, states), [*live(plan), kept(plan)]

    def poison(position: int) -> None:
        made_next = plan.steps[position + 1].results if position + 1 < len(plan.steps) else ()
        machine.poison(needed[position + 1] - set(made_next))

    for _ in range(2):
        expected, expected_after = plain.run(feeds)
        found, found_after = machine.run(feeds, after=poison)
        same(found, expected)
        same(found_after, expected_after)


# --- checkers that check ----------------------------------------------------------------------------------------------


def test_an_overlap_that_was_sown_is_found() -> None:
    plan = plan_of(parse(GRAPH))
    broken = replace(plan, slots={**plan.slots, "d": plan.slots["c"]})
    with pytest.raises(AssertionError, match="overlap at"):
        check_memory(broken, SIMPLE)
    shifted = Slot(plan.slots["c"].offset + 64, plan.slots["c"].nbytes)
    with pytest.raises(AssertionError):
        check_memory(replace(plan, slots={**plan.slots, "c": shifted}), SIMPLE)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_every_wait_is_needed(program: Program) -> None:
    plan = PlanMemory(MIXER).run(program)
    for position, waits in enumerate(plan.waits):
        for at in waits:
            fewer = tuple(other for other in waits if other != at)
            with pytest.raises(AssertionError, match="runs into"):
                check_waits(replace(plan, waits=(*plan.waits[:position], fewer, *plan.waits[position + 1 :])))


# --- few bytes --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30), st.integers(0, 8)), max_size=40))
def test_offsets_of_any_buffers(drawn: list[tuple[int, int, int]]) -> None:
    taken = [Buffer(0, nbytes, first, first + length) for nbytes, first, length in drawn]
    offsets, size = allocate(taken)
    for i, one in enumerate(taken):
        assert offsets[i] + one.nbytes <= size
        for j, other in enumerate(taken[:i]):
            if one.first <= other.last and other.first <= one.last:
                assert offsets[i] + one.nbytes <= offsets[j] or offsets[j] + other.nbytes <= offsets[i]
    assert most_live(taken) <= size <= sum(buffer.nbytes for buffer in taken)


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=pytest.mark.slow if p.stem in LARGE else ()) for p in EXAMPLES]
)
@pytest.mark.parametrize("target", [SIMPLE, Target("none")], ids=lambda target: target.name)
def test_examples_are_close_to_what_is_live(path: Path, target: Target) -> None:
    model = read_model(path)
    for graph in (training_graph(model), inference_graph(model)):
        (arena,) = plan_of(graph, target).arenas
        assert arena.lower_bound - arena.states <= arena.size <= 1.1 * (arena.lower_bound - arena.states)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["columns", "data"])
@pytest.mark.parametrize("name", ["alexnet-2012", "googlenet", "resnet18"])
def test_two_devices_are_close_to_what_is_live(name: str, place: str) -> None:
    setup = setup_of("cpu,cpu", place)
    plan = compile_step(read_model(EXAMPLES[0].with_name(f"{name}.alx")), setup).plan
    for arena in plan.arenas:
        assert arena.size <= 1.1 * (arena.lower_bound - arena.states)
    check_aliases(plan, setup.backend.target)
    updates = {update for state in plan.states.values() for update in state.updates}
    assert set(plan.aliases) == updates - {None}, "every update is in place"


def test_the_papers_net_in_figures() -> None:
    (arena,) = plan_of(training_graph(read_model(EXAMPLES[0].with_name("alexnet-2012.alx")))).arenas
    print(arena)
    assert arena.states == 2 * 4 * 60_965_224, "weights and momenta"
    assert arena.peak < 1.4e9
    assert arena.separate > 3e9
