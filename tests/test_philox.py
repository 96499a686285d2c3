"""Philox against the published vectors, and the properties that the rest of the project leans on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.philox import (
    Domain,
    Key,
    keep_mask,
    keep_threshold,
    normal,
    philox4x32,
    random_bits,
    random_blocks,
    stream_number,
    uniform,
)

KEY = Key(seed=7, domain=Domain.DROPOUT, stream=2, step=11)
ROWS = {"bits": random_bits, "uniform": uniform, "normal": normal}

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_published_vectors(counter: str, key: str, expected: str) -> None:
    low, high = words(key)
    assert philox4x32(words(counter), (low, high)).tolist() == words(expected)


def test_counters_broadcast() -> None:
    grid = philox4x32((np.arange(3)[:, None], np.arange(2), 5, 6), (1, 2))
    assert grid.shape == (4, 3, 2)
    assert grid.dtype == np.uint32
    assert grid[:, 2, 1].tolist() == philox4x32((2, 1, 5, 6), (1, 2)).tolist()


def test_element_i_is_word_i_mod_4_of_block_i_div_4() -> None:
    row = random_bits(KEY, 10)
    assert row[9] == philox4x32((2, 2, 11, Domain.DROPOUT), (7, 0))[1]
    assert random_blocks(KEY, [2, 0])[:, 1].tolist() == row[:4].tolist()


@pytest.mark.parametrize("name", ROWS)
@given(start=st.integers(0, 75_000), count=st.integers(0, 75_000))
def test_a_slice_is_the_part_of_the_whole(name: str, start: int, count: int) -> None:
    draw = ROWS[name]
    whole = draw(KEY, 150_000)
    np.testing.assert_array_equal(draw(KEY, count, start), whole[start : start + count])


def test_far_slices_cost_nothing() -> None:
    assert random_bits(KEY, 2, 2**34 - 2).tolist() == philox4x32((2**32 - 1, 2, 11, 0), (7, 0))[2:].tolist()


def test_every_part_of_the_key_matters() -> None:
    keys = [
        KEY,
        Key(8, Domain.DROPOUT, 2, 11),
        Key(7 + 2**32, Domain.DROPOUT, 2, 11),
        Key(7, Domain.INIT, 2, 11),
        Key(7, Domain.DROPOUT, 3, 11),
        Key(7, Domain.DROPOUT, 2, 12),
        Key(7, Domain.DROPOUT, "conv1.weight", 11),
        Key(7, Domain.DROPOUT, "conv2.weight", 11),
    ]
    assert len({random_bits(key, 4).tobytes() for key in keys}) == len(keys)


def test_names_hash_the_same_everywhere() -> None:
    assert stream_number("conv1.weight") == 1613443386


def test_uniform_moments() -> None:
    drawn = uniform(KEY, 1_000_000)
    assert 0 <= drawn.min() < 1e-5
    assert 1 - 1e-5 < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=1e-3)
    assert drawn.var() == pytest.approx(1 / 12, abs=1e-3)


def test_normal_moments() -> None:
    drawn = normal(KEY, 1_000_000)
    assert np.isfinite(drawn).all()
    moments = [np.mean(drawn**k) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.02)
    assert abs(np.corrcoef(drawn[0::2], drawn[1::2])[0, 1]) < 0.005


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999])
def test_keep_mask_is_an_integer_comparison(p: float) -> None:
    mask = keep_mask(KEY, p, 200_000, 3)
    np.testing.assert_array_equal(mask, random_bits(KEY, 200_000, 3) >= round(p * 2**32))
    assert mask.mean() == pytest.approx(1 - p, abs=5e-3)


def test_keep_threshold_reaches_both_ends() -> None:
    assert keep_mask(KEY, 0.0, 1000).all()
    assert keep_threshold(1 - 2**-40) == 2**32
    assert not keep_mask(KEY, 1 - 2**-40, 1000).any()
