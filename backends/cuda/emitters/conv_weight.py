"""The filter gradient of a convolution on tensor cores: a product of kernels x (taps x channels), as deep as the output
maps have pixels; kernels/conv_mma_weight.cu. What it does not take is left to the plain kernel.

The product is shallow in its result and deep in its sums, so the depth is split into slices that are summed afterwards,
in fixed order. An input of few channels is folded (space to depth) by the stride, or gets channels of zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from alexnet_ir.backends.cuda.emitters import simt
from alexnet_ir.backends.cuda.emitters.relayout import FLOATS, brought, relayout
from alexnet_ir.backends.cuda.emitters.space_to_depth import fold_by, folded, vector
from alexnet_ir.backends.cuda.emitters.tiles import CHUNK, ELEMENTS, Choice, Tile, choose
from alexnet_ir.backends.cuda.gpu import MULTIPLIED, Precision
from alexnet_ir.backends.cuda.site import Emit, Site, kernel
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import ConvGradWeight

MOST_ELEMENTS = 2**31 - 2**20
"""Of an operand: offsets are 32 bits."""
ROUNDS = range(1, 5)
"""Blocks that a multiprocessor may get, with as many slices as make them so many."""
REDUCERS = 128
"""Threads of a block of `reduce_slices`."""


class WeightTile(Tile):
    """A tile whose pixels are padded in shared memory, and have windows there."""

    @property
    def stage(self) -> int:
        """Bytes: 8 elements of padding for each pixel of an operand, and 16 for its window."""
        return (self.rows + self.columns + 16) * CHUNK + 64 * 16


WIDE = [
    WeightTile(128, 256, (64, 64)),
    WeightTile(256, 128, (64, 64)),
    WeightTile(192, 128, (64, 64)),
    WeightTile(128, 128, (64, 64)),
    WeightTile(96, 256, (96, 32)),
    WeightTile(96, 128, (96, 32)),
]
"""Too many sums for the three products of fp32."""
NARROW = [
    WeightTile(128, 128, (64, 32)),
    WeightTile(96, 128, (32, 64)),
    WeightTile(128, 64, (64, 32)),
    WeightTile(64, 128, (32, 64)),
    WeightTile(64, 64, (32, 32)),
    WeightTile(32, 128, (32, 32)),
    WeightTile(32, 64, (32, 32)),
]


def tiles(precision: Precision) -> list[WeightTile]:
    """What there is to choose from."""
    return NARROW if precision == "fp32" else WIDE + NARROW


@dataclass(frozen=True)
class Product:
    """What the kernel computes: the gradient of kernels of `taps` over `input`, of which it gets the slices summed. The
    result has `block` taps for each of these."""

    grad: Tensor
    input: Tensor
    taps: Pair
    op: ConvGradWeight
    block: Pair

    @property
    def kernels(self) -> tuple[int, int, int, int]:
        """The shape of the gradient that the kernel computes."""
        return (self.grad.shape[1], self.input.shape[1] // self.op.groups, *self.taps)

    @property
    def pixels(self) -> int:
        """The depth of the product."""
        n, _, h, w = self.grad.shape
        return n * h * w


def grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """dY [n, kernels, oh, ow], X [n, c, h, w] -> the gradient of kernels [kernels, c / groups, rows, columns]."""
    assert not epilogue.ops
    if why := plain(site):
        return replace(simt.grad_weight(site, epilogue), reason=f"plain: {why}")
    workspace = Workspace()
    product, before = prepared(site, workspace)
    (result,) = site.results
    choice = chosen(product, site)
    depth = slice_depth(product, choice)
    slices = math.ceil(product.pixels / depth)
    choice = replace(choice, splits=slices)
    shape = product.kernels
    if slices == 1 and shape == result.shape:
        return Emission(
            (*before, multiply(product, result, choice, depth)), workspace.nbytes, reason(site, product, choice)
        )
    sums = workspace.tensor((slices * shape[0], *shape[1:]), Layout("f32", channels_last=True))
    commands = (*before, multiply(product, sums, choice, depth), reduce(sums, result, slices, product.block))
    return Emission(commands, workspace.nbytes, reason(site, product, choice))


EMITTERS: dict[type[Op], Emit] = {ConvGradWeight: grad_weight}


def plain(site: Site) -> str:
    """Why the plain kernel does this one; nothing if tensor cores can."""
    op, whole = _op(site), piece(site.precision)
    if not site.gpu.tensor_cores:
        return f"{site.gpu.arch} has no tensor cores for these precisions"
    if op.groups > 1 and any(tensor.shape[1] // op.groups % whole for tensor in site.operands):
        return f"kernels or channels of a group are no multiple of {whole}"
    if op.groups > MOST_BLOCKS:
        return "more groups than a grid has blocks"
    if max(math.prod(t.shape) // t.shape[1] * round_up(t.shape[1], whole) for t in site.operands) > MOST_ELEMENTS:
        return "more elements than 32 bits number"
    return ""


def reason(site: Site, product: Product, choice: Choice) -> str:
    """For the plan."""
    said = f"filter gradient on tensor cores, {choice}"
    if product.block != (1, 1):
        return f"{said}, input folded by {product.block[0]} x {product.block[1]}"
    filled = zip(site.operands, (product.grad, product.input), ("kernels", "channels"), strict=True)
    more = [f"{a.shape[1]} {what} filled up to {b.shape[1]}" for a, b, what in filled if a.shape[1] != b.shape[1]]
    return ", ".join([said, *more])


# --- operands ---------------------------------------------------------------------------------------------------------


def prepared(site: Site, workspace: Workspace) -> tuple[Product, tuple[Launch, ...]]:
    """The product, with operands as the kernel takes them, and the launches that make them so."""
    op = _op(site)
    grad, input = site.operands
    grad, before = whole(grad, site.precision, workspace)
    block = fold_by(op.size, op.stride, op.dilation, input.shape[1], piece(site.precision))
    if block == (1, 1):
        input, more = whole(input, site.precision, workspace)
        return Product(grad, input, op.size, op, block), before + more
    pad, layout = (op.pad[0][0], op.pad[1][0]), wanted(input, site.precision)
    blocks, taps, launch = folded(input, block, pad, op.size, grad.shape[2:], layout, workspace)
    return Product(grad, blocks, taps, replace(op, stride=(1, 1), pad=((0, 0), (0, 0))), block), (*before, launch)


def whole(tensor: Tensor, precision: Precision, workspace: Workspace) -> tuple[Tensor, tuple[Launch, ...]]:
    """The tensor channels last, stored as the kernel reads it, its channels of whole pieces."""
    n, channels, *maps = tensor.shape
    padded = round_up(channels, piece(precision))
    if padded == channels:
        return brought(tensor, wanted(tensor, precision), workspace)
    target = workspace.tensor((n, padded, *maps), wanted(tensor, precision))
    return target, (relayout(tensor, target),)


def wanted(tensor: Tensor, precision: Precision) -> Layout:
    """As the kernel reads it: f32 may stay, to be rounded on the way."""
    stored = tensor.layout.stored
    return Layout("bf16" if precision == "bf16" else stored if stored in FLOATS else "f32", channels_last=True)


def piece(precision: Precision) -> int:
    """Elements that are copied at a time: channels of a group are a multiple of that."""
    return vector(Layout(MULTIPLIED[precision]))


# --- commands ---------------------------------------------------------------------------------------------------------


def chosen(product: Product, site: Site) -> Choice:
    """Tile, pipeline and slices."""
    kernels, channels, *taps = product.kernels
    op, precision = product.op, site.precision
    rows, columns = kernels // op.groups, channels * math.prod(taps)
    among = tiles(precision)
    blocks = {-(-rows // tile.rows) * -(-columns // tile.columns) * op.groups for tile in among}
    most = min(math.ceil(product.pixels / ELEMENTS[precision]), MOST_BLOCKS // op.groups)
    full = {each * site.gpu.multiprocessors // count for each in ROUNDS for count in blocks}
    splits = sorted({max(1, min(split, most)) for split in full})
    return choose(rows, columns, product.pixels, site.gpu, precision, count=op.groups, splits=splits, among=among)


def slice_depth(product: Product, choice: Choice) -> int:
    """Pixels of a slice: whole chunks."""
    return round_up(math.ceil(product.pixels / choice.splits), ELEMENTS[choice.precision])


def multiply(product: Product, out: Tensor, choice: Choice, depth: int) -> Launch:
    """The product, into the result or into slices of this depth."""
    op, tile, precision = product.op, choice.tile, choice.precision
    constants = {
        **both("TAPS", product.taps),
        **both("STRIDE", op.stride),
        **both("DILATION", op.dilation),
        "PAD_TOP": op.pad[0][0],
        "PAD_LEFT": op.pad[1][0],
        "GROUPS": op.groups,
        "TILE_ROWS": tile.rows,
        "TILE_COLUMNS": tile.columns,
        "TILE_DEPTH": ELEMENTS[precision],
        "WARP_ROWS": tile.warp[0],
        "WARP_COLUMNS": tile.warp[1],
        "STAGES": choice.stages,
        "BLOCKS": choice.resident,
        "SLICE_DEPTH": depth,
        "PRODUCTS": 3 if precision == "fp32" else 1,
        "ROUND_G": precision == "fp32" or product.grad.layout.stored == "f32",
        "ROUND_X": precision == "fp32" or product.input.layout.stored == "f32",
    }
    tensors = {"G": product.grad, "X": product.input, "Y": out}
    made = kernel("conv_mma_weight.cu", "conv_mma_weight", tensors=tensors, constants=constants, warp=True)
    kernels, channels, *taps = product.kernels
    columns = channels * math.prod(taps)
    grid = (-(-columns // tile.columns), -(-(kernels // op.groups) // tile.rows), op.groups * choice.splits)
    places = (product.grad.place, product.input.place, out.place)
    return Launch(made, grid, (tile.threads, 1, 1), places, choice.shared)


def reduce(sums: Tensor, result: Tensor, slices: int, block: Pair) -> Launch:
    """The slices' sum, into the result."""
    constants = {"SLICES": slices, **both("BLOCK", block)}
    made = kernel("reduce_slices.cu", "reduce_slices", tensors={"S": sums, "Y": result}, constants=constants)
    grid = (-(-math.prod(result.shape) // REDUCERS), 1, 1)
    return Launch(made, grid, (REDUCERS, 1, 1), (sums.place, result.place))


def _op(site: Site) -> ConvGradWeight:
    assert isinstance(site.op, ConvGradWeight)
    return site.op
