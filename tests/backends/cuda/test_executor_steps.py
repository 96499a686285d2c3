"""Whole training steps on the machine of GPUs, on a double of CuPy: the bits are those of the host's machine, on one
and two devices, as a graph and as a list; and a wait that is taken away shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.cuda import card, cublas
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.gpu import GPUS, Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.machine import Machine
from alexnet_ir.compiler import compile_step, read_model
from alexnet_ir.dsl.model import Choice
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.setup import Setup
from alexnet_ir.training.step import InitialValues

from .cupy_double import Model, World, Wrong, enter, pickled
from .running import needs_gxx

pytestmark = needs_gxx
DIGITS = Path(__file__).parents[3] / "examples" / "digits.alx"
GPU = GPUS["sm_90"]
STEPS = 2
Bits = Mapping[str, Array]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little to fill with poison."""
    monkeypatch.setattr(card, "CHUNK", 1 << 14)
    monkeypatch.setattr(cublas, "WORKSPACE", 1 << 12)


@cache
def plan_of(place: str | None, devices: int, precision: Precision) -> Plan:
    """The training step of the digits net, on few images."""
    setup = Setup(CudaBackend(GPU, precision), ("0",) * devices, place)
    return compile_step(read_model(DIGITS, Choice(batch=4)), setup).plan


def fed(plan: Plan, step: int) -> dict[str, Array]:
    """Something for every input."""
    rng = np.random.default_rng(step)
    found = {}
    for name, planned in plan.inputs.items():
        shape, is_whole = planned.type.shape, planned.type.dtype != "f32"
        random = rng.integers(0, 10, shape) if is_whole else rng.random(shape)
        found[name] = random if shape else np.asarray(step if is_whole else 0.01)
    return found


def bits(plan: Plan, precision: Precision, machine: Machine) -> Bits:
    """Outputs of the last of some steps, and all states after it."""
    backend = CudaBackend(GPU, precision, machine)
    storage = backend.storage(plan, InitialValues(plan, 0))
    executable, outputs = backend.build(plan, storage), dict[str, Array]()
    for step in range(STEPS):
        outputs = executable.run(fed(plan, step))
    return outputs | {name: storage.read(name) for name in plan.states}


@cache
def host_bits(place: str | None, devices: int, precision: Precision) -> Bits:
    return bits(plan_of(place, devices, precision), precision, HostMachine(gpu=GPU))


def differs(some: Bits, others: Bits) -> list[str]:
    return [name for name in others if some[name].tobytes() != others[name].tobytes()]


CASES = [
    (None, (0,), "tf32"),
    (None, (0,), "bf16"),
    ("columns", (0, 0), "tf32"),
    ("columns", (0, 1), "fp32"),
    ("data", (0, 1), "bf16"),
]


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
@pytest.mark.parametrize(("place", "devices", "precision"), CASES)
def test_a_training_step_has_the_bits_of_the_host(
    place: str | None, devices: tuple[int, ...], precision: Precision, graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = enter(World(gpus=(Model(),) * len(set(devices)), seed=graph), monkeypatch)
    machine = CupyMachine(devices, graph, pickled)
    found = bits(plan_of(place, len(devices), precision), precision, machine)
    assert differs(found, host_bits(place, len(devices), precision)) == []
    assert world.graphs == graph
    assert len(world.handles) == len(devices)


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "list"])
def test_a_wait_that_is_taken_away_shows(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, expected = plan_of("columns", 2, "tf32"), host_bits("columns", 2, "tf32")
    pairs = [(position, wait) for position, waits in enumerate(plan.waits) for wait in waits]

    def shows(position: int, wait: int, seed: int) -> bool:
        enter(World(gpus=(Model(),) * 2, seed=seed), monkeypatch)
        waits = list(plan.waits)
        waits[position] = tuple(other for other in waits[position] if other != wait)
        try:
            found = bits(replace(plan, waits=tuple(waits)), "tf32", CupyMachine((0, 1), graph, pickled))
        except Wrong:
            return True
        return bool(differs(found, expected))

    seen = [any(shows(*pair, seed) for seed in range(20)) for pair in pairs]
    assert sum(seen) >= 0.9 * len(seen), f"{sum(seen)} of {len(seen)}"  # a plan may wait twice for one thing
