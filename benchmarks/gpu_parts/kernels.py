"""Each kernel of a training step by itself, beside what the card reaches in a large product and a large copy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alexnet_ir.backends.cuda.gpu import MULTIPLIED, Precision
from alexnet_ir.backends.emission.commands import Command, Gemm, Move, Place
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.emission.machine import Resolve, Task
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.names import LABEL
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.training.step import TrainingStep

from .lab import Lab
from .models import FEW, Net, batches, start
from .ours import FACTOR, MEAN
from .report import Report, figure
from .timing import Clock, called, traffic

SIDE, COPIED, RANDOM = 8192, 1 << 30, 16 << 20
"""Of the square matrices of the large product; bytes of the large copy, and of the random ones that it is made of."""
KINDS: dict[str, tuple[type[Op], ...]] = {
    "forward": (Conv, Fc), "input gradient": (ConvGradInput, FcGradInput),
    "filter gradient": (ConvGradWeight, FcGradWeight), "update": (UpdateOp,),
}  # fmt: skip
REACHING = {"forward": 200e12, "input gradient": 200e12, "filter gradient": 150e12}
"""FLOP/s that conv2 to conv5 are hoped to reach in tf32 on an H200."""
OF_COPY, OF_COPY_UPDATE, OF_SUM = 0.85, 0.90, 1.05
BOUND_BYTES = 16 << 20
"""What a kernel must move for its share of the copy rate to be looked at."""


@dataclass(frozen=True)
class Rates:
    """FLOP/s of a large product in each precision, and bytes a second of a large copy, read and written."""

    product: dict[Precision, float]
    copy: float


@dataclass(frozen=True)
class Timed:
    """A command of a step of the plan: seconds, bytes, and the FLOP of its step where it is the one that has them."""

    step: Step
    command: Command
    seconds: float
    nbytes: int
    flop: int

    @property
    def kind(self) -> str:
        """Of the step: one of KINDS, else nothing."""
        ops = [part.op for part in self.step.op.parts] if isinstance(self.step.op, Fused) else [self.step.op]
        ops += [p.op for op in ops if isinstance(op, Fused) for p in op.parts]
        return next((kind for kind, types in KINDS.items() if any(isinstance(op, types) for op in ops)), "")


def rates(report: Report, lab: Lab, precisions: Sequence[Precision]) -> Rates:
    """Measured on this card, now."""
    side, copied = (64, 1 << 12) if lab.is_rehearsal else (SIDE, COPIED)
    clock = Clock(lab.machine(), 2 * lab.cache_bytes(), between=2 if lab.is_rehearsal else 10)
    report.head("what", "rate")
    products: dict[Precision, float] = {}
    for precision in precisions:
        with report.going_on(f"the large product in {precision}"):
            seconds = _product(clock, side, precision)
            products[precision] = 2 * side**3 / seconds
            report.row(f"product of {side} x {side}, {precision}, cuBLAS", f"{products[precision] / 1e12:.4g} TFLOP/s")
    move = Move(Place("operand", 0, copied), Place("result", 0, copied))
    copy = 2 * copied / clock.command(move, clock.copies([move], _blocks(clock, [copied], copied)))
    report.row(f"copy of {copied:,} bytes, read and written", f"{copy / 1e9:.4g} GB/s")
    return Rates(products, copy)


def _product(clock: Clock, side: int, precision: Precision) -> float:
    stored = MULTIPLIED[precision]
    nbytes = side * side * STORED_BYTES[stored]
    a, b, out = Place("operand", 0, nbytes), Place("operand", 1, nbytes), Place("result", 0, nbytes)
    gemm = Gemm(a, b, out, side, side, side, (False, False), stored, stored)
    return clock.command(gemm, clock.copies([gemm], _blocks(clock, [nbytes, nbytes], nbytes)))


def _blocks(clock: Clock, operands: Sequence[int], result: int) -> Resolve:
    """Operands of random numbers near 1 in any type: bytes of the exponent that say so."""
    random = np.random.default_rng(0)
    some = random.integers(0, 128, RANDOM, np.uint8)
    some[1::2] = np.where(random.integers(0, 2, RANDOM // 2), 0x3F, 0xBF)
    blocks = [clock.machine.allocate(0, nbytes) for nbytes in (*operands, result)]
    for block in blocks:
        clock.machine.upload(0, block.address, np.resize(some, block.nbytes))
    return lambda place: blocks[place.number + len(operands) * (place.kind == "result")].address


def each(report: Report, lab: Lab, net: Net, batch: int, precision: Precision, known: Rates) -> list[Timed]:
    """A table of all commands of a training step; the whole step's graph against their sum; each layer."""
    model = net.model(batch, lab.is_rehearsal)
    step = TrainingStep(model, lab.setup(precision))
    step.load(start(model))
    executable = step._training
    assert isinstance(executable, EmittedExecutable)
    images, labels = batches(model, FEW, 1)[0]
    floats = ((images.transpose(0, 3, 1, 2).astype(np.float32)) - MEAN) * FACTOR
    executable.feed(step.scalars() | {step._image: floats, LABEL: labels})
    clock = Clock(executable.machine, 4 * lab.cache_bytes(), *((2, 1) if lab.is_rehearsal else ()))  # type: ignore[arg-type]
    found = []
    report.head("step", "kernel", "us", "TFLOP/s", "of product", "GB/s", "of copy")
    for planned, task in zip(executable.plan.steps, executable.tasks, strict=False):
        with report.going_on(f"timing {task.name}"):
            some = _timed(clock, executable.plan, planned, task)
            found += some
            for one in some:
                report.row(*_cells(one, known, precision))
    for task in executable.tasks[len(executable.plan.steps) :]:
        report.say("", f"Beside these: {task.name}.", "")
    _whole(report, clock, executable, precision, found)
    _layers(report, found)
    _kinds(report, found, precision, known)
    return found


