"""All mutants of a file, by mutmut's operators, but for those that only change what is said to people."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

SAID = {"name", "span", "label", "notes", "helps", "strict"}
"""Arguments that say something to people, or check what is known."""
MEANINGS = {"reference"}
"""Methods that are neither pass nor type rule."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file. `number` counts the mutants of the file; `lines` are those of the statement, `body` those
    of the function around it."""

    path: str
    number: int
    function: str
    lines: range
    body: range
    module: cst.Module
    mutation: Mutation

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"

    @cached_property
    def source(self) -> str:
        """The file with the change."""
        changed = self.module.deep_replace(self.mutation.original_node, self.mutation.mutated_node)
        assert isinstance(changed, cst.Module)
        return changed.code

    @property
    def diff(self) -> str:
        """The lines that are other ones."""
        lines = difflib.unified_diff(self.module.code.splitlines(), self.source.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


class _File:
    """A file with the positions and parents of its nodes."""

    def __init__(self, path: str, text: str) -> None:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
        wrapper.visit(visitor)
        self.path, self.module, self.mutations = path, wrapper.module, visitor.mutations
        self.positions: dict[cst.CSTNode, CodeRange] = dict(wrapper.resolve(PositionProvider))
        self.parents: dict[cst.CSTNode, cst.CSTNode] = dict(wrapper.resolve(ParentNodeProvider))

    def mutants(self) -> Iterator[Mutant]:
        for number, mutation in enumerate(self.mutations):
            function = mutation.contained_by_top_level_function
            if not isinstance(function, cst.FunctionDef) or function.name.value in MEANINGS:
                continue
            if not self.is_said(mutation.original_node, mutation.mutated_node):
                lines, body = self.lines(mutation.original_node), self.lines(function)
                yield Mutant(self.path, number, function.name.value, lines, body, self.module, mutation)

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The node and all around it, innermost first."""
        yield node
        while node in self.parents:
            node = self.parents[node]
            yield node

    def lines(self, node: cst.CSTNode) -> range:
        """From the start of the statement that it is in, or that begins with it, to its end."""
        start = next(n for n in self.above(node) if isinstance(n, cst.BaseCompoundStatement | cst.SimpleStatementLine))
        end = next(n for n in self.above(node) if n in self.positions)
        return range(self.positions[start].start.line, self.positions[end].end.line + 1)

    def is_said(self, old: cst.CSTNode, new: cst.CSTNode) -> bool:
        """Whether the change is in a string, a `raise`, or an argument that says something to people."""
        return any(
            isinstance(n, cst.BaseString | cst.Raise)
            or (isinstance(n, cst.Arg) and n.keyword is not None and n.keyword.value in SAID)
            for n in (*self.above(old), *_changed_arguments(old, new))
        )


def _changed_arguments(old: cst.CSTNode, new: cst.CSTNode) -> list[cst.Arg]:
    """The arguments of a call that are gone, or other ones."""
    if not (isinstance(old, cst.Call) and isinstance(new, cst.Call)):
        return []
    return [arg for arg in old.args if all(arg is not kept for kept in new.args)]


def mutants(path: str, text: str) -> list[Mutant]:
    """The mutants of a file's text."""
    return list(_File(path, text).mutants())
