"""Whether kernels compute what their ops mean, on the machine they are measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.cuda.gpu import Gpu, Precision
from alexnet_ir.backends.cuda.program import CudaEmitter
from alexnet_ir.backends.emission.augment import Intake, Shard
from alexnet_ir.backends.emission.commands import Emission, Gemm, Kernel, Launch, Place, Tensor
from alexnet_ir.backends.emission.encode import decode, encode, round_stored
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.emission.machine import Machine, Task
from alexnet_ir.compiler import read_model
from alexnet_ir.dsl.model import Choice
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.names import LABEL
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Step, Stream
from alexnet_ir.ir.types import DType, TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool, MaxPoolGrad
from alexnet_ir.training.step import InitialValues, TrainingStep
from tests.backends.cuda.rounded import Rounded, meaning
from tests.ops.op_table import CROSSING, ROWS, Row

from .lab import Lab
from .models import EXAMPLES, Net, start
from .report import Report

ULP: Mapping[Stored, float] = {"f32": 2**-23, "tf32": 2**-10, "bf16": 2**-7}
"""What one rounding of a stored value to the other side makes."""
STEP_TOLERANCE, CUBLAS_TOLERANCE = 1e-5, 2e-3
"""Of a result's largest number; the latter where cuBLAS makes tf32 of what is stored in f32, in a way of its own."""
LOSS_TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 5e-2}
"""Of whole steps: a value near the middle of two goes the one way here and the other way there."""
EACH_IMAGE: tuple[type[Op], ...] = (
    Conv, ConvGradInput, BiasAdd, Relu, ReluGrad, Lrn, LrnGrad, MaxPool, MaxPoolGrad,
)  # fmt: skip
"""Ops that make each image of a result from that image of the operands."""
FILLED = 0xFF
"""Bytes that make NaN, where nobody has written yet."""


# --- the steps of a plan ----------------------------------------------------------------------------------------------


@dataclass
class Verified:
    """A training step whose plan is run one step at a time, on what the memory holds, and looked at on some of its
    images: the references are slow. Sums over images are looked at with all others zero."""

    step: TrainingStep
    precision: Precision
    images: tuple[int, ...]

    def __post_init__(self) -> None:
        executable = self.step._training
        assert isinstance(executable, EmittedExecutable)
        self.executable, self.machine, self.plan = executable, executable.machine, executable.plan

    def steps(self, inputs: Mapping[str, Any]) -> Iterator[tuple[Step, Task, float, float]]:
        """Each step that has results of floats: with the worst error, as a share of the largest number, and of what is
        allowed (above 1 is wrong)."""
        self.executable.feed(inputs)
        for task, planned in zip(self.executable.tasks, self.plan.steps, strict=False):
            yield planned, task, *self._step(task, planned)

    def _step(self, task: Task, planned: Step) -> tuple[float, float]:
        ops = [part.op for part in planned.op.parts] if isinstance(planned.op, Fused) else [planned.op]
        whole, some, kept = planned.operands[0], False, None
        if isinstance(planned.op, ConvGradWeight):
            kept = self._bytes(whole)
            sparse = np.zeros_like(self.value(whole))
            sparse[list(self.images)] = self.value(whole)[list(self.images)]
            self._put(whole, encode(sparse, self.plan.layouts[whole]))
        else:
            some = all(isinstance(op, EACH_IMAGE) for op in ops)
        taken = [self._taken(name, some or kept is not None) for name in planned.operands]
        with np.errstate(all="ignore"):
            expected = meaning(planned.op, taken, self.precision)
        self._run(task)
        worst, used = 0.0, 0.0
        for name, want in zip(planned.results, expected, strict=True):
            found = self.value(name)
            error, share = self._error(name, found[list(self.images)] if some else found, want, task)
            worst, used = max(worst, error), max(used, share)  # NaN is found by `used`
        if kept is not None:
            self._put(whole, kept)
        return worst, used

    def _taken(self, name: str, some: bool) -> Array:
        """A value, or the images that are looked at; parameters have none."""
        value = self.exact(name)
        return value[list(self.images)] if some and value.ndim and not name.endswith((".weight", ".bias")) else value

    def _error(self, name: str, found: Array, want: Array, task: Task) -> tuple[float, float]:
        if self.plan.types[name].dtype != "f32":
            return 0.0, 2.0 * (not np.array_equal(found, want))
        tolerance = STEP_TOLERANCE
        if any(isinstance(c, Gemm) and c.stored == "tf32" for c in task.commands):
            tolerance = CUBLAS_TOLERANCE
        largest = max(float(np.abs(want).max(initial=0)), 1e-30)
        allowed = tolerance * largest + ULP[self.plan.layouts[name].stored] * np.abs(want)
        far = np.abs(found - want)
        if np.isnan(far).any():
            return float("nan"), float("inf")
        return float(far.max(initial=0)) / largest, float((far / allowed).max(initial=0))

    def _run(self, task: Task) -> None:
        self._prepared = self.machine.prepare([replace(task, waits=())])  # kept: it may still run
        self._prepared()

    def value(self, name: str) -> Array:
        """A value as it lies in memory."""
        return decode(self._bytes(name), self.plan.layouts[name], self.plan.types[name].shape)

    def exact(self, name: str) -> Array:
        """In float64 if it is of floats."""
        return self.value(name).astype("f8") if self.plan.types[name].dtype == "f32" else self.value(name)

    def _bytes(self, name: str) -> Array:
        address, nbytes = self.executable.address(name), self.plan.nbytes(name)
        return self.machine.download(self.plan.device(name), address, nbytes)

    def _put(self, name: str, content: Array) -> None:
        self.machine.upload(self.plan.device(name), self.executable.address(name), content)


