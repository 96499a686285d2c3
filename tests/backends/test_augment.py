"""What a batch is augmented to on devices: bit by bit what `Augmented.evaluate` makes of it, on all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.augment import PLACES, Augmented
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cuda import cublas, nvrtc
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.program import CudaEmitter
from alexnet_ir.backends.emission.augment import Intake, Shard
from alexnet_ir.backends.emission.commands import Command, Launch, Place, Tensor
from alexnet_ir.backends.emission.encode import decode, round_stored
from alexnet_ir.backends.emission.machine import Block, Resolve, Task
from alexnet_ir.backends.emission.memory import at
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.compiler import read_model
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import REPLICATED, Split, f32
from alexnet_ir.setup import Setup, setup_of
from alexnet_ir.training.step import TrainingStep

from .cpu import running as cpu
from .cpu.sanitized import run_sanitized
from .cuda.cupy_double import Model, World, enter, pickled
from .cuda.running import needs_gxx
from .cuda.test_nvrtc import needs_nvrtc
from .emitted import Guarded

STORED, SIZE, COUNT = (5, 3, 12, 75), (7, 67), 9
"""Images as they are stored; crops, wider than two vectors of bytes; results, of which some are of one image."""


def batch_of(
    stored: tuple[int, ...] = STORED,
    size: tuple[int, int] = SIZE,
    count: int = COUNT,
    *,
    dtype: str = "u1",
    last: bool = True,
    mean: tuple[int, int] = (1, 1),
    seed: int = 0,
) -> Augmented:
    """All drawn at random; the first two results from the first and the last places that there are."""
    random = np.random.default_rng(seed)
    m, c, rows, columns = stored
    images = random.integers(0, 256, (m, rows, columns, c)).astype(dtype).transpose(0, 3, 1, 2)
    rooms = m, rows - size[0] + 1, columns - size[1] + 1, 2, mean[0] - size[0] + 1, mean[1] - size[1] + 1, 2
    rooms = np.maximum(rooms, 1) if mean == (1, 1) else np.array(rooms)
    places = random.integers(0, rooms, (count, len(PLACES))).astype(np.int32)
    places[0], places[1 % count] = 0, rooms - 1
    shifts, means = random.standard_normal((count, c)), random.uniform(80, 160, (c, *mean))
    images = images if last else np.ascontiguousarray(images)
    return Augmented(images, places, shifts.astype("f4"), means.astype("f4"), 1 / 58, size)


CASES: dict[str, Augmented] = {
    "pixels, mean of channels": batch_of(),
    "pixels, mean image": batch_of(mean=STORED[2:]),
    "planes, mean image": batch_of(last=False, mean=STORED[2:]),
    "planes, mean of channels": batch_of(last=False),
    "floats in pixels, a mean of the crop's size": batch_of(dtype="f4", mean=SIZE),
    "floats in planes, a larger mean": batch_of(dtype="f4", last=False, mean=(20, 90)),
    "grey": batch_of((5, 1, 12, 75), mean=(12, 75)),
    "many channels": batch_of((5, 13, 9, 10), (8, 9), mean=(9, 10)),
    "no room": batch_of((5, 3, 8, 8), (8, 8), mean=(8, 8)),
    "one pixel": batch_of((5, 3, 2, 2), (1, 1), mean=(2, 2)),
    "narrower than a vector": batch_of((5, 3, 5, 7), (4, 5), mean=(5, 7)),
    "one image": batch_of((1, 3, 12, 75), count=1, mean=STORED[2:]),
    "with gaps": replace(batch_of(), images=batch_of((10, 3, 12, 75)).images[::2]),
    "only the middle ones": replace(batch_of((9, 3, 12, 75)), places=batch_of().places + np.eye(1, 7, dtype="i4")),
}

PLAIN = Layout("f32")

# Kernels, in memory with guards


@dataclass
class Watched:
    """A machine that has memory with guards, and counts what it is asked for."""

    runs: Callable[[Sequence[Command], Resolve], None]
    memory: list[Guarded] = field(default_factory=list)
    uploaded: int = 0
    prepared: int = 0

    def allocate(self, device: int, nbytes: int) -> Block:
        self.memory.append(Guarded(nbytes))
        return Block(int(self.memory[-1].inside.ctypes.data), nbytes, self.memory[-1])

    def seen(self, content: Array) -> None: ...

    def upload(self, device: int, address: int, content: Array) -> None:
        self.uploaded += content.size
        at(address, content.size)[:] = content

    def adopt(self, device: int, address: int, array: object, dtype: str) -> None: ...

    def download(self, device: int, address: int, nbytes: int) -> Array:
        for memory in self.memory:
            memory.check("what is on the device")
        return at(address, nbytes).copy()

    def free_bytes(self, device: int) -> None: ...

    def prepare(self, tasks: Sequence[Task]) -> Callable[[], None]:
        self.prepared += 1
        return lambda: [self.runs(task.commands, task.resolve) for task in tasks].clear()


class Made:
    """An input of one device, made in guarded memory."""

    def __init__(self, batch: Augmented, on: tuple[Emitter, Watched], result: Layout = PLAIN) -> None:
        emitter, self.machine = on
        self.shape, self.result, nbytes = batch.shape, result, result.nbytes(batch.shape)
        self.block = self.machine.allocate(0, nbytes)
        shard = Shard(0, Tensor(batch.shape, result, Place("result", 0, nbytes)), self.block.address)
        self.intake = Intake(self.machine, emitter, [shard])

    def __call__(self, batch: Augmented) -> Array:
        self.block.owner.inside[:] = 0xFF
        self.intake(batch, f32(*self.shape), 1)
        return decode(self.machine.download(0, self.block.address, self.block.nbytes), self.result, self.shape)


def c_on(isa: Isa | None = None, threads: int = 2) -> tuple[Emitter, Watched]:
    machine = cpu.machine(isa, threads)
    return CEmitter(machine.isa, threads), Watched(machine.run)


def cuda_on(machine: HostMachine) -> tuple[Emitter, Watched]:
    return CudaEmitter(GPUS["sm_90"], "fp32"), Watched(machine.run)


ON: dict[str, Callable[[], tuple[Emitter, Watched]]] = {
    "c": c_on,
    "avx2": lambda: c_on(AVX2, 1),
    "sse": lambda: c_on(SSE, 3),
    "cuda": lambda: cuda_on(HostMachine()),
    "cuda checked": lambda: cuda_on(HostMachine(check=True, order="shuffled")),
}
EACH_KERNEL = pytest.mark.parametrize(
    "on",
    [
        pytest.param(on, id=name, marks=needs_gxx if name.startswith("cuda") else cpu.needs_cc)
        for name, on in ON.items()
    ],
)
Start = Callable[[], tuple[Emitter, Watched]]


@EACH_KERNEL
@pytest.mark.parametrize("case", CASES)
def test_kernels_make_what_is_meant(on: Start, case: str) -> None:
    batch = CASES[case]
    np.testing.assert_array_equal(Made(batch, on())(batch), batch.evaluate())


@cpu.needs_cc
@pytest.mark.parametrize("case", ["pixels, mean image", "floats in planes, a larger mean", "many channels"])
def test_sanitizers_find_nothing(case: str, tmp_path: Path) -> None:
    emitter, _ = c_on()
    assert isinstance(emitter, CEmitter)
    watched = Watched(run_sanitized(tmp_path, emitter.isa, 2))
    np.testing.assert_array_equal(Made(CASES[case], (emitter, watched))(CASES[case]), CASES[case].evaluate())


@cpu.needs_cc
def test_an_access_too_far_is_found(tmp_path: Path) -> None:
    """Which nothing but `check`, left out here, keeps away."""
    emitter, _ = c_on()
    assert isinstance(emitter, CEmitter)
    batch = CASES["pixels, mean image"]
    wrong = replace(batch, places=batch.places + np.array([0, 1, 0, 0, 0, 0, 0], "i4"))
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        Made(wrong, (emitter, Watched(run_sanitized(tmp_path, emitter.isa, 2))))(wrong)


BOTH = False, True
STORED_AS: tuple[Stored, ...] = ("f32", "tf32", "bf16")
LYING = [
    *(pytest.param(c_on, Layout("f32", last), id=f"c, {Layout('f32', last)}", marks=cpu.needs_cc) for last in BOTH),
    *(
        pytest.param(ON["cuda"], Layout(stored, last), id=f"cuda, {Layout(stored, last)}", marks=needs_gxx)
        for stored in STORED_AS
        for last in BOTH
    ),
]


@pytest.mark.parametrize(("on", "result"), LYING)
def test_the_result_is_laid_out_and_stored_as_asked(on: Start, result: Layout) -> None:
    batch = CASES["pixels, mean image"]
    np.testing.assert_array_equal(Made(batch, on(), result)(batch), round_stored(batch.evaluate(), result.stored))


@needs_gxx
def test_more_images_than_a_grid_has_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_ir.backends.cuda.emitters.augment.MOST_BLOCKS", 2)
    batch = batch_of(size=(6, 66), seed=1)
    np.testing.assert_array_equal(Made(batch, ON["cuda"]())(batch), batch.evaluate())


@needs_nvrtc
@pytest.mark.parametrize("gpu", ["sm_75", "sm_90"])
def test_it_compiles_for_gpus(gpu: str) -> None:
    launches: list[Command] = []
    batch = batch_of((2, 3, 256, 256), (224, 224), 2, mean=(256, 256))
    Made(batch, (CudaEmitter(GPUS[gpu], "fp32"), Watched(lambda some, _: launches.extend(some))))(batch)
    (launch,) = launches
    assert isinstance(launch, Launch)
    usage = nvrtc.compile(launch.kernel.source, launch.kernel.name, gpu).usage
    assert usage.stack == usage.spill_stores == 0
    assert usage.registers <= 64


# What is brought to devices


@EACH_KERNEL
def test_what_is_uploaded_and_prepared(on: Start) -> None:
    """One array a mean, a place for all batches that fit; of other images or means, those are seen."""
    first, second = (batch_of(mean=STORED[2:], seed=seed) for seed in (1, 2))
    made, machine = Made(first, on_ := on()), on_[1]
    images, others, mean = first.images.nbytes, first.places.nbytes + first.shifts.nbytes, first.mean.nbytes
    sizes = []
    for batch in (first, replace(second, mean=first.mean), second, first):
        np.testing.assert_array_equal(made(batch), batch.evaluate())
        sizes.append(machine.uploaded)
    assert np.diff(sizes, prepend=0).tolist() == [
        images + others + mean,
        images + others,
        *[images + others + mean] * 2,
    ]
    assert machine.prepared == 1
    fewer = replace(first, places=np.minimum(first.places, np.array([2, *[99] * 6], "i4")))
    np.testing.assert_array_equal(made(fewer), fewer.evaluate())
    assert machine.uploaded - sizes[-1] == images * 3 // 5 + others
    assert machine.prepared == 1
    more = batch_of((8, *STORED[1:]), mean=STORED[2:], seed=3)
    for batch in (more, first, replace(first, factor=2.0)):
        np.testing.assert_array_equal(made(batch), batch.evaluate())
    assert machine.prepared == 3


# Whole nets

NET = """alx 1
net N {
  image = input(2, 6, 8)
  return image -> conv1: conv(4, 3, pad = 1) -> relu -> flatten -> fc1: fc(3)
}
train r { batch: 4 stop: steps(3) optimizer: sgd(lr = 0.05, momentum = 0.9) seed: 3 }
place inputs { net: N  devices: 2  split: inputs(conv1) }
"""
PLACEMENTS = ["data", "columns", "inputs"]
SETUPS: dict[str, Callable[[], Setup]] = {
    **{
        f"{devices}, {place}": lambda devices=devices, place=place: setup_of(devices, place)  # type: ignore[misc]
        for devices, places in (
            ("reference", [None]),
            ("cpu", [None]),
            ("cpu,cpu", PLACEMENTS),
            ("reference,reference", ["data"]),
            ("host", [None]),
            ("host,host", PLACEMENTS),
        )
        for place in places
    },
    "numpy": lambda: Setup(NumpyBackend()),
}
EACH_SETUP = pytest.mark.parametrize(
    "setup",
    [pytest.param(make, id=name, marks=needs_gxx if "host" in name else ()) for name, make in SETUPS.items()],
)


def batches(count: int = 4, images: int = 3) -> Iterator[Augmented]:
    for seed in range(3):
        yield batch_of((images, 2, 9, 11), (6, 8), count, mean=(9, 11), last=seed != 1, seed=seed)


@EACH_SETUP
def test_nets_train_and_predict_on_it(setup: Callable[[], Setup]) -> None:
    model = read_model(NET)
    whole, made = TrainingStep(model, setup()), TrainingStep(model, setup())
    exact = 1e-6 if whole.setup.backend.name == "reference" else 0  # it reads doubles that nobody rounded
    for batch in batches():
        np.testing.assert_allclose(made(batch, [0, 1, 2, 0]), whole(batch.evaluate(), [0, 1, 2, 0]), rtol=exact)
        np.testing.assert_allclose(made.scores, whole.scores, rtol=exact, atol=exact)
    for count in (1, 4, 11):
        for batch in batches(count, 2):
            np.testing.assert_allclose(
                made.predict(batch), whole.predict(batch.evaluate()), rtol=exact, atol=10 * exact
            )
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(made.weights[name], weight, rtol=exact, atol=exact)


@needs_gxx
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(("devices", "place"), [((0,), None), ((0, 1), "data")])
def test_gpus_wait_for_what_they_are_fed(
    devices: tuple[int, ...], place: str | None, graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a double of CuPy, whose streams run in any order that they may."""
    enter(World(gpus=(Model(),) * len(devices)), monkeypatch)
    monkeypatch.setattr(cublas, "WORKSPACE", 1 << 12)
    machines = CupyMachine(devices, graph, pickled), HostMachine()
    backends = (CudaBackend(GPUS["sm_90"], "fp32", machine) for machine in machines)
    found, expected = (
        TrainingStep(read_model(NET), Setup(backend, tuple(map(str, devices)), place)) for backend in backends
    )
    for batch in batches():
        assert found(batch, [0, 1, 2, 0]) == expected(batch, [0, 1, 2, 0])
    for name, weight in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], weight)


