"""What must hold of every net on several devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array, Strategy
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import On, Split
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.exchanging import EXCHANGING

from .. import meaning, strategies
from .placed import copied, forward_of, predicted, step_of


def check_placed(model: Model, devices: int, chosen: Mapping[str, Strategy], feeds: Mapping[str, Any]) -> None:
    """A training step, placed and distributed, against the step on one device."""
    forward = forward_of(model)
    one, placed = step_of(model, forward), step_of(model, forward, devices, chosen)
    distributed = run_passes(placed, [Distribute()])
    given = {**strategies.initial(one), **feeds}
    expected = meaning.results(one, given)
    check_alike(meaning.results(placed, given), expected)
    check_alike(meaning.results(distributed, given), expected)
    check_exchanges(placed, distributed)
    check_devices(distributed)
    check_shards(placed, distributed)
    check_texts(placed, distributed)


def check_alike(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def check_exchanges(placed: Graph, distributed: Graph) -> None:
    """Every node moves the bytes that are predicted of it."""
    assert copied(distributed) == predicted(placed)


def check_devices(distributed: Graph) -> None:
    """Every value is on one device, and only copies go from one to another."""
    for node in distributed.topo():
        places = [distributed.tensor(v).placement for v in (*node.operands, *node.results)]
        assert all(isinstance(place, On) and place.device < distributed.devices for place in places)
        assert (len(set(places)) == 2) if isinstance(node.op, Copy) else (len(set(places)) == 1)


def check_shards(placed: Graph, distributed: Graph) -> None:
    """The shards of every value tile the whole, or are as large; inputs, states and outputs say what they are of."""
    wholes = {f"%{s.name}": placed.tensor(s.read) for s in placed.states.values()}
    wholes |= {f"%{name}": placed.tensor(value) for name, value in placed.inputs.items()}
    wholes |= {name: placed.tensor(value) for name, value in placed.outputs.items()}
    assert distributed.wholes == wholes
    for node in placed.topo():
        if isinstance(node.op, Reshard) or type(node.op) in EXCHANGING:
            continue  # what it makes may be left where it is, or be made of sums of its name
        type_ = placed.tensor(node.results[0])
        where = [type_.device] if isinstance(type_.placement, On) else range(placed.devices)
        found = [distributed.tensor(distributed.named(f"{node.name}@{device}")) for device in where]
        assert [t.shape for t in found] == [type_.local(placed.devices)] * len(where)
        if isinstance(type_.placement, Split):
            assert sum(t.nbytes for t in found) == type_.nbytes


def check_texts(*graphs: Graph) -> None:
    """Texts read back to themselves."""
    for graph in graphs:
        assert print_graph(parse(print_graph(graph))) == print_graph(graph)
