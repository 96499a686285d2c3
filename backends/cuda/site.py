"""Where a kernel is emitted: an op with the tensors it meets, on some GPU; and the source made for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from alexnet_ir.backends.cuda.gpu import Gpu, Precision
from alexnet_ir.backends.cuda.launch import Kernel, Place
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType

KERNELS = Path(__file__).parent / "kernels"
ALIGNMENT = 256
"""Of every buffer and every part of a workspace, in bytes."""
INTS = 2**31
"""What an int does not count any more."""


@dataclass(frozen=True)
class Tensor:
    """A value as a kernel meets it: logical shape, layout, and where it lies."""

    shape: tuple[int, ...]
    layout: Layout
    place: Place

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index of each logical axis to the next."""
        return self.layout.strides(self.shape)


@dataclass(frozen=True)
class Site:
    """An op to be emitted, on these tensors."""

    op: Op
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    gpu: Gpu
    precision: Precision


def site_of(
    op: Op,
    operands: Sequence[tuple[TensorType, Layout]],
    results: Sequence[tuple[TensorType, Layout]],
    gpu: Gpu,
    precision: Precision,
) -> Site:
    """A site whose tensors are the step's operands and results."""

    def tensors(kind: str, given: Sequence[tuple[TensorType, Layout]]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(type_.shape, layout, Place(kind, number, layout.nbytes(type_.shape)))  # type: ignore[arg-type]
            for number, (type_, layout) in enumerate(given)
        )

    return Site(op, tensors("operand", operands), tensors("result", results), gpu, precision)


def round_up(count: int, multiple: int) -> int:
    """To the next multiple."""
    return -(-count // multiple) * multiple


@dataclass
class Workspace:
    """Hands out parts of a step's workspace while it is emitted."""

    nbytes: int = field(default=0)

    def take(self, nbytes: int) -> Place:
        """The next part of so many bytes, aligned."""
        place = Place("workspace", self.nbytes, nbytes)
        self.nbytes += round_up(nbytes, ALIGNMENT)
        return place

    def tensor(self, shape: tuple[int, ...], layout: Layout) -> Tensor:
        """A tensor that lies in the next part."""
        return Tensor(shape, layout, self.take(layout.nbytes(shape)))


# --- source -----------------------------------------------------------------------------------------------------------


@cache
def text(file: str) -> str:
    """A kernel file as it was written."""
    return (KERNELS / file).read_text(encoding="utf-8")


AXES = {0: "", 1: "C", 2: "NC", 3: "NCH", 4: "NCHW", 5: "NCHWX", 6: "NCHWXY"}
"""A letter for each axis of a shape by its length, in the names of a tensor's constants."""


def describe(name: str, tensor: Tensor) -> str:
    """The constants of a tensor in a source: its stored type `X_T`, and along each axis its length `X_N` and stride
    `X_SN`."""
    axes = AXES[len(tensor.shape)]
    lines = [f"typedef {tensor.layout.stored}_t {name}_T;"]
    lengths = {f"{name}_{axis}": length for axis, length in zip(axes, tensor.shape, strict=True)}
    lines += [f"constexpr {constant(*item)};" for item in lengths.items()]
    lines += [f"constexpr index_t {name}_S{axis} = {s};" for axis, s in zip(axes, tensor.strides, strict=True)]
    return "\n".join(lines) + "\n"


def kernel(
    file: str,
    entry: str,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    constants: Mapping[str, int | float | str | bool] | None = None,
    generated: str = "",
    warp: bool = False,
) -> Kernel:
    """`entry` of `kernels/FILE`, specialised: the prelude (with `warp`, the wrappers of warp-wide instructions too),
    tensors and constants, generated functions, then the file. `#line` says where each stretch is from."""
    files = ["prelude.cu", *(["warp.cu"] * warp)]
    head = "".join(f'#line 1 "{name}"\n{text(name)}' for name in files)
    middle = "".join(describe(name, tensor) for name, tensor in (tensors or {}).items())
    middle += "".join(f"constexpr {constant(name, value)};\n" for name, value in (constants or {}).items())
    source = f'{head}#line 1 "constants"\n{middle}#line 1 "generated"\n{generated}\n#line 1 "{file}"\n{text(file)}'
    assert re.search(rf"\b{entry}\b", source)
    return Kernel(entry, source)


def constant(name: str, value: float | str | bool) -> str:
    """`type NAME = value` in C++; a string is an expression of type int, and so is a number that is not too large."""
    if isinstance(value, bool):
        return f"bool {name} = {str(value).lower()}"
    if isinstance(value, float):
        return f"float {name} = {float_literal(value)}"
    return f"{'index_t' if isinstance(value, int) and value >= INTS else 'int'} {name} = {value}"


def both(name: str, pair: Pair) -> dict[str, int]:
    """Constants for rows and columns."""
    return {f"{name}_H": pair[0], f"{name}_W": pair[1]}


def float_literal(value: float) -> str:
    """The nearest float, in as few digits as name it."""
    nearest = str(np.float32(value))
    return {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}.get(nearest, f"{nearest}f")
