"""The graph as text, and back: `print(parse(print(graph))) == print(graph)` for every graph.

    graph AlexNet {
      input %image : f32[128, 3, 224, 224] loc(model.alx:8:11)
      state %conv1.weight : f32[96, 3, 11, 11] = normal(std = 0.01) loc(model.alx:10:8)
      %conv1 = conv(%image, %conv1.weight) {pad = (0, 3), stride = 4} : f32[128, 96, 55, 55] loc(model.alx:10:8)
      output score = %conv1
      update %conv1.weight = %conv1.weight.next
    }

An op's text comes from its dataclass fields: an attribute at its default is left out. The parts of a fused op are
written as nodes are, with numbers for operands: `parts = [conv(0, 1) {stride = 4}; bias_add(3, 2); relu(4)]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.attributes import Attributes, defaults_of, kinds_of
from alexnet_ir.ir.graph import ROLES, Graph, Node, Role, State, Value
from alexnet_ir.ir.initial import INITIALS, Initial
from alexnet_ir.ir.op import Input, Op, Part, TypeRuleError
from alexnet_ir.ir.types import DTYPES, REPLICATED, DType, TensorType, placement_of

# --- printing -----------------------------------------------------------------------------------------------------


def print_graph(graph: Graph) -> str:
    """The text of a graph, ending in a newline."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    devices = f" on {graph.devices} devices" if graph.devices > 1 else ""
    yield f"graph {graph.name}{devices} {{"
    for name, type_ in graph.wholes.items():
        yield f"  whole {name} : {type_}"
    for value in graph.inputs.values():
        yield f"  {_input_text(graph.node(value))}"
    for state in graph.states.values():
        yield f"  {_state_text(graph, state)}"
    sources = {v.node for v in graph.inputs.values()} | {s.read.node for s in graph.states.values()}
    for node in graph.topo():
        if node.id not in sources:
            yield f"  {node_text(graph, node)}"
    for name, value in graph.outputs.items():
        yield f"  output {name} = %{graph.value_name(value)}"
    for state in graph.states.values():
        if state.update is not None:
            yield f"  update %{state.name} = %{graph.value_name(state.update)}"
    yield "}"


def _input_text(node: Node) -> str:
    default = cast(Input, node.op).default
    return f"input %{node.name} : {node.types[0]}" + ("" if default is None else f" = {default!r}") + _loc(node)


def _state_text(graph: Graph, state: State) -> str:
    node = graph.node(state.read)
    extras: dict[str, Any] = {} if state.role == "parameter" else {"role": state.role}
    extras |= {k: v for k, v in (("lr_mult", state.lr_mult), ("decay_mult", state.decay_mult)) if v != 1.0}
    braces = f" {{{', '.join(f'{k} = {value_text(v)}' for k, v in extras.items())}}}" if extras else ""
    initial = f"{state.initial.name}({attributes_text(state.initial)})"
    return f"state %{state.name} : {node.types[0]} = {initial}{braces}{_loc(node)}"


def node_text(graph: Graph, node: Node) -> str:
    """One node: `%conv1 = conv(%image, %conv1.weight) {stride = 4} : f32[...] loc(...)`."""
    results = ", ".join(f"%{graph.value_name(v)}" for v in node.results)
    operands = (f"%{graph.value_name(v)}" for v in node.operands)
    types = ", ".join(map(str, node.types))
    return f"{results} = {_call_text(node.op, operands)} : {types}{_loc(node)}"


def _call_text(op: Op, operands: Iterable[object]) -> str:
    attributes = attributes_text(op)
    braces = f" {{{attributes}}}" if attributes else ""
    return f"{op.name}({', '.join(map(str, operands))}){braces}"


def _loc(node: Node) -> str:
    return f" loc({node.span})" if node.span else ""


def attributes_text(owner: Attributes) -> str:
    """`groups = 2, pad = 2`: the attributes that are not at their default."""
    defaults = defaults_of(type(owner))
    shown = []
    for name, kind in kinds_of(type(owner)).items():
        value = getattr(owner, name)
        if name not in defaults or value != defaults[name]:
            shown.append(f"{name} = {value_text(compact(value) if kind.compact else value)}")
    return ", ".join(shown)


