"""Runs emitted C under AddressSanitizer and UndefinedBehaviorSanitizer, in a process of its own.

    python -m tests.backends.cpu.sanitized [--arch sse] [NAME]     all rows, or those whose ids have NAME in them

Each operand, each result and each part of a workspace is a `malloc` of its exact size, so that no access reaches from
one into another unseen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_ir.backends.cpu.isa import ISAS, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cpu.toolchain import FLAGS, toolchain
from alexnet_ir.backends.emission.commands import Argument, Call, Command, Move, Place, Table
from alexnet_ir.backends.emission.machine import Resolve
from alexnet_ir.backends.emission.memory import at
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd, BiasGrad, Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.loss import SoftmaxCrossEntropy
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.pool import AvgPool, MaxPool
from tests.backends.emitted import expected, run_emitted
from tests.ops.helpers import distinct, normal, positive, whole
from tests.ops.op_table import CROSSING, ROWS, Row
from tests.ops.wide_table import WIDE

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g")
KEPT_FLAGS = tuple(flag for flag in FLAGS if flag not in ("-O3", "-fPIC", "-shared"))
TYPES = {np.int32: "int", np.int64: "ptrdiff_t", np.float32: "float"}
HEAD = """\
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *memory(FILE *in, size_t nbytes) {
  void *found = NULL;
  if (posix_memalign(&found, 256, nbytes) || fread(found, 1, nbytes, in) != nbytes) abort();
  return found;
}
"""


class SanitizerError(AssertionError):
    """What a sanitizer says."""


@dataclass(frozen=True)
class Region:
    """Memory that no other touches: of this process from `start`, and of the program."""

    name: str
    start: int
    nbytes: int


def regions_of(commands: Sequence[Command], resolve: Resolve) -> list[Region]:
    """Of all places, those that overlap taken together."""
    spans = sorted({(resolve(place), place.nbytes) for command in commands for place in _places(command)})
    merged: list[list[int]] = []
    for start, nbytes in spans:
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], start + nbytes)
        else:
            merged.append([start, start + nbytes])
    return [Region(f"m{number}", start, end - start) for number, (start, end) in enumerate(merged)]


def _places(command: Command) -> Iterator[Place]:
    if isinstance(command, Move):
        yield from (command.source, command.target)
    assert isinstance(command, Call | Move), "what runs by its meaning, or in a BLAS, is no C of ours"
    for argument in command.arguments if isinstance(command, Call) else ():
        yield from argument.places if isinstance(argument, Table) else [argument] if isinstance(argument, Place) else []


MAPS, VECTOR = (2, 37, 9, 7), normal(37)
WINDOWS = {"stride": 2, "pad": ((0, 1), (1, 0)), "round": "up"}
ODD: tuple[Row, ...] = (
    *(
        Row(f"odd-{size}x{size}-{groups}-groups", op, makers)
        for size in (1, 3, 5)
        for groups in (1, 2)
        for op, makers in (
            (Conv(1, size // 2, groups), [normal(2, 38, 9, 7), normal(42, 38 // groups, size, size)]),
            (
                ConvGradInput(1, size // 2, groups, input_size=(9, 7)),
                [normal(2, 42, 9, 7), normal(42, 38 // groups, size, size)],
            ),
            (ConvGradWeight(1, size // 2, groups, size=(size, size)), [normal(2, 42, 9, 7), normal(2, 38, 9, 7)]),
        )
    ),
    Row("odd", Fc(), [normal(7, 75), normal(83, 75)]),
    Row("odd", FcGradInput(), [normal(7, 83), normal(83, 75)]),
    Row("odd", FcGradWeight(), [normal(7, 83), normal(7, 75)]),
    Row("odd", BiasAdd(), [normal(*MAPS), VECTOR]),
    Row("odd", BiasGrad(), [normal(*MAPS)]),
    Row("odd", Relu(), [normal(*MAPS)]),
    Row("odd", Lrn(5, 2, 0.1, 0.75), [normal(*MAPS)]),
    Row("odd", LrnGrad(5, 2, 0.1, 0.75), [normal(*MAPS), normal(*MAPS)]),
    Row("odd", MaxPool(3, **WINDOWS), [distinct(*MAPS)]),
    Row("odd", AvgPool(3, **WINDOWS), [normal(*MAPS)]),
    Row("odd", BatchNorm(), [normal(*MAPS), VECTOR, VECTOR]),
    Row("odd", BatchNormGrad(), [normal(*MAPS), normal(*MAPS), VECTOR, VECTOR, positive(37)]),
    Row("odd", SoftmaxCrossEntropy(), [normal(5, 83), whole(83, 5)]),
)
"""Channels that are no multiple of any vector, but more than two of each."""
NO_RULE = {"beside", "nested"}
"""Rows of fused ops that no rule makes."""
ALL = (*ODD, *(row for row in (*ROWS, *WIDE) if row.what not in NO_RULE and type(row.op) not in CROSSING))


class Written:
    """The commands as a C program: each kernel a file, and `main`."""

    def __init__(self, commands: Sequence[Command], resolve: Resolve) -> None:
        self.regions, self._resolve = regions_of(commands, resolve), resolve
        self.kernels = list(dict.fromkeys(c.kernel for c in commands if isinstance(c, Call)))
        body = [f"  char *{r.name} = memory(file, {r.nbytes});" for r in self.regions]
        body += [f"  {self._statement(command)}" for command in commands]
        body += ['  file = fopen(argv[2], "wb");']
        body += [f"  fwrite({r.name}, 1, {r.nbytes}, file);" for r in self.regions]
        declared = [self._prototype(command) for command in commands if isinstance(command, Call)]
        opened = ["int main(int argc, char **argv) {", '  FILE *file = fopen(argv[1], "rb");']
        self.main = "\n".join([HEAD, *dict.fromkeys(declared), "", *opened, *body, "  return fclose(file);", "}\n"])

    def source(self, number: int) -> str:
        """A kernel's file: its entry point gets a name that no other has."""
        kernel = self.kernels[number]
        return f"#define {kernel.name} {kernel.name}_{number}\n{kernel.source}"

    def _prototype(self, call: Call) -> str:
        types = [
            "void *" if isinstance(a, Place) else "void **" if isinstance(a, Table) else TYPES[type(a)]
            for a in call.arguments
        ]
        return f"void {call.kernel.name}_{self.kernels.index(call.kernel)}({', '.join(types)});"

    def _statement(self, command: Command) -> str:
        if isinstance(command, Call):
            given = ", ".join(map(self._argument, command.arguments))
            return f"{command.kernel.name}_{self.kernels.index(command.kernel)}({given});"
        assert isinstance(command, Move)
        return f"memmove({self._place(command.target)}, {self._place(command.source)}, {command.source.nbytes});"

    def _argument(self, argument: Argument) -> str:
        if isinstance(argument, Place):
            return self._place(argument)
        if isinstance(argument, Table):
            return f"(void *[]){{{', '.join(map(self._place, argument.places))}}}"
        return f"{argument.item()!r}"

    def _place(self, place: Place) -> str:
        start = self._resolve(place)
        (region,) = (
            r for r in self.regions
            if r.start <= start and start + place.nbytes <= r.start + r.nbytes and bool(place.nbytes) == bool(r.nbytes)
        )  # fmt: skip
        return f"{region.name} + {start - region.start}"


