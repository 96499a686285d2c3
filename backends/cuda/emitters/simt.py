"""Convolutions of any geometry and locally connected layers, in plain fp32 arithmetic: what runs where the kernels for
tensor cores do not apply, and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from alexnet_ir.backends.cuda.emitters.relayout import brought
from alexnet_ir.backends.cuda.gpu import Gpu
from alexnet_ir.backends.cuda.site import CUDA, Emit, Site, kernel, text
from alexnet_ir.backends.emission.commands import Command, Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import Workspace, round_up
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight

Constants = Mapping[str, int | str | bool]

DEPTH = 16
"""Of the slices of a product that pass through shared memory: DEPTH of plain_tile.cu."""
SLICE = 8192
"""Pixels that one block adds up at most, where memory allows: sums of more lose digits."""
PARTIAL_BYTES = 64 << 20
"""Of partial sums, beyond what it takes to keep all multiprocessors busy."""
OUTSIDE = -(1 << 30)
"""A row far from any image."""


def geometry(op: Op) -> dict[str, int]:
    """The constants of what convolutions and untied ones share."""
    assert isinstance(op, ConvAttributes)
    found: dict[str, int] = {"GROUPS": op.groups, "OUTSIDE": OUTSIDE}
    for axis, name in enumerate("HW"):
        found |= {f"STRIDE_{name}": op.stride[axis], f"DILATION_{name}": op.dilation[axis]}
        found |= {f"PAD_{name}": op.pad[axis][0]}
    return found


def _groups(site: Site) -> int:
    assert isinstance(site.op, ConvAttributes)
    return site.op.groups


# --- tiles ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """What a block computes of a product."""

    m: int
    n: int

    @property
    def threads(self) -> int:
        """Of a block: PER_M x PER_N sums each, as in plain_tile.cu."""
        return math.prod(length // (8 if length == 128 else 4) for length in (self.m, self.n))

    def blocks(self, m: int, n: int) -> int:
        """That a product of this size takes."""
        return -(-m // self.m) * -(-n // self.n)


TILES = tuple(Tile(m, n) for m in (128, 64, 32) for n in (128, 64, 32))


def choose_tile(m: int, n: int, copies: int, gpu: Gpu) -> Tile:
    """The tile with which `copies` products of m x n, which run side by side, take the least time: so many rounds of
    all multiprocessors, in which the sums are made and what they are of is read."""

    def cost(tile: Tile) -> float:
        rounds = -(-copies * tile.blocks(m, n) // gpu.multiprocessors)
        return rounds * (tile.m * tile.n + 16 * (tile.m + tile.n))

    return min(TILES, key=cost)


def _source(tile: Tile, along_n: bool, epilogue: Epilogue) -> str:
    """What stands between the constants and a kernel's file."""
    head = f"constexpr int TILE_M = {tile.m}, TILE_N = {tile.n};\nconstexpr bool ALONG_N = {str(along_n).lower()};\n"
    return f'{head}#line 1 "plain_tile.cu"\n{text("plain_tile.cu")}#line 1 "epilogue"\n{epilogue.source(CUDA)}'


# --- convolutions -----------------------------------------------------------------------------------------------------


def forward(site: Site, epilogue: Epilogue) -> Emission:
    """Conv: every pixel of the output gathers from its window."""
    assert isinstance(site.op, Conv)
    steps = {f"{name}_{axis}": 1 for name in ("STEP", "ADVANCE") for axis in "HW"}
    steps |= {f"ADVANCE_{axis}": site.op.dilation[i] for i, axis in enumerate("HW")}
    return _convolution(site, epilogue, {**steps, "BACKWARD": False}, (1, 1))


def grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """ConvGradInput: every pixel of the input gathers from the outputs that it had a part in."""
    op = site.op
    assert isinstance(op, ConvGradInput)
    steps: dict[str, int] = {}
    for axis, name in enumerate("HW"):
        common = math.gcd(op.stride[axis], op.dilation[axis])
        steps |= {f"STEP_{name}": op.stride[axis] // common, f"ADVANCE_{name}": -(op.dilation[axis] // common)}
    return _convolution(site, epilogue, {**steps, "BACKWARD": True}, op.stride)


def _convolution(site: Site, epilogue: Epilogue, constants: Constants, classes: tuple[int, int]) -> Emission:
    """The launch, with pixels in so many classes along each axis."""
    (source, weight), (target,) = site.operands, site.results
    shared = geometry(site.op)
    n, channels, h, w = target.shape
    pixels = n * -(-h // classes[0]) * -(-w // classes[1])
    columns = channels // _groups(site)
    copies = _groups(site) * math.prod(classes)
    tile = choose_tile(pixels, columns, copies, site.gpu)
    made = kernel(
        "conv_plain.cu",
        "conv_plain",
        tensors={"X": source, "W": weight, "Y": target},
        constants={**shared, **constants, "TILES_M": -(-pixels // tile.m)},
        generated=_source(tile, target.strides[1] == 1, epilogue),
    )
    grid = (tile.blocks(pixels, columns) * copies, 1, 1)
    arguments = (source.place, weight.place, target.place, *epilogue.arguments)
    return Emission((Launch(made, grid, (tile.threads, 1, 1), arguments),), 0, f"plain fp32, {tile.m} x {tile.n} tiles")


def grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """ConvGradWeight: slices of the pixels, added up in order."""
    assert not epilogue.ops
    (grad, input), (weight,) = site.operands, site.results
    groups = _groups(site)
    pixels = grad.shape[0] * math.prod(grad.shape[2:])
    rows, columns = weight.shape[0] // groups, math.prod(weight.shape[1:])
    tile = _weight_tile(rows, columns)
    slices, depth = _slices(pixels, tile.blocks(rows, columns) * groups, 4 * math.prod(weight.shape), site.gpu)
    workspace = Workspace()
    partial = workspace.take(4 * slices * math.prod(weight.shape)) if slices > 1 else weight.place
    multiply = kernel(
        "conv_plain_weight.cu",
        "conv_plain_weight",
        tensors={"G": grad, "X": input, "W": weight},
        constants={**geometry(site.op), "SLICES": slices, "SLICE": depth},
        generated=_source(tile, True, NONE),
    )
    grid = (tile.blocks(rows, columns) * groups * slices, 1, 1)
    places = (grad.place, input.place, weight.place, partial)
    commands: tuple[Command, ...] = (Launch(multiply, grid, (tile.threads, 1, 1), places),)
    if slices > 1:
        blocks = -(-math.prod(weight.shape) // 256)
        add = replace(multiply, name="add_slices")
        commands += (Launch(add, (blocks, 1, 1), (256, 1, 1), (partial, weight.place)),)
    reason = f"plain fp32, {tile.m} x {tile.n} tiles, {slices} slice(s) of {depth} pixels"
    return Emission(commands, workspace.nbytes, reason)


def _weight_tile(rows: int, columns: int) -> Tile:
    """The largest that is not empty for the most part: slices keep the multiprocessors busy."""

    def length(count: int) -> int:
        return next((length for length in (128, 64) if count > length // 2), 32)

    return Tile(length(rows), length(columns))


def _slices(pixels: int, blocks: int, nbytes: int, gpu: Gpu) -> tuple[int, int]:
    """Into how many slices the pixels are split, and how many each has: for two blocks a multiprocessor (of the largest
    tiles one runs at a time), and for short sums while the partial ones (`nbytes` a slice) take little memory."""
    busy = 2 * gpu.multiprocessors // blocks
    short = min(-(-pixels // SLICE), PARTIAL_BYTES // nbytes)
    wanted = max(1, min(max(busy, short), -(-pixels // (4 * DEPTH))))
    depth = round_up(-(-pixels // wanted), DEPTH)
    return -(-pixels // depth), depth


# --- locally connected ------------------------------------------------------------------------------------------------

LOCAL_THREADS = 128
SUMS = ((8, 4), (4, 4), (4, 2))
"""That a thread may make: the more, the fewer reads, as long as there are threads enough."""
ENOUGH = 512
"""Threads for each multiprocessor."""


def local(site: Site, epilogue: Epilogue) -> Emission:
    """Local: a thread takes a position, some kernels and some images."""
    (input, weight), (target,) = site.operands, site.results
    tensors = {"X": input, "W": weight, "Y": target}
    return _over_images(site, epilogue, "local", tensors, "PER_KERNEL")


def local_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """LocalGradInput: a thread takes a pixel, some channels and some images."""
    (grad, weight), (target,) = site.operands, site.results
    tensors = {"G": grad, "W": weight, "X": target}
    return _over_images(site, epilogue, "local_grad_input", tensors, "PER_CHANNEL")


def _over_images(
    site: Site, epilogue: Epilogue, name: str, tensors: Mapping[str, Tensor], per_channel: str
) -> Emission:
    """A kernel whose threads each take a pixel of the result, some of its channels and some images."""
    n, channels, *pixels = site.results[0].shape
    groups = _groups(site)

    def counted(sums: tuple[int, int]) -> tuple[dict[str, int], int]:
        of_channels, of_images = min(sums[0], channels // groups), min(sums[1], n)
        chunks = -(-n // of_images)
        threads = math.prod(pixels) * groups * -(-channels // groups // of_channels)
        return {per_channel: of_channels, "PER_IMAGE": of_images, "IMAGE_CHUNKS": chunks}, threads

    ways = [counted(sums) for sums in SUMS]
    enough = ENOUGH * site.gpu.multiprocessors
    constants, threads = next(((c, t) for c, t in ways if t * c["IMAGE_CHUNKS"] >= enough), ways[-1])
    return _local(site, epilogue, name, tensors, constants, threads)


def local_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """LocalGradWeight: a thread takes a position of a tap, some kernels and some channels."""
    assert not epilogue.ops
    (grad, input), (weight,) = site.operands, site.results
    kernels, channels, *cells = weight.shape
    groups = _groups(site)
    per = {"PER_KERNEL": min(SUMS[0][0], kernels // groups), "PER_CHANNEL": min(SUMS[0][1], channels)}
    chunks = -(-channels // per["PER_CHANNEL"]) * -(-kernels // groups // per["PER_KERNEL"])
    tensors = {"G": grad, "X": input, "W": weight}
    threads = math.prod(cells) * groups * chunks
    return _local(site, epilogue, "local_grad_weight", tensors, {**per, "IMAGE_CHUNKS": 1}, threads)


def _local(
    site: Site, epilogue: Epilogue, name: str, tensors: Mapping[str, Tensor], per: Mapping[str, int], threads: int
) -> Emission:
    """The launch of a kernel on these tensors, the last the result. Maps that it reads have their pixels side by
    side, as the weights lie."""
    workspace = Workspace()
    before: list[Command] = []
    given = dict(tensors)
    for letter, tensor in list(tensors.items())[:2]:
        if len(tensor.shape) == 4:
            given[letter], made = brought(tensor, Layout(tensor.layout.stored), workspace)
            before += made
    constants = {**geometry(site.op), **per}
    source = kernel(f"{name}.cu", name, tensors=given, constants=constants, generated=epilogue.source(CUDA))
    grid = (-(-threads // LOCAL_THREADS) * per["IMAGE_CHUNKS"], 1, 1)
    arguments = (*(tensor.place for tensor in given.values()), *epilogue.arguments)
    commands = (*before, Launch(source, grid, (LOCAL_THREADS, 1, 1), arguments))
    return Emission(commands, workspace.nbytes, f"plain fp32, {len(before)} operand(s) copied channels first")


EMITTERS: dict[type[Op], Emit] = {
    Conv: forward,
    ConvGradInput: grad_input,
    ConvGradWeight: grad_weight,
    Local: local,
    LocalGradInput: local_grad_input,
    LocalGradWeight: local_grad_weight,
}
