"""Emitted C under sanitizers: nothing is found, but for bugs that are put into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import SSE, Isa
from alexnet_ir.backends.emission.commands import Call, Emission, Kernel
from alexnet_ir.backends.emission.site import Lying, Workspace, tensors_of
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.elementwise import Elementwise, ElementwiseGrad, Relu, ReluGrad
from tests.ops.op_table import Row

from ..emitted import run_emitted
from .running import TOOLS, needs_cc
from .sanitized import ALL, SanitizerError, check, run_sanitized

pytestmark = needs_cc
FIRST = {row.op.name: row for row in reversed(ALL)}.values()
"""Of each op."""
ALIKE = [row for row in FIRST if isinstance(row.op, Elementwise | ElementwiseGrad)]
"""One kernel with other expressions: two of them will do."""
CHOSEN = [row for row in FIRST if row not in ALIKE or type(row.op) in (Relu, ReluGrad)]
MORE = [row for row in ALL if row.what in ("odd-3x3-1-groups", "odd-5x5-2-groups")]
SMALL = [row for row in CHOSEN if row.id in ("conv-odd-1x1-1-groups", "fc_grad_weight-odd", "lrn-odd", "maxpool-odd")]


def native() -> Isa:
    assert TOOLS
    return TOOLS.isa


@pytest.mark.parametrize(
    ("row", "isa", "exact"),
    [
        *(pytest.param(row, None, False, id=row.id) for row in (*CHOSEN, *MORE)),
        *(pytest.param(row, None, True, id=f"{row.id}, exact") for row in MORE[:3]),
        *(pytest.param(row, SSE, False, id=f"{row.id}, sse") for row in SMALL),
    ],
)
def test_nothing_is_found(row: Row, isa: Isa | None, exact: bool) -> None:
    check(row, isa or native(), exact)


# Bugs

DOUBLED = """\
typedef float vec __attribute__((vector_size(16), aligned(4), may_alias));
// out = 2 x of n numbers, by way of the workspace: the first n % 4 one by one, then 4 at a time
void doubled(int n, const float *x, float *many, float *few, float *out) {
  const int first = n % 4;
  int i = 0;
  for (; i < first; i++) few[i] = x[i];
  for (; i + 4 <= n; i += 4) *(vec *)(many + i - first) = *(const vec *)(x + i);
#pragma omp parallel for
  for (int k = 0; k < n; k++) out[k] = 2.0f * (k < first ? few[k] : many[k - first]);
}
"""
BUGS = {
    "a vector past the end": ("i + 4 <= n", "i <= n", "heap-buffer-overflow"),
    "one element past the end": ("k < n;", "k <= n;", "heap-buffer-overflow"),
    "one element before the start": ("= x[i]", "= x[i - 1]", "heap-buffer-overflow"),
    "from one part of the workspace into the next": ("few[k]", "many[8 + k]", "heap-buffer-overflow"),
    "an index past an array": ("int i = 0;", "int i = 0, t[4] = {0}; t[n] = 1; i = t[0];", "out of bounds for type"),
    "a sum past an int": ("int i = 0;", "int i = 0; volatile int m = 0x7fffffff - n + 1; m += n;", "signed integer"),
    "a vector that is said to be aligned": ("aligned(4)", "aligned(16)", "misaligned address"),
}


def run_doubled(source: str, folder: Path) -> Array:
    """2 x of 11 numbers."""

    def emit(op: Op, operands: Sequence[Lying], results: Sequence[Lying]) -> Emission:
        (x,), (out,) = tensors_of(operands, results)
        workspace = Workspace()
        parts = workspace.take(32), workspace.take(12)
        call = Call(Kernel("doubled", source), (np.int32(11), x.place, *parts, out.place))
        return Emission((call,), workspace.nbytes)

    (found,) = run_emitted(Relu(), [np.arange(11.0)], emit, run_sanitized(folder, native(), 2))
    return found


def test_a_kernel_without_bugs(tmp_path: Path) -> None:
    np.testing.assert_array_equal(run_doubled(DOUBLED, tmp_path), 2 * np.arange(11.0))


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(bug: str, tmp_path: Path) -> None:
    old, new, words = BUGS[bug]
    assert DOUBLED.count(old) == 1
    with pytest.raises(SanitizerError, match=words):
        run_doubled(DOUBLED.replace(old, new), tmp_path)
