"""Update rules: one launch for any number of parameters, which finds their tensors through a table of addresses.

Sizes, and which blocks work on which parameter, are constants of the source; rates are scalars in device memory.
Results may lie over their own operands. An operand that lies otherwise than its parameter's result is copied into the
workspace first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from alexnet_ir.backends.cuda.emitters.pointwise import computed
from alexnet_ir.backends.cuda.site import Emit, EmitFused, Site, kernel, text
from alexnet_ir.backends.emission.commands import Command, Emission, Launch, Table, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.backends.emission.views import stored_alike
from alexnet_ir.ir.layout import STORED_BYTES, Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp

THREADS = 256
ELEMENTS = 16 * THREADS
"""Of one parameter, for a block."""
MOST_PARAMETERS = 4096
"""Of a launch: constant memory has 64 KiB, of which a parameter takes 12 bytes."""


@dataclass(frozen=True)
class Update:
    """One parameter's update on its tensors."""

    op: UpdateOp
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]

    @property
    def kind(self) -> tuple[type[UpdateOp], tuple[Stored, ...]]:
        """What updates of one launch have in common."""
        return type(self.op), tuple(tensor.layout.stored for tensor in (*self.operands, *self.results))


def emitted(updates: Sequence[Update]) -> Emission:
    """A launch for all updates of a kind."""
    workspace, copies, kinds = Workspace(), [], {}  # type: tuple[Workspace, list[Command], dict[object, list[Update]]]
    for update in updates:
        update, made = _alike(update, workspace)
        copies += made
        kinds.setdefault(update.kind, []).append(update)
    launches = [
        _launch(alike[first : first + MOST_PARAMETERS])
        for alike in kinds.values()
        for first in range(0, len(alike), MOST_PARAMETERS)
    ]
    return Emission((*copies, *launches), workspace.nbytes)


def _alike(update: Update, workspace: Workspace) -> tuple[Update, list[Command]]:
    """The same on operands that lie as the results do, and the copies that make them so."""
    first, *others = update.results
    assert all(stored_alike(first, other) for other in others)
    operands: list[Tensor] = []
    copies: list[Command] = []
    for tensor in update.operands:
        if tensor.shape == first.shape and not stored_alike(tensor, first):
            layout = Layout(tensor.layout.stored, first.layout.channels_last)
            copy = workspace.tensor(tensor.shape, layout)
            copies.append(computed(copy, tensor))
            tensor = copy
        operands.append(tensor)
    return Update(update.op, tuple(operands), update.results), copies


def _launch(updates: Sequence[Update]) -> Launch:
    """One launch for updates of one kind."""
    rule, stored = updates[0].kind
    sizes = [math.prod(update.results[0].shape) for update in updates]
    ends = list(accumulate(-(-size // ELEMENTS) for size in sizes))
    source = kernel(
        f"{rule.name}.cu",
        rule.name,
        constants={
            "THREADS": THREADS,
            "PARAMETERS": len(updates),
            "PLACES": len(stored),
            "V": 16 // min(STORED_BYTES[s] for s in stored[: 1 + len(rule.slots())]),
        },
        generated="".join(f"typedef {s}_t T{i}_T;\n" for i, s in enumerate(stored))
        + f"__constant__ int FIRST_BLOCK[] = {{{', '.join(map(str, [0, *ends]))}}};\n"
        + f"__constant__ index_t SIZES[] = {{{', '.join(map(str, sizes))}}};\n"
        + f'#line 1 "updates.cu"\n{text("updates.cu")}',
    )
    places = tuple(tensor.place for update in updates for tensor in (*update.operands, *update.results))
    return Launch(source, (ends[-1], 1, 1), (THREADS, 1, 1), (Table(places),))


def alone(site: Site, epilogue: Epilogue) -> Emission:
    """One parameter."""
    assert not epilogue.ops
    assert isinstance(site.op, UpdateOp)
    return emitted([Update(site.op, site.operands, site.results)])


def together(site: Site) -> Emission:
    """Parameters side by side; what an update makes leaves the step."""
    assert isinstance(site.op, Fused)
    count = len(site.operands)
    made = dict(zip(site.op.yields, site.results, strict=True))
    updates = []
    for part, numbers in site.op.walk(count):
        assert isinstance(part.op, UpdateOp)
        operands = tuple(site.operands[number] for number in part.operands)
        updates.append(Update(part.op, operands, tuple(made[number] for number in numbers)))
    return emitted(updates)


EMITTERS: dict[type[Op], Emit] = {Adam: alone, Sgd: alone}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {"updates": together}
"""By rule."""
