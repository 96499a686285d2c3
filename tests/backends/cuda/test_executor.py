"""The machine of GPUs on a double of CuPy: streams, events, graphs, copies, products; what is found and refused."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from operator import attrgetter

import numpy as np
import pytest

from alexnet_ir.backends.cuda import card, cublas
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Command, Gemm, Kernel, Launch, Move, Place, Table
from alexnet_ir.backends.emission.encode import encode
from alexnet_ir.backends.emission.machine import Block, Machine, Task
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.layout import STORED_BYTES, Layout, Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Stream

from .cupy_double import Model, World, Wrong, double_of, enter, pickled
from .running import needs_gxx

NAN = np.float32("nan")
ADD = Kernel(
    "add_to",
    'extern "C" __global__ void add_to(float *out, const float *in, float more) '
    "{ out[threadIdx.x] = in[threadIdx.x] + more; }",
)
TOTAL = Kernel(
    "total",
    'extern "C" __global__ void total(float *out, float **parts, int count) { float sum = 0.f; '
    "for (int i = 0; i < count; i++) sum += parts[i][threadIdx.x]; out[threadIdx.x] = sum; }",
)

Make = Callable[..., CupyMachine]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """A machine in a world."""

    def make(devices: Sequence[int] = (0,), graph: bool = True, world: World | None = None) -> CupyMachine:
        enter(world or World(gpus=(Model(),) * (max(devices) + 1)), monkeypatch)
        return CupyMachine(devices, graph, pickled)

    return make


# Hand-made tasks: rows of 4 floats on each device, by number

ROWS, WIDTH = 8, 4


class Bench:
    """Memory on each device of a machine, and tasks on its rows."""

    def __init__(self, machine: Machine, devices: int = 1) -> None:
        self.machine = machine
        self.blocks: list[Block] = [machine.allocate(device, ROWS * WIDTH * 4) for device in range(devices)]
        for device in range(devices):
            self.write(device, np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH) + 100 * device)

    def write(self, device: int, rows: Array) -> None:
        """All rows of a device."""
        self.machine.upload(device, self.blocks[device].address, rows.astype(np.float32).reshape(-1).view(np.uint8))

    def read(self, device: int) -> Array:
        """All rows of a device."""
        block = self.blocks[device]
        return self.machine.download(device, block.address, block.nbytes).view(np.float32).reshape(ROWS, WIDTH)

    def task(self, stream: Stream, waits: Sequence[int], command: Command) -> Task:
        """Operand i is row i of the stream's device, result i of where it leads to."""

        def resolve(place: Place) -> int:
            to = stream.to if stream.is_link and place.kind == "result" else stream.device
            return self.blocks[to].address + 16 * place.number

        return Task("task", stream, tuple(waits), (command,), resolve)


def row(number: int, kind: str = "operand", rows: int = 1) -> Place:
    return Place(kind, number, 16 * rows)  # type: ignore[arg-type]


def add(out: int, of: int, more: float) -> Launch:
    """Row `out` becomes row `of` and so much more."""
    return Launch(ADD, (1, 1, 1), (WIDTH, 1, 1), (row(out), row(of), np.float32(more)))


def total(out: int, of: Sequence[int]) -> Launch:
    """Row `out` becomes the sum of rows."""
    table = Table(tuple(row(number) for number in of))
    return Launch(TOTAL, (1, 1, 1), (WIDTH, 1, 1), (row(out), table, np.int32(len(of))))


def chain(bench: Bench, devices: int) -> list[Task]:
    """On one device, or on two with copies there and back: every order is bound by waits."""
    here, there = Stream(0), Stream(devices - 1)
    if devices == 1:
        return [bench.task(here, (), add(1, 0, 10)), bench.task(here, (), total(2, (0, 1, 1)))]
    out, back = Stream(0, 1), Stream(1, 0)
    copy = Move(row(1), row(1, "result"))
    return [
        bench.task(here, (), add(1, 0, 10)),
        bench.task(out, (0,), copy),
        bench.task(here, (1,), add(1, 0, 20)),  # not before the copy has read it
        bench.task(there, (1,), total(1, (1, 1, 2))),
        bench.task(back, (2, 3), Move(row(1), row(3, "result"))),
        bench.task(here, (4,), total(0, (0, 1, 3))),
        bench.task(there, (), add(2, 2, 1)),
    ]


def expected_chain(devices: int, runs: int) -> list[Array]:
    bench = Bench(HostMachine(), devices)
    work = bench.machine.prepare(chain(bench, devices))
    for _ in range(runs):
        work()
    return [bench.read(device) for device in range(devices)]