def every_kernel(
    report: Report, lab: Lab, net: Net, batch: int, precision: Precision, images: int, kept: float = 0
) -> None:
    """Rows on each step of a net's training, every kernel of it launched as the whole step launches it; it ends before
    so many seconds are left as are to be `kept`."""
    model = net.model(batch, lab.is_rehearsal)
    step = TrainingStep(model, lab.setup(precision, graph=False))
    step.load({name: value for name, value in start(model).items() if name in step.weights})
    random = np.random.default_rng(1)
    spread = tuple(sorted({round(i * (batch - 1) / max(images - 1, 1)) for i in range(images)}))
    fed = step.scalars() | {
        step._image: random.standard_normal((batch, *model.image)).astype("f4"),
        LABEL: random.integers(0, step._classes, batch),
    }
    seen: set[Kernel] = set()
    for planned, task, error, used in Verified(step, precision, spread).steps(fed):
        launched = [c for c in task.commands if isinstance(c, Launch)]
        seen |= {launch.kernel for launch in launched}
        names = ", ".join([c.kernel.name for c in launched] + ["cuBLAS"] * (len(task.commands) - len(launched)))
        what, note = f"{precision} {planned.name}: {names or 'nothing'}", f"{error:.1e} of the largest"
        report.check(what, "" if used <= 1 else f"{note}, {used:.3g} times what is allowed", note)
        if not report.has_time(f"the steps after {planned.name} in {precision}", kept):
            break
    report.say("", f"{len(seen)} distinct kernels; images {', '.join(map(str, spread))} of {batch} looked at.", "")


