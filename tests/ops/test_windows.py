"""Sizes of windows over maps: the formula, the roundings, and messages whose advice holds."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alexnet_ir.ir.attributes import PADS, Pads, Pair
from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.window import Windows, reach, windows

from .plain import starts

Geometry = tuple[int, int, int, Pair, int]
geometries = st.tuples(
    st.integers(1, 14), st.integers(1, 5), st.integers(1, 5), st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(1, 3),
)  # fmt: skip
MANY = settings(max_examples=150, deadline=None)


def along(length: int, size: int, stride: int, pad: Pair, dilation: int = 1, round: str = "exact") -> Windows:
    """The same windows along both axes."""
    return windows(
        f32(1, 3, length, length), (size, size), (stride, stride), (pad, pad), (dilation, dilation), round
    )  # fmt: skip


def refusal(length: int, size: int, stride: int, pad: Pair, dilation: int = 1) -> TypeRuleError:
    """The error for windows that do not come out."""
    with pytest.raises(TypeRuleError) as caught:
        along(length, size, stride, pad, dilation)
    return caught.value


@MANY
@given(geometries, st.sampled_from(["exact", "down", "up"]))
def test_counts_are_those_of_windows_laid_one_by_one(geometry: Geometry, round_: str) -> None:
    length, size, stride, pad, dilation = geometry
    have, need = length + sum(pad), reach(size, dilation)
    if need > have:
        assert refusal(*geometry).code == "S012"
    elif round_ == "exact" and (have - need) % stride:
        assert refusal(*geometry).code == "S014"
    else:
        expected = len(starts(length, size, stride, pad, dilation, round_))
        assert along(*geometry, round_).output == (expected, expected)


@MANY
@given(geometries)
def test_roundings_agree_where_there_is_nothing_to_round(geometry: Geometry) -> None:
    try:
        exact = along(*geometry)
    except TypeRuleError:
        assume(False)
    assert exact.output == along(*geometry, "down").output == along(*geometry, "up").output
    assert exact.extra == (0, 0)


@MANY
@given(geometries)
def test_advice_holds(geometry: Geometry) -> None:
    """Each help of a size that does not come out is followed to the letter, and gives what it promises."""
    length, size, stride, pad, dilation = geometry
    have, need = length + sum(pad), reach(size, dilation)
    assume(need <= have and (have - need) % stride)
    helps = refusal(*geometry).helps
    assert len(helps) >= 3
    for help_ in helps:
        found = re.fullmatch(r"to [\w ]+: +(.*?) +-> (\d+) x (\d+)", help_)
        assert found, help_
        change, *promised = found.groups()
        if change.startswith("pad"):
            (new,) = set(_pads(change.removeprefix("pad = ")))
            assert new[1] < have + stride
            made = along(length, size, stride, new, dilation)
        elif change.startswith("round"):
            made = along(*geometry, change.split('"')[1])
        else:
            made = along(int(change.split()[-1]), size, stride, pad, dilation)
        assert [str(n) for n in made.output] == promised, help_


def _pads(text: str) -> Pads:
    """`2` or `(0, 3)` as the language reads it."""
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    found: Pads = PADS.convert(tuple(numbers) if len(numbers) > 1 else numbers[0])
    return found


def test_no_advice_to_add_a_window_clear_of_the_image() -> None:
    """Pooling could not follow it, and rounding up drops such a window."""
    assert [help_.split(":")[0] for help_ in refusal(5, 1, 3, (0, 0)).helps] == [
        "to drop the remainder", "to round up", "to read another size",
    ]  # fmt: skip
    assert refusal(5, 1, 3, (0, 0)).helps[1].endswith("-> 2 x 2")


@MANY
@given(geometries, st.sampled_from(["down", "up"]))
def test_pools_never_stand_clear_of_the_image(geometry: Geometry, round_: str) -> None:
    length, size, stride, pad, _ = geometry
    assume(max(pad) < size and size <= length + sum(pad))
    last = (along(length, size, stride, pad, 1, round_).output[0] - 1) * stride
    assert last < length + pad[0]


# --- messages -----------------------------------------------------------------------------------------------------


def test_the_first_layer_of_alexnet_gets_the_answers_of_its_relatives() -> None:
    failure = refusal(224, 11, 4, (0, 0))
    assert (failure.code, failure.argument) == ("S014", "stride")
    assert failure.message == "(224 - 11 + 0 + 0)/4 + 1 = 54.25 is not a whole number"
    assert failure.label == "the input here is 3 x 224 x 224"
    assert failure.notes == (
        "the paper says 224 and 55 x 55; its code rounded up, reading 3 zero columns past the right and bottom edge",
    )
    assert failure.helps == (
        "to match the paper:        pad = (0, 3)           -> 55 x 55",
        "to match Caffe:            input(3, 227, 227)     -> 55 x 55",
        'to match torchvision:      pad = 2, round = "down" -> 55 x 55',
        'to drop the remainder:     round = "down"         -> 54 x 54',
    )


def test_those_answers_hold() -> None:
    assert along(224, 11, 4, (0, 3)).output == (55, 55)
    assert along(227, 11, 4, (0, 0)).output == (55, 55)
    assert along(224, 11, 4, (2, 2), round="down").output == (55, 55)
    assert along(224, 11, 4, (0, 0), round="down").output == (54, 54)
    assert along(224, 11, 4, (0, 0), round="up").output == (55, 55)


@pytest.mark.parametrize(
    ("length", "size", "pad", "stride", "message"),
    [
        (10, 3, 0, 2, "(10 - 3 + 0 + 0)/2 + 1 = 4.5 is not a whole number"),
        (5, 3, 1, 3, "(5 - 3 + 1 + 1)/3 + 1 = 2.33333 is not a whole number"),
    ],
)
def test_sizes_that_do_not_come_out(length: int, size: int, pad: int, stride: int, message: str) -> None:
    assert refusal(length, size, stride, (pad, pad)).message == message


def test_advice_for_any_other_layer() -> None:
    failure = refusal(10, 3, 2, (0, 0))
    assert failure.notes == ()
    assert [" ".join(help_.split()) for help_ in failure.helps] == [
        "to pad the far edges: pad = (0, 1) -> 5 x 5",
        'to drop the remainder: round = "down" -> 4 x 4',
        'to round up: round = "up" -> 5 x 5',
        "to read another size: an input of 11 x 11 -> 5 x 5",
    ]


def test_only_the_axis_that_does_not_come_out_is_named_and_padded() -> None:
    with pytest.raises(TypeRuleError, match=re.escape("(8 - 3 + 0 + 0)/2 + 1 = 3.5")) as caught:
        windows(f32(1, 3, 7, 8), (3, 3), (2, 2), ((0, 0), (0, 0)), round="exact")
    assert "pad = (0, (0, 1))" not in caught.value.helps[0]
    assert "pad = ((0, 0), (0, 1))" in caught.value.helps[0]


@pytest.mark.parametrize(
    ("size", "dilation", "message", "help_"),
    [
        (6, 1, "a window of 6 rows is larger than its input of 5, padding included", "at most 5"),
        (3, 3, "a window of 7 rows is larger than its input of 5, padding included", "at most 2"),
    ],
)
def test_windows_larger_than_their_input(size: int, dilation: int, message: str, help_: str) -> None:
    failure = refusal(3, size, 1, (1, 1), dilation)
    assert (failure.code, failure.argument, failure.message) == ("S012", "size", message)
    assert failure.label == "the input here is 3 x 3 x 3"
    assert failure.helps == (f"use a size of {help_}, or more padding",)
