"""Names: that each one used exists, that none is bound twice, and which are never used.

All of a file is looked at, also the branch of an `if` that is not taken and the blocks that nothing calls; what has a
value or a shape is checked when a net is lowered.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence

from alexnet_ir.diagnostics import Diagnostics, Span, listed, nearest
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.evaluate import CONSTANTS
from alexnet_ir.dsl.layers import INITIALISERS, LAYERS, InputLayer
from alexnet_ir.dsl.signature import Slot, match_arguments, signature_text, slots_of

Bound = ChainMap[str, Span]
"""Names and where they were bound: those of the scope itself, then those it sees around it."""


def parameter_slots(definition: syntax.Definition) -> tuple[Slot, ...]:
    """A net's or block's parameters as what a call may fill."""
    return tuple(Slot(p.name, p.name, p.default is None) for p in definition.parameters)


def layer_slots(op: str) -> tuple[Slot, ...]:
    """An op's arguments."""
    return slots_of(InputLayer if op == "input" else LAYERS[op].attributes)


def ops() -> tuple[str, ...]:
    """The language's ops."""
    return ("input", *LAYERS)


def language() -> tuple[str, ...]:
    """The names that nets and blocks cannot have."""
    return (*ops(), *INITIALISERS, *CONSTANTS)


def blocks_of(file: syntax.File) -> dict[str, syntax.Definition]:
    """A file's blocks by name; of two with the same the first, and none that hides a name of the language."""
    first = {d.name: d for d in reversed(file.definitions)}
    return {name: d for name, d in first.items() if d.kind == "block" and name not in language()}


def check_names(file: syntax.File, report: Diagnostics) -> None:
    """Report what is wrong with the names in a file's nets and blocks."""
    known: dict[str, syntax.Definition] = {}
    for definition in file.definitions:
        name, span = definition.name, definition.name_span
        if name in known:
            _bound_twice(name, span, known[name].name_span, report)
        elif name in language():
            report.error("N005", f"`{name}` is a name of the language", span, helps=["choose another name"])
        known.setdefault(name, definition)
    blocks = blocks_of(file)
    for definition in file.definitions:
        _Scope(blocks, report).definition(definition)


def check_argument(expr: syntax.Expr, blocks: Mapping[str, syntax.Definition], report: Diagnostics) -> None:
    """Report unknown names in an argument of a net, which is given from outside of any definition."""
    _Scope(blocks, report).expr(expr, ChainMap())


def _bound_twice(name: str, span: Span, first: Span, report: Diagnostics) -> None:
    report.error(
        "N005", f"`{name}` is bound twice", span, notes=[f"first bound at {first}"], helps=["choose another name"]
    )