# --- rows of the op table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """An op on operands by itself."""

    op: Op
    operands: tuple[Array, ...]
    emission: Emission
    layouts: tuple[Layout, ...]
    results: tuple[TensorType, ...]

    @classmethod
    def of(cls, op: Op, operands: Sequence[Array], gpu: Gpu, precision: Precision = "fp32") -> Alone:
        """Floats in f32, maps channels last."""
        given = tuple(np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in operands)
        dtypes: dict[str, DType] = {"float32": "f32", "int32": "i32", "int64": "i64", "uint8": "u8"}
        types = tuple(TensorType(dtypes[str(a.dtype)], a.shape) for a in given)
        results = tuple(type_ for type_ in op.infer(types) if isinstance(type_, TensorType))
        layouts = tuple(Layout(type_.dtype, len(type_.shape) == 4) for type_ in (*types, *results))
        return cls(op, given, CudaEmitter(gpu, precision).emission(op, types, results, layouts), layouts, results)

    def run(self, machine: Machine) -> list[Array]:
        """Its results, in memory that was full of NaN."""
        count = len(self.operands)
        contents = [encode(a, layout) for a, layout in zip(self.operands, self.layouts, strict=False)]
        sizes = [layout.nbytes(t.shape) for layout, t in zip(self.layouts[count:], self.results, strict=True)]
        contents += [np.full(size, FILLED, np.uint8) for size in (*sizes, self.emission.workspace)]
        blocks = [machine.allocate(0, max(content.size, 1)) for content in contents]
        for block, content in zip(blocks, contents, strict=True):
            machine.upload(0, block.address, content)

        def resolve(place: Place) -> int:
            if place.kind == "workspace":
                return blocks[-1].address + place.number
            return blocks[place.number + count * (place.kind == "result")].address

        prepared = machine.prepare([Task("alone", Stream(0), (), self.emission.commands, resolve)])
        prepared()
        made = zip(blocks[count:], sizes, self.layouts[count:], self.results, strict=False)
        return [decode(machine.download(0, b.address, size), x, t.shape) for b, size, x, t in made]


def op_rows(report: Report, lab: Lab, every: int, kept: float = 0) -> None:
    """Rows of the op table: all (0), or one of each op, or of every so many ops; it ends before so many seconds are
    left as are to be `kept`."""
    rows = [row for row in ROWS if row.what not in ("beside", "nested") and type(row.op) not in CROSSING]
    if every:
        rows = list({row.op.name: row for row in rows}.values())[::every]
    alone = {row.id: Alone.of(row.op, row.arrays("float32"), lab.gpu) for row in rows}
    machine = lab.machine(graph=False)
    for some in _of_some(alone):  # all at once: they are compiled side by side
        machine._load(some)
    for row in rows:
        if not report.has_time(f"rows from {row.id} on", kept):
            break
        with report.going_on(f"row {row.id}"):
            _row(report, row, alone[row.id].run(machine))


def _of_some(alone: Mapping[str, Alone]) -> Iterator[list[Task]]:
    yield [Task(name, Stream(0), (), one.emission.commands, lambda place: 0) for name, one in alone.items()]


def _row(report: Report, row: Row, found: Sequence[Array]) -> None:
    operands = [a.astype("f8") if a.dtype.kind == "f" else a for a in row.arrays("float32")]
    worst = 0.0
    with np.errstate(all="ignore"):
        for one, wanted in zip(found, row.op.evaluate(operands), strict=True):
            scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30))
            same = (one == wanted) | (np.isnan(one) & np.isnan(wanted))
            worst = max(worst, float(np.where(same, 0, np.abs(one - wanted)).max(initial=0)) / scale)
    note = f"{worst:.1e} of the largest"
    report.check(f"row {row.id}", "" if worst <= STEP_TOLERANCE else note, note)


def not_a_number(report: Report, lab: Lab) -> None:
    """NaN passes through relu and max pool, forward, as the references have it."""
    random = np.random.default_rng(3)
    maps = random.standard_normal((2, 8, 9, 9)).astype("f4")
    maps[0, 1, 2, 3] = maps[1, 7, 8, 8] = np.nan
    ops: dict[str, Op] = {"relu": Relu(), "maxpool": MaxPool(size=(3, 3), stride=(2, 2))}
    for name, op in ops.items():
        with report.going_on(f"NaN through {name}"):
            found = Alone.of(op, [maps], lab.gpu).run(lab.machine(graph=False))[0]
            wanted = op.evaluate([maps])[0]
            same = np.array_equal(np.isnan(found), np.isnan(wanted)) and np.isnan(wanted).any()
            report.check(f"NaN through {name}", "" if same else "not where the reference has it")


