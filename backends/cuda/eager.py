"""Single ops on arrays, at once: emitted as for a plan, and run on the memory of NumPy's arrays or of CuPy's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np

from alexnet_ir.backends.cuda.cache import cubins
from alexnet_ir.backends.cuda.card import OLDEST, Card, gpu_of
from alexnet_ir.backends.cuda.executor import Compile, cupy
from alexnet_ir.backends.cuda.gpu import Gpu, Precision
from alexnet_ir.backends.cuda.host.compile import compiler
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.program import CudaEmitter
from alexnet_ir.backends.emission.commands import Argument, Command, Emission, Launch, Place, Table
from alexnet_ir.backends.emission.encode import NUMPY
from alexnet_ir.backends.emission.machine import Resolve, on_gpu
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.layout import plain
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import DType, TensorType

DTYPES: dict[str, DType] = {"float32": "f32", "int32": "i32", "uint8": "u8"}
"""Of arrays' elements, by NumPy's names."""


class Arrays(Protocol):
    """Arrays of one kind in one memory, and what runs commands there."""

    @property
    def gpu(self) -> Gpu:
        """What to emit for."""

    def current(self) -> AbstractContextManager[Any]:
        """Where all that follows happens."""

    def ready(self, array: Any) -> Any:
        """The array as kernels take it: without gaps, aligned; a copy if it is not so."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """A new array, aligned."""

    def address(self, array: Any) -> int:
        """Of the first element."""

    def run(self, commands: Sequence[Command], resolve: Resolve) -> None:
        """Run or queue commands."""


def evaluate(arrays: Arrays, op: Op, operands: Sequence[Any], precision: Precision) -> list[Any]:
    """The results of an op as new arrays, row-major; TypeRuleError where the operands do not fit."""
    types = tuple(TensorType(DTYPES[str(array.dtype)], tuple(array.shape)) for array in operands)
    results, emission = _emitted(CudaEmitter(arrays.gpu, precision), op, types)
    with arrays.current():
        made = [arrays.empty(type_.shape, NUMPY[type_.dtype]) for type_ in results]
        memory = {
            "operand": [arrays.ready(array) for array in operands],
            "result": made,
            "workspace": [arrays.empty((emission.workspace,), "uint8")],
        }

        def resolve(place: Place) -> int:
            if place.kind == "workspace":
                return arrays.address(memory["workspace"][0]) + place.number
            return arrays.address(memory[place.kind][place.number])

        arrays.run(emission.commands, resolve)
    return made


@lru_cache(maxsize=4096)
def _emitted(emitter: CudaEmitter, op: Op, types: tuple[TensorType, ...]) -> tuple[tuple[TensorType, ...], Emission]:
    """The types of the results, and what makes them: everything row-major."""
    results = tuple(type_ for type_ in op.infer(types) if isinstance(type_, TensorType))
    return results, emitter.emission(op, types, results, [plain(type_) for type_ in (*types, *results)])


# --- arrays -----------------------------------------------------------------------------------------------------------


class HostArrays:
    """NumPy's, by the host runner."""

    def __init__(self) -> None:
        self._machine = HostMachine()
        self.gpu = self._machine.gpu

    def current(self) -> AbstractContextManager[Any]:
        """Nothing to choose."""
        return nullcontext()

    def ready(self, array: Array) -> Array:
        """Copied for the most part: NumPy aligns to less."""
        if array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
            return array
        copy = self.empty(array.shape, str(array.dtype))
        copy[...] = array
        return copy

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Part of a longer array of bytes."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes].view(dtype).reshape(shape)

    def address(self, array: Array) -> int:
        """Of its bytes."""
        return array.ctypes.data

    def run(self, commands: Sequence[Command], resolve: Resolve) -> None:
        """Everything has run when this returns."""
        self._machine.run(commands, resolve)


class CupyArrays:
    """CuPy's on one GPU, on CuPy's current stream there. `module` is CuPy. A workspace goes back to its memory pool at
    once, which hands it out again on the same stream only."""

    def __init__(self, module: Any, number: int, compile: Compile = cubins) -> None:
        self._cupy, self._compile = module, compile
        self._card, self.gpu = Card(module.cuda, number), gpu_of(module.cuda, number)
        if int(self.gpu.arch.removeprefix("sm_")) < OLDEST:
            raise error(f"GPU {number} is {self.gpu.arch}: kernels are for sm_{OLDEST} and later")

    def current(self) -> AbstractContextManager[Any]:
        """This GPU is the current one."""
        return self._card.current()  # type: ignore[no-any-return]

    def ready(self, array: Any) -> Any:
        """CuPy's own memory is aligned, a part of it need not be."""
        array = self._cupy.ascontiguousarray(array)
        return array if self.address(array) % ALIGNMENT == 0 else array.copy()

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """From CuPy's pool."""
        return self._cupy.empty(shape, dtype)

    def address(self, array: Any) -> int:
        """On the GPU."""
        return int(array.data.ptr)

    def run(self, commands: Sequence[Command], resolve: Resolve) -> None:
        """Queue the launches: the ops that are run so have nothing else."""
        launches = [command for command in commands if isinstance(command, Launch)]
        assert len(launches) == len(commands)
        new = {launch.kernel for launch in launches} - self._card.functions.keys()
        self._card.load(self._compile(new, self.gpu.arch) if new else {}, launches)
        stream = self._cupy.cuda.get_current_stream()
        for launch in launches:
            arguments = tuple(_value(argument, resolve) for argument in launch.arguments)
            self._card.functions[launch.kernel](launch.grid, launch.block, arguments, launch.shared, stream)


def _value(argument: Argument, resolve: Resolve) -> np.generic:
    assert not isinstance(argument, Table)
    return np.uint64(resolve(argument)) if isinstance(argument, Place) else argument


@cache
def arrays_at(number: int | None) -> Arrays:
    """CuPy's on the GPU of this number, or NumPy's; AlexnetError where nothing can compile for the one or the other."""
    if number is not None:
        return CupyArrays(cupy(), number)
    if compiler() is None:
        raise error("NumPy arrays are computed by the host runner, which needs g++, or the compiler that CXX names")
    return HostArrays()


def located(array: Any) -> tuple[Any, int | None]:
    """An array as CuPy has it and the number of its GPU, or as NumPy has it; TypeError for what is neither."""
    if on_gpu(array):
        array = cupy().asarray(array)
        return array, int(array.device.id)
    if isinstance(array, np.ndarray):
        return array, None
    raise TypeError(f"expected a CuPy or a NumPy array, found {type(array).__name__}")