class _Scope:
    """The names of one definition, gone through in the order of the text."""

    def __init__(self, blocks: Mapping[str, syntax.Definition], report: Diagnostics) -> None:
        self.blocks, self.report = blocks, report
        self.used: set[str] = set()

    def definition(self, definition: syntax.Definition) -> None:
        bound: Bound = ChainMap()
        for parameter in definition.parameters:
            if parameter.default is not None:
                self.expr(parameter.default, bound)
            self.bind(parameter.name, parameter.span, bound)
        watched = dict(bound)
        for rule in definition.body.defaults:
            self.rule(rule, bound)
        for let in definition.body.lets:
            self.expr(let.value, bound)
            for bound_name in let.names:
                self.bind(bound_name.id, bound_name.span, bound)
                if bound_name.id in bound:
                    watched.setdefault(bound_name.id, bound_name.span)
        for result in definition.body.results:
            self.expr(result, bound)
        for name, span in watched.items():
            if name not in self.used:
                self.report.warning("N006", f"`{name}` is never used", span, helps=["take it out, or use it"])

    def bind(self, name: str, span: Span, bound: Bound) -> None:
        if name in CONSTANTS:
            self.report.error("N005", f"`{name}` is a name of the language", span, helps=["choose another name"])
        elif name in bound.maps[0]:
            _bound_twice(name, span, bound[name], self.report)
        else:
            bound[name] = span

    def rule(self, rule: syntax.Rule, bound: Bound) -> None:
        for op in rule.ops:
            if op.id not in ops():
                self.unknown("op", op.id, op.span, ops())
                continue
            for argument in rule.arguments:
                if argument.name is None:
                    self.report.error("T007", "defaults are given by name: `bias = 0`", argument.span)
                    continue
                match_arguments(op.id, layer_slots(op.id), [argument], self.report)
        for argument in rule.arguments:
            self.expr(argument.value, bound)

    def expr(self, expr: syntax.Expr, bound: Bound) -> None:
        match expr:
            case syntax.Name():
                self.name(expr, bound)
            case syntax.Call():
                self.call(expr, bound, (*ops(), *self.blocks, *INITIALISERS), "op, block or initialiser")
            case syntax.Chain():
                self.expr(expr.head, bound)
                self.stages(expr.stages, bound)
            case syntax.Sequence():
                for item in expr.items:
                    self.expr(item, bound)
            case syntax.Negate():
                self.expr(expr.operand, bound)
            case syntax.Binary():
                self.expr(expr.left, bound)
                self.expr(expr.right, bound)
            case syntax.If():
                self.expr(expr.condition, bound)
                self.branches([(expr.then, None), (expr.otherwise, None)], bound)

    def branches(self, ways: Sequence[tuple[syntax.Expr | None, syntax.Stage | None]], bound: Bound) -> None:
        """Only one is lowered, so both may bind the same labels."""
        before = dict(bound.maps[0])
        for expr, stage in ways:
            own = ChainMap(dict(before), *bound.maps[1:])
            if expr is not None:
                self.expr(expr, own)
            if stage is not None:
                self.stages([stage], own)
            for name, span in own.maps[0].items():
                bound.setdefault(name, span)

    def stages(self, stages: Iterable[syntax.Stage], bound: Bound) -> None:
        for stage in stages:
            if isinstance(stage.repeat, syntax.Name):
                self.name(stage.repeat, bound)
            self.unit(stage, bound)
            if stage.label is not None and stage.label_span is not None and stage.repeat is None:
                self.bind(stage.label, stage.label_span, bound)

    def unit(self, stage: syntax.Stage, bound: Bound) -> None:
        match stage.unit:
            case syntax.Name() as unit:
                self.used.add(unit.id)
                if unit.id not in bound and unit.id not in (*ops(), *self.blocks):
                    self.unknown("op or block", unit.id, unit.span, (*ops(), *self.blocks, *bound))
            case syntax.Call() as unit:
                self.call(unit, bound, (*ops(), *self.blocks), "op or block")
            case syntax.Group() as unit:
                own_scope = stage.label is not None or stage.repeat is not None
                self.stages(unit.stages, bound.new_child() if own_scope else bound)
            case syntax.StageIf() as unit:
                self.name(unit.condition, bound)
                own_scope = stage.label is not None or stage.repeat is not None
                ways = [(None, unit.then), (None, unit.otherwise)]
                self.branches(ways, bound.new_child() if own_scope else bound)

    def call(self, call: syntax.Call, bound: Bound, known: Sequence[str], what: str) -> None:
        for argument in call.arguments:
            self.expr(argument.value, bound)
        self.used.add(call.callee)
        if call.callee in bound:
            return
        if call.callee not in known:
            self.unknown(what, call.callee, call.name_span, (*known, *bound))
        elif call.callee in self.blocks:
            named = [a for a in call.arguments if a.name]
            match_arguments(call.callee, parameter_slots(self.blocks[call.callee]), named, self.report)
        elif call.callee in ops():
            match_arguments(call.callee, layer_slots(call.callee), [a for a in call.arguments if a.name], self.report)

    def name(self, expr: syntax.Name, bound: Bound) -> None:
        self.used.add(expr.id)
        known = (*bound, *CONSTANTS, *ops(), *self.blocks)
        if expr.id not in known:
            self.unknown("name", expr.id, expr.span, known)

    def unknown(self, what: str, name: str, span: Span, known: Iterable[str]) -> None:
        """Report a name that means nothing; the one it was meant to be counts as used."""
        code = {"name": "N003", "op, block or initialiser": "N004"}.get(what, "N001")
        close = nearest(name, known)
        if code == "N003" and name in INITIALISERS:
            arguments = signature_text(name, slots_of(INITIALISERS[name]))
            helps = [f"an initialiser is written with its brackets: `{arguments}`"]
        elif close:
            self.used.add(close)
            helps = [f"did you mean `{close}`?"]
        else:
            lists = {"N001": f"the ops are {listed(ops())}", "N004": f"the initialisers are {listed(INITIALISERS)}"}
            helps = [lists[code]] if code in lists else []
        self.report.error(code, f"unknown {what} `{name}`", span, helps=helps)
