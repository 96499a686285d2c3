"""Updates: any number of parameters in one launch, wherever their tensors lie."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.cuda.emitters.updates import ELEMENTS
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Launch
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.update import UpdateOp

from ...ops.helpers import type_of
from ..test_updates import RULES, SHAPES, agrees, together
from .running import emitted, layouts, needs_gxx, run

pytestmark = needs_gxx


@RULES
def test_all_in_one_launch(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    types = [type_of(a) for a in operands]
    results = [t for t in op.infer(types) if isinstance(t, TensorType)]
    lying, made = layouts(types, "f32", True), layouts(results, "f32", True)
    emission = emitted(op, types, results, lying, made, GPUS["sm_90"], "fp32")
    assert [type(command) for command in emission.commands] == [Launch]
    assert emission.workspace == 0


@RULES
def test_over_their_own(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, SHAPES)
    pairs = dict(in_place(op))
    assert len(pairs) == len(op.yields)
    apart = run(op, operands)
    for order in ("forward", "shuffled"):
        for one, same in zip(run(op, operands, over=pairs, machine=HostMachine(order=order)), apart, strict=True):
            np.testing.assert_array_equal(one, same)
    some = {result: operand for result, operand in pairs.items() if result % 3 == 0}
    for one, same in zip(run(op, operands, over=some), apart, strict=True):
        np.testing.assert_array_equal(one, same)


@RULES
def test_gradients_stored_in_bf16(rule: type[UpdateOp]) -> None:
    """Of some parameters, and of others not: a launch for each kind."""
    op, operands = together(rule, SHAPES[:4])
    gradients = [part.operands[len(rule.tensors()) - 1] for part in op.parts[::2]]
    stored: list[Stored] = ["bf16" if number in gradients else "f32" for number in range(len(operands))]
    agrees(run, op, operands, stored=stored)


@RULES
def test_every_access_is_right(rule: type[UpdateOp]) -> None:
    op, operands = together(rule, [(3,), (2, 5), (ELEMENTS + 3,)])
    agrees(run, op, operands, machine=HostMachine(check=True, order="shuffled"), over=dict(in_place(op)))