def compact(value: Any) -> Any:
    """((2, 2), (2, 2)) as 2, ((0, 3), (0, 3)) as (0, 3): a tuple of equal parts as that part, from the inside out."""
    if not isinstance(value, tuple):
        return value
    return value if len(set(value)) > 1 else compact(value[0])


def value_text(value: Any) -> str:
    """An attribute's value as it is written: 2, 0.5, true, "down", (0, 3), none, [relu(0); tanh(1)]."""
    if isinstance(value, tuple) and value and isinstance(value[0], Part):
        return f"[{'; '.join(_call_text(part.op, part.operands) for part in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(map(value_text, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return repr(value)


# --- parsing ------------------------------------------------------------------------------------------------------

_LOC = re.compile(r" loc\((.*):(\d+):(\d+)\)$")
_NAME = re.compile(r"(?:, )?(\w+) = ")
_VALUE = re.compile(
    r'\s*(?:(?P<string>"[^"]*")|(?P<word>true|false|none)|(?P<number>-?[\d.][\w.+-]*)|(?P<tuple>\()|(?P<parts>\[))'
)
_CALL = re.compile(r"(?:; )?(?P<op>\w+)\((?P<operands>[\d, ]*)\)(?P<brace> \{)?")

Ops = Mapping[str, type[Op]]


class TextError(ValueError):
    """The text is not that of a graph."""


def parse_graph(text: str, ops: Ops) -> Graph:
    """The graph that a text describes; TextError, with the line, where it does not. `ops` maps names to classes."""
    lines = text.splitlines()
    header = re.fullmatch(r"graph (\S+)(?: on ([1-9]\d*) devices)? \{", lines[0]) if lines else None
    if header is None or lines[-1] != "}":
        raise TextError('expected "graph NAME {" in the first line and "}" in the last')
    reader = _Reader(Graph(header[1], int(header[2] or 1)), ops)
    for number, line in enumerate(lines[1:-1], 2):
        try:
            reader.line(line.strip())
        except (ValueError, KeyError, TypeError, IndexError, ArithmeticError, RecursionError, TypeRuleError) as failure:
            raise TextError(f"line {number}: {failure}: {line.strip()}") from failure
    return reader.graph


class _Reader:
    def __init__(self, graph: Graph, ops: Ops) -> None:
        self.graph, self.ops = graph, ops
        self.values: dict[str, Value] = {}
        self.sources: dict[str, Source] = {}

    def line(self, line: str) -> None:
        keyword, _, rest = line.partition(" ")
        if keyword.startswith("%"):
            self._node(*self._split_loc(line))
        elif keyword == "input":
            self._input(*self._split_loc(rest))
        elif keyword == "state":
            self._state(*self._split_loc(rest))
        elif keyword == "whole":
            name, _, type_ = rest.partition(" : ")
            self.graph.wholes[name] = _tensor(type_)
        elif keyword == "output":
            name, _, value = rest.partition(" = ")
            self.graph.outputs[name] = self.values[value]
        elif keyword == "update":
            name, _, value = rest.partition(" = ")
            self.graph.set_update(name.removeprefix("%"), self.values[value])
        else:
            raise ValueError("expected whole, input, state, a node, output or update")

    def _split_loc(self, line: str) -> tuple[str, Span | None]:
        found = _LOC.search(line)
        if found is None:
            return line, None
        source = self.sources.setdefault(found[1], Source(found[1]))
        row, column = int(found[2]), int(found[3])
        return line[: found.start()], Span(source, row, column, row, column + 1)

    def _input(self, line: str, span: Span | None) -> None:
        name, _, rest = line.partition(" : ")
        type_, _, default = rest.partition(" = ")
        value = _default(default) if default else None
        self.values[name] = self.graph.input(_bare(name), _tensor(type_), default=value, span=span)

    def _state(self, line: str, span: Span | None) -> None:
        name, _, rest = line.partition(" : ")
        type_, _, rest = rest.partition(" = ")
        made = re.fullmatch(r"(\w+)\((.*?)\)(?: \{(.*)\})?", rest)
        if made is None:
            raise ValueError("expected initial(...) {...}")
        initial: Initial = INITIALS[made[1]](**_attributes(made[2], {}))
        extras = _attributes(made[3] or "", {})
        role = cast(Role, extras.pop("role", ROLES[0]))
        if role not in ROLES or not all(isinstance(factor, int | float) for factor in extras.values()):
            raise ValueError("expected {role = ..., lr_mult = ..., decay_mult = ...}")
        self.values[name] = self.graph.state(_bare(name), _tensor(type_), initial, role=role, span=span, **extras)

    def _node(self, line: str, span: Span | None) -> None:
        made = re.fullmatch(r"(%.*?) = (\w+)\(([^()]*)\)(?: \{(.*)\})? : (.*)", line)
        if made is None:
            raise ValueError("expected %result = op(%operand, ...) {...} : type")
        results, op_name, operands, attributes, types = made.groups()
        op = self.ops[op_name](**_attributes(attributes or "", self.ops))
        read = [self.values[name] for name in operands.split(", ") if name]
        first, *_ = names = results.split(", ")
        emitted = self.graph.emit_all(op, *read, name=_bare(first), span=span)
        own = [f"%{self.graph.value_name(value)}" for value in emitted]
        if names != own:
            raise ValueError(f"its results are called {', '.join(own)}, or one is taken")
        inferred = ", ".join(str(self.graph.type(value)) for value in emitted)
        if inferred != types:
            raise ValueError(f"the type rule says {inferred}, the text {types}")
        self.values.update(zip(names, emitted, strict=True))


