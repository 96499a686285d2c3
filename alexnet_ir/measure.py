"""This machine as a device profile: chains of equal steps, timed on a backend.

The time of a step is that of a long chain less that of a short one, by the number of steps between them: what a run
costs beside its steps falls out. Of several runs the fastest counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.base import Backend
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.profile import Profile
from alexnet_ir.ir.types import On, TensorType, f32
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.elementwise import Add, Relu
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured: convolutions of `images` with 3x3 kernels on `maps` (channels, side), a product of as many rows
    as images with a square of `units`, elementwise steps on `elements`, and chains of `tiny` steps; `runs` of each."""

    images: int
    maps: tuple[tuple[int, int], ...]
    units: int
    elements: int
    tiny: int
    runs: int


FULL = Sizes(images=64, maps=((64, 28), (192, 13)), units=4096, elements=1 << 23, tiny=200, runs=3)
QUICK = Sizes(images=4, maps=((16, 8),), units=256, elements=1 << 16, tiny=10, runs=1)


@dataclass(frozen=True, slots=True)
class Measured:
    """One chain: the time of one of its steps, and the FLOP or bytes that a step is counted with."""

    name: str
    seconds: float
    amount: int
    unit: str

    @property
    def rate(self) -> float:
        """FLOP or bytes a second."""
        return self.amount / self.seconds


def measure(backend: Backend, sizes: Sizes = FULL) -> tuple[Profile, tuple[Measured, ...]]:
    """The profile of a backend's hardware, which its logical devices share, and what it comes from."""
    products = [_conv(backend, sizes, *maps) for maps in sizes.maps] + [_fc(backend, sizes)]
    big, tiny = f32(sizes.elements), f32(1)
    memory = _measured("add", "B", Add(), big, big, seconds=_of_steps(backend, sizes.runs, 4, _chain(Add(), big, big)))
    start = Measured("smallest step", _of_steps(backend, sizes.runs, sizes.tiny, _chain(Relu(), tiny)), 0, "")
    latency = Measured("smallest transfer", _of_steps(backend, sizes.runs, sizes.tiny, _transfers(tiny)), 0, "")
    link = Measured("transfer", _of_steps(backend, sizes.runs, 4, _transfers(big)), big.nbytes, "B")
    profile = Profile(
        "measured",
        f"this machine's {backend.name}, which logical devices share",
        product_flops=sum(p.amount for p in products) / sum(p.seconds for p in products),
        bandwidth=memory.rate,
        overhead=start.seconds,
        link_bandwidth=link.amount / max(link.seconds - latency.seconds, 1e-9),
        link_latency=latency.seconds,
        shared=True,
        notes=("measured by `alexnet-ir profile`",),
    )
    return profile, (*products, memory, link, start, latency)


Chain = Callable[[int], Graph]
"""From a number of steps to a graph that has them."""


def _conv(backend: Backend, sizes: Sizes, channels: int, side: int) -> Measured:
    op, input, weight = (
        Conv(pad=((1, 1), (1, 1))),
        f32(sizes.images, channels, side, side),
        f32(channels, channels, 3, 3),
    )
    seconds = _of_steps(backend, sizes.runs, 3, _chain(op, input, weight))
    return _measured(f"conv, {channels} maps of {side} x {side}", "FLOP", op, input, weight, seconds=seconds)


def _fc(backend: Backend, sizes: Sizes) -> Measured:
    op, input, weight = Fc(), f32(sizes.images, sizes.units), f32(sizes.units, sizes.units)
    seconds = _of_steps(backend, sizes.runs, 4, _chain(op, input, weight))
    return _measured(f"fc, {sizes.units} units", "FLOP", op, input, weight, seconds=seconds)


def _measured(name: str, unit: str, op: Op, *operands: TensorType, seconds: float) -> Measured:
    """A step of one result like its first operand, counted by its cost."""
    cost = op.cost(operands, operands[:1])
    return Measured(name, seconds, 2 * cost.macs or cost.nbytes, unit)


def _chain(op: Op, first: TensorType, *others: TensorType) -> Chain:
    """Steps that each take the one before as first operand."""

    def build(steps: int) -> Graph:
        graph = Graph("chain")
        value, *rest = (graph.state(f"x{i}", type_, Constant(0)) for i, type_ in enumerate((first, *others)))
        return _repeat(graph, value, steps, lambda value, step: graph.emit(op, value, *rest, name=f"y{step}"))

    return build


def _transfers(type_: TensorType) -> Chain:
    """To the second device, back, and so on."""

    def build(steps: int) -> Graph:
        graph = Graph("transfers", 2)
        graph.wholes = {"%x": type_.at(On(0))}
        value = graph.state("x@0", type_.at(On(0)), Constant(0))
        return _repeat(
            graph, value, steps, lambda value, step: graph.emit(Copy((step + 1) % 2), value, name=f"y{step}")
        )

    return build


def _repeat(graph: Graph, value: Value, steps: int, emit: Callable[[Value, int], Value]) -> Graph:
    for step in range(steps):
        value = emit(value, step)
    return graph


def _of_steps(backend: Backend, runs: int, steps: int, chain: Chain) -> float:
    """Seconds of a step."""
    short, long = (_of_run(backend, runs, chain(count)) for count in (1, 1 + steps))
    return max(long - short, long / 100) / steps  # noise must not make it nothing


def _of_run(backend: Backend, runs: int, graph: Graph) -> float:
    """Seconds of the fastest of some runs, after one that touches all memory."""
    plan = PlanMemory(backend.target).run(Schedule().run(graph))
    values = {name: np.full(state.type.shape, 0.5, "f4") for name, state in plan.states.items()}
    executable = backend.build(plan, backend.storage(plan, values))
    executable.run({})
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        executable.run({})
        times.append(time.perf_counter() - start)
    return min(times)
