"""From the parser's tree to the syntax tree. Pure: a tree that the grammar accepts has a meaning here."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

from lark import Token, Tree
from lark.tree import Meta

from alexnet_ir.diagnostics import Diagnostics, Source, Span
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.tokens import number_value, span_of

Node: TypeAlias = Tree[Token]
Child: TypeAlias = Token | Tree[Token]

DEEPEST = 200
_OPERATORS: dict[str, Literal["+", "-", "*", "/"]] = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def check_depth(root: Node, source: Source, found: Diagnostics) -> None:
    """Report a tree so deep that walking it by recursion would exhaust Python's stack."""
    todo = [(root, 1)]
    while todo:
        tree, depth = todo.pop()
        if depth > DEEPEST:
            helps = ["give a part of it a name of its own: `part = ...`"]
            found.error("P018", "this is nested too deeply", span_of(source, tree.meta), helps=helps)
            return
        todo += [(child, depth + 1) for child in tree.children if isinstance(child, Tree)]


class Reader:
    """Reads the trees of one source; each method is one rule of the grammar."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def file(self, tree: Node) -> syntax.File:
        version, *items = (cast(Node, child) for child in tree.children)
        return syntax.File(
            version=int(self.number(cast(Token, version.children[0])).value),
            definitions=tuple(self.definition(item) for item in items if item.data == "definition"),
            sections=tuple(self.section(item) for item in items if item.data == "section"),
            source=self.source,
        )

    def definition(self, tree: Node) -> syntax.Definition:
        kind, name, params, body = tree.children
        parameters = tuple(map(self.parameter, params.children)) if isinstance(params, Tree) else ()
        return syntax.Definition(
            kind="net" if kind == "net" else "block",
            name=str(name),
            parameters=parameters,
            body=self.body(cast(Node, body)),
            name_span=self.span(name),
            span=self.span(tree),
        )

    def section(self, tree: Node) -> syntax.Section:
        kind, name, *fields = tree.children
        return syntax.Section(
            kind=cast(Literal["data", "train", "place"], str(kind)),
            name=str(name),
            fields=tuple(map(self.field, fields)),
            name_span=self.span(name),
            span=self.span(tree),
        )

    def field(self, tree: Child) -> syntax.Field:
        name, value = cast(Node, tree).children
        return syntax.Field(str(name), self.expr(value), self.span(name), self.span(tree))

    def parameter(self, tree: Child) -> syntax.Parameter:
        name, default = cast(Node, tree).children
        return syntax.Parameter(str(name), self.expr(default) if default is not None else None, self.span(tree))

    def body(self, tree: Node) -> syntax.Body:
        defaults, *lets, results = cast("list[Node]", tree.children)
        return syntax.Body(
            defaults=tuple(map(self.rule, cast("list[Node]", defaults.children))) if defaults is not None else (),
            lets=tuple(map(self.let, lets)),
            results=tuple(map(self.expr, results.children)),
            span=self.span(tree),
        )

    def rule(self, tree: Node) -> syntax.Rule:
        names, args = cast("list[Node]", tree.children)
        return syntax.Rule(self.names(names), self.arguments(args), self.span(tree))

    def let(self, tree: Node) -> syntax.Let:
        names, value = tree.children
        return syntax.Let(self.names(cast(Node, names)), self.expr(value), self.span(tree))

    def names(self, tree: Node) -> tuple[syntax.Name, ...]:
        return tuple(self.name(cast(Token, child)) for child in tree.children)

    def expr(self, node: Child) -> syntax.Expr:
        """Any expression: a tree by its rule, a bare token by its type."""
        if isinstance(node, Token):
            return self.atom(node)
        span, children = self.span(node), node.children
        match node.data:
            case "parenthesis":
                return self.expr(children[0])
            case "call":
                return self.call(node)
            case "chain":
                return syntax.Chain(self.expr(children[0]), self.stages(children[1:]), span)
            case "if":
                condition, then, otherwise = map(self.expr, children)
                return syntax.If(condition, then, otherwise, span)
            case "negate":
                return syntax.Negate(self.expr(children[0]), span)
            case "tuple" | "list" as kind:
                return syntax.Sequence("(" if kind == "tuple" else "[", tuple(map(self.expr, children)), span)
            case operator:
                left, right = map(self.expr, children)
                return syntax.Binary(_OPERATORS[operator], left, right, span)

    def atom(self, token: Token) -> syntax.Number | syntax.String | syntax.Name:
        if token.type == "NUMBER":
            return self.number(token)
        if token.type == "STRING":
            return syntax.String(str(token)[1:-1], self.span(token))
        return self.name(token)

    def number(self, token: Token) -> syntax.Number:
        value = number_value(token)
        assert value is not None, "the scanner reports malformed numbers"
        return syntax.Number(value, str(token), self.span(token))

    def name(self, token: Token) -> syntax.Name:
        return syntax.Name(str(token), self.span(token))

    def call(self, tree: Node) -> syntax.Call:
        name, args = tree.children
        return syntax.Call(str(name), self.arguments(cast(Node, args)), self.span(name), self.span(tree))

    def arguments(self, tree: Node) -> tuple[syntax.Argument, ...]:
        return tuple(map(self.argument, cast("list[Node]", tree.children)))

    def argument(self, tree: Node) -> syntax.Argument:
        name, value = tree.children
        return syntax.Argument(str(name) if name is not None else None, self.expr(value), self.span(tree))

    def stages(self, trees: list[Child]) -> tuple[syntax.Stage, ...]:
        return tuple(map(self.stage, trees))

    def stage(self, tree: Child) -> syntax.Stage:
        label, unit, repeat = cast(Node, tree).children
        return syntax.Stage(
            label=str(label) if label is not None else None,
            unit=self.unit(unit),
            repeat=cast("syntax.Number | syntax.Name", self.atom(cast(Token, repeat))) if repeat is not None else None,
            span=self.span(tree),
            label_span=self.span(label) if label is not None else None,
        )

    def unit(self, node: Child) -> syntax.Unit:
        if isinstance(node, Token):
            return self.name(node)
        if node.data == "call":
            return self.call(node)
        if node.data == "group":
            return syntax.Group(self.stages(node.children), self.span(node))
        condition, then, otherwise = node.children
        name = self.name(cast(Token, condition))
        return syntax.StageIf(name, self.stage(then), self.stage(otherwise), self.span(node))

    def span(self, node: Child) -> Span:
        place: Token | Meta = node if isinstance(node, Token) else node.meta
        return span_of(self.source, place)
