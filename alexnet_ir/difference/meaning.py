"""What each layer of a net means, as plain values: what two nets are compared by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alexnet_ir.difference.words import Words, attributes
from alexnet_ir.dsl.layers import LAYERS, He, Initialiser, Xavier
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.ir.attributes import defaults_of
from alexnet_ir.ir.graph import Graph, Node, State
from alexnet_ir.ir.initial import Initial
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.text import compact
from alexnet_ir.ops.batchnorm import RunningAverage
from alexnet_ir.ops.window import reach

RETURN = "return"
"""Stands for a layer that reads what the net returns; no user's name, as the word is reserved."""
WINDOWED = ("conv", "local", "maxpool", "avgpool", "l2pool")
FACTORS = ("lr_mult", "decay_mult", "bias_lr_mult", "bias_decay_mult")
_POSITIONAL = ("kernels", "size", "units", "p", "slope")


@dataclass(frozen=True, eq=False)
class Meaning:
    """One layer. `values` holds what was said of it, by the language's words; `sources` are the paths of the layers it
    reads; shapes are those of one sample, `takes` of its first source."""

    path: str
    op: str
    line: int | None
    values: Mapping[str, Any]
    sources: tuple[str, ...]
    takes: tuple[int, ...]
    gives: tuple[int, ...]

    @property
    def text(self) -> str:
        """As it could be written, what concerns training and all defaults left out: `conv(96, 11, stride = 4)`."""
        rule = LAYERS.get(self.op)
        defaults = {name: compact(value) for name, value in defaults_of(rule.attributes).items()} if rule else {}
        shown = {
            name: Words().of(value)
            for name, value in self.values.items()
            if not (" " in name or name in FACTORS or (name in defaults and value == defaults[name]))
        }
        texts = [text if name in _POSITIONAL else f"{name} = {text}" for name, text in shown.items()]
        return f"{self.op}({', '.join(texts)})" if texts else self.op

    @property
    def short(self) -> str:
        """Its name, or its op where it has none."""
        return self.op if self.nameless else self.path

    @property
    def nameless(self) -> bool:
        """Whether its name may be nothing but its op and an ordinal."""
        return self.path.rpartition("/")[2].removeprefix(self.op).isdigit()

    @property
    def weighted(self) -> bool:
        """Whether it has parameters."""
        return any(name in self.values for name in FACTORS)

    @property
    def whole(self) -> bool:
        """Whether its windows come out whole, so that rounding has nothing to do."""
        (rows, columns), pads = _pair(self.values["size"]), self.pads
        windows = zip((rows, columns), _pair(self.values["stride"]), _pair(self.values.get("dilation", 1)), strict=True)
        rests = [
            (self.takes[1 + axis] + sum(pads[axis]) - reach(size, dilation)) % stride
            for axis, (size, stride, dilation) in enumerate(windows)
        ]
        return not any(rests)

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of rows and columns, each (before, after)."""
        pad = self.values["pad"]
        rows, columns = pad if isinstance(pad, tuple) and isinstance(pad[0], tuple) else (pad, pad)
        return _pair(rows), _pair(columns)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, tuple) else (value, value)
    return first, second


def same_windows(old: Meaning, new: Meaning) -> bool:
    """Whether two layers' windows read the same cells, however padding and rounding say it: what lies outside a map is
    zero or is not counted, so where the first window starts and how many there are is all that matters."""
    words = ("size", "stride", "dilation", "count_pad")
    return (
        [old.values.get(word) for word in words] == [new.values.get(word) for word in words]
        and (old.takes[1:], old.gives[1:]) == (new.takes[1:], new.gives[1:])
        and [before for before, _ in old.pads] == [before for before, _ in new.pads]
        and (old.pads == new.pads or not new.values.get("count_pad"))
    )


def meanings(model: Model) -> list[Meaning]:
    """The layers behind each other as the values flow, whatever order the file names them in, and `return` as the last;
    identities are looked through."""
    graph, layers = model.graph, {layer.path: layer for layer in model.layers}
    sources = {path: _sources(graph, graph.node(graph.named(path)), layers) for path in layers}
    identities = {path: sources[path][0] for path, layer in layers.items() if layer.op == "identity"}

    def seen(path: str) -> str:
        while path in identities:
            path = identities[path]
        return path

    reads = {path: tuple(map(seen, found)) for path, found in sources.items() if path not in identities}
    results = tuple(seen(layer_of(graph.node(value).name)) for value in graph.outputs.values())
    order = _order(reads, results)
    made = {path: _meaning(graph, layers[path], reads[path]) for path in order}
    return [*made.values(), Meaning(RETURN, RETURN, None, {}, results, (), ())]


def _sources(graph: Graph, node: Node, layers: Mapping[str, Layer]) -> tuple[str, ...]:
    """The layers that a layer reads, its own parameters and the inputs of dropout aside."""
    owners = [layer_of(graph.node(operand).name) for operand in node.operands]
    return tuple(owner for owner in owners if owner in layers and owner != node.name)


def _order(reads: dict[str, tuple[str, ...]], results: tuple[str, ...]) -> Iterator[str]:
    """Every layer after those it reads, as the results call for them; then the layers that nothing needs."""
    done: set[str] = set()
    used = set(itertools.chain(*reads.values(), results))
    waiting = [path for path in reversed(reads) if path not in used] + list(reversed(results))
    while waiting:
        path = waiting[-1]
        lacking = [source for source in reads[path] if source not in done]
        if lacking:
            waiting += reversed(lacking)
            continue
        waiting.pop()
        if path not in done:
            done.add(path)
            yield path


def _meaning(graph: Graph, layer: Layer, sources: tuple[str, ...]) -> Meaning:
    gives = graph.tensor(graph.named(layer.value)).shape[1:]
    takes = graph.tensor(graph.named(sources[0])).shape[1:] if sources else ()
    return Meaning(layer.path, layer.op, layer.span.line, _values(graph, layer), sources, takes, gives)


def _values(graph: Graph, layer: Layer) -> dict[str, Any]:
    path, node = layer.path, graph.node(graph.named(layer.path))
    if layer.op == "input":
        return {"size": graph.tensor(node.results[0]).shape[1:]}
    weight, bias = (graph.states.get(f"{path}.{what}") for what in ("weight", "bias"))
    found: dict[str, Any] = {}
    if weight is not None and layer.op != "batchnorm":
        found |= _kernels(graph, weight)
    found |= attributes(node.op)
    if layer.op == "batchnorm":
        average = graph.node(graph.named(f"{path}.running_mean.next")).op
        assert isinstance(average, RunningAverage)
        found["momentum"] = average.momentum
    elif weight is not None:
        found["initial weights"] = _initial(graph, weight)
        found["initial biases"] = None if bias is None else bias.initial
    for prefix, state in (("", weight), ("bias_", bias)):
        if state is not None:
            found |= {f"{prefix}lr_mult": state.lr_mult, f"{prefix}decay_mult": state.decay_mult}
    return found


def _kernels(graph: Graph, weight: State) -> dict[str, Any]:
    shape = graph.tensor(weight.read).shape
    if len(shape) == 2:
        return {"units": shape[0]}
    return {"kernels": shape[0], "size": shape[2] if shape[2] == shape[3] else shape[2:4]}


def _initial(graph: Graph, weight: State) -> Initialiser:
    """`he()` and `xavier()` where the values are theirs: what they come to follows from the shape."""
    shape = graph.tensor(weight.read).shape
    for rule in (He(), Xavier()):
        if rule.initial(shape) == weight.initial:
            return rule
    found: Initial = weight.initial
    return found
