"""Runs commands on NVIDIA GPUs, through CuPy: the only file that imports it. It has no types, so that what it gives is
`Any` here.

What the host copies and what it runs follow one another on a `main` stream of each GPU, so that nothing has to wait for
the host. A run forks from the first GPU's main stream to a stream for each of the plan's, and joins there again; it is
captured once as a CUDA graph and replayed, or queued anew each time.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from alexnet_ir.backends.cuda import cublas
from alexnet_ir.backends.cuda.cache import cubins
from alexnet_ir.backends.cuda.card import Card, gpu_of
from alexnet_ir.backends.cuda.gpu import Gpu
from alexnet_ir.backends.cuda.links import Links
from alexnet_ir.backends.cuda.nvrtc import Compiled
from alexnet_ir.backends.emission.commands import Argument, Command, Gemm, Kernel, Launch, Move, Table
from alexnet_ir.backends.emission.machine import Block, Resolve, Task
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Stream

Compile: TypeAlias = Callable[[Iterable[Kernel], str], Mapping[Kernel, Compiled]]
"""Kernels for an architecture to machine code."""
Call: TypeAlias = tuple[int, Callable[[], object]]
"""The GPU that must be the current one, and what queues a piece of work on it."""

OUT_OF_MEMORY = 2  # cudaError_t


def cupy() -> Any:
    """CuPy; ImportError where there is none."""
    return importlib.import_module("cupy")


class CupyMachine:
    """Logical device i is the GPU of number `devices[i]`; several may be on one. With `graph`, what is prepared is
    captured as a CUDA graph. The first becomes the calling thread's current GPU and stays it: since CUDA 12, to go back
    to another takes memory there, and fails where that is full or somebody else's alone.

    Each stream that has products gets a cuBLAS handle, with a workspace that is allocated once, beside the plan's
    arenas: `room.needed` counts it."""

    def __init__(self, devices: Sequence[int], graph: bool = True, compile: Compile = cubins) -> None:
        self.devices, self.graph, self._compile = tuple(devices), graph, compile
        self._cuda = cupy().cuda
        self._cuda.runtime.setDevice(self.devices[0])
        self._cards = {number: Card(self._cuda, number) for number in dict.fromkeys(devices)}
        self._first = self._cards[self.devices[0]]
        self._streams: dict[Stream, Any] = {}
        self._handles: dict[Stream, tuple[cublas.Handle, Block]] = {}
        self._links = Links(self._cuda, self._cards)

    @cached_property
    def gpu(self) -> Gpu:
        """What all devices can do."""
        found = [gpu_of(self._cuda, number) for number in self._cards]
        shared, multiprocessors = min(gpu.shared for gpu in found), min(gpu.multiprocessors for gpu in found)
        return replace(found[0], shared=shared, multiprocessors=multiprocessors)

    def allocate(self, device: int, nbytes: int) -> Block:
        """Memory of the GPU's own, not out of CuPy's pool; AlexnetError where there is not so much."""
        card = self._cards[self.devices[device]]
        with card.current():
            try:
                memory = self._cuda.memory.Memory(max(nbytes, ALIGNMENT))
            except RuntimeError as failure:
                if getattr(failure, "status", None) != OUT_OF_MEMORY:
                    raise
                free, total = self._cuda.runtime.memGetInfo()
                raise error(
                    f"GPU {card.number} has no room for another {nbytes / 2**30:.2f} GiB: "
                    f"{free / 2**30:.2f} of {total / 2**30:.2f} GiB are free",
                    helps=["use a smaller batch (--batch)", "end what else uses the GPU: nvidia-smi lists it"],
                ) from None
        return Block(int(memory.ptr), nbytes, memory)

    def seen(self, content: Array) -> None:
        """A GPU has memory of its own."""

    def upload(self, device: int, address: int, content: Array) -> None:
        """Bytes to a device; what runs already does not see them, what is run later does."""
        card = self._cards[self.devices[device]]
        with self._reported(), card.current():
            card.upload(address, np.ascontiguousarray(content))

    def adopt(self, device: int, address: int, array: Any, dtype: str) -> None:
        """The content of an array on any GPU; nobody waits for it but streams."""
        with self._reported():
            adopt(cupy(), self._cards[self.devices[device]], address, array, dtype)

    def download(self, device: int, address: int, nbytes: int) -> Array:
        """Bytes from a device, once all that runs has ended."""
        card = self._cards[self.devices[device]]
        with self._reported(), card.current():
            return card.download(address, nbytes)

    def free_bytes(self, device: int) -> int | None:
        """Of the GPU, whoever uses the rest."""
        with self._cards[self.devices[device]].current():
            return int(self._cuda.runtime.memGetInfo()[0])

    def prepare(self, tasks: Sequence[Task]) -> Callable[[], None]:
        """Compile and load all kernels, and queue everything once for a graph; nothing runs yet."""
        with self._reported(), self._first.current():
            self._load(tasks)
            calls = self._calls(tasks)
            if self.graph:
                self._try_products(tasks)
            work = self._captured(calls) if self.graph else partial(self._queue, calls)
        return partial(self._run, work, self._meeting())

    # --- running ------------------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], None], meeting: tuple[Sequence[Call], Sequence[Call]]) -> None:
        arrive, leave = meeting
        with self._reported(), self._first.current():
            self._queue(arrive)
            work()
            self._queue(leave)

    def _queue(self, calls: Sequence[Call]) -> None:
        """Everything in order. The first GPU is the current one, before and after."""
        now = self._first.number
        for number, call in calls:
            if number != now:
                self._cuda.runtime.setDevice(number)
                now = number
            call()
        if now != self._first.number:
            self._cuda.runtime.setDevice(self._first.number)

    def _captured(self, calls: Sequence[Call]) -> Callable[[], None]:
        """The calls as a graph; as they are, and a warning, where CUDA makes none of them."""
        main = self._first.main
        try:
            main.begin_capture()
            try:
                self._queue(calls)
            finally:
                self._first.current().use()
                graph = main.end_capture()
        except RuntimeError as failure:
            warnings.warn(f"no CUDA graph of this step, kernels are launched one by one: {failure}", stacklevel=4)
            return partial(self._queue, calls)
        graph.upload(main)
        return partial(_call, partial(graph.launch, main), calls)

    def _meeting(self) -> tuple[list[Call], list[Call]]:
        """Before a run, the first main stream waits for the others; after it, they wait for the first."""
        first = self._first
        arrive: list[Call] = []
        leave: list[Call] = []
        with first.current():
            ended = first.event()
        for card in self._cards.values():
            if card is not first:
                with card.current():
                    ready = card.event()
                arrive += [(card.number, partial(ready.record, card.main))]
                arrive += [(first.number, partial(first.main.wait_event, ready))]
                leave += [(card.number, partial(card.main.wait_event, ended))]
        return arrive, [(first.number, partial(ended.record, first.main)), *leave]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """What CUDA says is wrong, as an error of ours."""
        try:
            yield
        except RuntimeError as failure:
            raise error(
                f"GPU {', '.join(map(str, self._cards))}: {failure}",
                notes=["CUDA reports some errors later than where they come from"],
                helps=[
                    "--devices host runs the same kernels on the CPU, and with --check looks at every access",
                    "a GPU that had such an error serves again after a new start of the program",
                ],
            ) from failure

    # --- calls --------------------------------------------------------------------------------------------------------

    def _calls(self, tasks: Sequence[Task]) -> list[Call]:
        """Everything that is queued for a run, from a fork off the first main stream to the join there. Whatever has
        to be created is created here: nothing is while a graph is captured."""
        first = self._first
        start = self._event(first.number)
        calls: list[Call] = [(first.number, partial(start.record, first.main))]
        streams = dict.fromkeys(task.stream for task in tasks)
        calls += [(self._number(stream), partial(self._stream(stream).wait_event, start)) for stream in streams]
        waited = {at for task in tasks for at in task.waits if tasks[at].stream != task.stream}
        events = {at: self._event(self._number(tasks[at].stream)) for at in waited}
        for position, task in enumerate(tasks):
            number, stream = self._number(task.stream), self._stream(task.stream)
            calls += [(number, partial(stream.wait_event, events[at])) for at in task.waits if at in events]
            calls += [(number, call) for c in task.commands for call in self._command(c, task.stream, task.resolve)]
            if position in waited:
                calls.append((number, partial(events[position].record, stream)))
        for planned in streams:
            number, ended = self._number(planned), self._event(self._number(planned))
            calls.append((number, partial(ended.record, self._stream(planned))))
            calls.append((first.number, partial(first.main.wait_event, ended)))
        return calls

    def _command(self, command: Command, planned: Stream, resolve: Resolve) -> list[Callable[[], object]]:
        stream = self._stream(planned)
        if isinstance(command, Launch):
            function = self._cards[self._number(planned)].functions[command.kernel]
            arguments = tuple(self._argument(argument, planned, resolve) for argument in command.arguments)
            values, kept = tuple(value for value, _ in arguments), [block for _, block in arguments if block]
            return [
                partial(_call, partial(function, command.grid, command.block, values, command.shared, stream), kept)
            ]
        if isinstance(command, Gemm):
            addresses = [resolve(place) for place in (command.a, command.b, command.out)]
            return [self._handle(planned).product(command, *addresses)]
        assert isinstance(command, Move)
        return self._move(command, planned, resolve)

    def _argument(self, argument: Argument, planned: Stream, resolve: Resolve) -> tuple[np.generic, Block | None]:
        """A parameter by value, and the memory that it points to where that is our own."""
        if isinstance(argument, Table):
            table = np.array([resolve(place) for place in argument.places], np.uint64)
            block = self.allocate(planned.device, table.nbytes)
            self.upload(planned.device, block.address, table.view(np.uint8))
            return np.uint64(block.address), block
        return (argument if isinstance(argument, np.generic) else np.uint64(resolve(argument))), None

    def _move(self, command: Move, planned: Stream, resolve: Resolve) -> list[Callable[[], object]]:
        runtime, stream = self._cuda.runtime, self._stream(planned).ptr
        source, target, nbytes = resolve(command.source), resolve(command.target), command.source.nbytes
        at, to = self._number(planned), self.devices[planned.to if planned.is_link else planned.device]
        if source == target:
            return []
        if at == to:
            return [partial(runtime.memcpyAsync, target, source, nbytes, runtime.memcpyDeviceToDevice, stream)]
        if not self._links.is_staged(at, to):
            return [partial(runtime.memcpyPeerAsync, target, to, source, at, nbytes, stream)]
        pinned = self._cuda.alloc_pinned_memory(nbytes)
        out = partial(runtime.memcpyAsync, pinned.ptr, source, nbytes, runtime.memcpyDeviceToHost, stream)
        back = partial(runtime.memcpyAsync, target, pinned.ptr, nbytes, runtime.memcpyHostToDevice, stream)
        return [partial(_call, out, pinned), back]

    # --- what calls need ----------------------------------------------------------------------------------------------

    def _load(self, tasks: Sequence[Task]) -> None:
        launches: dict[int, list[Launch]] = {number: [] for number in self._cards}
        for task in tasks:
            launches[self._number(task.stream)] += [c for c in task.commands if isinstance(c, Launch)]
        compiled = self._compile({launch.kernel for some in launches.values() for launch in some}, self.gpu.arch)
        for number, some in launches.items():
            with self._cards[number].current():
                self._cards[number].load(compiled, some)

    def _try_products(self, tasks: Sequence[Task]) -> None:
        """Each product once: in its first, cuBLAS may load and set up what it must not while a graph is captured. What
        comes out lies where every run puts it anew."""
        products = [(t, command) for t in tasks for command in t.commands if isinstance(command, Gemm)]
        if products:
            self._wait()
            self._queue(
                [(self._number(t.stream), call) for t, c in products for call in self._command(c, t.stream, t.resolve)]
            )
            self._wait()

    def _wait(self) -> None:
        for stream in (*(card.main for card in self._cards.values()), *self._streams.values()):
            stream.synchronize()

    def _number(self, planned: Stream) -> int:
        """The GPU that a stream of the plan belongs to; a link to the one that it starts from."""
        return self.devices[planned.device]

    def _event(self, number: int) -> Any:
        with self._cards[number].current():
            return self._cards[number].event()

    def _stream(self, planned: Stream) -> Any:
        if planned not in self._streams:
            with self._cards[self._number(planned)].current():
                self._streams[planned] = self._cuda.Stream(non_blocking=True)
        return self._streams[planned]

    def _handle(self, planned: Stream) -> cublas.Handle:
        if planned not in self._handles:
            workspace = self.allocate(planned.device, cublas.WORKSPACE)
            with self._cards[self._number(planned)].current():
                handle = cublas.Handle(load_cublas(self._cuda), self._stream(planned).ptr, workspace.address)
            self._handles[planned] = handle, workspace
        return self._handles[planned][0]


def _call(call: Callable[[], object], kept: object) -> None:
    """Make a call that needs what is kept: bound to both, it keeps them."""
    call()


def adopt(module: Any, card: Card, address: int, array: Any, dtype: str) -> None:
    """Queue a copy of an array to an address of a GPU, between what its own stream (the current one) has queued so far
    and what it will: so the array may be written on, or freed, at once."""
    cuda, runtime = module.cuda, module.cuda.runtime
    array = module.asarray(array)
    with cuda.Device(array.device.id):
        given, theirs = module.ascontiguousarray(array, dtype), cuda.get_current_stream()
        written = cuda.Event(disable_timing=True)
        written.record(theirs)
    source, number, nbytes = given.data.ptr, given.device.id, given.nbytes
    with card.current():
        card.main.wait_event(written)
        if number == card.number:
            runtime.memcpyAsync(address, source, nbytes, runtime.memcpyDeviceToDevice, card.main.ptr)
        else:
            runtime.memcpyPeerAsync(address, card.number, source, number, nbytes, card.main.ptr)
        read = card.event()
        read.record(card.main)
    with cuda.Device(number):
        theirs.wait_event(read)


def load_cublas(cuda: Any) -> Any:
    """The cuBLAS that CuPy loads; ImportError or OSError where there is none."""
    _ = cuda.cublas  # to ask for it loads it
    return cublas.library(cuda.runtime.runtimeGetVersion() // 1000)
