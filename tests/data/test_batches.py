"""The order of an epoch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.data.batches import epoch_order


@given(seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10_000), count=st.integers(0, 500))
def test_an_order_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, epoch_order(seed, epoch, count))


def test_orders_differ_by_seed_and_epoch() -> None:
    assert len({epoch_order(seed, epoch, 50).tobytes() for seed in range(3) for epoch in range(3)}) == 9
