"""Sums and statistics over a batch: of biases' gradients and batch normalisation.

A value is taken as rows of columns: [n h w, c] (as it lies, where channels lie last), or [n, c h w] for a bias of each
position. Blocks over rows and columns leave partial sums in the workspace, and a second kernel adds them up, both in a
fixed order (`kernels/columns.cu`). What is then done to each element is a pointwise expression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from alexnet_ir.backends.cuda.emitters.pointwise import computed
from alexnet_ir.backends.cuda.gpu import Gpu
from alexnet_ir.backends.cuda.site import Emit, Site, kernel, text
from alexnet_ir.backends.emission.columns import bias_columns, by_channel
from alexnet_ir.backends.emission.commands import Dim3, Emission, Kernel, Launch, Place, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.backends.emission.views import four
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.batchnorm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormGradInput,
    BatchNormGradWeight,
    BatchNormInference,
    ChannelSquares,
)
from alexnet_ir.ops.dense import BiasGrad

THREADS = 256
LANES = 16
"""Threads a column that add up what blocks have left, as in the kernels."""


@dataclass(frozen=True)
class Columns:
    """How a reduction over the rows of tensors of one shape is split: blocks of `across` x `down` threads, each thread
    `width` columns, each block `span` rows."""

    tensors: tuple[Tensor, ...]
    width: int
    across: int
    down: int
    span: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n, c, h, w = self.tensors[0].shape
        return n * h * w, c

    @property
    def blocks(self) -> int:
        """Of rows: how many partial sums each column has."""
        return -(-self.shape[0] // self.span)

    @property
    def grid(self) -> Dim3:
        """Blocks over columns and rows."""
        return -(-self.shape[1] // (self.width * self.across)), self.blocks, 1

    def kernel(self, entry: str, tensors: dict[str, Tensor], eps: float = 0.0, shared: str = "columns.cu") -> Kernel:
        """`kernels/ENTRY.cu`, the first tensor of which is X."""
        constants = {"V": self.width, "TX": self.across, "TY": self.down, "SPAN": self.span, "ROWS": self.shape[0]}
        names = shared.split()
        generated = "".join(f'#line 1 "{name}"\n{text(name)}' for name in names)
        return kernel(f"{entry}.cu", entry, tensors=tensors, constants={**constants, "EPS": eps}, generated=generated)

    def launch(self, source: Kernel, *arguments: Place) -> Launch:
        """On all rows and columns."""
        return Launch(source, self.grid, (self.across * self.down, 1, 1), arguments)

    def partials(self, workspace: Workspace) -> Place:
        """A float for each block and column."""
        return workspace.take(4 * self.blocks * self.shape[1])

    def total(self, partials: Place, out: Tensor, positions: int = 1) -> Launch:
        """What the blocks left, added up."""
        columns = self.shape[1]
        constants = {"BLOCKS": self.blocks, "COLUMNS": columns, "POSITIONS": positions}
        source = kernel("column_total.cu", "column_total", tensors={"OUT": out}, constants=constants)
        return Launch(source, (-(-columns // 32), 1, 1), (32 * LANES, 1, 1), (out.place, partials))


def columns(gpu: Gpu, *tensors: Tensor) -> Columns:
    """Of tensors [n, c, ...] of one shape: a column is a channel."""
    tensors = by_channel(*tensors)
    views = tuple(four(t) for t in tensors)
    count = views[0].shape[1]
    width = 16 // min(STORED_BYTES[t.layout.stored] for t in views)
    width = math.gcd(count, width) if len(tensors[0].shape) == 2 else 1
    across = min(32, -(-count // width))
    down = THREADS // across
    rows = math.prod(views[0].shape) // count
    most = max(1, 4 * gpu.multiprocessors // -(-count // (width * across)))
    return Columns(views, width, across, down, -(-rows // min(most, -(-rows // (8 * down)))))


# --- ops --------------------------------------------------------------------------------------------------------------


def bias_grad(site: Site, epilogue: Epilogue) -> Emission:
    """For each channel, or each position."""
    assert not epilogue.ops
    assert isinstance(site.op, BiasGrad)
    (out,) = site.results
    grad, positions = bias_columns(site.op, site.operands[0])
    split, workspace = columns(site.gpu, grad), Workspace()
    (x,), partials = split.tensors, split.partials(workspace)
    first = split.launch(split.kernel("bias_grad", {"X": x}), partials, x.place)
    return Emission((first, split.total(partials, out, positions)), workspace.nbytes)


def channel_squares(site: Site, epilogue: Epilogue) -> Emission:
    """Squared distances from a given mean."""
    assert not epilogue.ops
    (input, mean), (out,) = site.operands, site.results
    split, workspace = columns(site.gpu, input), Workspace()
    (x,), partials = split.tensors, split.partials(workspace)
    source = split.kernel("channel_squares", {"X": x, "MEAN": mean})
    return Emission((split.launch(source, partials, x.place, mean.place), split.total(partials, out)), workspace.nbytes)


def batchnorm(site: Site, epilogue: Epilogue) -> Emission:
    """Statistics of the batch, then each element."""
    assert isinstance(site.op, BatchNorm)
    (input, weight, bias), (out, mean, variance) = site.operands, site.results
    split, workspace = columns(site.gpu, input), Workspace()
    (x,), partials = split.tensors, (split.partials(workspace), split.partials(workspace))
    source = split.kernel("batchnorm_statistics", {"X": x}, shared="columns.cu moments.cu")
    statistics = split.launch(source, *partials, x.place)
    rows, count = split.shape
    source = kernel(
        "batchnorm_total.cu",
        "batchnorm_total",
        tensors={"MEAN": mean, "VARIANCE": variance},
        constants={"BLOCKS": split.blocks, "COLUMNS": count, "SPAN": split.span, "ROWS": rows},
        generated=text("moments.cu"),
    )
    places = (mean.place, variance.place, *partials)
    total = Launch(source, (-(-count // 32), 1, 1), (32 * LANES, 1, 1), places)
    normalized = epilogue.after(BatchNormInference(site.op.eps), (weight, bias, mean, variance), out.shape)
    return Emission((statistics, total, computed(out, input, normalized)), workspace.nbytes)


def batchnorm_grad(site: Site, epilogue: Epilogue) -> Emission:
    """The two sums that are the gradients of weight and bias, then each element of the input's."""
    assert isinstance(site.op, BatchNormGrad)
    (grad, input, weight, mean, variance), (out, grad_weight, grad_bias) = site.operands, site.results
    commands, nbytes = _grad_sums(site, grad, input, mean, variance, (grad_weight, grad_bias))
    op = BatchNormGradInput(math.prod(input.shape) // input.shape[1], site.op.eps)
    whole = epilogue.after(op, (input, weight, mean, variance, grad_weight, grad_bias), out.shape)
    return Emission((*commands, computed(out, grad, whole)), nbytes)


def batchnorm_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """One of the two sums alone."""
    assert not epilogue.ops
    grad, input, mean, variance = site.operands
    return Emission(*_grad_sums(site, grad, input, mean, variance, site.results))


def _grad_sums(
    site: Site, grad: Tensor, input: Tensor, mean: Tensor, variance: Tensor, outs: tuple[Tensor, ...]
) -> tuple[tuple[Launch, ...], int]:
    """The gradients of weight and, if it is wanted, bias; and the bytes of workspace."""
    assert isinstance(site.op, BatchNormGrad | BatchNormGradWeight)
    split, workspace = columns(site.gpu, input, grad), Workspace()
    x, g = split.tensors
    partials = (split.partials(workspace), split.partials(workspace))
    tensors = {"X": x, "G": g, "MEAN": mean, "VARIANCE": variance}
    source = split.kernel("batchnorm_sums", tensors, site.op.eps)
    sums = split.launch(source, *partials, g.place, x.place, mean.place, variance.place)
    totals = (split.total(place, out) for place, out in zip(partials, outs, strict=False))
    return (sums, *totals), workspace.nbytes


EMITTERS: dict[type[Op], Emit] = {
    BatchNorm: batchnorm,
    BatchNormGrad: batchnorm_grad,
    BatchNormGradWeight: batchnorm_grad_weight,
    BiasGrad: bias_grad,
    ChannelSquares: channel_squares,
}
"""By the class of op."""
