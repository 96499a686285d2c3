"""Emission for GPUs: from a step of a plan to commands, as data. No CuPy, no GPU."""

from __future__ import annotations

from collections.abc import Mapping

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
from alexnet_ir.backends.cuda.site import Emit, EmitFused, Site
from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.backends.emission.heads import emit_by
from alexnet_ir.ir.op import Op

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
    return emit_by(site, EMITTERS, FUSED)
