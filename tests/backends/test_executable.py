"""Arenas, streams and storage: values lie where the plan says, streams wait for each other, failures come out."""

from __future__ import annotations

import _thread
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from alexnet_ir.backends import streams
from alexnet_ir.backends.executable import NumpyExecutable
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.backends.storage import ArrayStorage
from alexnet_ir.compiler import read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan, PlannedState
from alexnet_ir.ir.types import REPLICATED, On, Split, f32
from alexnet_ir.ops.elementwise import Add
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.training.step import InitialValues

from .. import strategies
from .programs import ROUNDS, SHARE, exchanging, separate
from .test_backends import TEXT, images

BACKENDS: dict[str, ReferenceBackend] = {"reference": ReferenceBackend(), "cpu": NumpyBackend()}
EACH = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
PLANS: dict[str, Callable[[], Plan]] = {
    "separate": lambda: separate(exchanging()),
    "planned": lambda: PlanMemory(NumpyBackend().target).run(exchanging()),
}
PLANNED = pytest.mark.parametrize("plan", [make() for make in PLANS.values()], ids=PLANS)
ZEROS = {"w": np.zeros((4, 300))}


def expected(x: Array, rounds: int = ROUNDS) -> Array:
    """The shares [2, 2, 300] after all rounds."""
    v = x.reshape(2, 2, 300).astype("f8")
    for _ in range(rounds):
        v = 0.5 * v + v[::-1]
    return v


class Shaken(NumpyExecutable):
    """Sleeps before and after steps, at random."""

    def step(self, position: int) -> None:
        time.sleep(random.choice([0, 0, 0, 1e-4, 5e-4]))
        super().step(position)
        time.sleep(random.choice([0, 0, 0, 1e-4, 5e-4]))


def shaken(plan: Plan, backend: ReferenceBackend) -> Shaken:
    made = backend.build(plan, backend.storage(plan, ZEROS))
    made.__class__ = Shaken
    assert isinstance(made, Shaken)
    return made


# Two devices


@PLANNED
@EACH
def test_two_devices_exchange(backend: ReferenceBackend, plan: Plan) -> None:
    """Shares are cut and put together by placement; a state is replaced; what is copied is counted."""
    executable = backend.build(plan, storage := backend.storage(plan, ZEROS))
    total = np.zeros((4, 300))
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((4, 300)).astype("f4")
        outputs = executable.run({"x": x})
        v = expected(x)
        total += v.reshape(4, 300)
        close = {"v": v.reshape(4, 300), "sum": v.sum(axis=0), "first": v[0], "one": v[1], "next": total}
        for name, value in close.items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(storage.read("w"), total, rtol=1e-5, atol=1e-5)
        assert executable.exchanged_bytes == 2 * ROUNDS * SHARE.nbytes