@needs_gxx
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
@pytest.mark.parametrize("devices", [(0,), (0, 0), (0, 1), (1, 0)], ids=str)
def test_tasks_run_in_an_order_that_waits_allow(devices: tuple[int, ...], graph: bool, make: Make) -> None:
    expected = expected_chain(len(devices), runs=3)
    for seed in range(6):
        world = World(gpus=(Model(),) * 2, seed=seed)
        bench = Bench(make(devices, graph, world), len(devices))
        work = bench.machine.prepare(chain(bench, len(devices)))
        assert world.launches == 0  # nothing runs that changes states
        for _ in range(3):
            work()
        for device, rows in enumerate(expected):
            np.testing.assert_array_equal(bench.read(device), rows)
        assert world.graphs == graph
        assert world.current == devices[0]


@needs_gxx
@pytest.mark.parametrize("devices", [(0, 0), (0, 1)], ids=str)
def test_every_wait_counts(devices: tuple[int, ...], make: Make) -> None:
    expected = expected_chain(2, runs=2)

    def differs(position: int, wait: int, seed: int) -> bool:
        bench = Bench(make(devices, True, World(gpus=(Model(),) * 2, seed=seed)), 2)
        tasks = chain(bench, 2)
        tasks[position] = replace(tasks[position], waits=tuple(w for w in tasks[position].waits if w != wait))
        work = bench.machine.prepare(tasks)
        work(), work()
        return any((bench.read(device) != expected[device]).any() for device in range(2))

    tasks = chain(Bench(HostMachine(), 2), 2)
    waits = [(position, wait) for position, task in enumerate(tasks) for wait in task.waits]
    unnoticed = [pair for pair in waits if not any(differs(*pair, seed) for seed in range(12))]
    assert unnoticed == [(4, 2)]  # says nothing new: task 3 of the other wait comes after task 1, and 2 is not read


@needs_gxx
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
def test_where_cuda_refuses_to_copy_bytes_pass_through_the_host(graph: bool, make: Make) -> None:
    world = World(gpus=(Model(),) * 2, peers=False, copies=False, seed=3)
    bench = Bench(make((0, 1), graph, world), 2)
    before = len(world.pinned)
    work = bench.machine.prepare(chain(bench, 2))
    assert len(world.pinned) > before
    work(), work()
    for device, rows in enumerate(expected_chain(2, runs=2)):
        np.testing.assert_array_equal(bench.read(device), rows)


@needs_gxx
def test_where_copies_do_not_arrive_gpus_no_longer_reach_each_other(make: Make) -> None:
    bench = Bench(make((0, 1), True, World(gpus=(Model(),) * 2, loses=True, seed=3)), 2)
    with pytest.warns(UserWarning, match="copies from GPU 0 to GPU 1 do not arrive"):
        work = bench.machine.prepare(chain(bench, 2))
    work(), work()
    for device, rows in enumerate(expected_chain(2, runs=2)):
        np.testing.assert_array_equal(bench.read(device), rows)


@needs_gxx
def test_where_no_graph_can_be_captured_one_line_says_so(make: Make) -> None:
    world = World(gpus=(Model(),) * 2, graph_copies=False, seed=5)
    bench = Bench(make((0, 1), True, world), 2)
    with pytest.warns(UserWarning, match=r"no CUDA graph of this step.*status 901"):
        work = bench.machine.prepare(chain(bench, 2))
    work(), work()
    for device, rows in enumerate(expected_chain(2, runs=2)):
        np.testing.assert_array_equal(bench.read(device), rows)
    assert world.graphs == 0
    assert world.capture is None


@needs_gxx
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
def test_what_is_uploaded_between_runs_is_seen_by_the_next_alone(graph: bool, make: Make) -> None:
    for seed in range(4):
        bench = Bench(make((0, 1), graph, World(gpus=(Model(),) * 2, seed=seed)), 2)
        tasks = [bench.task(Stream(1), (), total(0, (0, 1))), bench.task(Stream(0), (), add(0, 0, 1))]
        work = bench.machine.prepare(tasks)
        for value in range(3):
            rows = bench.read(1) if value == 2 else np.full((ROWS, WIDTH), 7.0)
            rows[1] = value
            bench.write(1, rows)
            work()
        np.testing.assert_array_equal(bench.read(1)[0], np.float32(7 + 1 + 2))
        np.testing.assert_array_equal(bench.read(0)[0], np.arange(WIDTH) + 3)


