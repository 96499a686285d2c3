"""Batch normalisation while training: statistics or sums over the batch, and then each element, in one kernel."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.cpu.emitters.reductions import DOUBLE, rows, summed
from alexnet_ir.backends.cpu.site import C, Emit, EmitFused, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Emission
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.heads import headed
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad
from alexnet_ir.ops.fused import Fused


def batchnorm(site: Site, epilogue: Epilogue) -> Emission:
    """Normalised, with what is done to each element of it; and the batch's mean and variance."""
    assert isinstance(site.op, BatchNorm)
    (input, weight, bias), (result, mean, variance) = site.operands, site.results
    x, out, *_ = rows(input, result, *(t for t in epilogue.tensors if t.shape == result.shape))
    epilogue = epilogue.reshaped(out.shape) if out.shape != result.shape else epilogue
    source = kernel(
        "batchnorm.c",
        "batchnorm",
        site.isa,
        tensors={"X": x, "OUT": out},
        constants={"EPS": site.op.eps},
        generated=epilogue.source(C),
        before=("columns.c",),
    )
    workspace, count = Workspace(), x.shape[1]
    moments, factor = workspace.take(2 * DOUBLE * site.threads * count), workspace.take(4 * count)
    places = (x.place, weight.place, bias.place, out.place, mean.place, variance.place, moments, factor)
    call = Call(source, (np.int32(x.shape[0]), np.int32(site.threads), *places, *epilogue.arguments))
    return Emission((call,), workspace.nbytes)


def batchnorm_grad(site: Site, epilogue: Epilogue) -> Emission:
    """The gradients of input, weight and bias."""
    assert isinstance(site.op, BatchNormGrad)
    assert not epilogue.ops
    (grad, input, weight, mean, variance), (result, grad_weight, grad_bias) = site.operands, site.results
    g, x, out = rows(grad, input, result)
    tensors = {"G": g, "X": x, "OUT": out}
    source = summed("batchnorm_grad", site, tensors, ("GRAD * DISTANCE", "GRAD"), {"EPS": site.op.eps})
    workspace, count = Workspace(), x.shape[1]
    sums, terms = workspace.take(2 * DOUBLE * site.threads * count), workspace.take(3 * 4 * count)
    operands = (tensor.place for tensor in (g, x, weight, mean, variance))
    results = (tensor.place for tensor in (out, grad_weight, grad_bias))
    call = Call(source, (np.int32(x.shape[0]), np.int32(site.threads), *operands, *results, sums, terms))
    return Emission((call,), workspace.nbytes)


def batchnorm_relu(site: Site) -> Emission:
    """With what is fused behind it."""
    assert isinstance(site.op, Fused)
    return batchnorm(*headed(site, site.op))


EMITTERS: dict[type[Op], Emit] = {BatchNorm: batchnorm, BatchNormGrad: batchnorm_grad}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {"batchnorm_relu": batchnorm_relu}
"""By rule."""
