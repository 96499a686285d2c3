"""Updates in emitted C: any number of parameters in one call, wherever their tensors lie."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.emitters import updates
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ops.update import UpdateOp

from ..test_updates import RULES, SHAPES, agrees, together
from .running import commands, needs_cc, run

pytestmark = needs_cc


@RULES
def test_all_in_one_call_that_knows_no_sizes(rule: type[UpdateOp]) -> None:
    called = [commands(*together(rule, shapes)) for shapes in (SHAPES, SHAPES[::-1], [(n,) for n in range(1, 9)])]
    assert all([type(command) for command in one] == [Call] for one in called)
    assert len({command.kernel for one in called for command in one if isinstance(command, Call)}) == 1


@RULES
def test_over_their_own(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    pairs = dict(in_place(op))
    assert len(pairs) == len(op.yields)
    apart = run(op, operands, threads=3)
    some = {result: operand for result, operand in pairs.items() if result % 3 == 0}
    for over in (pairs, some):
        for one, same in zip(run(op, operands, over=over, threads=3), apart, strict=True):
            np.testing.assert_array_equal(one, same)


@RULES
def test_more_parameters_than_a_call_takes(rule: type[UpdateOp], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MOST_PARAMETERS", 3)
    op, operands = together(rule, SHAPES)
    assert len(commands(op, operands)) == 3
    agrees(run, op, operands)


@RULES
@pytest.mark.parametrize("isa", [AVX2, SSE], ids=str)
def test_other_processors(rule: type[UpdateOp], isa: Isa) -> None:
    agrees(run, *together(rule, SHAPES[:4]), isa=isa)
