"""The graph: a whole computation as values and the nodes that make them.

Purely functional: a graph has inputs, outputs and states (a value read, a value that replaces it after the run); no
node has side effects. Nodes are immutable; passes change the graph by emitting, replacing and erasing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.initial import Initial
from alexnet_ir.ir.op import Input, Op, Read
from alexnet_ir.ir.types import ResultType, TensorType


@dataclass(frozen=True, slots=True, order=True)
class Value:
    """Result `index` of the node with id `node`."""

    node: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op. `name` is unique in the graph; `span` is the place in the model file it serves."""

    id: int
    op: Op
    operands: tuple[Value, ...]
    types: tuple[ResultType, ...]
    name: str
    span: Span | None

    @property
    def results(self) -> tuple[Value, ...]:
        """The values it makes."""
        return tuple(Value(self.id, index) for index in range(len(self.types)))


Role = Literal["parameter", "statistic", "slot"]
ROLES: tuple[Role, ...] = ("parameter", "statistic", "slot")


@dataclass(frozen=True, slots=True)
class State:
    """What outlives a run: a parameter, a running statistic, or an optimizer's slot (momentum).

    `read` is its value before the run, `update` the value that replaces it after (None: it stays). The factors multiply
    the recipe's learning rate and weight decay.
    """

    name: str
    read: Value
    initial: Initial
    role: Role = "parameter"
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    update: Value | None = None


