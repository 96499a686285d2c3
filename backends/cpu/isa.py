"""What C is emitted for: how wide a processor's vectors are, and how many it keeps in registers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Isa:
    """`width` floats to a vector, `registers` vectors; `flag` is how compilers are told."""

    name: str
    width: int
    registers: int
    flag: str

    @property
    def flags(self) -> tuple[str, ...]:
        """For the compiler."""
        wide = ("-mprefer-vector-width=512",) if self.width == 16 else ()
        return self.flag, *wide


AVX512 = Isa("avx512", 16, 32, "-march=x86-64-v4")
AVX2 = Isa("avx2", 8, 16, "-march=x86-64-v3")
SSE = Isa("sse", 4, 16, "-march=x86-64")
NEON = Isa("neon", 4, 32, "-march=armv8-a")
ISAS = {isa.name: isa for isa in (AVX512, AVX2, SSE, NEON)}
MACROS = {"__AVX512F__": AVX512, "__AVX2__": AVX2, "__ARM_NEON": NEON}
"""What compilers define where a processor can do so, the best first. Any other is emitted for as SSE: vectors of four
floats are split where there are none."""


NATIVE = ("-march=native", "-mcpu=native")
"""This machine's, in the words of most compilers and of those that are for other processors than Intel's."""


def native(macros: str, flag: str) -> Isa:
    """This machine's, from what its compiler defines under this flag."""
    found = next((isa for macro, isa in MACROS.items() if f"#define {macro} " in macros), SSE)
    return replace(found, flag=flag)
