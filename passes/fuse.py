"""Puts several ops into one step, so that what passes between them never goes through memory.

Before:  %conv1 = conv(%image, %conv1.weight) {stride = 4}
         %conv1.bias_add = bias_add(%conv1, %conv1.bias)
         %relu1 = relu(%conv1.bias_add)
After:   %relu1 = fused(%image, %conv1.weight, %conv1.bias) {rule = "conv_bias_relu",
             parts = [conv(0, 1) {stride = 4}; bias_add(3, 2); relu(4)], yields = (5,)}

A target names the rules that it has kernels for. The longest piece wins. No piece crosses devices, hides a value that
something else reads, or depends on what depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.diagnostics import listed
from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Op, Source
from alexnet_ir.ir.target import TOGETHER_BYTES, Target
from alexnet_ir.ir.types import On, Placement, Replicated
from alexnet_ir.ops.batchnorm import BatchNorm
from alexnet_ir.ops.conv import Conv, ConvGradInput
from alexnet_ir.ops.dense import BiasAdd, Fc, FcGradInput
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import (
    Add,
    LeakyRelu,
    LeakyReluGrad,
    Relu,
    ReluGrad,
    Sigmoid,
    SigmoidGrad,
    Tanh,
    TanhGrad,
)
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.loss import LossGrad, LossOp
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import AvgPoolGrad, MaxPool, MaxPoolGrad
from alexnet_ir.ops.shape import Fill, Unflatten
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.base import Pass
from alexnet_ir.passes.rewrite import (
    Done,
    Pattern,
    Piece,
    Read,
    Refusal,
    Rule,
    apply,
    chain,
    downstream,
    readers_outside,
    way_back,
)

Ops = tuple[type[Op], ...]


@dataclass(frozen=True)
class Fuse(Pass):
    """Idempotent. Afterwards ids ascend in the order of the
    graph, a fused node standing where its last part stood."""

    name: ClassVar[str] = "fuse"
    target: Target = Target("none")

    def run(self, graph: Graph) -> bool:
        age = {node.id: position for position, node in enumerate(graph.topo())}
        done, _ = apply(graph, _chosen(self.target))
        for one in done:
            age.setdefault(one.node.id, max(age[node.id] for node in one.piece))
        if done:
            graph.renumber(age)
        return bool(done)


# --- what it did --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fusion:
    """Nodes that became one, by names; the values that are hidden now, and the bytes of memory traffic that saves."""

    rule: str
    names: tuple[str, ...]
    hidden: tuple[str, ...]
    saved_bytes: int

    def __str__(self) -> str:
        return " + ".join(self.names)


@dataclass(frozen=True, slots=True)
class FusionReport:
    """What `fuse` does to a graph, and what it refuses. Steps are the nodes that are no inputs or states."""

    fusions: tuple[Fusion, ...]
    refusals: tuple[Refusal, ...]
    steps_before: int
    steps_after: int

    @property
    def saved_bytes(self) -> int:
        """Of memory traffic, by all fusions."""
        return sum(fusion.saved_bytes for fusion in self.fusions)


def fusions(graph: Graph, target: Target) -> FusionReport:
    """What `fuse` would do to a graph."""
    fused = graph.copy()
    done, refusals = apply(fused, _chosen(target))
    found = tuple(_fusion(fused, one, one.node.op) for one in done if isinstance(one.node.op, Fused))
    return FusionReport(found, tuple(refusals), _steps(graph), _steps(fused))


def _fusion(graph: Graph, done: Done, op: Fused) -> Fusion:
    types = [graph.tensor(v) for v in graph.node(done.node.id).operands]
    hidden = op.hidden(types)
    names = [
        f"{node.name}.{suffix}" if suffix else node.name
        for node, (_, numbers) in zip(done.piece, op.walk(len(types)), strict=True)
        for number, suffix in zip(numbers, node.op.result_names, strict=True)
        if number in hidden
    ]
    return Fusion(done.rule, tuple(node.name for node in done.piece), tuple(names), op.saved_bytes(types))


def _steps(graph: Graph) -> int:
    return sum(not isinstance(node.op, Source) for node in graph.topo())


# --- rules --------------------------------------------------------------------------------------------------------


class FusionRule(Rule):
    """Makes one node of a piece."""

    def leaving(self, piece: Piece) -> tuple[Value, ...]:
        """What others may read of it; the first gives the fused node its name and span."""
        return piece[-1].results

    def refusal(self, graph: Graph, piece: Piece) -> str | None:
        return _scattered(graph, piece) or self._seen(graph, piece) or self._entered(graph, piece)

    def _seen(self, graph: Graph, piece: Piece) -> str | None:
        leaving = self.leaving(piece)
        for value in (v for node in piece for v in node.results if v not in leaving):
            if readers := readers_outside(graph, value, piece):
                return f"{graph.value_name(value)} is read by {listed(readers)} too"
        return None

    def _entered(self, graph: Graph, piece: Piece) -> str | None:
        if len({value.node for value in self.leaving(piece)}) == 1:
            return None  # all others lead to that node, so a way back in would be a cycle already
        node = way_back(graph, piece)
        return f"{node.name} depends on it, and it on {node.name}" if node else None

    def rewrite(self, graph: Graph, piece: Piece) -> Node:
        main, *others = self.leaving(piece)
        leaving = [main, *(v for v in others if readers_outside(graph, v, piece))]
        name, span = graph.node(main).name, graph.node(main).span
        op, operands = _composed(graph, self.name, piece, leaving)
        results = graph.emit_all(op, *operands, name=name, span=span)
        for old, new in zip(leaving, results, strict=True):
            graph.replace(old, new)
        for node in reversed(piece):
            graph.erase(node)
        graph.rename(graph.node(results[0]), name)
        return graph.node(results[0])


def _scattered(graph: Graph, piece: Piece) -> str | None:
    """Why the piece does not run on one device."""
    places: dict[Placement, str] = {}
    for value in (v for node in piece for v in (*node.operands, *node.results)):
        places.setdefault(graph.tensor(value).placement, graph.value_name(value))
    if len(places) == 1 and isinstance(next(iter(places)), On | Replicated):
        return None
    return f"not on one device: {listed(f'{name} is {place}' for place, name in places.items())}"


def _composed(graph: Graph, rule: str, piece: Piece, leaving: list[Value]) -> tuple[Fused, list[Value]]:
    """The op that does what the piece does, and the operands it reads."""
    made = dict.fromkeys(value for node in piece for value in node.results)
    operands = list(dict.fromkeys(v for node in piece for v in node.operands if v not in made))
    number = {value: i for i, value in enumerate([*operands, *made])}
    parts = tuple(Part(node.op, tuple(number[v] for v in node.operands)) for node in piece)
    prefix = f"{graph.node(leaving[0]).name}."
    names = tuple(graph.value_name(value).removeprefix(prefix) for value in leaving[1:])
    return Fused(rule, parts, tuple(number[v] for v in leaving), names), operands


@dataclass(frozen=True)
class Chain(FusionRule):
    """A pattern of which only the last node's results leave."""

    name: str
    pattern: Pattern

    def candidates(self, graph: Graph) -> Iterator[Piece]:
        return self.pattern.find(graph)


