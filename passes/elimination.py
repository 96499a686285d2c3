"""The assignment of least cost to variables whose costs are tables over a few of them: one variable is eliminated after
the other.

On a chain this is dynamic programming; a variable with two neighbours becomes an edge between them, and two edges
between the same variables become one (node and edge elimination, Jia et al. 2018, section 5.2). On other graphs the
variable with the fewest neighbours goes first, which is exact too, and slow only where many values depend on many.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Variable = TypeVar("Variable", bound=Hashable)
Costs = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """A cost for each choice of the variables: `costs[i, j]` for option i of the first and j of the second."""

    variables: tuple[Any, ...]
    costs: Costs


def least(options: Mapping[Variable, int], tables: Sequence[Table]) -> tuple[dict[Variable, int], float]:
    """For each variable the number of its option, so that the sum of all tables is least, and that sum; of equal sums,
    the one with the earlier options of the variables eliminated last."""
    remaining, tables = list(options), list(tables)
    eliminated: list[tuple[Variable, tuple[Variable, ...], NDArray[np.intp]]] = []
    while remaining:
        neighbours = {variable: _neighbours(variable, tables) for variable in remaining}
        variable = min(remaining, key=lambda v: len(neighbours[v]))
        remaining.remove(variable)
        touching = [table for table in tables if variable in table.variables]
        tables = [table for table in tables if variable not in table.variables]
        others = tuple(neighbours[variable])
        joint = _sum(touching, (*others, variable), options)
        eliminated.append((variable, others, joint.argmin(axis=-1)))
        tables.append(Table(others, joint.min(axis=-1)))
    chosen: dict[Variable, int] = {}
    for variable, others, best in reversed(eliminated):
        chosen[variable] = int(best[tuple(chosen[other] for other in others)])
    return chosen, float(sum(table.costs for table in tables))


def _neighbours(variable: Variable, tables: Sequence[Table]) -> dict[Any, None]:
    """The variables that share a table with this one, in a fixed order."""
    found = [v for table in tables if variable in table.variables for v in table.variables if v != variable]
    return dict.fromkeys(found)


def _sum(tables: Sequence[Table], variables: tuple[Any, ...], options: Mapping[Any, int]) -> Costs:
    """The tables as one over `variables`."""
    total = np.zeros([options[v] for v in variables])
    for table in tables:
        order = [table.variables.index(v) for v in variables if v in table.variables]
        shape = [options[v] if v in table.variables else 1 for v in variables]
        total = total + table.costs.transpose(order).reshape(shape)
    return total