def augmentation(report: Report, lab: Lab) -> None:
    """Photographs as they are stored, cropped and reflected, a mean image subtracted: the same bits as NumPy's."""
    random, machine = np.random.default_rng(4), lab.machine(graph=False)
    images = random.integers(0, 256, (6, 40, 44, 3), np.uint8).transpose(0, 3, 1, 2)
    places = random.integers(0, (6, 9, 13, 2, 9, 13, 2), (8, 7)).astype("i4")
    shifts, mean = random.standard_normal((8, 3)).astype("f4"), random.uniform(80, 160, (3, 40, 44)).astype("f4")
    batch = Augmented(images, places, shifts, mean, 1 / 58, (32, 32))
    for layout in (Layout("f32"), Layout("tf32", True), Layout("bf16", True)):
        with report.going_on(f"augmentation to {layout}"):
            nbytes = layout.nbytes(batch.shape)
            block = machine.allocate(0, nbytes)
            shard = Shard(0, Tensor(batch.shape, layout, Place("result", 0, nbytes)), block.address)
            intake = Intake(machine, CudaEmitter(lab.gpu, "fp32"), [shard])
            intake(batch, f32(*batch.shape), 1)
            found = decode(machine.download(0, block.address, nbytes), layout, batch.shape)
            same = np.array_equal(found, round_stored(batch.evaluate(), layout.stored))
            report.check(f"augmentation to {layout}", "" if same else "other bits", "the same bits")


# --- whole steps of a small net ---------------------------------------------------------------------------------------

Run = tuple[list[float], dict[str, Array]]
"""Losses of some steps, and the weights after them."""


def digits(report: Report, lab: Lab, precision: Precision, steps: int, batch: int) -> None:
    """The digits net on one device and on two logical ones, as graphs and as lists."""
    path = EXAMPLES / "digits.alx"
    model = read_model(path, Choice(batch=batch))
    random = np.random.default_rng(2)
    given = [
        (random.standard_normal((batch, *model.image)).astype("f4"), random.integers(0, 10, batch))
        for _ in range(steps)
    ]

    made: list[TrainingStep] = []

    def trained(devices: str, graph: bool) -> Run:
        step = TrainingStep(model, lab.setup(precision, devices, graph=graph), seed=1)
        made.append(step)
        return [step(*one) for one in given], dict(step.weights)

    cases: dict[str, Callable[[], Run]] = {
        "one device, graph": lambda: trained("0", True),
        "one device, graph, again": lambda: trained("0", True),
        "one device, list": lambda: trained("0", False),
        "two logical devices, graph": lambda: trained("0,0", True),
        "two logical devices, list": lambda: trained("0,0", False),
    }
    found: dict[str, Run] = {}
    for name, case in cases.items():
        with report.going_on(f"digits, {precision}, {name}"):
            found[name] = case()
    losses = _meant(made[0], precision, given)
    for first, second in (
        ("one device, graph", "one device, graph, again"),
        ("one device, graph", "one device, list"),
        ("two logical devices, graph", "two logical devices, list"),
    ):
        if first in found and second in found:
            error = "" if _same(found[first], found[second]) else "other bits"
            report.check(f"digits, {precision}: {first} = {second}", error, "the same bits")
    for name, (of_this, _) in found.items():
        far = max(abs(a - b) / abs(b) for a, b in zip(of_this, losses, strict=True))
        error = "" if far <= LOSS_TOLERANCE[precision] else f"differ by {far:.1e}"
        report.check(f"digits, {precision}: losses of {name} = the reference's", error, f"to {far:.1e}")


def _same(first: Run, second: Run) -> bool:
    return first[0] == second[0] and all(first[1][n].tobytes() == second[1][n].tobytes() for n in first[1])


def _meant(step: TrainingStep, precision: Precision, given: Sequence[tuple[Array, Array]]) -> list[float]:
    """The losses of a net's first steps by the ops' references, with the roundings of the precision."""
    plan = step.compiled.plan
    reference, losses = Rounded(plan, InitialValues(plan, step.seed), precision), []
    for step.steps, (images, labels) in enumerate(given):
        losses.append(float(reference.run(step.scalars() | {step._image: images, LABEL: labels})["loss"]))
    return losses