@dataclass(frozen=True)
class LossWithGrad(Chain):
    """A loss with its gradient: both leave, and what the one keeps for the other does not."""

    def leaving(self, piece: Piece) -> tuple[Value, ...]:
        return piece[0].results[0], piece[-1].results[0]


@dataclass(frozen=True)
class Normalized(Chain):
    """Batch normalisation with what is done to each element of its result: the batch's statistics leave too."""

    def leaving(self, piece: Piece) -> tuple[Value, ...]:
        return piece[-1].results[0], *piece[0].results[1:]

    def refusal(self, graph: Graph, piece: Piece) -> str | None:
        unread = [graph.value_name(v) for v in self.leaving(piece) if not readers_outside(graph, v, piece)]
        return super().refusal(graph, piece) or (f"nothing reads {listed(unread)}" if unread else None)


@dataclass(frozen=True)
class DroppedMask(Rule):
    """relu_grad(dropout(g), y) is relu_grad(dropout(g), dropout(y)), if both draw the same numbers: where those are
    zero the gradient is zero already, elsewhere the signs are the same. So y can be hidden."""

    name: str = "bias_relu_dropout"

    def candidates(self, graph: Graph) -> Iterator[Piece]:
        for grad, mask in chain((Dropout,), (ReluGrad,)).find(graph):
            if self._dropped(graph, mask):
                yield grad, mask

    def _dropped(self, graph: Graph, mask: Node) -> list[Node]:
        output = mask.operands[1]
        return [n for n in graph.users(output) if isinstance(n.op, Dropout) and n.operands[0] == output]

    def _same(self, graph: Graph, piece: Piece) -> Node | None:
        grad, mask = piece
        same = (n for n in self._dropped(graph, mask) if n.op == grad.op and n.operands[1:] == grad.operands[1:])
        return next(same, None)

    def refusal(self, graph: Graph, piece: Piece) -> str | None:
        if self._same(graph, piece):
            return None
        others = listed(node.name for node in self._dropped(graph, piece[1]))
        return f"{piece[0].name} does not draw the numbers of {others}"

    def rewrite(self, graph: Graph, piece: Piece) -> Node:
        mask, dropped = piece[1], self._same(graph, piece)
        assert dropped is not None
        graph.set_operands(mask, (mask.operands[0], dropped.results[0]))
        return graph.node(mask.id)


