"""What no other test of ops would notice; mutation testing asked for it (docs/testing.md)."""

from __future__ import annotations

import pytest

from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.types import CHANNELS, f32
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.shape import Flatten


def test_a_share_of_a_mask_starts_at_a_whole_number() -> None:
    share = Dropout(0.5).shard([f32(2, 4, 3).at(CHANNELS)], 1, 2)
    assert repr(share) == repr(Dropout(0.5, start=6, period=12))


def test_a_rank_that_does_not_fit_names_the_op() -> None:
    with pytest.raises(TypeRuleError, match="`flatten`"):
        Flatten().infer([f32()])