def test_images_are_split_and_whole() -> None:
    """The placements above are those that an input can have."""
    model = read_model(NET)
    found = [TrainingStep(model, setup_of("cpu,cpu", place)).plan.inputs["image"].type for place in PLACEMENTS]
    assert [type_.placement for type_ in found] == [Split(0), REPLICATED, Split(1)]


# Refusals


GOOD = next(batches())


def moved(column: str, to: int) -> Augmented:
    """With one place of the third result elsewhere."""
    places = GOOD.places.copy()
    places[2, PLACES.index(column)] = to
    return replace(GOOD, places=places)


REFUSED: dict[str, tuple[Augmented, str]] = {
    **{
        f"{column} {to}": (moved(column, to), rf"places\[2\]: expected {column} 0 to {room - 1}, found {to}")
        for column, room in (("image", 3), ("top", 4), ("left", 4), ("mean_top", 4), ("mean_left", 4))
        for to in (-1, room)
    },
    "places of another type": (
        replace(GOOD, places=GOOD.places[:, :3]),
        "places: expected shape .4, 7., found int32.4, 3.",
    ),
    "too few shifts": (replace(GOOD, shifts=GOOD.shifts[:3]), "shifts: expected shape .4, 2., found float32.3, 2."),
    "a mean of other channels": (
        replace(GOOD, mean=GOOD.mean[:1]),
        "mean: expected shape .2, 9, 11., found float32.1, 9, 11.",
    ),
    "a mean of no rank": (replace(GOOD, mean=GOOD.mean[:, 0]), "mean: expected"),
    "a mean that is too small": (replace(GOOD, mean=GOOD.mean[:, 4:]), "no room for a crop of 6 x 8"),
    "doubles": (replace(GOOD, images=GOOD.images.astype("f8")), "images: expected u8 or f32 .* found float64"),
    "one image alone": (replace(GOOD, images=GOOD.images[0]), "images: expected"),
    "another size": (replace(GOOD, size=(6, 7)), "shape"),
    "fewer results": (GOOD.rows([0, 1]), "shape"),
}


@pytest.mark.parametrize("devices", ["reference", "cpu"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case: str, devices: str) -> None:
    step = TrainingStep(read_model(NET), setup_of(devices))
    before, (batch, words) = dict(step.weights), REFUSED[case]
    with pytest.raises(ValueError, match=words):
        step(batch, [0, 1, 2, 0])
    assert step.steps == 0
    for name, weight in before.items():
        np.testing.assert_array_equal(step.weights[name], weight)
