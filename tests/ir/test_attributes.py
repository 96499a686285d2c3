"""Attributes and types: what is accepted, in which form it is kept, and what refusals say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from alexnet_ir.ir.attributes import (
    COUNT,
    FLAG,
    FRACTION,
    NON_NEGATIVE,
    PADS,
    PAIR,
    POSITIVE,
    REAL,
    SHAPE,
    TEXT,
    WHOLE,
    Attributes,
    AttributeValueError,
    Kind,
    attribute,
    choice,
    defaults_of,
    instance_of,
    kinds_of,
    optional,
    sequence_of,
)
from alexnet_ir.ir.types import On, Partial, Split, TensorType, f32, sample_text
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.normalize import Lrn
from alexnet_ir.ops.pool import MaxPool

ACCEPTED: list[tuple[Kind, object, object]] = [
    (COUNT, 1, 1),
    (COUNT, 4.0, 4),
    (WHOLE, 0, 0),
    (PAIR, 3, (3, 3)),
    (PAIR, (1, 2), (1, 2)),
    (PADS, 2, ((2, 2), (2, 2))),
    (PADS, (0, 3), ((0, 3), (0, 3))),
    (PADS, ((0, 1), (2, 3)), ((0, 1), (2, 3))),
    (PADS, (1, (2, 3)), ((1, 1), (2, 3))),
    (REAL, -1, -1.0),
    (POSITIVE, 1e-9, 1e-9),
    (NON_NEGATIVE, 0, 0.0),
    (FRACTION, 0, 0.0),
    (FRACTION, 0.5, 0.5),
    (FLAG, True, True),
    (TEXT, "a", "a"),
    (SHAPE, (), ()),
    (SHAPE, (3, 0), (3, 0)),
    (choice("a", "b"), "b", "b"),
    (sequence_of(COUNT, "counts"), [1, 2.0], (1, 2)),
    (optional(PAIR), None, None),
    (optional(PAIR), 2, (2, 2)),
    (instance_of(int, expects="an int"), 3, 3),
]
REFUSED: list[tuple[Kind, object]] = [
    (COUNT, 0),
    (COUNT, 1.5),
    (COUNT, True),
    (COUNT, "1"),
    (COUNT, None),
    (WHOLE, -1),
    (PAIR, (1, 2, 3)),
    (PAIR, (0, 1)),
    (PADS, -1),
    (PADS, ((0, 1), (2, 3), (4, 5))),
    (PADS, (((1, 2), 3), 4)),
    (REAL, float("nan")),
    (REAL, float("inf")),
    (POSITIVE, 0),
    (NON_NEGATIVE, -0.1),
    (FRACTION, 1),
    (FLAG, 1),
    (TEXT, 1),
    (SHAPE, 3),
    (SHAPE, (1, -1)),
    (choice("a", "b"), "c"),
    (choice("a", "b"), ("a",)),
    (sequence_of(COUNT, "counts"), 1),
    (sequence_of(COUNT, "counts"), [0]),
    (instance_of(int, expects="an int"), "3"),
]


@pytest.mark.parametrize(("kind", "given", "kept"), ACCEPTED)
def test_one_form_is_kept(kind: Kind, given: object, kept: object) -> None:
    found = kind.convert(given)
    assert found == kept
    assert type(found) is type(kept)
    assert kind.convert(found) == kept


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_refused(kind: Kind, given: object) -> None:
    @dataclass(frozen=True)
    class Thing(Attributes):
        name = "thing"
        size: Any = attribute(kind)

    with pytest.raises(AttributeValueError) as caught:
        Thing(given)
    assert str(caught.value) == f"`size` of `thing`: expected {kind.expects}, found {given!r}"


def test_words_of_a_choice() -> None:
    assert choice("a", "b", "c").expects == '"a", "b" or "c"'
    assert choice("a").expects == '"a"'


def test_attributes_of_a_class() -> None:
    assert list(kinds_of(Conv)) == ["stride", "pad", "groups", "dilation", "round"]
    assert defaults_of(Conv)["pad"] == ((0, 0), (0, 0))
    assert "size" not in defaults_of(MaxPool)


def test_equal_however_they_are_written() -> None:
    assert Conv(2, (1, 1), dilation=(1, 1)) == Conv((2, 2), 1) == Conv(2.0, ((1, 1), (1, 1)))
    assert MaxPool(3) == MaxPool(3, 3)


@pytest.mark.parametrize("n", [4, 0, -1, 2.5])
def test_an_even_lrn_has_no_middle(n: float) -> None:
    with pytest.raises(AttributeValueError, match="`n` of `lrn`: expected an odd whole number"):
        Lrn(n, 2, 1e-4, 0.75)


def test_types_as_text() -> None:
    assert str(f32()) == "f32[]"
    assert str(TensorType("u8", (2, 3), Split(1))) == "u8[2, 3] split(1)"
    assert str(TensorType("i32", (2,), On(0))) == "i32[2] on(0)"
    assert str(TensorType("i64", (), Partial())) == "i64[] partial"


def test_sizes_of_types() -> None:
    assert (f32(2, 3).size, f32(2, 3).nbytes, f32().nbytes) == (6, 24, 4)
    assert TensorType("u8", (5,)).nbytes == 5
    assert TensorType("i64", (5,)).nbytes == 40
    assert [sample_text(t) for t in (f32(9, 3, 4, 5), f32(9, 7), f32(9), f32())] == [
        "3 x 4 x 5", "7", "9", "a scalar",
    ]  # fmt: skip
