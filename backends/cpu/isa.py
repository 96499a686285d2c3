"""What C is emitted for: how wide a processor's vectors are, and how many it keeps in registers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Isa:
    """`width` floats to a vector, `registers` vectors; `march` is what compilers call it."""

    name: str
    width: int
    registers: int
    march: str

    @property
    def flags(self) -> tuple[str, ...]:
        """For the compiler."""
        wide = ("-mprefer-vector-width=512",) if self.width == 16 else ()
        return f"-march={self.march}", *wide


AVX512 = Isa("avx512", 16, 32, "x86-64-v4")
AVX2 = Isa("avx2", 8, 16, "x86-64-v3")
SSE = Isa("sse", 4, 16, "x86-64")
NEON = Isa("neon", 4, 32, "armv8-a")
ISAS = {isa.name: isa for isa in (AVX512, AVX2, SSE, NEON)}
MACROS = {"__AVX512F__": AVX512, "__AVX2__": AVX2, "__ARM_NEON": NEON}
"""What compilers define where a processor can do so, the best first. Any other is emitted for as SSE: vectors of four
floats are split where there are none."""


def native(macros: str) -> Isa:
    """This machine's, from what its compiler defines (`cc -march=native -dM -E`)."""
    found = next((isa for macro, isa in MACROS.items() if f"#define {macro} " in macros), SSE)
    return Isa(found.name, found.width, found.registers, "native")
