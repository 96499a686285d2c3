"""A training step by hand on several devices, each with a whole net: gradients are summed over all before updates."""

from __future__ import annotations

from dataclasses import replace

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input, Op, Source
from alexnet_ir.ir.types import On, TensorType
from alexnet_ir.ops.elementwise import Add
from alexnet_ir.ops.shape import Copy, Fill
from alexnet_ir.ops.update import UpdateOp


def replicas(graph: Graph, devices: int = 2) -> Graph:
    """The step of `graph` on each device, with an exchange of every gradient."""
    made = Graph(graph.name, devices)
    values: list[dict[Value, Value]] = [{} for _ in range(devices)]
    for node in graph.topo():
        if isinstance(node.op, UpdateOp):
            _sum(made, node, values)
        for device, there in enumerate(values):
            _emit(made, graph, node, device, there)
    for device, there in enumerate(values):
        made.outputs |= {f"{name}@{device}": there[value] for name, value in graph.outputs.items()}
        for state in graph.states.values():
            made.set_update(f"{state.name}@{device}", there[state.update] if state.update else None)
    sources = graph.inputs | {s.name: s.read for s in graph.states.values()}
    made.wholes = {f"%{name}": graph.tensor(value) for name, value in sources.items()}
    made.wholes |= {name: graph.tensor(value) for name, value in graph.outputs.items()}
    return made


def _emit(made: Graph, graph: Graph, node: Node, device: int, there: dict[Value, Value]) -> None:
    name = f"{node.name}@{device}"
    if isinstance(node.op, Source):
        type_ = graph.tensor(node.results[0]).at(On(device))
        if isinstance(node.op, Input):
            there[node.results[0]] = made.input(name, type_, default=node.op.default)
        else:
            state = graph.states[node.name]
            there[state.read] = made.state(name, type_, state.initial, role=state.role)
        return
    op: Op = replace(node.op, placement=f"on({device})") if isinstance(node.op, Fill) else node.op
    results = made.emit_all(op, *(there[v] for v in node.operands), name=name, span=node.span)
    there.update(zip(node.results, results, strict=True))


def _sum(made: Graph, node: Node, values: list[dict[Value, Value]]) -> None:
    """Replace the gradient that an update reads by the sum over all devices."""
    gradient = node.operands[type(node.op).operands.index("gradient")]
    parts = [there[gradient] for there in values]
    for device, there in enumerate(values):
        total = parts[device]
        for part in parts:
            if part != parts[device]:
                name = f"{node.name}.all_reduce"
                copy = made.emit(Copy(device, "all_reduce"), part, name=f"{name}.copy", span=node.span)
                total = made.emit(Add(), total, copy, name=f"{name}.sum", span=node.span)
        there[gradient] = total


def on(device: int, *shape: int) -> TensorType:
    """A float tensor on a device."""
    return TensorType("f32", shape, On(device))
