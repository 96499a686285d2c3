"""From a site to an emission by tables: of emitters by the class of op, and of those of whole fused ops by their rule.

A fused op is its first part, the head, with the pointwise parts after it as the head's epilogue, or has an emitter of
its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.backends.emission.epilogue import EXPRESSIONS, NONE, Epilogue, Pointwise
from alexnet_ir.backends.emission.site import INTS, Site
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused

S = TypeVar("S", bound=Site)


def emit_by(
    site: S,
    emitters: Mapping[type[Op], Callable[[S, Epilogue], Emission]],
    fused: Mapping[str, Callable[[S], Emission]],
) -> Emission:
    """What the step at this site runs; AlexnetError for maps of more pixels than kernels count."""
    for tensor in (*site.operands, *site.results):
        if len(tensor.shape) == 4 and max(math.prod(tensor.shape) // length for length in tensor.shape[:2]) >= INTS:
            raise error(f"`{site.op.name}`: kernels count the pixels of a batch, and the elements of an image, to 2^31")
    if isinstance(site.op, Fused):
        if site.op.rule in fused:
            return fused[site.op.rule](site)
        site, epilogue = headed(site, site.op)
        return emitters[type(site.op)](site, epilogue)
    return emitters[type(site.op)](site, NONE)


def headed(site: S, op: Fused) -> tuple[S, Epilogue]:
    """A fused op as its head and the pointwise parts after the head's first result; the others leave as they are."""
    head, *rest = op.parts
    count, others = len(site.operands), len(head.op.result_names) - 1
    assert op.yields == (count + others + len(rest), *range(count + 1, count + 1 + others))
    assert all(type(part.op) in EXPRESSIONS for part in rest)
    tensors = {number: i for i, number in enumerate(dict.fromkeys(n for p in rest for n in p.operands if n < count))}
    made = {count: -1} | {count + others + i: -1 - i for i in range(1, len(rest))}
    ops = tuple(Pointwise(p.op, tuple(tensors[n] if n < count else made[n] for n in p.operands)) for p in rest)
    epilogue = Epilogue(ops, tuple(site.operands[number] for number in tensors), site.results[0].shape)
    return replace(site, op=head.op, operands=tuple(site.operands[n] for n in head.operands)), epilogue
