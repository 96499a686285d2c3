"""Update rules: one call for any number of parameters, which finds their tensors through a table of addresses.

Sizes are arguments, so that a kernel knows no more than how many parameters there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from alexnet_ir.backends.cpu.emitters.pointwise import computed
from alexnet_ir.backends.cpu.site import Emit, EmitFused, Site, kernel
from alexnet_ir.backends.emission import updates
from alexnet_ir.backends.emission.commands import Call, Table
from alexnet_ir.backends.emission.updates import Update, Way
from alexnet_ir.ir.op import Op

MOST_PARAMETERS = 64
"""Of a call: C promises functions of 127 parameters."""


def calls(site: Site, alike: Sequence[Update]) -> list[Call]:
    """Updates of one kind."""
    return [_call(site, alike[first : first + MOST_PARAMETERS]) for first in range(0, len(alike), MOST_PARAMETERS)]


def _call(site: Site, alike: Sequence[Update]) -> Call:
    rule, stored = alike[0].kind
    assert {*stored[:4], *stored[5:]} == {"f32"}  # the fifth is Adam's step, a whole number in nets
    names = [f"size{number}" for number in range(len(alike))]
    source = kernel(
        f"{rule.name}.c",
        rule.name,
        site.isa,
        constants={"PARAMETERS": len(alike), "PLACES": len(stored)},
        generated="".join(f"typedef {s}_t T{i}_T;\n" for i, s in enumerate(stored))
        + f"#define SIZE_PARAMETERS {', '.join(f'index_t {name}' for name in names)}\n"
        f"#define SIZES {{{', '.join(names)}}}\n",
        before=("updates.c",),
    )
    places = tuple(tensor.place for update in alike for tensor in (*update.operands, *update.results))
    sizes = (np.int64(math.prod(update.results[0].shape)) for update in alike)
    return Call(source, (Table(places), *sizes))


def _way(site: Site) -> Way:
    return Way(partial(computed, site), partial(calls, site))


EMITTERS: dict[type[Op], Emit] = {**updates.emitters(_way)}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {**updates.fused(_way)}
"""By rule."""
