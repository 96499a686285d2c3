"""Fused ops by the kernels of their parts; whole nets, fused and planned for the backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from alexnet_ir.backends.numpy import fused, pieces
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.compiler import read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd, Fc
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.loss import SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad
from alexnet_ir.ops.normalize import Lrn
from alexnet_ir.ops.pool import MaxPool, MaxPoolGrad
from alexnet_ir.ops.shape import Fill
from alexnet_ir.ops.update import Sgd
from alexnet_ir.passes.fuse import Fuse
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule

from .. import strategies
from .running import KERNEL_OF, run, types_of
from .test_kernels import agree, random

SEED, STEP = np.array(5, "i8"), np.array(2, "i4")
SCALARS = [np.array(x, "f4") for x in (0.1, 0.9, 5e-4, 2.0, 0.5)]
BIASED = (Part(Conv(pad=1), (0, 1)), Part(BiasAdd(), (3, 2)))
CASES: dict[str, tuple[Fused, list[Array]]] = {
    "conv_bias_relu": (
        Fused("conv_bias_relu", (*BIASED, Part(Relu(), (4,))), (5,)),
        [random(0, 2, 3, 5, 5), random(1, 4, 3, 3, 3), random(2, 4)],
    ),
    "conv_bias_relu, the sum seen": (
        Fused("", (*BIASED, Part(Relu(), (4,))), (5, 4), ("sum",)),
        [random(0, 2, 3, 5, 5), random(1, 4, 3, 3, 3), random(2, 4)],
    ),
    "a value read twice": (
        Fused("", (*BIASED, Part(Relu(), (4,)), Part(Add(), (4, 5))), (6,)),
        [random(0, 2, 3, 5, 5), random(1, 4, 3, 3, 3), random(2, 4)],
    ),
    "an operand read twice": (
        Fused("", (Part(Relu(), (0,)), Part(Add(), (2, 1)), Part(Add(), (3, 0))), (4,)), [random(0, 9), random(1, 9)]
    ),
    "bias_relu_dropout": (
        Fused(
            "bias_relu_dropout",
            (Part(Fc(), (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(Dropout(0.5), (7, 3, 4))),
            (8, 7),
            ("relu",),
        ),
        [random(0, 3, 5), random(1, 4, 5), random(2, 4), SEED, STEP],
    ),
    "lrn_maxpool": (
        Fused("lrn_maxpool", (Part(Lrn(5, 2, 0.1, 0.75), (0,)), Part(MaxPool(3, 2), (1,))), (2, 3), ("argmax",)),
        [random(0, 5, 8, 7, 7)],
    ),
    "lrn_maxpool, the cells of no use": (
        Fused("lrn_maxpool", (Part(Lrn(5, 2, 0.1, 0.75), (0,)), Part(MaxPool(3, 2, 1), (1,))), (2,)),
        [random(0, 5, 8, 7, 7)],
    ),
    "loss_grad": (
        Fused(
            "loss_grad",
            (Part(SoftmaxCrossEntropy(), (0, 1)), Part(Fill(1.0), ()), Part(SoftmaxCrossEntropyGrad(), (4, 3, 1))),
            (2, 5),
            ("grad",),
        ),
        [random(0, 4, 5), np.array([0, 3, 4, 1], "i4")],
    ),
    "grad_relu": (
        Fused(
            "grad_relu", (Part(MaxPoolGrad(2, input_size=(4, 4)), (0, 1)), Part(ReluGrad(), (3, 2))), (4,)
        ),
        [random(0, 2, 3, 2, 2), np.ones((2, 3, 2, 2), "u1"), random(1, 2, 3, 4, 4)],
    ),
    "updates": (
        Fused(
            "updates",
            (Part(Sgd(), (0, 1, 2, 6, 7, 8, 9, 10)), Part(Sgd(), (3, 4, 5, 6, 7, 8, 9, 10))),
            (11, 12, 13, 14),
            ("a", "b", "c"),
        ),
        [*(random(i, 2, 3) for i in range(3)), *(random(i, 7) for i in range(3)), *SCALARS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("images", [1, 2, 100])
@pytest.mark.parametrize("case", CASES)
def test_fused_ops_mean_their_parts(case: str, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "CACHE_BYTES", images * 4 * 8 * 49)
    op, operands = CASES[case]
    agree(op, operands)


def test_what_a_fused_op_may_overwrite() -> None:
    def over(case: str) -> tuple[tuple[int, int], ...]:
        return KERNEL_OF(CASES[case][0]).in_place(CASES[case][0])

    assert set(over("updates")) == {(0, 0), (1, 1), (2, 3), (3, 4)}
    assert over("loss_grad") == ((1, 0),)
    assert over("grad_relu") == ()
    assert over("an operand read twice") == ()
    assert over("lrn_maxpool, the cells of no use") == ()


def test_what_lies_in_scratch() -> None:
    """Nothing but the scratch of the parts, where all that is hidden has a place in the result."""
    for case, hidden in [("conv_bias_relu", 0), ("a value read twice", 1), ("lrn_maxpool", 1), ("updates", 0)]:
        op, operands = CASES[case]
        types, results = types_of(op, operands)
        assert len(KERNEL_OF(op).scratch(op, types, results)) == 1 + hidden, case


def test_images_by_which_a_fused_op_runs_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    op, operands = CASES["lrn_maxpool"]
    found = []
    for rules in (fused.BY_IMAGES, frozenset[str]()):
        monkeypatch.setattr(fused, "BY_IMAGES", rules)
        monkeypatch.setattr(pieces, "CACHE_BYTES", 4 * 8 * 49)
        found.append(run(op, operands))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


# Whole nets


def planned(graph: Graph, target: Target) -> Plan:
    graph = graph.copy()
    Fuse(target).run(graph)
    return PlanMemory(target).run(Schedule().run(graph))


def poisoned_run(plan: Plan, backend: ReferenceBackend, states: dict[str, Array], feeds: dict[str, Any]) -> Any:
    """Outputs and states after two runs, each on an arena full of NaN."""
    storage = backend.storage(plan, states)
    executable = backend.build(plan, storage)
    for _ in range(2):
        for arena in executable.arenas:
            arena.fill(0xFF)
        outputs = executable.run(feeds)
    return outputs, {name: storage.read(name) for name in plan.states}


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_any_net_fused_and_planned_computes_the_same(grown: strategies.Grown) -> None:
    """In the memory that the backend asks for: in place, with values over values that nobody reads any more."""
    graph = training_graph(read_model(grown.text))
    states, feeds = strategies.initial(graph), grown.feeds()
    exact = ReferenceBackend()
    plain = PlanMemory().run(Schedule().run(graph))
    expected, after = poisoned_run(plain, exact, states, feeds)
    outputs, found = poisoned_run(planned(graph, exact.target), exact, states, feeds)
    for name, value in (expected | after).items():
        np.testing.assert_allclose((outputs | found)[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    fast = NumpyBackend()
    rough, rough_after = poisoned_run(plain, fast, states, feeds)
    outputs, found = poisoned_run(planned(graph, fast.target), fast, states, feeds)
    for name, value in (rough | rough_after).items():
        size = np.abs(value).max(initial=1e-3)
        np.testing.assert_allclose((outputs | found)[name], value, rtol=1e-4, atol=1e-4 * size, err_msg=name)
