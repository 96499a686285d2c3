"""elimination: the least assignment is that of all, found by trying them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.passes.elimination import Table, least


def total(tables: Sequence[Table], chosen: Mapping[str, int]) -> float:
    """The cost of an assignment."""
    return float(sum(table.costs[tuple(chosen[v] for v in table.variables)] for table in tables))


def by_trying(options: Mapping[str, int], tables: Sequence[Table]) -> float:
    """The least cost of all assignments."""
    every = itertools.product(*(range(count) for count in options.values()))
    return min(total(tables, dict(zip(options, picked, strict=True))) for picked in every)


@st.composite
def problems(draw: st.DrawFn, most: int = 5) -> tuple[dict[str, int], list[Table]]:
    """Variables with up to three options, and tables over up to three of them: chains, trees, cycles, cliques."""
    names = "abcdef"[: draw(st.integers(1, most))]
    options = {name: draw(st.integers(1, 3)) for name in names}
    tables = []
    for _ in range(draw(st.integers(0, 9))):
        over = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3)))
        shape = [options[v] for v in over]
        costs = draw(st.lists(st.integers(0, 9), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        tables.append(Table(over, np.array(costs, float).reshape(shape)))
    return options, tables


@settings(max_examples=150, deadline=None)
@given(problems())
def test_least_of_all(problem: tuple[dict[str, int], list[Table]]) -> None:
    options, tables = problem
    chosen, cost = least(options, tables)
    assert sorted(chosen) == sorted(options)
    assert cost == total(tables, chosen) == by_trying(options, tables)
    assert least(options, tables) == (chosen, cost)


@pytest.mark.parametrize("size", [4, 6])
def test_where_every_variable_meets_every_other(size: int) -> None:
    """A clique: no elimination leaves fewer than size - 1 neighbours, and the answer is exact all the same."""
    random, names = np.random.default_rng(size), "abcdef"[:size]
    options = dict.fromkeys(names, 3)
    tables = [Table(pair, random.random((3, 3))) for pair in itertools.combinations(names, 2)]
    chosen, cost = least(options, tables)
    assert cost == pytest.approx(by_trying(options, tables)) == pytest.approx(total(tables, chosen))


def test_a_ring() -> None:
    """Neighbours must differ, and one option is dear: on five variables around a ring it is needed once."""
    names = "abcde"
    differ = 100.0 * np.eye(3)
    tables = [Table((a, b), differ) for a, b in itertools.pairwise([*names, "a"])]
    tables += [Table((name,), np.array([0.0, 0.0, 7.0])) for name in names]
    chosen, cost = least(dict.fromkeys(names, 3), tables)
    assert cost == 7
    assert sorted(chosen.values()).count(2) == 1


def test_of_equals_the_same_is_taken_every_time() -> None:
    options = {"a": 3, "b": 3, "c": 2}
    tables = [Table(("a", "b"), np.zeros((3, 3))), Table(("c",), np.array([1.0, 1.0]))]
    assert least(options, tables) == ({"a": 0, "b": 0, "c": 0}, 1.0)
    assert least(options, tables[::-1]) == ({"a": 0, "b": 0, "c": 0}, 1.0)


def test_a_table_is_read_in_the_order_of_its_variables() -> None:
    costs = np.array([[5.0, 1.0, 6.0], [7.0, 8.0, 9.0]])
    assert least({"a": 2, "b": 3}, [Table(("a", "b"), costs)]) == ({"a": 0, "b": 1}, 1.0)
    assert least({"a": 2, "b": 3}, [Table(("b", "a"), costs.T)]) == ({"a": 0, "b": 1}, 1.0)
    assert least({"b": 3, "a": 2}, [Table(("a", "b"), costs)]) == ({"a": 0, "b": 1}, 1.0)


def test_nothing_to_choose() -> None:
    assert least({}, []) == ({}, 0.0)
    assert least({}, [Table((), np.array(3.0))]) == ({}, 3.0)
    assert least({"a": 2}, []) == ({"a": 0}, 0.0)
