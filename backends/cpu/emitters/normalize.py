"""Local response normalisation across maps and within each, its gradients, and with the max pooling behind it in one
kernel."""

from __future__ import annotations

from alexnet_ir.backends.cpu.emitters.pooling import called, max_pooled, row_columns
from alexnet_ir.backends.cpu.site import Emit, EmitFused, Site
from alexnet_ir.backends.emission.commands import Emission, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.backends.emission.windows import (
    across_constants,
    half_within,
    pooled_back,
    window_constants,
    within_constants,
)
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool

ACROSS, WITHIN = ("scale.c", "across.c"), ("scale.c", "within.c")


def lrn(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, Lrn)
    (x,), (y,) = site.operands, site.results
    return called(site, "lrn", {"X": x}, {"Y": y}, across_constants(site.op, x.shape[1]), ACROSS, epilogue)


def lrn_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input."""
    assert isinstance(site.op, LrnGrad)
    (g, x), (y,) = site.operands, site.results
    constants = across_constants(site.op, x.shape[1])
    return called(site, "lrn_grad", {"G": g, "X": x}, {"Y": y}, constants, ACROSS, epilogue)


def local_norm(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, LocalNorm)
    return _normalized(site, site.op, site.operands[0], site.results[0], epilogue)


def _normalized(
    site: Site, op: LocalNorm, x: Tensor, y: Tensor, epilogue: Epilogue, workspace: Workspace | None = None
) -> Emission:
    constants, scratch = within_constants(op, x.shape), _line(op, x.shape)
    return called(site, "local_norm", {"X": x}, {"Y": y}, constants, WITHIN, epilogue, scratch, workspace)


def local_norm_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input."""
    assert isinstance(site.op, LocalNormGrad)
    (g, x), (y,) = site.operands, site.results
    lines = 2 * (2 * half_within(site.op, x.shape) + 1) + 1
    constants, before = within_constants(site.op, x.shape), (*WITHIN, "bands.c")
    scratch = lines * _line(site.op, x.shape)
    return called(site, "local_norm_grad", {"G": g, "X": x}, {"Y": y}, constants, before, epilogue, scratch)


def _line(op: LocalNorm | LocalNormGrad, shape: tuple[int, ...]) -> int:
    """Floats of a line of kernels/within.c."""
    return (shape[3] + 2 * half_within(op, shape)) * shape[1]


# --- with the pooling -------------------------------------------------------------------------------------------------


def lrn_maxpool(site: Site) -> Emission:
    """input -> pooled and, if anybody reads it, argmax. Within maps one kernel after the other."""
    assert isinstance(site.op, Fused)
    norm, pool = (part.op for part in site.op.parts)
    assert isinstance(pool, MaxPool)
    if isinstance(norm, LocalNorm):
        return _one_by_one(site, norm, pool)
    assert isinstance(norm, Lrn)
    (x,), (y, *argmax) = site.operands, site.results
    columns = row_columns(pool, x.shape, y.shape)
    constants = {
        **across_constants(norm, x.shape[1]), **window_constants(pool, x.shape, y.shape), "ROW_W": columns
    }  # fmt: skip
    results = dict(zip("YA", (y, *argmax), strict=False))
    before = (*ACROSS, "windows.c", "largest.c", "bands.c")
    return called(site, "lrn_maxpool", {"X": x}, results, constants, before, NONE, pool.size[0] * columns * x.shape[1])


def _one_by_one(site: Site, norm: LocalNorm, pool: MaxPool) -> Emission:
    (x,), workspace = site.operands, Workspace()
    between = workspace.tensor(x.shape, Layout("f32", x.layout.channels_last))
    first = _normalized(site, norm, x, between, NONE, workspace)
    second = max_pooled(site, pool, between, site.results)
    return Emission((*first.commands, *second.commands), workspace.nbytes, "one after the other")


def maxpool_lrn_grad(site: Site) -> Emission:
    """grad_output of the pooling, argmax, the normalisation's input, and perhaps what a mask is made of."""
    back = pooled_back(site)
    columns = row_columns(back.pool, back.y.shape, back.g.shape)
    windows = window_constants(back.pool, back.y.shape, back.g.shape)
    constants = {**across_constants(back.norm, back.x.shape[1]), **windows, "ROW_W": columns}
    operands, before = {"G": back.g, "A": back.argmax, "X": back.x}, (*ACROSS, "windows.c", "max_passed.c", "gather.c")
    scratch = columns * back.y.shape[1]
    return called(site, "maxpool_lrn_grad", operands, {"Y": back.y}, constants, before, back.epilogue, scratch)


EMITTERS: dict[type[Op], Emit] = {
    Lrn: lrn,
    LrnGrad: lrn_grad,
    LocalNorm: local_norm,
    LocalNormGrad: local_norm_grad,
}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {"lrn_maxpool": lrn_maxpool, "maxpool_lrn_grad": maxpool_lrn_grad}
"""By the rule that made the fused op."""
