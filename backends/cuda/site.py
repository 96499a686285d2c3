"""A site on a GPU, and the CUDA C++ source made for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alexnet_ir.backends.cuda.gpu import Gpu, Precision
from alexnet_ir.backends.emission import site as shared
from alexnet_ir.backends.emission.commands import Emission, Kernel, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import AXES, INTS, Constant, Lying, float_literal, tensors_of
from alexnet_ir.ir.op import Op

KERNELS = Path(__file__).parent / "kernels"


@dataclass(frozen=True)
class Site(shared.Site):
    """An op to be emitted for a GPU, in a precision."""

    gpu: Gpu
    precision: Precision


Emit = Callable[[Site, Epilogue], Emission]
"""From a site, and what is done to each element of its first result before that is written."""
EmitFused = Callable[[Site], Emission]
"""From a site whose op is fused, as a whole."""


def site_of(op: Op, operands: Sequence[Lying], results: Sequence[Lying], gpu: Gpu, precision: Precision) -> Site:
    """A site whose tensors are the step's operands and results."""
    return Site(op, *tensors_of(operands, results), gpu, precision)


# --- source -----------------------------------------------------------------------------------------------------------


class CudaDialect:
    """CUDA C++."""

    inline = "__device__ __forceinline__"
    has_templates = True

    def constant(self, name: str, value: Constant) -> str:
        """`constexpr type NAME = value;`, an int if it is not too large for one."""
        if isinstance(value, bool):
            return f"constexpr bool {name} = {str(value).lower()};\n"
        if isinstance(value, float):
            return f"constexpr float {name} = {float_literal(value)};\n"
        return f"constexpr {'index_t' if isinstance(value, int) and value >= INTS else 'int'} {name} = {value};\n"

    def tensor(self, name: str, tensor: Tensor) -> str:
        """Its stored type `X_T`, and along each axis its length `X_N` and stride `X_SN`."""
        axes = AXES[len(tensor.shape)]
        lines = [f"typedef {tensor.layout.stored}_t {name}_T;\n"]
        lines += [self.constant(f"{name}_{axis}", length) for axis, length in zip(axes, tensor.shape, strict=True)]
        lines += [f"constexpr index_t {name}_S{axis} = {s};\n" for axis, s in zip(axes, tensor.strides, strict=True)]
        return "".join(lines)


CUDA = CudaDialect()


@cache
def text(file: str) -> str:
    """A kernel file as it was written."""
    return (KERNELS / file).read_text(encoding="utf-8")


def kernel(
    file: str,
    entry: str,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    constants: Mapping[str, Constant] | None = None,
    generated: str = "",
    warp: bool = False,
) -> Kernel:
    """`entry` of `kernels/FILE`, specialised: the prelude (with `warp`, the wrappers of warp-wide instructions too),
    tensors and constants, generated functions, then the file. `#line` says where each stretch is from."""
    files = ["prelude.cu", *(["warp.cu"] * warp)]
    head = "".join(f'#line 1 "{name}"\n{text(name)}' for name in files)
    middle = "".join(CUDA.tensor(name, tensor) for name, tensor in (tensors or {}).items())
    middle += "".join(CUDA.constant(name, value) for name, value in (constants or {}).items())
    source = f'{head}#line 1 "constants"\n{middle}#line 1 "generated"\n{generated}\n#line 1 "{file}"\n{text(file)}'
    assert re.search(rf"\b{entry}\b", source)
    return Kernel(entry, source)