@needs_gxx
def test_bytes_go_up_and_down_in_pieces(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "CHUNK", 1000)
    machine = make((0, 0))
    content = np.random.default_rng(1).integers(0, 256, 12345, np.uint8)
    blocks = [machine.allocate(device, content.size) for device in range(2)]
    machine.upload(0, blocks[0].address, content)
    machine.upload(1, blocks[1].address, content[::-1])
    np.testing.assert_array_equal(machine.download(0, blocks[0].address, content.size), content)
    np.testing.assert_array_equal(machine.download(1, blocks[1].address, content.size), content[::-1])
    assert machine.download(0, blocks[0].address, 0).size == 0


# Products


def gemms() -> Iterator[tuple[tuple[bool, bool], Stored, Stored]]:
    for transposed in product([False, True], repeat=2):
        for stored, made in (("f32", "f32"), ("tf32", "f32"), ("bf16", "f32"), ("bf16", "bf16")):
            yield transposed, stored, made  # type: ignore[misc]


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
@pytest.mark.parametrize(("transposed", "stored", "made"), list(gemms()))
def test_products_are_those_of_rows(
    transposed: tuple[bool, bool], stored: Stored, made: Stored, graph: bool, make: Make
) -> None:
    m, n, k = 3, 5, 7
    items = [STORED_BYTES[s] for s in (stored, stored, made)]
    sizes = [count * item for count, item in zip((m * k, k * n, m * n), items, strict=True)]
    a, b, out = (Place("operand", number, size) for number, size in enumerate(sizes))
    command = Gemm(a, b, out, m, n, k, transposed, stored, made)
    rng = np.random.default_rng(2)
    contents = [encode(rng.normal(size=size), Layout(stored)) for size in (m * k, k * n)]
    results = []
    for machine in (HostMachine(), make((0,), graph)):
        blocks = [machine.allocate(0, 256) for _ in sizes]
        for block, content in zip(blocks, contents, strict=False):
            machine.upload(0, block.address, content)
        addresses = [block.address for block in blocks]
        machine.prepare([Task("product", Stream(0), (), (command,), lambda p: addresses[p.number])])()  # noqa: B023
        results.append(machine.download(0, addresses[2], sizes[2]))
    np.testing.assert_array_equal(results[0], results[1])


def test_streams_and_programs_share_handles_and_workspaces(make: Make) -> None:
    world = World()
    machine = make((0, 0), True, world)
    block = machine.allocate(0, 256)
    place = Place("operand", 0, 256)
    command = Gemm(place, place, place, 2, 2, 2, (False, False), "f32", "f32")
    before = world.taken(0)
    for _ in range(2):
        tasks = [Task("product", Stream(device), (), (command,), lambda p: block.address) for device in range(2)]
        machine.prepare(tasks)
    assert len(world.handles) == 2
    assert world.taken(0) - before == 2 * cublas.WORKSPACE


def test_the_double_refuses_a_handle_without_workspace(make: Make) -> None:
    world = World()
    machine = make((0,), False, world)
    block = machine.allocate(0, 256)
    place = Place("operand", 0, 256)
    command = Gemm(place, place, place, 2, 2, 2, (False, False), "f32", "f32")
    work = machine.prepare([Task("product", Stream(0), (), (command,), lambda p: block.address)])
    (handle,) = world.handles.values()
    handle["workspace"] = None
    with pytest.raises(Wrong, match="without workspace"):
        work()


# What the double refuses, so that the machine is known not to do it


def test_nothing_may_be_made_while_a_graph_is_captured(make: Make) -> None:
    world = World()
    machine = make((0,), True, world)
    stream = machine._cuda.Stream(non_blocking=True)
    stream.begin_capture()
    for deed in (
        lambda: machine.allocate(0, 4),
        lambda: machine._cuda.Event(disable_timing=True),
        lambda: machine._cuda.alloc_pinned_memory(4),
        stream.synchronize,
    ):
        with pytest.raises(Wrong, match="captured"):
            deed()


@needs_gxx
def test_a_kernel_needs_its_own_gpu(make: Make) -> None:
    bench = Bench(make((0, 1), False), 2)
    task = replace(bench.task(Stream(0), (), add(0, 0, 1)), resolve=lambda place: bench.blocks[1].address)
    bench.machine.prepare([task])()
    with pytest.raises(Wrong, match="GPU 1 is used on GPU 0"):
        bench.read(0)


@needs_gxx
def test_a_kernel_needs_live_memory(make: Make) -> None:
    machine = make()
    bench = Bench(machine)
    work = machine.prepare([bench.task(Stream(0), (), add(0, 0, 1))])
    bench.blocks.clear()
    work()
    with pytest.raises(Wrong, match="not there"):
        machine._first.main.synchronize()