def run_sanitized(folder: Path, isa: Isa, threads: int) -> Callable[[Sequence[Command], Resolve], None]:
    """What runs commands so, first on one thread, then on so many; SanitizerError for what a sanitizer has to say."""

    def run(commands: Sequence[Command], resolve: Resolve) -> None:
        written = Written(commands, resolve)
        program = _compiled(written, folder, isa)
        given = b"".join(at(r.start, r.nbytes).tobytes() for r in written.regions)
        (folder / "in").write_bytes(given)
        for count in dict.fromkeys((1, threads)):
            env = os.environ | {"OMP_NUM_THREADS": str(count), "ASAN_OPTIONS": "detect_leaks=0"}
            done = subprocess.run([program, folder / "in", folder / "out"], env=env, capture_output=True, text=True)
            if done.returncode:
                raise SanitizerError(done.stderr)
        made = np.frombuffer((folder / "out").read_bytes(), np.uint8)
        for region in written.regions:
            at(region.start, region.nbytes)[:], made = made[: region.nbytes], made[region.nbytes :]

    return run


def _compiled(written: Written, folder: Path, isa: Isa) -> Path:
    tools = toolchain()
    assert tools
    names = [f"k{number}.c" for number in range(len(written.kernels))]
    for number, name in enumerate(names):
        (folder / name).write_text(written.source(number))
    (folder / "main.c").write_text(written.main)
    flags = [*KEPT_FLAGS, *isa.flags, *tools.openmp, *SANITIZE]
    command = [tools.path, *tools.options, *flags, "main.c", *names, "-o", "program", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def run(op: Op, operands: Sequence[Array], isa: Isa, exact: bool = False) -> list[Array]:
    """An op's results; SanitizerError for what a sanitizer has to say."""
    with tempfile.TemporaryDirectory() as folder:
        return run_emitted(op, operands, CEmitter(isa, 2, exact).emit, run_sanitized(Path(folder), isa, 2))


def check(row: Row, isa: Isa, exact: bool = False) -> None:
    """AssertionError for a result that is wrong, SanitizerError for what a sanitizer has to say."""
    arrays = row.arrays("float32")
    for found, right in zip(run(row.op, arrays, isa, exact), expected(row.op, arrays), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-4)


def main() -> None:
    """All rows, a line for each that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=ISAS)
    parser.add_argument("name", nargs="?", default="")
    args = parser.parse_args()
    tools = toolchain()
    assert tools
    isa, start = ISAS[args.arch] if args.arch else tools.isa, time.perf_counter()
    named = [row for row in ALL if args.name in row.id]
    rows = [(row, exact) for row in named for exact in (False, True) if isinstance(row.op, ConvAttributes) or not exact]
    failed = 0
    for row, exact in rows:
        try:
            check(row, isa, exact)
        except AssertionError as failure:
            failed += 1
            print(f"{row.id}{', exact' * exact}:\n{failure}", flush=True)
    print(f"{len(rows)} rows on {isa.name}, {failed} failed, {time.perf_counter() - start:.0f} s")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
