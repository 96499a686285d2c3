"""From a net's syntax tree to its forward graph: blocks and repeats unrolled, names resolved, shapes inferred."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alexnet_ir.diagnostics import Diagnostics, Span, counted
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.evaluate import Evaluator
from alexnet_ir.dsl.layers import INITIALISERS, LAYERS, InputLayer, Site
from alexnet_ir.dsl.names import layer_slots, parameter_slots
from alexnet_ir.dsl.scope import Defaults, Flow, Layer, Scope, UnitValue, Use, expression_labels, labels
from alexnet_ir.dsl.signature import FAILED, Failed, construct, describe, match_arguments, missing, slots_of
from alexnet_ir.ir.attributes import Attributes
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.types import ErrorType, f32
from alexnet_ir.ops.elementwise import Identity

MAX_DEPTH = 50
MAX_CALLS = 20_000
"""Calls of ops and blocks in one net, and turns of its repeats; ResNet-152 has about 600."""


class Lowering(Evaluator[Scope]):
    """Builds one net's forward graph; what is wrong is reported, and lowering goes on without it."""

    def __init__(
        self, definitions: Mapping[str, syntax.Definition], batch: int, factors: dict[str, float], report: Diagnostics
    ) -> None:
        super().__init__(report)
        self.definitions, self.batch, self.factors = definitions, batch, factors
        self.graph = Graph("net")
        self.layers: list[Layer] = []
        self.streams = itertools.count()
        self._calls = 0
        self._paths: set[str] = set()

    def outermost(self) -> Scope:
        """A scope in which only the language's and the file's own names have a meaning."""
        return Scope("", {}, {}, 0)

    # --- nets and blocks ------------------------------------------------------------------------------------------

    def net(self, definition: syntax.Definition, arguments: Mapping[str, tuple[Any, Span]]) -> None:
        """Lower a net with these arguments; its results become the outputs `score`, `score.2`, ..."""
        self.graph.name = definition.name
        given = {name: value for name, (value, _) in arguments.items()}
        if missing(definition.name, parameter_slots(definition), given, definition.name_span, self.report):
            return
        try:
            results = self.body(definition, given, self.outermost())
        except RecursionError:  # blocks in groups in blocks
            self.report.error("T012", f"`{definition.name}` is nested too deeply", definition.name_span)
            return
        if results is FAILED:
            return
        for number, value in enumerate(results.values, 1):
            self.graph.outputs["score" if number == 1 else f"score.{number}"] = value

    def body(self, definition: syntax.Definition, given: Mapping[str, Any], scope: Scope) -> Any:
        """Lower a body in a scope made for it: the Flow of its results."""
        for parameter in definition.parameters:
            if parameter.name in given:
                scope.names[parameter.name] = given[parameter.name]
            elif parameter.default is not None:
                scope.names[parameter.name] = self.value(parameter.default, scope)
        body = definition.body
        scope.defaults = self.defaults(body.defaults, scope)
        for let in body.lets:
            scope.taken |= {name.id for name in let.names} | expression_labels(let.value)
        scope.taken |= set().union(*(expression_labels(result) for result in body.results))
        for let in body.lets:
            self.let(let, scope)
        results = [self.flow(result, scope) for result in body.results]
        if any(result is FAILED for result in results):
            return FAILED
        return Flow(tuple(value for result in results for value in result.values))

    def defaults(self, rules: Sequence[syntax.Rule], scope: Scope) -> Defaults:
        merged = {op: dict(arguments) for op, arguments in scope.defaults.items()}
        for rule in rules:
            for argument in rule.arguments:
                value = self.value(argument.value, scope)
                for op in rule.ops:
                    if argument.name is not None:
                        merged.setdefault(op.id, {})[argument.name] = (value, argument.span)
        return merged

    def let(self, let: syntax.Let, scope: Scope) -> None:
        if isinstance(let.value, syntax.Call) and let.value.callee == "input":
            value = self.input(let.value, scope, let.names[0].id)
        else:
            value = self.value(let.value, scope)
        names = let.names
        if len(names) == 1:
            scope.names[names[0].id] = value
            return
        parts = [Flow((v,)) for v in value.values] if isinstance(value, Flow) else [FAILED] * len(names)
        if isinstance(value, Flow) and len(parts) != len(names):
            self.report.error("T008", f"{len(names)} names for {len(parts)} values", names[0].span.to(names[-1].span))
            parts = [FAILED] * len(names)
        elif not isinstance(value, Flow) and value is not FAILED:
            self.report.error("T008", f"{len(names)} names for one value", let.span, label=f"found {describe(value)}")
        scope.names.update(zip((name.id for name in names), parts, strict=True))

    # --- expressions ----------------------------------------------------------------------------------------------

    def flow(self, expr: syntax.Expr, scope: Scope) -> Any:
        """An expression that must be values of the graph."""
        value = self.value(expr, scope)
        if value is FAILED or isinstance(value, Flow):
            return value
        helps = ["a chain begins with a value: `image -> relu`"] if isinstance(value, UnitValue) else []
        self.report.error("T009", "expected an image or map", expr.span, label=f"found {describe(value)}", helps=helps)
        return FAILED

    def name(self, expr: syntax.Name, scope: Scope) -> Any:
        if expr.id in scope.names:
            return scope.names[expr.id]
        if expr.id in LAYERS or self._block(expr.id):
            return UnitValue(expr.id, (), self.outermost())
        if expr.id == "input":
            self.report.error("T010", "`input` is no op to be passed on: `input(c, h, w)` makes the image", expr.span)
        return FAILED  # reported by the check of names

    def _block(self, name: str) -> syntax.Definition | None:
        found = self.definitions.get(name)
        return found if found is not None and found.kind == "block" else None

    def chain(self, expr: syntax.Chain, scope: Scope) -> Any:
        flow = self.flow(expr.head, scope)
        return self.stages(expr.stages, flow, scope)

    def call(self, expr: syntax.Call, scope: Scope) -> Any:
        if expr.callee in INITIALISERS and expr.callee not in scope.names:
            return self.attributes(INITIALISERS[expr.callee], expr, scope)
        if expr.callee == "input":
            return self.input(expr, scope, scope.fresh("input"))
        if self._takes_values(expr, scope):
            return self.unit(expr, None, scope, None)
        known = expr.callee in LAYERS or expr.callee in scope.names
        # The names as they are now: `leaky_relu = leaky_relu(0.2)` must not come to mean itself.
        seen = replace(scope, names=dict(scope.names))
        return UnitValue(expr.callee, expr.arguments, seen) if known else FAILED

    def _takes_values(self, expr: syntax.Call, scope: Scope) -> bool:
        """Whether a call outside a chain is given what it works on, or is an op with arguments, to be passed on."""
        definition = self._block(expr.callee)
        if definition is not None and expr.callee not in scope.names:
            return True
        return any(self._may_be_flow(a.value, scope) for a in expr.arguments if a.name is None)

    def attributes(self, cls: type[Attributes], call: syntax.Call, scope: Scope) -> Any:
        """A call of something that stands for itself, such as `normal(0.01)`."""
        found = match_arguments(call.callee, slots_of(cls), call.arguments, self.report)
        values = {name: self.value(argument.value, scope) for name, argument in found.items()}
        spans = {name: argument.span for name, argument in found.items()}
        return construct(cls, call.callee, values, spans, call.span, self.report)

    def input(self, call: syntax.Call, scope: Scope, name: str) -> Any:
        """`input(c, h, w)`: the one image that a net reads."""
        made = self.attributes(InputLayer, call, scope)
        if made is FAILED:
            return FAILED
        already = [n for n in self.graph.inputs if not n.startswith("train.")]
        if already:
            self.report.error("T010", "a net reads one image", call.span, label=f"`{already[0]}` is its input already")
            return FAILED
        shape = f32(self.batch, made.channels, made.rows, made.columns)
        value = self.graph.input(f"{scope.path}{name}", shape, span=call.span)
        self.layers.append(Layer(f"{scope.path}{name}", "input", call.span, f"{scope.path}{name}"))
        return Flow((value,))

    # --- chains ---------------------------------------------------------------------------------------------------

    def stages(self, stages: Sequence[syntax.Stage], flow: Any, scope: Scope) -> Any:
        for stage in stages:
            flow = self.stage(stage, flow, scope)
        return flow

    def stage(self, stage: syntax.Stage, flow: Any, scope: Scope) -> Any:
        if stage.repeat is None:
            flow = self.unit(stage.unit, flow, scope, stage.label)
            if stage.label is not None:
                scope.names[stage.label] = flow
            return flow
        count = self.value(stage.repeat, scope)
        if count is FAILED:
            return FAILED
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            self.report.error(
                "T011",
                "a repeat takes a whole number of at least 0",
                stage.repeat.span,
                label=f"found {describe(count)}",
            )
            return FAILED
        for turn in range(1, count + 1):
            flow = self.turn(stage, turn, flow, scope)
            if self._calls > MAX_CALLS:
                return FAILED
        return flow

    def turn(self, stage: syntax.Stage, turn: int, flow: Any, scope: Scope) -> Any:
        """One turn of a repeat; a group gets a scope of its own each time."""
        if self._spent(stage.span):
            return FAILED
        if stage.label is not None:
            name = f"{stage.label}{turn}"
            if name in scope.taken:
                self.report.error(
                    "N005", f"`{name}`, a turn of this repeat, is bound twice", stage.label_span,
                    helps=["choose another name"],
                )  # fmt: skip
                return FAILED
            scope.taken.add(name)
            return self.unit(stage.unit, flow, scope, name)
        if isinstance(stage.unit, syntax.StageIf) and labels([stage]):
            return self.unit(stage.unit, flow, scope.inner(scope.fresh("repeat"), [stage]), None)
        own = scope.fresh("repeat") if isinstance(stage.unit, syntax.Group) else None
        return self.unit(stage.unit, flow, scope, own)

    def unit(self, unit: syntax.Unit, flow: Any, scope: Scope, name: str | None) -> Any:
        """Apply a unit to what flows into it (None: a call outside a chain, which has all it works on as arguments)."""
        match unit:
            case syntax.Group():
                inner = scope if name is None else scope.inner(name, unit.stages)
                return self.stages(unit.stages, flow, inner)
            case syntax.StageIf():
                chosen = self.condition(unit.condition, scope)
                if chosen is None:
                    return FAILED
                branch = unit.then if chosen else unit.otherwise
                if name is None:
                    return self.stage(branch, flow, scope)
                if branch.label is None and branch.repeat is None:
                    return self.unit(branch.unit, flow, scope, name)
                return self.stage(branch, flow, scope.inner(name, [branch]))
            case syntax.Name():
                return self.apply(Use(unit.id, (), unit.span, flow, scope, scope, name))
            case syntax.Call():
                return self.apply(Use(unit.callee, unit.arguments, unit.span, flow, scope, scope, name))

    def _spent(self, span: Span) -> bool:
        """Count a call or turn; whether there have been too many."""
        self._calls += 1
        if self._calls == MAX_CALLS + 1:
            self.report.error("T012", f"`{self.graph.name}` has more than {MAX_CALLS:,} calls", span)
        return self._calls > MAX_CALLS

    def apply(self, use: Use) -> Any:
        """Apply an op or block."""
        if self._spent(use.span):
            return FAILED
        if use.callee in use.meaning.names:
            return self.apply_named(use, use.meaning.names[use.callee])
        definition = self._block(use.callee)
        if definition is not None:
            return self.block(definition, use)
        if use.callee in LAYERS:
            return self.layer(use)
        if use.callee == "input":
            self.report.error("T010", "`input` begins a chain: nothing flows into it", use.span)
        return FAILED  # an unknown name was reported by the check of names

    def apply_named(self, use: Use, value: Any) -> Any:
        """Apply what a parameter or `x =` name stands for."""
        if isinstance(value, UnitValue) and not use.arguments:
            return self.apply(replace(use, callee=value.callee, arguments=value.arguments, meaning=value.scope))
        if isinstance(value, UnitValue):
            message = f"`{use.callee}` takes no arguments: it stands for `{value.callee}` and what that was given"
            self.report.error("T013", message, use.span)
        elif value is not FAILED:
            self.report.error("T013", f"`{use.callee}` is no op or block", use.span, label=f"it is {describe(value)}")
        return FAILED

    def block(self, definition: syntax.Definition, use: Use) -> Any:
        slots = parameter_slots(definition)
        given: dict[str, Any] = {}
        if use.flow is not None and slots:
            given[slots[0].field] = use.flow
            slots = slots[1:]
        found = match_arguments(definition.name, slots, use.arguments, self.report)
        given |= {slot: self.value(argument.value, use.meaning) for slot, argument in found.items()}
        if missing(definition.name, slots, given, use.span, self.report) or use.flow is FAILED:
            return FAILED
        if use.scope.depth >= MAX_DEPTH:
            self.report.error("T012", f"`{definition.name}` is nested more than {MAX_DEPTH} deep", use.span)
            return FAILED
        inner = Scope(f"{use.path(definition.name)}/", {}, use.scope.defaults, use.scope.depth + 1)
        return self.body(definition, given, inner)

    def layer(self, use: Use) -> Any:
        op, rule = use.callee, LAYERS[use.callee]
        path = use.path(op)
        operands, rest = self.operands(use, rule.operands != ("input",))
        slots = layer_slots(op)
        found = match_arguments(op, slots, rest, self.report)
        values = {slot: self.value(argument.value, use.meaning) for slot, argument in found.items()}
        spans = {slot: argument.span for slot, argument in found.items()}
        given = use.scope.defaults.get(op, {})
        for slot in slots:
            if slot.name in given and slot.field not in values:
                values[slot.field], spans[slot.field] = given[slot.name]
        made = construct(rule.attributes, op, values, spans, use.span, self.report)
        if isinstance(made, Failed) or operands is FAILED or not self._fits(op, rule.operands, operands, use.span):
            return FAILED
        return self.build(op, made, operands, path, use.span, spans)

    def operands(self, use: Use, joins: bool) -> tuple[Any, list[syntax.Argument]]:
        """What flows in and the leading arguments that are values of the graph; and the other arguments. An op that
        joins values takes nothing else without a name."""
        flows = [] if use.flow is None else [use.flow]
        rest = list(use.arguments)
        while rest and rest[0].name is None and (joins or self._may_be_flow(rest[0].value, use.meaning)):
            flows.append(self.flow(rest.pop(0).value, use.meaning))
        if any(f is FAILED for f in flows):
            return FAILED, rest
        return [value for f in flows for value in f.values], rest

    def _may_be_flow(self, expr: syntax.Expr, scope: Scope) -> bool:
        if isinstance(expr, syntax.Name):
            return isinstance(scope.names.get(expr.id), Flow) or scope.names.get(expr.id) is FAILED
        return isinstance(expr, syntax.Chain) or (isinstance(expr, syntax.Call) and expr.callee not in INITIALISERS)

    def _fits(self, op: str, names: tuple[str, ...], operands: Sequence[Value], span: Span) -> bool:
        variadic = bool(names) and names[-1].endswith("...")
        if len(operands) == len(names) or (variadic and len(operands) >= len(names)):
            return True
        wanted = f"{len(names)} or more values" if variadic else counted(len(names), "value")
        self.report.error("T014", f"`{op}` works on {wanted}", span, label=f"found {len(operands)}")
        return False

    def build(
        self, op: str, made: Attributes, operands: list[Value], path: str, span: Span, spans: Mapping[str, Span]
    ) -> Flow:
        """Add the layer's nodes; where its rule fails, say so and go on with a value in error."""
        if path in self._paths:
            if not self.report.errors:  # a label bound twice was reported by the check of names
                self.report.error("N005", f"there are two layers `{path}`", span, helps=["give one another label"])
            return self._poisoned(path, operands, span)
        self._paths.add(path)
        if any(isinstance(self.graph.type(v), ErrorType) for v in operands):
            return self._poisoned(path, operands, span)
        site = Site(self.graph, path, span, self.factors, self.streams)
        try:
            value = LAYERS[op].build(site, made, operands)
        except TypeRuleError as failure:
            where = spans.get(failure.argument or "", span)
            self.report.error(
                failure.code, f"{path}: {failure.message}", where,
                label=failure.label, notes=failure.notes, helps=failure.helps,
            )  # fmt: skip
            return self._poisoned(path, operands, span)
        self.layers.append(Layer(path, op, span, self.graph.value_name(value)))
        return Flow((value,))

    def _poisoned(self, path: str, operands: list[Value], span: Span) -> Flow:
        return Flow((self.graph.poison(Identity(), *operands, name=path, span=span, types=(ErrorType(),)),))
