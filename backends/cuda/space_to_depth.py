"""Blocks of a map's cells folded into channels: kernels/space_to_depth.cu."""

from __future__ import annotations

from alexnet_ir.backends.cuda.launch import Launch
from alexnet_ir.backends.cuda.site import Tensor, kernel
from alexnet_ir.ir.attributes import Pair

THREADS, VECTOR_BYTES = 256, 16


def fold(source: Tensor, target: Tensor, block: Pair, pad: Pair) -> Launch:
    """The launch that makes `target` [n, channels, rows, columns], channels last, of blocks of `source`, which begin
    `pad` rows and columns before it. Its channels are those of a block's cells, row by row, and then zeros; in all
    of whole vectors."""
    constants = {"BLOCK_H": block[0], "BLOCK_W": block[1], "PAD_H": pad[0], "PAD_W": pad[1]}
    made = kernel("space_to_depth.cu", "space_to_depth", tensors={"X": source, "Y": target}, constants=constants)
    vectors = target.layout.nbytes(target.shape) // VECTOR_BYTES
    return Launch(made, (-(-vectors // THREADS), 1, 1), (THREADS, 1, 1), (source.place, target.place))