def _bare(name: str) -> str:
    if re.fullmatch(r"%\S+", name) is None:
        raise ValueError(f"expected a name like %conv1, found {name!r}")
    return name[1:]


def _default(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _tensor(text: str) -> TensorType:
    found = re.fullmatch(r"(\w+)\[([\d, ]*)\](?: (\S+))?", text)
    if found is None or found[1] not in DTYPES:
        raise ValueError(f"{text} is no type")
    shape = tuple(int(part) for part in found[2].split(", ") if part)
    placement = placement_of(found[3]) if found[3] else REPLICATED
    return TensorType(cast(DType, found[1]), shape, placement)


def _attributes(text: str, ops: Ops) -> dict[str, Any]:
    found, position = _named_values(text, 0, ops)
    if position < len(text):
        raise ValueError(f"expected name = value at {text[position:]!r}")
    return found


def _named_values(text: str, position: int, ops: Ops) -> tuple[dict[str, Any], int]:
    """The attributes from a position on, up to a closing brace."""
    found: dict[str, Any] = {}
    while position < len(text) and text[position] != "}":
        name = _NAME.match(text, position)
        if name is None:
            raise ValueError(f"expected name = value at {text[position:]!r}")
        found[name[1]], position = _value(text, name.end(), ops)
    return found, position


def _value(text: str, position: int, ops: Ops) -> tuple[Any, int]:
    found = _VALUE.match(text, position)
    if found is None:
        raise ValueError(f"expected a value at {text[position:]!r}")
    if found["string"]:
        return found["string"][1:-1], found.end()
    if found["word"]:
        return {"true": True, "false": False, "none": None}[found["word"]], found.end()
    if found["number"]:
        number = found["number"]
        return (int(number) if re.fullmatch(r"-?\d+", number) else float(number)), found.end()
    return _tuple(text, found.end(), ops) if found["tuple"] else _parts(text, found.end(), ops)


def _tuple(text: str, position: int, ops: Ops) -> tuple[Any, int]:
    items: list[Any] = []
    while not text.startswith(")", position):
        item, position = _value(text, position, ops)
        items.append(item)
        position += len(", ") if text.startswith(", ", position) else len(",") * text.startswith(",", position)
    return tuple(items), position + 1


def _parts(text: str, position: int, ops: Ops) -> tuple[Any, int]:
    parts: list[Part] = []
    while not text.startswith("]", position):
        called = _CALL.match(text, position)
        if called is None:
            raise ValueError(f"expected op(numbers) at {text[position:]!r}")
        attributes: dict[str, Any] = {}
        position = called.end()
        if called["brace"]:
            attributes, position = _named_values(text, position, ops)
            position += 1
        numbers = tuple(int(number) for number in called["operands"].split(", ") if number)
        parts.append(Part(ops[called["op"]](**attributes), numbers))
    return tuple(parts), position + 1
