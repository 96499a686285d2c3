"""Sums and statistics over a batch: of many blocks, in every layout, exact enough and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.emitters.reductions import columns
from alexnet_ir.backends.cuda.gpu import GPUS, Gpu
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad, BatchNormGradWeight, ChannelSquares
from alexnet_ir.ops.dense import BiasGrad

from ..test_reductions import SHAPES, agrees, normal
from .running import needs_gxx, run

pytestmark = needs_gxx

SMALL = Gpu("sm_90", 0, 2)
"""Few multiprocessors: a block gets many rows."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [True, False])
def test_statistics_and_gradients(shape: tuple[int, ...], last: bool) -> None:
    c = shape[1]
    weight, bias, mean, variance = normal(c) + 2, normal(c), normal(c) / 8, 1 + np.abs(normal(c))
    agrees(run, BatchNorm(), [normal(*shape), weight, bias], channels_last=last)
    gradients = [normal(*shape)[::-1].copy(), normal(*shape), weight, mean, variance]
    agrees(run, BatchNormGrad(1e-3), gradients, channels_last=last)
    agrees(run, BatchNormGradWeight(), [*gradients[:2], mean, variance], channels_last=last)
    agrees(run, ChannelSquares(), [normal(*shape), mean], channels_last=last)


def test_any_layouts() -> None:
    grad, input, c = normal(2, 8, 3, 5), normal(2, 8, 3, 5) + 1, [normal(8), normal(8), np.abs(normal(8)) + 1]
    for last in ((True, False), (False, True)):
        agrees(run, BatchNormGrad(), [grad, input, *c], channels_last=[*last, *[False] * 3, last[0], False, False])
        agrees(run, BatchNorm(), [input, *c[:2]], channels_last=[last[0], False, False, last[1], False, False])


@settings(max_examples=4)
@given(st.integers(2, 60), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 132]))
def test_any_shape(n: int, c: int, h: int, w: int, multiprocessors: int) -> None:
    gpu = Gpu("sm_90", 0, multiprocessors)
    agrees(run, BatchNorm(), [normal(n, c, h, w), normal(c), normal(c)], gpu=gpu)
    agrees(run, BiasGrad(), [normal(n, c, h, w)], gpu=gpu)


def test_stored_in_bf16() -> None:
    shape, c = (5, 20, 9, 9), normal(20)
    agrees(run, BiasGrad(), [normal(*shape)], stored="bf16")
    operands = [normal(*shape), normal(*shape) + 1, c, c / 8, 1 + np.abs(c)]
    agrees(run, BatchNormGrad(), operands, stored=["bf16", "bf16", "f32", "f32", "f32"])
    agrees(run, BatchNorm(), [normal(*shape), c, c], stored=["bf16", "f32", "f32"])


def test_a_mean_far_from_zero_leaves_the_variance() -> None:
    """Where squares of the input would have swallowed it."""
    input = normal(700, 6, mean=3000.0)
    _, mean, variance = run(BatchNorm(), [input, normal(6), normal(6)], gpu=SMALL)
    np.testing.assert_allclose(mean, input.mean(axis=0, dtype="f8"), rtol=1e-6)
    np.testing.assert_allclose(variance, input.var(axis=0, dtype="f8"), rtol=1e-4)


def test_many_numbers_of_one_sign_add_up() -> None:
    grad = np.full((60000, 2), 0.1, "f4")
    (found,) = run(BiasGrad(), [grad], gpu=SMALL)
    np.testing.assert_allclose(found, grad.sum(axis=0, dtype="f8"), rtol=5e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_values_reach_the_statistics() -> None:
    input = normal(40, 3)
    input[7, 0], input[9, 1] = np.nan, np.inf
    out, mean, variance = run(BatchNorm(), [input, normal(3), normal(3)])
    assert np.isnan(out[:, :2]).all()
    assert np.isnan([mean[0], variance[0], variance[1]]).all()
    assert np.isfinite(out[:, 2]).all()


@pytest.mark.parametrize("op", [BiasGrad(), BatchNorm(), BatchNormGrad()], ids=str)
def test_the_order_of_threads_changes_nothing(op: Op) -> None:
    shape, c = (5, 20, 9, 9), normal(20)
    vectors = [c, c / 8, 1 + np.abs(c)]
    operands = [normal(*shape), normal(*shape) + 1, *vectors] if isinstance(op, BatchNormGrad) else [normal(*shape)]
    operands += vectors[:2] if isinstance(op, BatchNorm) else []
    machines = [HostMachine(), HostMachine(order="reverse"), HostMachine(order="shuffled", seed=5)]
    found = [run(op, operands, machine=machine) for machine in machines]
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_every_access_is_right() -> None:
    machine, c = HostMachine(check=True, order="shuffled"), normal(12)
    agrees(run, BiasGrad(), [normal(130, 12)], machine=machine)
    agrees(run, ChannelSquares(), [normal(130, 12), c], machine=machine)
    agrees(run, BatchNorm(), [normal(130, 12), c, c], machine=machine)
    agrees(run, BatchNormGrad(), [normal(130, 12), normal(130, 12), c, c, c * c], machine=machine)


@settings(max_examples=40)
@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_the_split_covers_all_rows_with_enough_blocks_and_threads(rows: int, count: int) -> None:
    layout = Layout("f32")
    split = columns(GPUS["sm_90"], Tensor((rows, count), layout, Place("operand", 0, layout.nbytes((rows, count)))))
    assert split.blocks * split.span >= rows > (split.blocks - 1) * split.span
    assert split.across * split.down <= 256
    assert split.grid[0] * split.across * split.width >= count
    assert split.grid[1] <= 65535
