"""partition and distribute as texts, before and after; and what cleanup makes of reshards."""

from __future__ import annotations

import pytest

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import REPLICATED, On, Placement, Split, TensorType, placement_of
from alexnet_ir.ops.elementwise import Relu, Scale
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.placements import Mode, follow

from .placed import predicted

BEFORE = """\
graph net {
  input %image : f32[4, 2, 4, 4]
  state %conv1.weight : f32[4, 2, 3, 3] = normal(std = 0.1)
  state %conv1.bias : f32[4] = constant(value = 0.0)
  state %conv2.weight : f32[6, 4, 2, 2] = normal(std = 0.1)
  %conv1 = conv(%image, %conv1.weight) {pad = 1} : f32[4, 4, 4, 4]
  %conv1.biased = bias_add(%conv1, %conv1.bias) : f32[4, 4, 4, 4]
  %relu1 = relu(%conv1.biased) : f32[4, 4, 4, 4]
  %conv2 = conv(%relu1, %conv2.weight) : f32[4, 6, 3, 3]
  output score = %conv2
}
"""
BY_CHANNELS = """\
graph net on 2 devices {
  input %image : f32[4, 2, 4, 4]
  state %conv1.weight : f32[4, 2, 3, 3] split(0) = normal(std = 0.1)
  state %conv1.bias : f32[4] split(0) = constant(value = 0.0)
  state %conv2.weight : f32[6, 4, 2, 2] split(0) = normal(std = 0.1)
  %conv1 = conv(%image, %conv1.weight) {pad = 1} : f32[4, 4, 4, 4] split(1)
  %conv1.biased = bias_add(%conv1, %conv1.bias) : f32[4, 4, 4, 4] split(1)
  %relu1 = relu(%conv1.biased) : f32[4, 4, 4, 4] split(1)
  %conv2.all_gather = reshard(%relu1) {to = "replicated"} : f32[4, 4, 4, 4]
  %conv2 = conv(%conv2.all_gather, %conv2.weight) : f32[4, 6, 3, 3] split(1)
  output score = %conv2
}
"""
BY_CHANNELS_DISTRIBUTED = """\
graph net on 2 devices {
  whole %image : f32[4, 2, 4, 4]
  whole %conv1.weight : f32[4, 2, 3, 3] split(0)
  whole %conv1.bias : f32[4] split(0)
  whole %conv2.weight : f32[6, 4, 2, 2] split(0)
  whole score : f32[4, 6, 3, 3] split(1)
  input %image@0 : f32[4, 2, 4, 4] on(0)
  input %image@1 : f32[4, 2, 4, 4] on(1)
  state %conv1.weight@0 : f32[2, 2, 3, 3] on(0) = normal(std = 0.1)
  state %conv1.weight@1 : f32[2, 2, 3, 3] on(1) = normal(std = 0.1)
  state %conv1.bias@0 : f32[2] on(0) = constant(value = 0.0)
  state %conv1.bias@1 : f32[2] on(1) = constant(value = 0.0)
  state %conv2.weight@0 : f32[3, 4, 2, 2] on(0) = normal(std = 0.1)
  state %conv2.weight@1 : f32[3, 4, 2, 2] on(1) = normal(std = 0.1)
  %conv1@0 = conv(%image@0, %conv1.weight@0) {pad = 1} : f32[4, 2, 4, 4] on(0)
  %conv1@1 = conv(%image@1, %conv1.weight@1) {pad = 1} : f32[4, 2, 4, 4] on(1)
  %conv1.biased@0 = bias_add(%conv1@0, %conv1.bias@0) : f32[4, 2, 4, 4] on(0)
  %conv1.biased@1 = bias_add(%conv1@1, %conv1.bias@1) : f32[4, 2, 4, 4] on(1)
  %relu1@0 = relu(%conv1.biased@0) : f32[4, 2, 4, 4] on(0)
  %relu1@1 = relu(%conv1.biased@1) : f32[4, 2, 4, 4] on(1)
  %conv2.all_gather.1to0 = copy(%relu1@1) {to = 0, kind = "all_gather"} : f32[4, 2, 4, 4] on(0)
  %conv2.all_gather@0 = concat(%relu1@0, %conv2.all_gather.1to0) : f32[4, 4, 4, 4] on(0)
  %conv2.all_gather.0to1 = copy(%relu1@0) {to = 1, kind = "all_gather"} : f32[4, 2, 4, 4] on(1)
  %conv2.all_gather@1 = concat(%conv2.all_gather.0to1, %relu1@1) : f32[4, 4, 4, 4] on(1)
  %conv2@0 = conv(%conv2.all_gather@0, %conv2.weight@0) : f32[4, 3, 3, 3] on(0)
  %conv2@1 = conv(%conv2.all_gather@1, %conv2.weight@1) : f32[4, 3, 3, 3] on(1)
  output score@0 = %conv2@0
  output score@1 = %conv2@1
}
"""
BATCH_THEN_INPUTS = """\
graph net on 2 devices {
  input %image : f32[4, 2, 4, 4] split(0)
  state %conv1.weight : f32[4, 2, 3, 3] = normal(std = 0.1)
  state %conv1.bias : f32[4] = constant(value = 0.0)
  state %conv2.weight : f32[6, 4, 2, 2] split(1) = normal(std = 0.1)
  %conv1 = conv(%image, %conv1.weight) {pad = 1} : f32[4, 4, 4, 4] split(0)
  %conv1.biased = bias_add(%conv1, %conv1.bias) : f32[4, 4, 4, 4] split(0)
  %relu1 = relu(%conv1.biased) : f32[4, 4, 4, 4] split(0)
  %conv2.all_to_all = reshard(%relu1) {to = "split(1)"} : f32[4, 4, 4, 4] split(1)
  %conv2 = conv(%conv2.all_to_all, %conv2.weight) : f32[4, 6, 3, 3] partial
  output score = %conv2
}
"""


