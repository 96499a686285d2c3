"""Emission for CPUs: from a step of a plan to commands, as data. No compiler is needed.

What no emitter is for runs by its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.backends.cpu.emitters import (
    batchnorm,
    conv,
    local,
    losses,
    normalize,
    pointwise,
    pooling,
    products,
    reductions,
    updates,
)
from alexnet_ir.backends.cpu.site import Emit, EmitFused, Site
from alexnet_ir.backends.emission.commands import Emission, Meaning
from alexnet_ir.backends.emission.heads import emit_by
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused

EMITTERS: Mapping[type[Op], Emit] = {
    **batchnorm.EMITTERS,
    **conv.EMITTERS,
    **local.EMITTERS,
    **losses.EMITTERS,
    **normalize.EMITTERS,
    **pointwise.EMITTERS,
    **pooling.EMITTERS,
    **products.EMITTERS,
    **reductions.EMITTERS,
    **updates.EMITTERS,
}
FUSED: Mapping[str, EmitFused] = {**batchnorm.FUSED, **losses.FUSED, **normalize.FUSED, **updates.FUSED}
"""By the rule that made the fused op: those that are more than a head with an epilogue."""


def emit(site: Site) -> Emission:
    """What the step at this site runs; AlexnetError for maps of more pixels than kernels count."""
    if has_kernel(site.op):
        return emit_by(site, EMITTERS, FUSED)
    meaning = Meaning(site.op, site.operands, site.results)
    return Emission((meaning,), reason="by its meaning, in NumPy: there is no kernel for it")


def has_kernel(op: Op) -> bool:
    """Whether there is an emitter: of a fused op for the whole, or for its head."""
    if isinstance(op, Fused):
        return op.rule in FUSED or type(op.parts[0].op) in EMITTERS
    return type(op) in EMITTERS