def _timed(clock: Clock, plan: Plan, planned: Step, task: Task) -> list[Timed]:
    """The commands of a step, on copies of what the memory holds; then it is run, for those that follow."""
    if not task.commands:
        return []
    copies = clock.copies(task.commands, task.resolve)
    seconds = [clock.command(command, copies) for command in task.commands]
    clock.elapsed(clock.machine.prepare([replace(task, waits=())]))
    operands, results = ([plan.types[n] for n in names] for names in (planned.operands, planned.results))
    flop = 2 * planned.op.macs(operands, results)
    products = [i for i, command in enumerate(task.commands) if re.search("conv|local|cuBLAS", called(command))]
    heaviest = max(products or range(len(seconds)), key=lambda i: seconds[i])
    return [
        Timed(planned, command, seconds[i], traffic(command), flop if i == heaviest else 0)
        for i, command in enumerate(task.commands)
    ]


def _cells(one: Timed, known: Rates, precision: Precision) -> list[str]:
    cells = [one.step.name, called(one.command), f"{1e6 * one.seconds:.1f}"]
    product = known.product.get(precision, float("nan"))
    flops, moved = one.flop / one.seconds, one.nbytes / one.seconds
    cells += [figure(flops / 1e12), f"{flops / product:.0%}"] if one.flop else ["", ""]
    return [*cells, figure(moved / 1e9), f"{moved / known.copy:.0%}"]


def _whole(
    report: Report, clock: Clock, executable: EmittedExecutable, precision: Precision, found: Sequence[Timed]
) -> None:
    whole, total = clock.median(executable.prepared), sum(one.seconds for one in found)
    ratio = whole / total
    report.say("", f"The whole step as a graph: {1e3 * whole:.3f} ms on the GPU; the sum of its kernels: "
               f"{1e3 * total:.3f} ms; ratio {ratio:.3f}.", "")  # fmt: skip
    name = f"graph against the sum of its kernels, {precision}"
    report.aim(name, f"at most {OF_SUM}", f"{ratio:.3f}", ratio <= OF_SUM)


def _layers(report: Report, found: Sequence[Timed]) -> None:
    """A table of layers: what each takes in each direction, in us."""
    total = sum(one.seconds for one in found)
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in found:
        sums["all layers" if one.kind == "update" else _layer(one.step)][one.kind or "other"] += one.seconds
    report.head("layer", *KINDS, "other", "us", "share")
    for layer, kinds in sums.items():
        cells = [f"{1e6 * kinds[kind]:.1f}" if kinds[kind] else "" for kind in (*KINDS, "other")]
        both = sum(kinds.values())
        report.row(layer, *cells, f"{1e6 * both:.1f}", f"{both / total:.1%}")
    report.say("")


def _kinds(report: Report, found: Sequence[Timed], precision: Precision, known: Rates) -> None:
    """What is hoped for, beside what is reached."""
    steps: dict[int, list[Timed]] = defaultdict(list)
    for one in found:
        steps[id(one.step)].append(one)
    for some in steps.values():
        kind, name = some[0].kind, _layer(some[0].step)
        rate = sum(one.flop for one in some) / sum(one.seconds for one in some)
        if precision == "tf32" and name in ("conv2", "conv3", "conv4", "conv5") and kind in REACHING:
            wanted, reached = REACHING[kind], f"{rate / 1e12:.4g} TFLOP/s"
            report.aim(f"{name}, {kind}, tf32", f"{wanted / 1e12:.0f} TFLOP/s", reached, rate >= wanted)
    for one in found:
        wanted = OF_COPY_UPDATE if one.kind == "update" else OF_COPY
        if not one.flop and one.nbytes >= BOUND_BYTES:
            share = one.nbytes / one.seconds / known.copy
            what = f"{one.step.name}, {called(one.command)}, {precision}"
            report.aim(what, f"{wanted:.0%} of the copy rate", f"{share:.0%}", share >= wanted)


def _layer(step: Step) -> str:
    """Whose weights a step reads, else the layer that it is named after."""
    weights = [name for name in step.operands if name.endswith(".weight")]
    return (weights or [step.name])[0].split(".")[0]
