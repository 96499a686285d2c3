"""Winograd's fast convolution F(m x m, r x r): m x m results of r x r filters from (m + r - 1)^2 products.

Along an axis, y = A^T [(G g) * (B^T d)] for r taps g over m + r - 1 cells d: the transpose of multiplying polynomials
by their values at m + r - 2 points and at infinity (Toom and Cook). In two dimensions each transform is applied to
columns, then to rows. The filter gradient is the same bilinear form read for g: dg = G^T [(A dy) * (B^T d)].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import numpy as np

from alexnet_ir.backends.emission.site import float_literal
from alexnet_ir.ir.op import Array

Matrix = tuple[tuple[Fraction, ...], ...]
POINTS = tuple(map(Fraction, (0, 1, -1, 2, -2)))
"""In the order in which they are taken; infinity is always one more."""


@dataclass(frozen=True)
class Winograd:
    """F(results x results, taps x taps)."""

    results: int
    taps: int

    @property
    def cells(self) -> int:
        """A tile's, along an axis."""
        return self.results + self.taps - 1

    @property
    def products(self) -> int:
        """A tile's, for one channel and kernel: points of the transformed tile."""
        return self.cells**2

    @property
    def name(self) -> str:
        """As the literature has it."""
        m, r = self.results, self.taps
        return f"F({m}x{m}, {r}x{r})"

    @property
    def about(self) -> str:
        """What it saves and what it costs, in words."""
        error, direct = expected_error(self), (self.results * self.taps) ** 2
        return (
            f"Winograd {self.name}: {self.products} products for {direct}, rms error about {error:.0e} of the largest"
        )

    @property
    def _points(self) -> tuple[Fraction, ...]:
        return POINTS[: self.cells - 1]

    @cached_property
    def output(self) -> Matrix:
        """A^T, results x cells: powers of the points."""
        rows = [[p**i for p in self._points] for i in range(self.results)]
        return _matrix([*row, Fraction(i == self.results - 1)] for i, row in enumerate(rows))

    @cached_property
    def filter(self) -> Matrix:
        """G, cells x taps: powers of each point over its distances from the others."""
        distances = [math.prod((p - q for q in self._points if q != p), start=Fraction(1)) for p in self._points]
        rows = [[p**k / d for k in range(self.taps)] for p, d in zip(self._points, distances, strict=True)]
        return _matrix([*rows, [Fraction(k == self.taps - 1) for k in range(self.taps)]])

    @cached_property
    def data(self) -> Matrix:
        """B^T, cells x cells: the coefficients of the product of all (x - q), without one of them in each row."""
        rows = [_product([q for q in self._points if q != p]) for p in self._points]
        return _matrix([*([*row, Fraction(0)] for row in rows), _product(self._points)])


def transposed(matrix: Matrix) -> Matrix:
    """Rows for columns."""
    return tuple(zip(*matrix, strict=True))


def _matrix(rows: object) -> Matrix:
    return tuple(tuple(row) for row in rows)  # type: ignore[attr-defined]


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        found = [high - root * low for high, low in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


# --- source -----------------------------------------------------------------------------------------------------------


def line(name: str, matrix: Matrix) -> str:
    """The C function `name`_line(x, y): y = matrix x of vectors, for a row or a column of a tile. Points p and -p share
    what they have in common: even and odd terms."""
    lines, columns = _differences(matrix)
    has_pairs = not lines
    for number, row in enumerate(matrix):
        partner = _partner(matrix, number) if has_pairs else None
        if partner is None:
            terms = [(columns[k][number % 2], c) for k, c in enumerate(row) if k in columns]
            lines.append(f"y[{number}] = {_sum(terms)};")
        elif number < partner:
            even, odd = ([(f"x[{k}]", c) for k, c in enumerate(row) if k % 2 == parity] for parity in (0, 1))
            lines.append(f"const vec even{number} = {_sum(even)}, odd{number} = {_sum(odd)};")
            lines.append(f"y[{number}] = even{number} + odd{number};")
            lines.append(f"y[{partner}] = even{number} - odd{number};")
    body = "".join(f"  {line}\n" for line in lines)
    return f"INLINE void {name}_line(const vec *x, vec *y) {{\n{body}}}\n"


def _differences(matrix: Matrix) -> tuple[list[str], dict[int, tuple[str, str]]]:
    """Columns of points p and -p are needed as their sum in even rows and their difference in odd ones: the lines that
    make these; and for each column that is left, what it is in even and in odd rows."""
    by_column = transposed(matrix)
    lines, found = [], {}
    for k in range(len(by_column)):
        partner = _partner(by_column, k)
        if partner is None:
            found[k] = (f"x[{k}]", f"x[{k}]")
        elif k < partner:
            lines.append(f"const vec sum{k} = x[{k}] + x[{partner}], difference{k} = x[{k}] - x[{partner}];")
            found[k] = (f"sum{k}", f"difference{k}")
    return lines, found


def _partner(rows: Matrix, number: int) -> int | None:
    """The row that differs from this one in the sign of odd terms, if it has such."""
    mirrored = tuple(-c if k % 2 else c for k, c in enumerate(rows[number]))
    return rows.index(mirrored) if mirrored != rows[number] and mirrored in rows else None


def _sum(terms: Sequence[tuple[str, Fraction]]) -> str:
    text = ""
    for name, coefficient in sorted((t for t in terms if t[1]), key=lambda term: term[1] < 0):
        sign = "-" if coefficient < 0 else "+" if text else ""
        factor = "" if abs(coefficient) == 1 else f"{float_literal(float(abs(coefficient)))} * "
        text += f" {sign} {factor}{name}" if text else f"{sign}{factor}{name}"
    return text


# --- rounding ---------------------------------------------------------------------------------------------------------

SAMPLE = 256
"""Channels, tiles and kernels of the problem that is computed to see how it rounds."""


@cache
def expected_error(algorithm: Winograd) -> float:
    """Root mean square error in float32, of the largest result: of random normal numbers over many channels."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((SAMPLE, 8, algorithm.cells, algorithm.cells))
    filters = rng.standard_normal((SAMPLE, 8, algorithm.taps, algorithm.taps))
    exact = _convolved(algorithm, maps.astype("f4").astype("f8"), filters.astype("f4").astype("f8"), np.dtype("f8"))
    found = _convolved(algorithm, maps, filters, np.dtype("f4"))
    return float(np.sqrt(np.mean((found - exact) ** 2)) / np.abs(exact).max())


def _convolved(algorithm: Winograd, maps: Array, filters: Array, dtype: np.dtype[np.floating]) -> Array:
    """Of maps [channels, tiles, ...] and filters [channels, kernels, ...], computed in this type."""
    data, filter, output = (
        np.array(m, "f8").astype(dtype) for m in (algorithm.data, algorithm.filter, algorithm.output)
    )
    x = data @ maps.astype(dtype) @ data.T
    u = filter @ filters.astype(dtype) @ filter.T
    return np.asarray(output @ np.einsum("ctij,ckij->tkij", x, u) @ output.T, "f8")
