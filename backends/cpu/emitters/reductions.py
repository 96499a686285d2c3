"""Sums over a batch for each channel, or each position: of biases' gradients and of batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from alexnet_ir.backends.cpu.site import Emit, Site, kernel
from alexnet_ir.backends.emission.columns import bias_columns, by_channel
from alexnet_ir.backends.emission.commands import Argument, Call, Emission, Kernel, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Constant, Workspace
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.batchnorm import BatchNormGradWeight, ChannelSquares
from alexnet_ir.ops.dense import BiasGrad

DOUBLE = 8
"""Bytes."""


def rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors of one shape as [n, c, h, w]; where they lie so, as [n h w, c, 1, 1]: one kernel does for all maps."""
    return tuple(_four(t) for t in by_channel(*tensors))


def _four(tensor: Tensor) -> Tensor:
    return replace(tensor, shape=(*tensor.shape, 1, 1)[:4])


def summed(
    file: str, site: Site, tensors: Mapping[str, Tensor], terms: tuple[str, ...], constants: Mapping[str, Constant]
) -> Kernel:
    """`kernels/FILE.c`, which adds up terms (`kernels/column_sums.c`)."""
    named = zip(("FIRST", "SECOND"), (*terms, "0.0f"), strict=False)
    generated = "".join(f"#define {name} ({term})\n" for name, term in named)
    shared = ("columns.c", "column_sums.c")
    constants = {"SUMS": len(terms), **constants}
    return kernel(f"{file}.c", file, site.isa, tensors=tensors, constants=constants, generated=generated, before=shared)


def _totals(
    site: Site, g: Tensor, x: Tensor, vectors: tuple[Tensor, ...], term: str, factor: str = "1.0", positions: int = 1
) -> Emission:
    """factor (the sum of a term over all rows); both may read the vectors, mean and variance."""
    (out,), workspace = site.results, Workspace()
    eps = site.op.eps if isinstance(site.op, BatchNormGradWeight) else 0.0
    constants: dict[str, Constant] = {"POSITIONS": positions, "FACTOR": factor, "EPS": eps}
    source = summed("column_totals", site, {"G": g, "X": x, "OUT": out}, (term,), constants)
    sums = workspace.take(DOUBLE * site.threads * x.shape[1])
    mean, variance, *_ = (*(vector.place for vector in vectors), x.place, x.place)
    counts: tuple[Argument, ...] = (np.int32(x.shape[0]), np.int32(site.threads))
    arguments = (*counts, g.place, x.place, mean, variance, out.place, sums)
    return Emission((Call(source, arguments),), workspace.nbytes)


def bias_grad(site: Site, epilogue: Epilogue) -> Emission:
    """For each channel, or each position."""
    assert not epilogue.ops
    assert isinstance(site.op, BiasGrad)
    grad, positions = bias_columns(site.op, site.operands[0])
    x = _four(grad)
    return _totals(site, x, x, (), "VALUE", positions=positions)


def channel_squares(site: Site, epilogue: Epilogue) -> Emission:
    """Squared distances from a given mean."""
    assert not epilogue.ops
    input, mean = site.operands
    (x,) = rows(input)
    return _totals(site, x, x, (mean,), "DISTANCE * DISTANCE")


def batchnorm_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """One of the two sums of batch normalisation's gradient."""
    assert not epilogue.ops
    grad, input, mean, variance = site.operands
    g, x = rows(grad, input)
    return _totals(site, g, x, (mean, variance), "GRAD * DISTANCE", "1.0 / sqrt((double)variance[c] + EPS)")


EMITTERS: dict[type[Op], Emit] = {
    BatchNormGradWeight: batchnorm_grad_weight,
    BiasGrad: bias_grad,
    ChannelSquares: channel_squares,
}
"""By the class of op."""
