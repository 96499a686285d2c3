"""Update rules: those of one kind together, for any number of parameters.

Results may lie over their own operands. An operand that lies otherwise than its parameter's result is copied into the
workspace first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alexnet_ir.backends.emission.commands import Command, Emission, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.moves import Computed
from alexnet_ir.backends.emission.site import Site, Workspace
from alexnet_ir.backends.emission.views import stored_alike
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp

S = TypeVar("S", bound=Site)


@dataclass(frozen=True)
class Update:
    """One parameter's update on its tensors."""

    op: UpdateOp
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]

    @property
    def kind(self) -> tuple[type[UpdateOp], tuple[Stored, ...]]:
        """What updates that run together have in common."""
        return type(self.op), tuple(tensor.layout.stored for tensor in (*self.operands, *self.results))


@dataclass(frozen=True)
class Way:
    """What runs out = epilogue(x), and what runs updates of one kind whose tensors all lie alike."""

    computed: Computed
    updated: Callable[[Sequence[Update]], Sequence[Command]]


def emitted(updates: Sequence[Update], way: Way) -> Emission:
    """All updates, kind by kind."""
    workspace, copies, kinds = Workspace(), [], {}  # type: tuple[Workspace, list[Command], dict[object, list[Update]]]
    for update in updates:
        update, made = _alike(update, workspace, way.computed)
        copies += made
        kinds.setdefault(update.kind, []).append(update)
    commands = [command for alike in kinds.values() for command in way.updated(alike)]
    return Emission((*copies, *commands), workspace.nbytes)


def _alike(update: Update, workspace: Workspace, computed: Computed) -> tuple[Update, list[Command]]:
    """The same on operands that lie as the results do, and the copies that make them so."""
    first, *others = update.results
    assert all(stored_alike(first, other) for other in others)
    operands: list[Tensor] = []
    copies: list[Command] = []
    for tensor in update.operands:
        if tensor.shape == first.shape and not stored_alike(tensor, first):
            layout = Layout(tensor.layout.stored, first.layout.channels_last)
            copy = workspace.tensor(tensor.shape, layout)
            copies.append(computed(copy, tensor, NONE))
            tensor = copy
        operands.append(tensor)
    return Update(update.op, tuple(operands), update.results), copies


def emitters(way: Callable[[S], Way]) -> dict[type[Op], Callable[[S, Epilogue], Emission]]:
    """Of one parameter, by the class of op."""

    def alone(site: S, epilogue: Epilogue) -> Emission:
        assert not epilogue.ops
        assert isinstance(site.op, UpdateOp)
        return emitted([Update(site.op, site.operands, site.results)], way(site))

    return {Adam: alone, Sgd: alone}


def fused(way: Callable[[S], Way]) -> dict[str, Callable[[S], Emission]]:
    """Of parameters side by side, by rule; what an update makes leaves the step."""

    def together(site: S) -> Emission:
        assert isinstance(site.op, Fused)
        made = dict(zip(site.op.yields, site.results, strict=True))
        updates = []
        for part, numbers in site.op.walk(len(site.operands)):
            assert isinstance(part.op, UpdateOp)
            operands = tuple(site.operands[number] for number in part.operands)
            updates.append(Update(part.op, operands, tuple(made[number] for number in numbers)))
        return emitted(updates, way(site))

    return {"updates": together}
