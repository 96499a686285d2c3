"""Update rules: one launch for any number of parameters, which finds their tensors through a table of addresses.

Sizes, and which blocks work on which parameter, are constants of the source; rates are scalars in device memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from alexnet_ir.backends.cuda.emitters.pointwise import computed
from alexnet_ir.backends.cuda.site import Emit, EmitFused, kernel, text
from alexnet_ir.backends.emission import updates
from alexnet_ir.backends.emission.commands import Launch, Table
from alexnet_ir.backends.emission.updates import Update, Way
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.op import Op

THREADS = 256
ELEMENTS = 16 * THREADS
"""Of one parameter, for a block."""
MOST_PARAMETERS = 4096
"""Of a launch: constant memory has 64 KiB, of which a parameter takes 12 bytes."""


def launches(alike: Sequence[Update]) -> list[Launch]:
    """Updates of one kind."""
    return [_launch(alike[first : first + MOST_PARAMETERS]) for first in range(0, len(alike), MOST_PARAMETERS)]


def _launch(alike: Sequence[Update]) -> Launch:
    rule, stored = alike[0].kind
    sizes = [math.prod(update.results[0].shape) for update in alike]
    ends = list(accumulate(-(-size // ELEMENTS) for size in sizes))
    source = kernel(
        f"{rule.name}.cu",
        rule.name,
        constants={
            "THREADS": THREADS,
            "PARAMETERS": len(alike),
            "PLACES": len(stored),
            "V": 16 // min(STORED_BYTES[s] for s in stored[: 1 + len(rule.slots())]),
        },
        generated="".join(f"typedef {s}_t T{i}_T;\n" for i, s in enumerate(stored))
        + f"__constant__ int FIRST_BLOCK[] = {{{', '.join(map(str, [0, *ends]))}}};\n"
        + f"__constant__ index_t SIZES[] = {{{', '.join(map(str, sizes))}}};\n"
        + f'#line 1 "updates.cu"\n{text("updates.cu")}',
    )
    places = tuple(tensor.place for update in alike for tensor in (*update.operands, *update.results))
    return Launch(source, (ends[-1], 1, 1), (THREADS, 1, 1), (Table(places),))


WAY = Way(computed, launches)
EMITTERS: dict[type[Op], Emit] = {**updates.emitters(lambda site: WAY)}
"""By the class of op."""
FUSED: dict[str, EmitFused] = {**updates.fused(lambda site: WAY)}
"""By rule."""