@PLANNED
def test_streams_wait_for_each_other(plan: Plan) -> None:
    """Two hundred times, with the threads shaken; memory that is used again is poisoned in between by its next use."""
    executable, threads = shaken(plan, NumpyBackend()), threading.active_count()
    for seed in range(200):
        x = np.random.default_rng(seed).standard_normal((4, 300)).astype("f4")
        outputs = executable.run({"x": x})
        np.testing.assert_allclose(outputs["v"], expected(x).reshape(4, 300), rtol=1e-4, atol=1e-4)
    assert threading.active_count() == threads


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 4])
def test_products_have_so_many_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a run only."""
    monkeypatch.setattr(streams, "cores", lambda: 9)
    streams._blas.cache_clear()  # other tests may have loaded libraries that came with other packages since
    before, seen, plan = blas_threads(), [], separate(exchanging())
    steps = [(step.stream, waits) for step, waits in zip(plan.steps, plan.waits, strict=True)]
    streams.run_streams(steps, lambda position: seen.append(blas_threads()), threads)
    assert all(found == [threads] * len(before) for found in seen)
    assert seen
    assert blas_threads() == before


def test_without_its_waits_the_program_goes_wrong() -> None:
    """So that the shaking is worth something."""
    plan = separate(exchanging())
    executable = shaken(replace(plan, waits=((),) * len(plan.steps)), NumpyBackend())
    wrong = 0
    for seed in range(50):
        x = np.random.default_rng(seed).standard_normal((4, 300)).astype("f4")
        wrong += not np.allclose(executable.run({"x": x})["v"], expected(x).reshape(4, 300), rtol=1e-4, atol=1e-4)
    assert wrong


class Broken(NumpyExecutable):
    """Does something else, once, at one step."""

    at: int
    instead: Callable[[], None] | None

    def step(self, position: int) -> None:
        if position == self.at and self.instead:
            instead, self.instead = self.instead, None
            instead()
        super().step(position)


def broken(plan: Plan, at: int, instead: Callable[[], None]) -> Broken:
    backend = NumpyBackend()
    made = backend.build(plan, backend.storage(plan, ZEROS))
    made.__class__ = Broken
    assert isinstance(made, Broken)
    made.at, made.instead = at, instead
    return made


@pytest.mark.parametrize("at", range(len(exchanging().steps)))
@pytest.mark.parametrize("failure", [ValueError("at a step"), KeyboardInterrupt()], ids=type)
def test_what_goes_wrong_in_a_stream_comes_out(at: int, failure: BaseException) -> None:
    """Nobody is left waiting, and the next run is right."""

    def fail() -> None:
        raise failure

    plan, threads = separate(exchanging()), threading.active_count()
    executable = broken(plan, at, fail)
    x = np.ones((4, 300), "f4")
    with pytest.raises(type(failure)) as caught:
        executable.run({"x": x})
    assert caught.value is failure
    assert threading.active_count() == threads
    np.testing.assert_allclose(executable.run({"x": x})["v"], expected(x).reshape(4, 300), rtol=1e-5)


def test_an_interrupt_ends_all_streams() -> None:
    def interrupt() -> None:
        _thread.interrupt_main()
        time.sleep(0.05)

    plan, threads = separate(exchanging()), threading.active_count()
    executable = broken(plan, 4, interrupt)
    x = np.ones((4, 300), "f4")
    with pytest.raises(KeyboardInterrupt):
        executable.run({"x": x})
    assert threading.active_count() == threads
    np.testing.assert_array_equal(executable.storage.read("w"), np.zeros((4, 300)))
    np.testing.assert_allclose(executable.run({"x": x})["v"], expected(x).reshape(4, 300), rtol=1e-5)


# Memory


@EACH
def test_results_lie_in_the_arena(backend: ReferenceBackend) -> None:
    """At the offsets of the plan, in proportion to the float type; states and their updates in the storage."""
    plan = PlanMemory(backend.target).run(Schedule().run(training_graph(read_model(TEXT))))
    storage = backend.storage(plan, InitialValues(plan, 0))
    executable = backend.build(plan, storage)
    executable.run({"image": images(4), "train.label": np.zeros(4, "i4"), **strategies.RATES})
    scale = backend.dtype.itemsize // 4
    (arena,) = executable.arenas
    assert arena.size == plan.arenas[0].size * scale
    for name, slot in plan.slots.items():
        view = executable.values[name]
        assert view.ctypes.data == arena.ctypes.data + slot.offset * scale
        assert slot.offset % 64 == 0 == view.ctypes.data % 64
        assert view.nbytes <= slot.nbytes * scale
    assert plan.aliases or backend.name == "reference"
    for name, state in plan.aliases.items():
        assert executable.values[name].ctypes.data == executable.values[state].ctypes.data
        (shard,) = storage.shards[state]
        assert shard is not None
        assert np.shares_memory(shard, executable.values[name])


@EACH
def test_states_that_replace_each_other(backend: ReferenceBackend) -> None:
    graph = Graph("net")
    a, b, c = (graph.state(name, f32(2, 3), Constant(0)) for name in "abc")
    graph.set_update("a", b)
    graph.set_update("b", a)
    graph.set_update("c", graph.emit(Add(), a, c, name="sum"))
    for plan in (PlanMemory(target).run(Schedule().run(graph)) for target in (backend.target, NumpyBackend().target)):
        storage = backend.storage(plan, {name: np.full((2, 3), i) for i, name in enumerate("abc", 1)})
        executable = backend.build(plan, storage)
        for values in ((2, 1, 4), (1, 2, 6), (2, 1, 7)):
            executable.run({})
            assert tuple(int(storage.read(name)[1, 2]) for name in "abc") == values


def test_a_plan_without_workspaces_runs_too() -> None:
    backend = NumpyBackend()
    graph = training_graph(read_model(TEXT))
    found = []
    for target in (backend.target, replace(backend.target, workspace=lambda *types: 0)):
        plan = PlanMemory(target).run(Schedule().run(graph))
        executable = backend.build(plan, backend.storage(plan, InitialValues(plan, 0)))
        found.append(executable.run({"image": images(4), "train.label": np.zeros(4, "i4"), **strategies.RATES}))
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value)


# Storage


def stateful(**states: PlannedState) -> Plan:
    return replace(separate(exchanging(1)), states=states, steps=(), waits=())


def state(type_: object, *shards: str | None) -> PlannedState:
    return PlannedState(type_, Constant(0), "parameter", shards, (None, None))  # type: ignore[arg-type]


@EACH
def test_storage_shares_out_and_puts_together(backend: ReferenceBackend) -> None:
    plan = stateful(
        split=state(f32(2, 4).at(Split(1)), "split@0", "split@1"),
        copied=state(f32(2, 4), "copied@0", "copied@1"),
        one=state(f32(2, 4).at(On(1)), None, "one@1"),
    )
    whole = np.arange(8.0).reshape(2, 4)
    storage = backend.storage(plan, dict.fromkeys(plan.states, whole))
    for name in plan.states:
        np.testing.assert_array_equal(storage.read(name), whole)
        storage.write(name, -whole)
        np.testing.assert_array_equal(storage.read(name), -whole)
    shares = {name: [None if s is None else s.shape for s in found] for name, found in storage.shards.items()}
    assert shares == {"split": [(2, 2), (2, 2)], "copied": [(2, 4), (2, 4)], "one": [None, (2, 4)]}
    np.testing.assert_array_equal(storage.shards["copied"][1], -whole)
    np.testing.assert_array_equal(storage.shards["split"][1], -whole[:, 2:])


@EACH
def test_a_plan_that_places_states_otherwise_is_not_built(backend: ReferenceBackend) -> None:
    split = {"w": state(f32(2, 4).at(Split(1)), "w@0", "w@1"), "v": state(f32(2, 4), "v@0", "v@1")}
    storage = backend.storage(stateful(**split), dict.fromkeys(split, np.zeros((2, 4))))
    for other in (
        state(f32(2, 4).at(Split(0)), "w@0", "w@1"),
        state(f32(2, 4).at(REPLICATED), "w@0", "w@1"),
        state(f32(2, 4).at(On(0)), "w@0", None),
        state(f32(4, 2).at(Split(1)), "w@0", "w@1"),
    ):
        with pytest.raises(ValueError, match="another type or placement of w than"):
            backend.build(stateful(v=split["v"], w=other), storage)
    assert isinstance(storage, ArrayStorage)
