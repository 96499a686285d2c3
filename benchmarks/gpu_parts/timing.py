"""The time of single commands on a GPU: chains of equal launches as CUDA graphs, on memory in rotation.

A launch's time is that of a long chain less that of a short one, by the number of launches between them: what starts a
graph falls out. The launches of a chain take turns on several copies of all memory that the step of the plan touches,
together several times the L2, so that nothing is found there that the whole step would not find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.emission.commands import Argument, Command, Gemm, Launch, Move, Place, Table
from alexnet_ir.backends.emission.machine import Block, Resolve, Task
from alexnet_ir.ir.plan import Stream

from .report import median

STREAM = Stream(0)


class Clock:
    """Of a machine that captures graphs. `between` launches make a long chain longer than a short one, `samples` times
    each; copies take `rotated` bytes together."""

    def __init__(self, machine: CupyMachine, rotated: int, between: int = 24, samples: int = 9) -> None:
        self.machine, self.rotated = machine, rotated
        self._between, self._samples = between, samples
        self._cuda = machine._cuda

    def elapsed(self, run: Callable[[], None]) -> float:
        """Seconds on the GPU of what has been prepared on its main stream."""
        start, end = self._cuda.Event(), self._cuda.Event()
        start.record(self.machine._first.main)
        run()
        end.record(self.machine._first.main)
        end.synchronize()
        return float(self._cuda.get_elapsed_time(start, end)) / 1e3

    def median(self, run: Callable[[], None], samples: int | None = None) -> float:
        """Of several, after two that are not counted."""
        found = [self.elapsed(run) for _ in range((samples or self._samples) + 2)]
        return median(found[2:])

    def command(self, command: Command, copies: Sequence[Resolve]) -> float:
        """Seconds of one launch."""
        chains = []
        for length in (2, 2 + self._between):
            turns = [copies[turn % len(copies)] for turn in range(length)]
            chains.append(
                self.machine.prepare([Task(f"turn {i}", STREAM, (), (command,), r) for i, r in enumerate(turns)])
            )
        short, long = [], []
        for _ in range(self._samples + 1):
            short.append(self.elapsed(chains[0]))
            long.append(self.elapsed(chains[1]))
        return max(median(long[1:]) - median(short[1:]), 1e-9) / self._between

    def copies(self, commands: Sequence[Command], resolve: Resolve) -> list[Resolve]:
        """Copies of the memory of these commands with the content that it has now, and all commands run there once, so
        that each finds what those before it leave."""
        regions = merged((resolve(place), place.nbytes) for c in commands for place in places(c))
        count = min(64, -(-self.rotated // max(1, sum(nbytes for _, nbytes in regions))))
        found = []
        for _ in range(count):
            blocks = [self.machine.allocate(0, nbytes) for _, nbytes in regions]
            self._copy(regions, blocks)
            found.append(_moved(resolve, regions, blocks))
        self.elapsed(self.machine.prepare([Task("once", STREAM, (), tuple(commands), r) for r in found]))
        return found

    def _copy(self, regions: Sequence[tuple[int, int]], blocks: Sequence[Block]) -> None:
        moves = tuple(
            Move(Place("operand", i, nbytes), Place("result", i, nbytes)) for i, (_, nbytes) in enumerate(regions)
        )

        def resolve(place: Place) -> int:
            return regions[place.number][0] if place.kind == "operand" else blocks[place.number].address

        self.elapsed(self.machine.prepare([Task("copy", STREAM, (), moves, resolve)]))


def _moved(resolve: Resolve, regions: Sequence[tuple[int, int]], blocks: Sequence[Block]) -> Resolve:
    """Places in the blocks that stand for these regions."""

    def found(place: Place) -> int:
        address = resolve(place)
        for (start, nbytes), block in zip(regions, blocks, strict=True):
            if start <= address < start + max(nbytes, 1):
                return block.address + address - start
        raise AssertionError(place)

    return found


def merged(intervals: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Addresses and bytes, those that overlap as one."""
    found: list[tuple[int, int]] = []
    for address, nbytes in sorted(set(intervals)):
        end = address + nbytes
        if found and address < sum(found[-1]):
            found[-1] = found[-1][0], max(sum(found[-1]), end) - found[-1][0]
        else:
            found.append((address, end - address))
    return found


def places(command: Command) -> Iterator[Place]:
    """All memory that a command names."""
    if isinstance(command, Gemm):
        yield from (command.a, command.b, command.out)
    elif isinstance(command, Move):
        yield from (command.source, command.target)
    else:
        for argument in command.arguments:
            yield from _of(argument)


def _of(argument: Argument) -> Iterator[Place]:
    if isinstance(argument, Table):
        yield from argument.places
    elif isinstance(argument, Place):
        yield argument


def traffic(command: Command) -> int:
    """Bytes, each tensor counted once."""
    return sum(place.nbytes for place in set(places(command)))


def called(command: Command) -> str:
    """A kernel by its name."""
    if isinstance(command, Launch):
        return command.kernel.name
    return "cuBLAS" if isinstance(command, Gemm) else "copy"