@dataclass(frozen=True)
class Updates(FusionRule):
    """Updates side by side: of one kind, at the same rates, on one device, of which none depends on another."""

    together_bytes: int
    name: str = "updates"

    def leaving(self, piece: Piece) -> tuple[Value, ...]:
        return tuple(value for node in piece for value in node.results)

    def candidates(self, graph: Graph) -> Iterator[Piece]:
        groups: dict[object, list[list[Node]]] = {}
        for node in sorted(graph.topo(), key=lambda node: node.id):
            parameter = graph.tensor(node.operands[0]) if isinstance(node.op, UpdateOp) else None
            if isinstance(node.op, UpdateOp) and parameter and parameter.nbytes <= self.together_bytes:
                rates = tuple(node.operands[node.op.operands.index(name)] for name in node.op.rates())
                alike = groups.setdefault((node.op, rates, parameter.placement), [])
                _join(graph, node, alike)
        for group in (group for alike in groups.values() for group in alike):
            if len(group) > 1:
                yield tuple(graph.node(node.id) for node in group)


def _join(graph: Graph, node: Node, groups: list[list[Node]]) -> None:
    """Put an update into the first group with which it has no path either way."""
    for group in groups:
        after = {n.id for n in downstream(graph, (v for member in group for v in member.results))}
        before = {n.id for n in downstream(graph, node.results)}
        if node.id not in after and before.isdisjoint(member.id for member in group):
            group.append(node)
            return
    groups.append([node])


LINEAR: Ops = (Conv, Fc, Local)
ACTIVATIONS: Ops = (Relu, LeakyRelu, Tanh, Sigmoid)
MASKS: Ops = (ReluGrad, LeakyReluGrad, TanhGrad, SigmoidGrad)
MASKED: Ops = (
    MaxPoolGrad, AvgPoolGrad, LrnGrad, LocalNormGrad, ConvGradInput, FcGradInput, Dropout, Unflatten, Add,
)  # fmt: skip
"""What makes the gradient that a mask is put on."""


def _added(pattern: Pattern) -> tuple[Pattern, ...]:
    """The sum of what a pattern makes and something else."""
    return tuple(Pattern((Add,), (Read(pattern, operand),)) for operand in (0, 1))


def rules(together_bytes: int = TOGETHER_BYTES) -> tuple[Rule, ...]:
    """All rules, in the order in which they are tried: the longest first."""
    loss = Read(Pattern((LossOp,)), 1, 1)
    start = Read(Pattern((Fill,)))
    batchnorm = Pattern((BatchNorm,))
    return (
        DroppedMask(),
        Chain("bias_relu_dropout", chain((Conv, Fc), (BiasAdd,), (Relu,), (Dropout,))),
        Chain("conv_bias_relu", chain(LINEAR, (BiasAdd,), ACTIVATIONS)),
        LossWithGrad("loss_grad", Pattern((LossGrad,), (loss, start))),
        LossWithGrad("loss_grad", Pattern((LossGrad,), (loss,))),
        Chain("conv_bias_relu", chain(LINEAR, (BiasAdd,))),
        Chain("conv_bias_relu", chain(LINEAR, ACTIVATIONS)),
        Chain("lrn_maxpool", chain((Lrn, LocalNorm), (MaxPool,))),
        Chain("maxpool_lrn_grad", chain((MaxPoolGrad,), (LrnGrad,), MASKS)),
        Chain("maxpool_lrn_grad", chain((MaxPoolGrad,), (LrnGrad,))),
        *(Normalized("batchnorm_relu", Pattern(ACTIVATIONS, (Read(p),))) for p in (*_added(batchnorm), batchnorm)),
        Chain("grad_relu", chain(MASKED, MASKS)),
        Updates(together_bytes),
    )


FUSIONS: tuple[str, ...] = tuple(dict.fromkeys(rule.name for rule in rules()))
"""The names of the rules, for a target to choose from."""


def _chosen(target: Target) -> list[Rule]:
    if unknown := sorted(target.fusions - set(FUSIONS)):
        raise ValueError(f"{target.name}: there is no fusion {listed(unknown)}")
    return [rule for rule in rules(target.together_bytes) if rule.name in target.fusions]
