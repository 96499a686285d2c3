"""A plan that does not fit is refused with figures, and with a batch that fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from alexnet_ir.backends.cuda import card, room
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.cublas import WORKSPACE
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.compiler import compile_step, read_model
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.dsl.model import Choice
from alexnet_ir.ir.plan import Plan
from alexnet_ir.setup import Setup
from alexnet_ir.training.step import TrainingStep

from .cupy_double import Model as Gpu
from .cupy_double import World, enter, pickled

NET = """alx 1

net Small(classes = 10) {
  image = input(1, 8, 8)
  return image -> conv1: conv(96, 5, pad = 2) -> relu -> maxpool(2) -> flatten -> fc(classes)
}

data d { source: digits() }

train t {
  batch: 8
  stop: steps(1)
  optimizer: sgd(lr = 0.1, momentum = 0.9)
}
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of one step on one device."""
    return compile_step(read_model(NET), Setup(CudaBackend(GPUS["sm_90"], "tf32"), ("0",))).plan


def said(plan: Plan, free: Sequence[int | None], physical: Sequence[int], batch: int = 128, image: int = 0) -> str:
    tried: list[int] = []

    def retry(smaller: int) -> Sequence[int]:
        tried.append(smaller)
        return [image * smaller] * len(physical)

    failure = room.shortage(plan, free, physical, batch, retry)
    assert len(tried) <= 5
    assert len(set(tried)) == len(tried)
    return "" if failure is None else str(failure)


def test_what_fits_or_is_not_known_is_let_pass(plan: Plan) -> None:
    (needed,) = room.needed(plan)
    assert needed == plan.arenas[0].peak + WORKSPACE
    assert room.shortage(plan, [needed + room.RESERVE], [0]) is None
    assert room.shortage(plan, [None], [0]) is None


def test_what_does_not_fit_is_said_with_the_largest_values(plan: Plan) -> None:
    (needed,) = room.needed(plan)
    message = said(plan, [needed + room.RESERVE - 1], [0])
    assert (
        f"the step needs {needed + room.RESERVE:,} of {needed + room.RESERVE - 1:,} bytes free on device 0" in message
    )
    assert "the states take" in message
    assert "<text>:5) takes" in message
    message = said(plan, [needed], [3])
    assert "GiB free on device 3" in message


def test_a_batch_is_named_that_fits(plan: Plan) -> None:
    large = replace(plan, arenas=(replace(plan.arenas[0], size=200 * MIB),))
    free = 100 * MIB + room.RESERVE
    assert "batch 96 fits: --batch 96" in said(large, [free], [0], image=MIB)
    assert "batch 2 fits" in said(large, [free], [0], image=40 * MIB)
    assert "batch 3 fits" in said(large, [free], [0], batch=4, image=33 * MIB)
    assert "no smaller batch fits" in said(large, [free], [0], image=200 * MIB)
    assert "--memory-limit 68MiB computes" in said(large, [free], [0])


def test_a_batch_that_cannot_be_planned_does_not_fit(plan: Plan) -> None:
    def retry(batch: int) -> Sequence[int]:
        raise error("it cannot")

    assert "no smaller batch fits" in str(room.shortage(plan, [0], [0], 8, retry))


def test_a_step_is_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_model(NET, Choice(batch=4096))
    monkeypatch.setattr(card, "CHUNK", 1 << 10)
    world = enter(World(gpus=(Gpu(memory=256 * MIB),)), monkeypatch)
    machine = CupyMachine((0,), True, pickled)
    with pytest.raises(AlexnetError, match=r"needs 0.\d+ of 0.\d+ GiB free on device 0") as raised:
        TrainingStep(model, Setup(CudaBackend(machine.gpu, "tf32", machine), ("0",)))
    assert world.taken(0) == 0
    fitting = re.search(r"batch (\d+) fits", str(raised.value))
    assert fitting is not None
    assert 512 <= int(fitting[1]) < 4096


def test_devices_on_one_gpu_share_its_memory(plan: Plan) -> None:
    two = compile_step(read_model(NET), Setup(CudaBackend(GPUS["sm_90"], "tf32"), ("0", "0"), "columns")).plan
    needed = room.needed(two)
    enough = [max(needed) + room.RESERVE] * 2
    assert room.shortage(two, enough, [0, 1]) is None
    message = said(two, enough, [1, 1])
    assert "free on device 1, which 2 logical devices share" in message
    assert room.shortage(two, [sum(needed) + room.RESERVE] * 2, [1, 1]) is None