@pytest.mark.parametrize(
    ("modes", "after"),
    [
        ({"conv1": "channels", "conv2": "channels"}, BY_CHANNELS),
        ({"conv1": "batch", "conv2": "inputs"}, BATCH_THEN_INPUTS),
    ],
)
def test_partition(modes: dict[str, Mode], after: str) -> None:
    graph = parse(BEFORE)
    assert print_graph(run_passes(graph, [Partition(2, follow(graph, 2, modes))])) == after


def test_distribute() -> None:
    assert print_graph(run_passes(parse(BY_CHANNELS), [Distribute()])) == BY_CHANNELS_DISTRIBUTED


def test_says_whether_it_changed_anything() -> None:
    graph = parse(BEFORE)
    assert not Partition(1, {}).run(graph)
    assert not Distribute().run(graph)
    assert Partition(2, follow(graph, 2, {})).run(graph)
    assert Distribute().run(graph)
    assert not Distribute().run(graph)


def test_one_reshard_serves_all_that_want_a_value_there() -> None:
    graph = Graph("net")
    x = graph.input("x", TensorType("f32", (4, 2)))
    a = graph.emit(Relu(), x, name="a")
    for name in ("b", "c", "d"):
        graph.outputs[name] = graph.emit(Relu(), a, name=name)
    options = follow(graph, 2, {})
    by_batch, on_one = (
        next(s for s in Relu().strategies([graph.tensor(x)], [graph.tensor(a)], 2) if s.results == (place,))
        for place in (Split(0), On(1))
    )
    chosen = dict.fromkeys(options, on_one) | {"a": by_batch}
    placed = run_passes(graph, [Partition(2, chosen)])
    assert predicted(placed) == {"b.gather": 16}


# --- reshards of reshards -----------------------------------------------------------------------------------------


def chain(have: str, *hops: str, read: tuple[int, ...] = ()) -> Graph:
    """A value resharded one hop after the other; the hops in `read` have another reader."""
    graph = Graph("net", 2)
    value = graph.input("x", TensorType("f32", (4, 6), placement_of(have)))
    for number, hop in enumerate(hops):
        value = graph.emit(Reshard(hop), value, name=f"hop{number}")
        if number in read:
            graph.outputs[f"also{number}"] = graph.emit(Scale(0.5), value, name=f"also{number}")
    graph.outputs["y"] = value
    return graph


def shortened(*texts: str, read: tuple[int, ...] = ()) -> list[str]:
    """The reshards that are left, as `from > to`."""
    after = run_passes(chain(*texts, read=read), [Cleanup()])
    found = [n for n in after.topo() if isinstance(n.op, Reshard)]
    return [f"{after.tensor(n.operands[0]).placement} > {n.op.to}" for n in found if isinstance(n.op, Reshard)]


def test_a_chain_becomes_one() -> None:
    assert shortened("partial", "replicated", "split(1)") == ["partial > split(1)"]
    assert shortened("split(0)", "replicated", "split(1)") == ["split(0) > split(1)"]
    assert shortened("split(0)", "on(0)", "on(1)", "replicated") == ["split(0) > replicated"]


def test_there_and_back_is_nothing() -> None:
    assert shortened("split(0)", "replicated", "split(0)") == []
    assert shortened("on(1)", "split(0)", "replicated", "on(1)") == []
    assert shortened("replicated", "replicated") == []


def test_a_hop_that_is_free_is_left_out_though_it_is_read_elsewhere() -> None:
    assert shortened("replicated", "split(0)", "replicated", read=(0,)) == ["replicated > split(0)"]
    assert shortened("replicated", "split(0)", "split(1)", read=(0,)) == [
        "replicated > split(0)",
        "replicated > split(1)",
    ]


def test_a_hop_that_moves_bytes_for_others_too_is_read() -> None:
    """A slice of what all devices have anyway is free; a second exchange would not be."""
    assert shortened("partial", "replicated", "split(1)", read=(0,)) == [
        "partial > replicated",
        "replicated > split(1)",
    ]


def test_equal_reshards_are_made_once() -> None:
    graph = chain("split(0)", "replicated")
    graph.outputs["z"] = graph.emit(Reshard("replicated"), graph.named("x"), name="again")
    after = run_passes(graph, [Cleanup()])
    assert after.outputs["y"] == after.outputs["z"]


def test_a_hop_that_loses_its_last_other_reader_is_left_out() -> None:
    """Only after the other reader has gone: what is done once may make room for more."""
    graph = chain("split(0)", "replicated", "split(1)", read=(0,))
    del graph.outputs["also0"]
    after = run_passes(graph, [Cleanup()])
    assert [n.op for n in after.topo() if isinstance(n.op, Reshard)] == [Reshard("split(1)")]
    assert after.tensor(after.outputs["y"]).placement == Split(1)
    assert not Cleanup().run(after)


@pytest.mark.parametrize("place", [REPLICATED, Split(0), Split(1), On(0), On(1)])
def test_shortening_never_moves_more(place: Placement) -> None:
    for first in ("replicated", "partial", "split(0)", "split(1)", "on(0)", "on(1)"):
        for second in ("replicated", "split(0)", "split(1)", "on(0)", "on(1)"):
            for read in ((), (0,)):
                before = chain(str(place), first, second, read=read)
                after = run_passes(before, [Cleanup()])
                assert sum(predicted(after).values()) <= sum(predicted(before).values())
                assert after.tensor(after.outputs["y"]) == before.tensor(before.outputs["y"])
