"""What compilers make of the innermost loops of products: sums stay in registers, none goes to the stack and back."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from alexnet_ir.backends.cpu.isa import AVX2, AVX512, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cpu.toolchain import FLAGS
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight

from .running import TOOLS, needs_cc

pytestmark = [
    needs_cc,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="what is read is x86 assembly"),
]
Case = tuple[str, Op, list[TensorType], bool]


def convolutions(
    what: str, input: tuple[int, ...], kernels: int, size: int, stride: int, pad: int, exact: bool = True
) -> list[Case]:
    """A convolution and both gradients."""
    x, weight = f32(*input), f32(kernels, input[1], size, size)
    attributes: Any = (stride, pad, 1, 1, "down")
    (y,) = Conv(*attributes).infer([x, weight])
    assert isinstance(y, TensorType)
    return [
        (what, Conv(*attributes), [x, weight], exact),
        (what, ConvGradInput(*attributes, input_size=(input[2], input[3])), [y, weight], exact),
        (what, ConvGradWeight(*attributes, size=(size, size)), [y, x], exact),
    ]


def untied() -> list[Case]:
    """A locally connected layer and both gradients."""
    x, weight, y = f32(8, 16, 10, 10), f32(32, 16, 3, 3, 8, 8), f32(8, 32, 8, 8)
    return [
        ("local", Local(), [x, weight], True),
        ("local", LocalGradInput(input_size=(10, 10)), [y, weight], True),
        ("local", LocalGradWeight(size=(3, 3)), [y, x], True),
    ]


CASES = [
    *convolutions("alexnet conv1", (2, 3, 227, 227), 96, 11, 4, 0),
    *convolutions("vgg conv1", (2, 3, 224, 224), 64, 3, 1, 1),
    *convolutions("alexnet conv3", (2, 256, 13, 13), 384, 3, 1, 1),
    *convolutions("three vectors", (2, 32, 28, 28), 48, 3, 2, 1),
    *convolutions("one channel", (2, 1, 28, 28), 20, 5, 1, 0),
    *convolutions("1 x 1", (2, 64, 56, 56), 256, 1, 1, 0),
    *untied(),
]
"""What it is, the op, its operands, whether it is to be exact."""


def assembly(case: Case, isa: Isa) -> list[str]:
    """Of each kernel that the op calls, compiled for this kind of processor."""
    _, op, operands, exact = case
    results = [type_ for type_ in op.infer(operands) if isinstance(type_, TensorType)]
    layouts = [Layout("f32", len(type_.shape) == 4) for type_ in (*operands, *results)]
    emission = CEmitter(isa, 2, exact).emission(op, operands, results, layouts)
    assert TOOLS is not None
    flags = [flag for flag in (*FLAGS, *isa.flags, *TOOLS.openmp) if flag != "-shared"]
    command = [TOOLS.path, *flags, "-S", "-o", "-", "-x", "c", "-"]
    return [
        subprocess.run(command, input=call.kernel.source, text=True, capture_output=True, check=True).stdout
        for call in emission.all
        if isinstance(call, Call)
    ]


FUNCTION = re.compile(r"^(?!\w+\._omp_fn)[\w.]+:\s*(?:#.*)?\n\.LFB\d+:(.*?)\.cfi_endproc", re.MULTILINE | re.DOTALL)
"""One that is no OpenMP region: KERNEL of prelude.c."""


def products(text: str) -> Iterator[tuple[list[str], str]]:
    """Every loop without a loop inside that multiplies and adds vectors twice or more: its instructions, and how they
    name what is on the stack."""
    for body in FUNCTION.findall(text):
        lines = [line.strip() for line in body.splitlines()]
        at = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
        jumps = [(at.get(line.split()[-1], number), number) for number, line in enumerate(lines) if line[:1] == "j"]
        loops = [(start, end) for start, end in jumps if start < end]
        stack = r"\(%r[sb]p" if "movq\t%rsp, %rbp" in lines else r"\(%rsp"
        for start, end in loops:
            is_inner = not any((start, end) != (a, b) and start <= a and b <= end for a, b in loops)
            if is_inner and sum("vfmadd" in line and "ps" in line for line in lines[start:end]) >= 2:
                yield lines[start:end], stack


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda isa: isa.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1].name}, {case[0]}")
def test_sums_stay_in_registers(case: Case, isa: Isa) -> None:
    loops = [loop for text in assembly(case, isa) for loop in products(text)]
    assert loops
    for lines, stack in loops:
        assert [line for line in lines if re.search(stack, line)] == []
