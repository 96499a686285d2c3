"""Ops on each element by itself, in emitted C."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.ir.op import Op
from alexnet_ir.ops.elementwise import Add, Relu, Tanh

from .running import expected, needs_cc, run

pytestmark = needs_cc
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("op", [Relu(), Tanh()], ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(3, 5, 7, 2), (4, 33), (1,)])
def test_one_operand(op: Op, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape)
    np.testing.assert_allclose(run(op, [x])[0], expected(op, [x])[0], rtol=1e-6, atol=1e-7)


def test_over_its_operand() -> None:
    x, y = RNG.standard_normal((2, 2, 4, 3, 5))
    found = run(Add(), [x, y], over={0: 0})[0]
    np.testing.assert_allclose(found, expected(Add(), [x, y])[0], rtol=1e-6, atol=1e-6)
