"""Every reshard there is: the value stays, the bytes are those of the list in the design, and it is called by its
name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from alexnet_ir.ir.graph import Builder, Graph
from alexnet_ir.ir.op import Array, TypeRuleError
from alexnet_ir.ir.types import PARTIAL, REPLICATED, DType, On, Partial, Placement, Split, TensorType, dual
from alexnet_ir.ops.placing import Reshard, exchange, exchanged_bytes
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute

from .. import meaning
from .placed import kinds

DEVICES = (2, 3, 4)

MOVED: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "partial to replicated": ("all_reduce", lambda n, b: 2 * (n - 1) * b),
    "partial to split": ("reduce_scatter", lambda n, b: (n - 1) * b),
    "partial to on": ("reduce", lambda n, b: (n - 1) * b),
    "split to replicated": ("all_gather", lambda n, b: (n - 1) * b),
    "split to other split": ("all_to_all", lambda n, b: (n - 1) * b // n),
    "split to on": ("gather", lambda n, b: (n - 1) * b // n),
    "on to replicated": ("broadcast", lambda n, b: (n - 1) * b),
    "on to split": ("scatter", lambda n, b: (n - 1) * b // n),
    "on to other on": ("copy", lambda n, b: b),
}
"""The list of the design, all devices together; what is not on it moves nothing."""


def places(devices: int, axes: int = 2) -> list[Placement]:
    return [REPLICATED, PARTIAL, *map(Split, range(axes)), *map(On, range(devices))]


def pairs() -> Iterator[tuple[int, Placement, Placement]]:
    for devices in DEVICES:
        yield from ((devices, have, want) for have in places(devices) for want in places(devices))


def what(have: Placement, want: Placement) -> str:
    """The entry of `MOVED` for two placements."""
    kind, other = type(have).__name__.lower(), type(want).__name__.lower()
    return f"{kind} to {'other ' if kind == other else ''}{other}"


def resharded(type_: TensorType, want: Placement, devices: int) -> Graph:
    """An input of a type, brought to a placement, as a program."""
    graph = Graph("g", devices)
    graph.outputs["y"] = graph.emit(Reshard(str(want)), graph.input("x", type_), name="y")
    return run_passes(graph, [Distribute()])


def fed(whole: Array, have: Placement, devices: int) -> dict[str, Array]:
    """The input; of a sum, a part for each device."""
    if not isinstance(have, Partial):
        return {"x": whole}
    parts = np.random.default_rng(1).standard_normal((devices - 1, *whole.shape))
    return {f"x@{d}": part for d, part in enumerate([*parts, whole - sum(parts)])}


@pytest.mark.parametrize(("devices", "have", "want"), list(pairs()), ids=str)
@pytest.mark.parametrize("shape", [(12, 24), (24, 12, 2)])
def test_values_bytes_and_names(shape: tuple[int, ...], devices: int, have: Placement, want: Placement) -> None:
    type_ = TensorType("f32", shape, have)
    graph = resharded(type_, want, devices)
    whole = np.random.default_rng(0).standard_normal(shape)
    found = meaning.results(graph, fed(whole, have, devices))
    np.testing.assert_allclose(found["y"], whole, rtol=1e-12, atol=1e-12)
    name, formula = MOVED.get(what(have, want), ("reshard", lambda n, b: 0)) if have != want else ("", lambda n, b: 0)
    expected = formula(devices, type_.nbytes)
    assert exchanged_bytes(type_.nbytes, have, want, devices) == expected
    assert kinds(graph) == ({name: expected} if expected else {})
    assert have == want or exchange(have, want) == name


@pytest.mark.parametrize("dtype", ["i32", "i64", "u8"])
@pytest.mark.parametrize(("have", "want"), [(a, b) for _, a, b in pairs() if PARTIAL not in (a, b)][:25])
def test_whole_numbers_move_too(dtype: DType, have: Placement, want: Placement) -> None:
    type_ = TensorType(dtype, (6, 4), have)
    graph = resharded(type_, want, 2)
    whole = np.arange(24).reshape(6, 4).astype({"i32": "i4", "i64": "i8", "u8": "u1"}[dtype])
    found = meaning.results(graph, {"x": whole})["y"]
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole)
    assert sum(kinds(graph).values()) == exchanged_bytes(type_.nbytes, have, want, 2)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("shape", [(), (5,), (7, 5), (5, 24), (1, 1, 7)])
def test_sums_that_cannot_be_shared_out_evenly(shape: tuple[int, ...], devices: int) -> None:
    """Another axis is taken, or device 0 makes the sum for all; the bytes are the same."""
    graph = resharded(TensorType("f32", shape, PARTIAL), REPLICATED, devices)
    whole = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(meaning.results(graph, fed(whole, PARTIAL, devices))["y"], whole, atol=1e-12)
    assert kinds(graph) == {"all_reduce": 2 * (devices - 1) * 4 * whole.size}


@pytest.mark.parametrize("devices", DEVICES)
def test_all_devices_have_the_same_bits_of_a_sum(devices: int) -> None:
    graph = resharded(TensorType("f32", (24,), PARTIAL), REPLICATED, devices)
    assert {len(graph.users(graph.named(f"x@{d}"))) for d in range(devices)} == {devices}
    sums = [node for node in graph.topo() if node.op.name == "add"]
    assert len(sums) == devices * (devices - 1)
    assert all(graph.tensor(node.results[0]).shape == (24 // devices,) for node in sums)


@pytest.mark.parametrize(
    ("shape", "to", "devices"),
    [((5, 4), "split(0)", 2), ((4, 6), "split(1)", 4), ((4,), "split(1)", 2), ((), "split(0)", 2), ((4,), "on(2)", 2)],
)
def test_what_cannot_be_placed_is_refused(shape: tuple[int, ...], to: str, devices: int) -> None:
    with pytest.raises(TypeRuleError, match=r"`reshard` cannot make .* on . devices") as caught:
        Reshard(to).infer([TensorType("f32", shape)], devices)
    assert caught.value.code == "S030"


def test_copies_go_from_one_device_to_another() -> None:
    here = TensorType("f32", (2,), On(1))
    assert Copy(0).infer([here], 2) == (here.at(On(0)),)
    for type_, to in ((here, 1), (here, 2), (here.at(REPLICATED), 0), (here.at(Split(0)), 0)):
        with pytest.raises(TypeRuleError, match=f"`copy` cannot take a value .* to {to} of 2"):
            Copy(to).infer([type_], 2)


# --- gradients ----------------------------------------------------------------------------------------------------


def test_duals() -> None:
    assert [str(dual(place)) for place in places(2)] == [
        "partial", "replicated", "split(0)", "split(1)", "on(0)", "on(1)",
    ]  # fmt: skip
    assert all(dual(dual(place)) == place for place in places(3))


@pytest.mark.parametrize(("devices", "have", "want"), list(pairs())[::3], ids=str)
def test_a_gradient_goes_back_between_the_duals(devices: int, have: Placement, want: Placement) -> None:
    graph = Graph("g", devices)
    x = graph.input("x", TensorType("f32", (12, 24), have))
    y = graph.node(graph.emit(Reshard(str(want)), x, name="y"))
    grad = graph.input("g", TensorType("f32", (12, 24), dual(want)))
    (back,) = y.op.gradient(Builder(graph, y), y, grad)
    assert back is not None
    assert graph.tensor(back).placement == dual(have)
