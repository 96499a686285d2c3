"""Losses and their gradients in emitted C, for other processors and threads."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ops.loss import LossGrad, LossOp

from ..test_losses import PAIRS, batch, in_one
from ..test_reductions import agrees
from .running import needs_cc, run

pytestmark = needs_cc


@pytest.mark.parametrize(("loss", "grad"), PAIRS)
@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_in_one_from_an_operand_and_of_a_share(
    loss: type[LossOp], grad: type[LossGrad], isa: Isa, threads: int
) -> None:
    operands = [*batch(5, 33), np.array(-0.5, "f4")]
    agrees(run, in_one(loss(12), grad(24), None), operands, isa=isa, threads=threads)
