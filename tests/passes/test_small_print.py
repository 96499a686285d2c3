"""What no other test of passes would notice; mutation testing asked for it (docs/testing.md)."""

from __future__ import annotations

import pytest

from alexnet_ir.compiler import dense_graph, read_model, training_graph
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.target import Target
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.exchanges import exchanges
from alexnet_ir.passes.fit import _live
from alexnet_ir.passes.placements import Mode, follow, layers
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule

from ..plans import columns, live
from .placed import forward_of, step_of

NET = """\
alx 1
net N {
  image = input(2, 8, 12)
  return image -> conv(4, 3, pad = 1) -> batchnorm -> relu -> lrn(3, 2, 0.1, 0.75) -> dropout(0.5) -> maxpool(2)
    -> flatten -> fc(6) -> relu -> fc(4)
}
train t { batch: 4 stop: steps(1) optimizer: sgd(lr = 0.1) }
"""


def placed(mode: Mode) -> Graph:
    """The step on two devices, all layers in one mode."""
    model = read_model(NET)
    forward = forward_of(model)
    return step_of(model, forward, 2, follow(forward, 2, dict.fromkeys((n.name for n in layers(forward)), mode)))


@pytest.mark.parametrize("mode", ["batch", "channels"])
def test_names_end_with_the_device(mode: Mode) -> None:
    graph = run_passes(placed(mode), [Distribute()])
    for node in graph.topo():
        if not isinstance(node.op, Copy):
            _, _, device = node.name.rpartition("@")
            assert device.partition(".")[0] == str(graph.tensor(node.results[0]).device), node.name


def test_sums_of_gradients_are_updates() -> None:
    """Whole parameters on each device: nothing is exchanged for backward itself but what normalisation shares."""
    found = exchanges(placed("batch"))
    updates = [(edge.layer, edge.kind, edge.nbytes) for edge in found if edge.phase == "update"]
    weights = {"conv1": 4 * 2 * 9, "fc1": 6 * 4 * 4 * 6, "fc2": 4 * 6}
    assert {(layer, "all_reduce", 2 * 4 * size) for layer, size in weights.items()} <= set(updates)
    assert {edge.phase for edge in found if edge.layer == "batchnorm1"} >= {"forward", "backward"}


def test_dense_states_keep_what_they_are() -> None:
    model = read_model(NET.replace("lrn(3, 2, 0.1, 0.75) -> ", ""))
    before, after = model.graph, dense_graph(model, (12, 16))
    assert "batchnorm1.running_mean" in after.states
    for name, state in after.states.items():
        was = before.states[name]
        assert (state.role, state.lr_mult, state.decay_mult) == (was.role, was.lr_mult, was.decay_mult)


def test_rows_and_columns_each_have_their_nearest_sizes() -> None:
    with pytest.raises(AlexnetError) as caught:
        dense_graph(read_model(NET), (9, 15))
    assert caught.value.diagnostics[0].helps == ("the nearest sizes that do: 8 x 14 and 10 x 16",)


def test_bytes_in_use_count_workspaces_where_they_are() -> None:
    plan = PlanMemory(Target("columns", workspace=columns)).run(Schedule().run(training_graph(read_model(NET))))
    assert plan.workspaces
    values = [sum(plan.slots[name].nbytes for name in names if name in plan.slots) for names in live(plan)]
    spaces = [plan.workspaces[p].nbytes if p in plan.workspaces else 0 for p in range(len(plan.steps))]
    assert list(_live(plan, 0))[1:-1] == [a + b for a, b in zip(values, spaces, strict=True)]
