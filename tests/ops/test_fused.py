"""The fused op: its numbers, its names, what it hides, where it runs, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Cost, TypeRuleError
from alexnet_ir.ir.types import ErrorType, On, Split, TensorType, f32
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu, Scale
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.loss import HingeGrad
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.ops.shape import Fill

PARTS = (Part(Conv(), (0, 1)), Part(BiasAdd(), (3, 2)), Part(MaxPool(2), (4,)))
POOLED = Fused("r", PARTS, (5, 6), ("argmax",))
TYPES = [f32(2, 3, 6, 6), f32(4, 3, 3, 3), f32(4)]


def test_numbers() -> None:
    assert POOLED.types(TYPES)[3:] == [*[f32(2, 4, 4, 4)] * 2, f32(2, 4, 2, 2), TensorType("u8", (2, 4, 2, 2))]
    assert [(part.op.name, list(numbers)) for part, numbers in POOLED.walk(3)] == [
        ("conv", [3]), ("bias_add", [4]), ("maxpool", [5, 6]),
    ]  # fmt: skip


def test_what_it_hides_and_saves() -> None:
    map_ = f32(2, 4, 4, 4)
    assert POOLED.hidden(TYPES) == {3: map_, 4: map_}
    assert POOLED.saved_bytes(TYPES) == 4 * map_.nbytes
    assert Fused("r", PARTS, (5,)).saved_bytes(TYPES) == 4 * map_.nbytes + 32, "the argmax was written only"


def test_cost_is_the_work_of_the_parts_and_the_traffic_of_the_whole() -> None:
    results = POOLED.type_rule(*TYPES)
    macs, map_ = 2 * 4 * 16 * 27, 2 * 4 * 16
    nbytes = sum(t.nbytes for t in (*TYPES, *results))
    assert POOLED.cost(TYPES, results) == Cost(macs, 2 * macs + 2 * map_, nbytes)
    assert POOLED.macs(TYPES, results) == macs


def test_names() -> None:
    graph = Graph("g")
    values = graph.emit_all(POOLED, *(graph.input(f"x{i}", type_) for i, type_ in enumerate(TYPES)), name="pool1")
    assert [graph.value_name(v) for v in values] == ["pool1", "pool1.argmax"]


def test_runs_where_its_operands_lie() -> None:
    placed = [t.at(On(1)) for t in TYPES]
    assert POOLED.infer(placed, 2) == tuple(t.at(On(1)) for t in POOLED.infer(TYPES))
    assert POOLED.saved_bytes(placed) == POOLED.saved_bytes(TYPES)
    filled = Fused("r", (Part(Fill(1.0, placement="on(1)"), ()), Part(HingeGrad(), (1, 0))), (2,))
    assert filled.infer([f32(2, 3).at(On(1))], 2) == (f32(2, 3).at(On(1)),)


@pytest.mark.parametrize(
    "operands",
    [
        [TYPES[0].at(On(0)), TYPES[1].at(On(1)), TYPES[2]],
        [TYPES[0].at(Split(0)), *TYPES[1:]],
        [t.at(On(2)) for t in TYPES],
    ],
)
def test_runs_on_one_device(operands: list[TensorType]) -> None:
    with pytest.raises(TypeRuleError, match="cannot take") as caught:
        POOLED.infer(operands, 2)
    assert caught.value.code == "S030"


def test_side_by_side_on_two_devices() -> None:
    beside = Fused("r", (Part(Relu(), (0,)), Part(Relu(), (1,))), (2, 3), ("other",))
    assert beside.infer([f32(2).at(On(0)), f32(3).at(On(0))], 2) == (f32(2).at(On(0)), f32(3).at(On(0)))
    with pytest.raises(TypeRuleError, match="cannot take"):
        beside.infer([f32(2).at(On(0)), f32(3).at(On(1))], 2)


def test_errors_pass_through() -> None:
    assert POOLED.infer([ErrorType(), *TYPES[1:]]) == (ErrorType(), ErrorType())


@pytest.mark.parametrize(
    ("parts", "yields", "message"),
    [
        ((Part(Relu(), (1,)),), (1,), "reads a value that is not there yet"),
        ((Part(Relu(), (2,)), Part(Relu(), (1,))), (2,), "reads a value that is not there yet"),
        ((Part(Relu(), (0,)),), (2,), "some are not made by its parts"),
        ((Part(Relu(), (0,)),), (0,), "some are not made by its parts"),
        ((Part(BiasAdd(), (0,)),), (1,), "`bias_add` takes 2 operands"),
    ],
)
def test_parts_that_do_not_fit(parts: tuple[Part, ...], yields: tuple[int, ...], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        Fused("r", parts, yields).infer([f32(2, 3)])


@pytest.mark.parametrize(
    ("yields", "names"), [((), ()), ((1, 2), ()), ((1,), ("a",)), ((1, 2), ("",)), ((1, 2, 2), ("a", "a")), ((-1,), ())]
)
def test_results_without_a_name_of_their_own(yields: tuple[int, ...], names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="fused"):
        Fused("r", (Part(Relu(), (0,)), Part(Relu(), (1,))), yields, names)


def test_between_its_parts_floats_are_what_they_are_elsewhere() -> None:
    """A fill is made in the wider type, and whoever runs a step casts it."""
    started = Fused("r", (Part(Fill(1.0), ()), Part(HingeGrad(), (1, 0)), Part(Scale(0.1), (2,))), (3,))
    slopes = np.random.default_rng(0).standard_normal((3, 5)).astype("f4")
    (found,) = started.evaluate([slopes])
    (grad,) = HingeGrad().evaluate([np.ones((), "f4"), slopes])
    np.testing.assert_array_equal(found, Scale(0.1).evaluate([grad])[0])
    assert found.dtype == "float32"