def test_a_gpu_that_is_not_asked_for_is_not_touched(make: Make) -> None:
    world = World(gpus=(Model(is_taken=True), Model(), Model()))
    bench = Bench(make((2, 1), True, world), 2)
    bench.machine.prepare([bench.task(Stream(0, 1), (), Move(row(1), row(1, "result")))])()
    assert bench.read(1)[1, 0] == 4
    assert world.current == 2


# What a GPU can do


@pytest.mark.parametrize(
    ("capability", "arch", "tensor_cores"),
    [("75", "sm_75", False), ("80", "sm_80", True), ("87", "sm_87", True), ("88", "sm_88", True), ("90", "sm_90", True),
     ("100", "sm_100", True), ("121", "sm_120", True), ("70", "sm_70", False)],
)  # fmt: skip
def test_kernels_are_made_for_the_generation_there_is(
    capability: str, arch: str, tensor_cores: bool, make: Make
) -> None:
    machine = make((0, 0), True, World(gpus=(Model(capability, shared=99 << 10, multiprocessors=17),)))
    gpu = machine.gpu
    assert (gpu.arch, gpu.tensor_cores, gpu.shared, gpu.multiprocessors) == (arch, tensor_cores, 99 << 10, 17)


def test_gpus_that_differ_do_what_both_can(make: Make) -> None:
    machine = make((0, 1), True, World(gpus=(Model(shared=200 << 10), Model(multiprocessors=100))))
    assert machine.gpu == replace(GPUS["sm_90"], shared=200 << 10, multiprocessors=100)


def test_free_memory_is_the_gpus(make: Make) -> None:
    machine = make((0, 0), True, World(gpus=(Model(memory=10 << 20),)))
    kept = machine.allocate(0, 1 << 20)
    assert machine.free_bytes(1) == 9 << 20
    with pytest.raises(AlexnetError, match=r"GPU 0 has no room for another 0.01 GiB: 0.01 of 0.01 GiB are free"):
        machine.allocate(1, 9 << 20 | 1)
    del kept
    assert machine.free_bytes(0) == 10 << 20


@needs_gxx
def test_what_cuda_reports_is_an_error_of_ours(make: Make) -> None:
    bench = Bench(make())
    launch = replace(add(0, 0, 1), shared=100 << 10)
    work = bench.machine.prepare([bench.task(Stream(0), (), launch)])  # asks for the shared memory
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        work()
    bench.machine._first._cuda.runtime.memcpyAsync = lambda *_: (_ for _ in ()).throw(RuntimeError("illegal address"))  # type: ignore[attr-defined]
    with pytest.raises(AlexnetError, match="GPU 0: illegal address"):
        bench.read(0)


# The double against CuPy itself, where it is installed


def parameters(function: object) -> list[str]:
    """Names of a function's parameters; of compiled ones, as their documentation begins."""
    try:
        names = list(inspect.signature(function).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        first = (getattr(function, "__doc__", None) or "").partition("\n")[0]
        inside = first.partition("(")[2].rpartition(")")[0]
        names = [part.partition("=")[0].split()[-1] for part in inside.split(",") if part.strip()]
    return [name for name in names if name not in ("self", "args", "kwargs")]


def test_the_double_has_cupys_names_and_parameters() -> None:
    real = pytest.importorskip("cupy", reason="CuPy is not installed").cuda
    double = double_of(World()).cuda
    looked_at = 0
    for path in ("runtime", "driver"):
        for name, value in vars(getattr(double, path)).items():
            theirs = getattr(getattr(real, path), name)
            if isinstance(value, int):
                assert value == theirs, name
            elif not isinstance(value, type):
                assert parameters(value) == parameters(theirs), name
            looked_at += 1
    for path in ("Device", "Stream", "Event", "memory.Memory", "function.Module", "function.Function"):
        mine, theirs = (attrgetter(path)(cuda) for cuda in (double, real))
        for kind in (mine, *mine.__mro__[1:-1]):
            for name, value in vars(kind).items():
                if inspect.isfunction(value) and (not name.startswith("_") or name == "__init__"):
                    compared = parameters(getattr(theirs, name))
                    assert not compared or parameters(value) == compared, f"{path}.{name}"
                    looked_at += 1
    assert parameters(double.alloc_pinned_memory) == parameters(real.alloc_pinned_memory)
    assert parameters(real.Graph.launch) == parameters(real.Graph.upload) == ["stream"]
    assert looked_at > 30
