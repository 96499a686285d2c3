"""Timelines: when steps would run, what is hidden, and the words for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from alexnet_ir.compiler import read_model, training_graph
from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.plan import Program, Stream
from alexnet_ir.ir.profile import PROFILES, Profile
from alexnet_ir.ir.timeline import Exchange, duration, explain, simulate
from alexnet_ir.ops.elementwise import Add, Relu, Tanh
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule

from .. import strategies
from ..passes.replicas import on, replicas

SECOND = Profile(
    "second", "a second a step of 4 bytes, and one for 2 bytes sent",
    product_flops=1.0, bandwidth=8.0, overhead=0.0, link_bandwidth=2.0, link_latency=0.5,
)  # fmt: skip
SPAN = Span(Source("m.alx", ""), 1, 1, 1, 2)


def program() -> Program:
    """a on device 0; sent to device 1 while device 0 makes b; device 1 adds a to its own c."""
    graph = Graph("g", 2)
    x, y = graph.input("x@0", on(0, 1)), graph.input("y@1", on(1, 1))
    a = graph.emit(Relu(), x, name="a", span=SPAN)
    c = graph.emit(Relu(), y, name="c", span=SPAN)
    sent = graph.emit(Copy(1, "all_gather"), a, name="conv3.all_gather.0to1", span=SPAN)
    graph.outputs["b@0"] = graph.emit(Tanh(), a, name="b")
    graph.outputs["d@1"] = graph.emit(Add(), sent, c, name="d")
    graph.wholes = {"%x": on(0, 1), "%y": on(1, 1), "b": on(0, 1), "d": on(1, 1)}
    return Schedule().run(graph)


def test_when_steps_run() -> None:
    timeline = simulate(program(), SECOND)
    times = {s.name: (b, e) for s, b, e in zip(program().steps, timeline.starts, timeline.ends, strict=True)}
    assert times == {
        "a": (0, 1), "c": (0, 1), "conv3.all_gather.0to1": (1, 3.5), "b": (1, 2), "d": (3.5, 5),
    }  # fmt: skip
    assert timeline.seconds == 5
    assert timeline.busy == {Stream(0): 2, Stream(0, 1): 2.5, Stream(1): 2.5}
    assert timeline.computing == (2, 2.5)


def test_what_is_exchanged() -> None:
    timeline = simulate(program(), SECOND)
    assert timeline.exchanges == (Exchange("conv3", "all_gather", 4, 2.5),)
    assert timeline.communicating == 2.5
    assert (timeline.exposed, timeline.hidden) == (2.5, 0)  # without it, d would end at 2.5


def test_nothing_is_nothing() -> None:
    empty = Schedule().run(Graph("empty"))
    timeline = simulate(empty, SECOND)
    assert (timeline.seconds, timeline.exposed, timeline.communicating) == (0, 0, 0)
    assert "no faster than 1" in explain(timeline, timeline)


def test_in_words() -> None:
    graph = Graph("g")
    x, y = graph.input("x", on(0, 1)), graph.input("y", on(0, 1))
    a, c = graph.emit(Relu(), x, name="a"), graph.emit(Relu(), y, name="c")
    graph.outputs["b"] = graph.emit(Tanh(), a, name="b")
    graph.outputs["d"] = graph.emit(Add(), a, c, name="d")
    one = simulate(Schedule().run(graph), SECOND)
    assert explain(one, simulate(program(), SECOND)) == (
        "2 devices would be slower than 1 (5 s against 4.5 s a step): device 1, which computes most, has 56% of the "
        "work of 1 (2.5 s) and the exchanges take 2.5 s, of which 2.5 s are not hidden behind computation; the largest "
        "is conv3's all_gather (2.5 s on all links)"
    )
    assert explain(simulate(program(), SECOND), one).startswith("1 devices would be 1.11 times as fast as 1")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"), (1e-9, "0.001 us"), (1.5e-6, "1.5 us"), (0.000123456, "123 us"), (0.00123, "1.23 ms"),
        (0.0999, "99.9 ms"), (0.99949, "999 ms"), (0.9996, "1 s"), (12.34, "12.3 s"), (4567, "4567 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@settings(max_examples=20, deadline=None)
@given(strategies.nets())
def test_timelines_of_any_net(grown: strategies.Grown) -> None:
    graph, profile = replicas(training_graph(read_model(grown.text))), PROFILES["v100-nvlink"]
    made = Schedule(profile).run(graph)
    timeline, planned = simulate(made, profile), simulate(PlanMemory().run(made), profile)
    there: dict[str, float] = {}
    last: dict[Stream, float] = {}
    for step, start, end in zip(made.steps, timeline.starts, timeline.ends, strict=True):
        assert start == max(last.get(step.stream, 0), *(there.get(name, 0) for name in step.operands), 0)
        last[step.stream] = end
        there.update(dict.fromkeys(step.results, end))
    assert timeline.seconds == max(last.values())
    assert planned.seconds >= timeline.seconds  # memory that is used again can only make it wait
    assert 0 <= timeline.exposed <= timeline.communicating * (1 + 1e-9) + 1e-12
    assert sum(e.nbytes for e in timeline.exchanges) == sum(
        made.types[s.operands[0]].nbytes for s in made.steps if s.stream.is_link
    )
    assert sum(e.seconds for e in timeline.exchanges) >= timeline.communicating * (1 - 1e-9)
