"""What the example nets emit at a large batch is within what a GPU takes: grids, blocks, shared memory, places."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.gpu import GPUS, PRECISIONS, Precision
from alexnet_ir.backends.cuda.program import emissions
from alexnet_ir.backends.emission.commands import Command, Gemm, Launch, Place, Table
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.compiler import compile_inference, compile_step, read_model
from alexnet_ir.dsl.model import Choice
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.setup import Setup

from .sweep import EXAMPLES, GRID, THREADS

GPU, BATCH = GPUS["sm_90"], 512


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", EXAMPLES)
def test_launches_and_places_at_a_large_batch(net: str, precision: Precision) -> None:
    model, setup = read_model(EXAMPLES[net], Choice(batch=BATCH)), Setup(CudaBackend(GPU, precision), ("0",))
    step = compile_step(model, setup)
    for plan in (step.plan, compile_inference(model, setup, step).plan):
        offsets = [slot.offset for slot in (*plan.slots.values(), *plan.workspaces.values())]
        assert all(offset % ALIGNMENT == 0 for offset in offsets)
        for planned, emission in emissions(plan, GPU, precision):
            for command in emission.commands:
                assert list(faults(plan, planned, command, emission.workspace)) == [], planned.name


def faults(plan: Plan, step: Step, command: Command, workspace: int) -> Iterator[str]:
    """What a GPU would refuse, or do beside the tensors."""
    for place in places(command):
        if place.kind == "workspace":
            if place.number % ALIGNMENT or place.number + place.nbytes > workspace:
                yield f"{place} in {workspace} bytes of workspace"
        elif place.nbytes > plan.nbytes((step.operands if place.kind == "operand" else step.results)[place.number]):
            yield f"{place} is larger than the value"
    if isinstance(command, Launch):
        if any(not 0 < blocks <= most for blocks, most in zip(command.grid, GRID, strict=True)):
            yield f"grid {command.grid}"
        if not 0 < math.prod(command.block) <= THREADS or command.shared > GPU.shared:
            yield f"block {command.block}, {command.shared} bytes shared"
        if command.shared and re.search(r"^\s*__shared__", command.kernel.source, re.M):
            yield "static shared memory beside dynamic, which has all that is asked for"
        if command.grid[0] * command.block[0] >= 2**31:
            yield f"threads are counted in 32 bits: {command.grid} {command.block}"
    if isinstance(command, Gemm):
        taken = (command.m * command.k, command.k * command.n)
        if any(STORED_BYTES[command.stored] * n > p.nbytes for n, p in zip(taken, (command.a, command.b), strict=True)):
            yield f"operands of {command}"
        if STORED_BYTES[command.out_stored] * command.m * command.n > command.out.nbytes:
            yield f"result of {command}"


def places(command: Command) -> Iterator[Place]:
    """All memory that a command names."""
    if isinstance(command, Launch):
        for argument in command.arguments:
            if isinstance(argument, Table):
                yield from argument.places
            elif isinstance(argument, Place):
                yield argument
    elif isinstance(command, Gemm):
        yield from (command.a, command.b, command.out)
    else:
        yield from (command.source, command.target)


def test_what_is_beyond_the_limits_is_seen() -> None:
    model, setup = read_model(EXAMPLES["lenet5"]), Setup(CudaBackend(GPU, "fp32"), ("0",))
    plan = compile_step(model, setup).plan
    planned, launch = next(
        (step, command)
        for step, emission in emissions(plan, GPU, "fp32")
        for command in emission.commands
        if isinstance(command, Launch)
    )
    place = next(places(launch))
    for wrong in (
        replace(launch, grid=(1, 65536, 1)),
        replace(launch, grid=(1, 1, 0)),
        replace(launch, block=(1024, 2, 1)),
        replace(launch, shared=GPU.shared + 1),
        replace(launch, grid=(2**30, 1, 1), block=(32, 1, 1)),
        replace(launch, arguments=(replace(place, nbytes=2**40),)),
        replace(launch, arguments=(Place("workspace", 128, 4),)),
    ):
        assert list(faults(plan, planned, wrong, 2**30)), wrong
