"""How the kernels of maps divide their work: a thread makes units, a few channels of one pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexnet_ir.backends.cuda.site import CUDA, kernel, text
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Emission, Kernel, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import round_up
from alexnet_ir.ir.layout import STORED_BYTES

THREADS = 256
"""Of a block, unless there is less to do."""
IMAGES = MOST_BLOCKS
"""That a grid has blocks for; kernels take more in turns."""

Constants = Mapping[str, int | float | str | bool]


@dataclass(frozen=True)
class Units:
    """`width` channels of a pixel each, which lie side by side if channels lie `last` in all tensors; else one."""

    width: int
    last: bool

    @property
    def constants(self) -> dict[str, int | float | str | bool]:
        """For kernels/units.cu."""
        return {"V": self.width, "LAST": self.last}

    def in_image(self, shape: tuple[int, ...]) -> int:
        """Units of an image of a value."""
        return math.prod(shape[1:]) // self.width


def units(tensors: Sequence[Tensor], channels: int) -> Units:
    """For maps [n, c, h, w] in `tensors` whose channels come in multiples of so many: 16 bytes of what is narrowest
    among the floats."""
    maps = [tensor.layout for tensor in tensors if len(tensor.shape) == 4]
    if not all(layout.channels_last for layout in maps):
        return Units(1, False)
    narrowest = min((STORED_BYTES[layout.stored] for layout in maps if layout.stored not in ("u8", "i32")), default=4)
    return Units(math.gcd(channels, 16 // narrowest), True)


def included(*files: str) -> str:
    """Kernel files of functions, to stand before another's kernel."""
    return "".join(f'#line 1 "{file}"\n{text(file)}' for file in files)


def specialised(
    name: str,
    tensors: Mapping[str, Tensor],
    over: Units,
    constants: Constants,
    files: Sequence[str] = (),
    epilogue: Epilogue = NONE,
) -> Kernel:
    """The kernel `name` of the file of that name, after these files of functions."""
    return kernel(
        f"{name}.cu",
        name,
        tensors=tensors,
        constants={**over.constants, **constants},
        generated=included("units.cu", *files) + epilogue.source(CUDA),
    )


def unit_by_unit(
    name: str,
    operands: Mapping[str, Tensor],
    results: Mapping[str, Tensor],
    channels: int,
    constants: Constants,
    files: Sequence[str] = (),
    epilogue: Epilogue = NONE,
) -> Emission:
    """A launch of a kernel whose threads make a unit of the results each, in every image."""
    tensors = {**operands, **results}
    over = units(list(tensors.values()), channels)
    result = next(iter(results.values()))
    count = over.in_image(result.shape)
    made = specialised(name, tensors, over, {**constants, "UNITS": count}, files, epilogue)
    block = min(THREADS, warps(count))
    grid = (-(-count // block), min(result.shape[0], IMAGES), 1)
    places = tuple(tensor.place for tensor in tensors.values())
    launch = Launch(made, grid, (block, 1, 1), (*places, *epilogue.arguments))
    return Emission((launch,), reason=said(over, "a thread"))


def warps(threads: int) -> int:
    """So many threads in whole warps."""
    return round_up(threads, 32)


def counted(channels: int) -> str:
    """So many channels, in words."""
    return f"{channels} channel{'s' * (channels > 1)}"


def said(over: Units, who: str) -> str:
    """How wide the units are, for a reason."""
    return f"{counted(over.width)} of a pixel {who}, channels {'last' if over.last else 'first'}"
