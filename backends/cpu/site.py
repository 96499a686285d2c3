"""A site on a CPU, and the C source made for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.emission import site as shared
from alexnet_ir.backends.emission.commands import Emission, Kernel, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import AXES, Constant, float_literal

KERNELS = Path(__file__).parent / "kernels"


@dataclass(frozen=True)
class Site(shared.Site):
    """An op to be emitted for processors of this kind, for so many threads at most; `exact` forbids what rounds more
    than a direct convolution does."""

    isa: Isa
    threads: int
    exact: bool


Emit = Callable[[Site, Epilogue], Emission]
"""From a site, and what is done to each element of its first result before that is written."""
EmitFused = Callable[[Site], Emission]
"""From a site whose op is fused, as a whole."""


class CDialect:
    """C11 with the vectors of GCC and Clang."""

    inline = "INLINE"
    has_templates = False

    def constant(self, name: str, value: Constant) -> str:
        """`#define NAME value`."""
        shown = float_literal(value) if isinstance(value, float) else int(value) if isinstance(value, bool) else value
        return f"#define {name} {f'({shown})' if isinstance(shown, str) or shown < 0 else shown}\n"

    def tensor(self, name: str, tensor: Tensor) -> str:
        """Its stored type `X_T`, along each axis but the batch its length `X_C`, and along each its stride `X_SC`."""
        axes = AXES[len(tensor.shape)]
        lengths = [(f"{name}_{axis}", n) for axis, n in zip(axes, tensor.shape, strict=True) if axis != "N"]
        strides = [(f"{name}_S{axis}", n) for axis, n in zip(axes, tensor.strides, strict=True)]
        lines = [self.constant(*item) for item in (*lengths, *strides)]
        return f"typedef {tensor.layout.stored}_t {name}_T;\n{''.join(lines)}"


C = CDialect()


@cache
def text(file: str) -> str:
    """A kernel file as it was written."""
    return (KERNELS / file).read_text(encoding="utf-8")


def kernel(
    file: str,
    entry: str,
    isa: Isa,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    constants: Mapping[str, Constant] | None = None,
    generated: str = "",
    before: tuple[str, ...] = (),
) -> Kernel:
    """`entry` of `kernels/FILE`, specialised: the prelude, tensors and constants, generated functions, the files
    `before` it (what several kernels share), then the file. `#line` says where each stretch is from."""
    head = f'{C.constant("W", isa.width)}#line 1 "prelude.c"\n{text("prelude.c")}'
    middle = "".join(C.tensor(name, tensor) for name, tensor in (tensors or {}).items())
    middle += "".join(C.constant(name, value) for name, value in (constants or {}).items())
    files = "".join(f'#line 1 "{name}"\n{text(name)}' for name in (*before, file))
    source = f'{head}#line 1 "constants"\n{middle}#line 1 "generated"\n{generated}\n{files}'
    assert re.search(rf"\b{entry}\b", source)
    return Kernel(entry, source)
