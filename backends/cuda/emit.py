"""Emission: from a step of a plan to commands, as data. No CuPy, no GPU.

Every op has an emitter in a table of its module; a fused op is its first part, the head, with the pointwise parts after
it as the head's epilogue, or has an emitter of its own (by its rule)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from alexnet_ir.backends.cuda.emitters import (
    conv,
    conv_weight,
    losses,
    normalize,
    pointwise,
    pooling,
    products,
    reductions,
    simt,
    updates,
)
from alexnet_ir.backends.cuda.epilogue import EXPRESSIONS, NONE, Emit, EmitFused, Epilogue, Pointwise
from alexnet_ir.backends.cuda.launch import Emission
from alexnet_ir.backends.cuda.site import INTS, Site
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused

EMITTERS: Mapping[type[Op], Emit] = {
    **simt.EMITTERS,
    **conv.EMITTERS,
    **conv_weight.EMITTERS,
    **losses.EMITTERS,
    **normalize.EMITTERS,
    **pointwise.EMITTERS,
    **pooling.EMITTERS,
    **products.EMITTERS,
    **reductions.EMITTERS,
    **updates.EMITTERS,
}
FUSED: Mapping[str, EmitFused] = {**losses.FUSED, **normalize.FUSED, **updates.FUSED}
"""By the rule that made the fused op: those that are more than a head with an epilogue."""


def emit(site: Site) -> Emission:
    """What the step at this site runs; AlexnetError for maps of more pixels than kernels count."""
    for tensor in (*site.operands, *site.results):
        if len(tensor.shape) == 4 and max(math.prod(tensor.shape) // length for length in tensor.shape[:2]) >= INTS:
            raise error(f"`{site.op.name}`: kernels count the pixels of a batch, and the elements of an image, to 2^31")
    if isinstance(site.op, Fused):
        if site.op.rule in FUSED:
            return FUSED[site.op.rule](site)
        site, epilogue = headed(site, site.op)
        return EMITTERS[type(site.op)](site, epilogue)
    return EMITTERS[type(site.op)](site, NONE)


def headed(site: Site, op: Fused) -> tuple[Site, Epilogue]:
    """A fused op as its head and the pointwise parts after it."""
    head, *rest = op.parts
    count = len(site.operands)
    assert op.yields == (count + len(op.parts) - 1,)
    assert all(type(part.op) in EXPRESSIONS for part in rest)
    tensors = {number: i for i, number in enumerate(dict.fromkeys(n for p in rest for n in p.operands if n < count))}
    ops = tuple(Pointwise(p.op, tuple(tensors[n] if n < count else -1 - (n - count) for n in p.operands)) for p in rest)
    (result,) = site.results
    epilogue = Epilogue(ops, tuple(site.operands[number] for number in tensors), result.shape)
    return replace(site, op=head.op, operands=tuple(site.operands[n] for n in head.operands)), epilogue