class Graph:
    """Nodes in a networkx MultiDiGraph, whose edges index the operands kept on the nodes."""

    def __init__(self, name: str, devices: int = 1) -> None:
        self.name = name
        self.devices = devices
        self.wholes: dict[str, TensorType] = {}
        """After `distribute`: the placed types of the values whose shards are `NAME@device`; those of inputs and states
        under `%NAME`, those of outputs under `NAME`."""
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.states: dict[str, State] = {}
        self._nx: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        self._nodes: dict[int, Node] = {}
        self._names: dict[str, int] = {}
        self._next_id = 0

    # --- building -------------------------------------------------------------------------------------------------

    def input(self, name: str, type_: TensorType, *, default: float | None = None, span: Span | None = None) -> Value:
        """Add an input. Its name must be free."""
        value = self._add(Input(type_, default), (), self._claim(name), span).results[0]
        self.inputs[name] = value
        return value

    def state(
        self,
        name: str,
        type_: TensorType,
        initial: Initial,
        *,
        role: Role = "parameter",
        lr_mult: float = 1.0,
        decay_mult: float = 1.0,
        span: Span | None = None,
    ) -> Value:
        """Add a state and return the value read. Its name must be free."""
        value = self._add(Read(type_), (), self._claim(name), span).results[0]
        self.states[name] = State(name, value, initial, role, lr_mult, decay_mult)
        return value

    def set_update(self, name: str, value: Value | None) -> None:
        """Say which value replaces a state after the run."""
        self.states[name] = replace(self.states[name], update=value)

    def emit_all(self, op: Op, *operands: Value, name: str, span: Span | None = None) -> tuple[Value, ...]:
        """Add a node and return all its results. Types come from the op's rule (TypeRuleError if it fails); a taken
        name gets a number."""
        types = op.infer([self.type(v) for v in operands], self.devices)
        return self._add(op, operands, self._free(name), span, types).results

    def emit(self, op: Op, *operands: Value, name: str, span: Span | None = None) -> Value:
        """Add a node and return its first result."""
        return self.emit_all(op, *operands, name=name, span=span)[0]

    def poison(self, op: Op, *operands: Value, name: str, span: Span | None, types: tuple[ResultType, ...]) -> Value:
        """Add a node whose rule failed, with error types, so that lowering can go on and find more mistakes."""
        return self._add(op, operands, self._free(name), span, types).results[0]

    def _add(
        self,
        op: Op,
        operands: tuple[Value, ...],
        name: str,
        span: Span | None,
        types: tuple[ResultType, ...] | None = None,
    ) -> Node:
        node = Node(self._next_id, op, operands, op.infer(()) if types is None else types, name, span)
        self._next_id += 1
        self._names[name] = node.id
        self._nodes[node.id] = node
        self._nx.add_node(node.id)
        self._connect(node)
        return node

    def _connect(self, node: Node) -> None:
        for position, operand in enumerate(node.operands):
            self._nx.add_edge(operand.node, node.id, key=position)

    def _claim(self, name: str) -> str:
        if name in self._names:
            raise ValueError(f"the graph has a `{name}` already")
        return name

    def _free(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._names:
            number += 1
            candidate = f"{name}.{number}"
        return candidate

    # --- reading --------------------------------------------------------------------------------------------------

    def node(self, value: Value | int) -> Node:
        """The node with this id, or the one that makes this value."""
        return self._nodes[value.node if isinstance(value, Value) else value]

    def type(self, value: Value) -> ResultType:
        """A value's type, which may be an error."""
        return self.node(value).types[value.index]

    def tensor(self, value: Value) -> TensorType:
        """A value's type in a graph that is free of errors."""
        found = self.type(value)
        assert isinstance(found, TensorType), f"%{self.value_name(value)} has no type"
        return found

    def value_name(self, value: Value) -> str:
        """`conv1` for a node's first result, `pool1.argmax` for a further one."""
        node = self.node(value)
        return node.name if value.index == 0 else f"{node.name}.{node.op.result_names[value.index]}"

    def named(self, name: str) -> Value:
        """The first result of the node with this name; KeyError if there is none."""
        return Value(self._names[name])

    def __contains__(self, name: str | int) -> bool:
        """Whether there is a node of this name, or with this id."""
        return name in self._names if isinstance(name, str) else name in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def topo(self) -> list[Node]:
        """All nodes, operands first; ties go to the older node, so that the order never flickers."""
        return [self._nodes[i] for i in nx.lexicographical_topological_sort(self._nx)]

    def users(self, value: Value) -> list[Node]:
        """The nodes that read this value, oldest first, each once."""
        readers = sorted(set(self._nx.successors(value.node)))
        return [node for node in map(self.node, readers) if value in node.operands]

    def roots(self) -> Iterator[Value]:
        """The values that the graph is for: its outputs and its states' updates."""
        yield from self.outputs.values()
        for state in self.states.values():
            if state.update is not None:
                yield state.update

    # --- changing -------------------------------------------------------------------------------------------------

    def replace(self, old: Value, new: Value) -> None:
        """Let every reader of `old`, outputs and updates included, read `new`."""
        for user in self.users(old):
            self.set_operands(user, tuple(new if v == old else v for v in user.operands))
        self.outputs = {name: new if v == old else v for name, v in self.outputs.items()}
        for state in list(self.states.values()):
            if state.update == old:
                self.set_update(state.name, new)

    def set_operands(self, node: Node, operands: tuple[Value, ...]) -> None:
        """Let a node read other values, of the types of those it reads now."""
        for position, operand in enumerate(node.operands):
            self._nx.remove_edge(operand.node, node.id, key=position)
        self._nodes[node.id] = replace(node, operands=operands)
        self._connect(self._nodes[node.id])

    def erase(self, node: Node) -> None:
        """Take a node out; ValueError, naming them, while it has users."""
        readers = [user.name for value in node.results for user in self.users(value)]
        readers += [f"output {name}" for name, v in self.outputs.items() if v.node == node.id]
        readers += [f"update of {s.name}" for s in self.states.values() if s.update and s.update.node == node.id]
        if readers:
            raise ValueError(f"%{node.name} is still read by {', '.join(readers)}")
        self.inputs = {name: v for name, v in self.inputs.items() if v.node != node.id}
        self.states = {name: s for name, s in self.states.items() if s.read.node != node.id}
        self._nx.remove_node(node.id)
        del self._nodes[node.id], self._names[node.name]

    def clear(self, devices: int) -> None:
        """Take everything out, to build another graph in its place, for so many devices."""
        empty = Graph(self.name, devices)
        empty._next_id = self._next_id
        self.__dict__.update(empty.__dict__)

    def rename(self, node: Node, name: str) -> None:
        """Give a node, no input or state, another name, which must be free."""
        self._names[self._claim(name)] = node.id
        del self._names[node.name]
        self._nodes[node.id] = replace(node, name=name)

    def renumber(self, age: Mapping[int, int]) -> None:
        """Give all nodes new ids: topological, and of the nodes that are ready the one of the lowest `age` first. So
        the order stands however ties are broken by ids."""
        order = list(nx.lexicographical_topological_sort(self._nx, key=age.__getitem__))
        ids = {old: new for new, old in enumerate(order, self._next_id)}

        def moved(value: Value) -> Value:
            return Value(ids[value.node], value.index)

        nodes = [replace(n, id=ids[n.id], operands=tuple(map(moved, n.operands))) for n in map(self.node, order)]
        self._next_id += len(order)
        self._nx = nx.relabel_nodes(self._nx, ids)
        self._nodes = {node.id: node for node in nodes}
        self._names = {node.name: node.id for node in nodes}
        self.inputs = {name: moved(value) for name, value in self.inputs.items()}
        self.outputs = {name: moved(value) for name, value in self.outputs.items()}
        self.states = {
            name: replace(s, read=moved(s.read), update=None if s.update is None else moved(s.update))
            for name, s in self.states.items()
        }

    def copy(self) -> Graph:
        """A graph that changes on its own; nodes and values keep their ids."""
        twin = Graph(self.name, self.devices)
        twin.wholes = dict(self.wholes)
        twin.inputs, twin.outputs, twin.states = dict(self.inputs), dict(self.outputs), dict(self.states)
        twin._nx, twin._nodes, twin._names = self._nx.copy(), dict(self._nodes), dict(self._names)
        twin._next_id = self._next_id
        return twin


@dataclass(frozen=True, slots=True)
class Builder:
    """Emits nodes that serve another one: they get its span, and its name as a prefix."""

    graph: Graph
    node: Node

    def emit(self, op: Op, *operands: Value, name: str) -> Value:
        """Add a node named `<node>.<name>` and return its first result."""
        return self.emit_all(op, *operands, name=name)[0]

    def emit_all(self, op: Op, *operands: Value, name: str) -> tuple[Value, ...]:
        """The same, all results."""
        return self.graph.emit_all(op, *operands, name=f"{self.node.name}.{name}", span=self.node.span)

    def type(self, value: Value) -> TensorType:
        """A value's type."""
        return self.graph.tensor(value)
