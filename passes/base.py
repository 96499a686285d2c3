"""The contract of a pass, and how a pipeline of them runs.

A pass is a frozen dataclass whose fields are its options; its file, its `name` and its name on the command line are
the same word. It edits the graph it is given and says whether it changed anything. Between all passes, always: the
verifier, and one hook that sees name, graph, change and time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.verify import verify


@dataclass(frozen=True)
class Pass(ABC):
    """Base of all passes from graph to graph."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph) -> bool:
        """Edit the graph; whether anything changed."""


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did. Seconds are its own, without the verifier's."""

    name: str
    changed: bool
    seconds: float
    nodes_before: int
    nodes_after: int


Hook = Callable[[PassRecord, Graph], None]


def run_passes(graph: Graph, passes: Sequence[Pass], hook: Hook | None = None) -> Graph:
    """A new graph, which is `graph` after all the passes; VerificationError if one breaks it."""
    graph = graph.copy()
    verify(graph)
    for pass_ in passes:
        before, start = len(graph), time.perf_counter()
        changed = pass_.run(graph)
        record = PassRecord(pass_.name, changed, time.perf_counter() - start, before, len(graph))
        verify(graph)
        if hook is not None:
            hook(record, graph)
    return graph
