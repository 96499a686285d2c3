"""A plan as it is read, a line a step, and as plain data.

     3  0     conv2@0        fused conv_bias_relu  pool1@0, conv2.weight@0 -> relu2@0[1024:5120]
     4  0->1  conv3.0to1     copy                  pool2@0 -> conv3.0to1[0:4096]  waits for 1

Where a value is made, the bytes of its device's arena that it takes follow it, `[from:to]`; one that is written over
a state has `[= state]`. Steps of one stream run in their order; a step also waits for the steps of other streams that
it names. Where values do not lie as their types say, their layouts stand after them, and below a step why its kernels
are as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alexnet_ir.cli.table import Row, table
from alexnet_ir.ir.layout import plain
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Plan, Shards, Slot, Step
from alexnet_ir.ops.fused import Fused


def plan_text(plan: Plan, reasons: Mapping[int, str] | None = None) -> str:
    """The plan, ending in a newline; `reasons` by the positions of steps."""
    lines = [f"plan {plan.name}: {len(plan.steps):,} steps, devices {plan.devices}"]
    for device, arena in enumerate(plan.arenas):
        lines.append(f"device {device}: states {arena.states:,} bytes, arena {arena.size:,}, together {arena.peak:,}")
    for name, state in plan.states.items():
        lines.append(f"state {name}: {state.type}, {state.role}")
    for name, input in plan.inputs.items():
        lines.append(f"input {name}: {input.type} {_shards(plan, input.shards)}")
    rows = []
    for position, step in enumerate(plan.steps):
        rows.append(_row(plan, position, step))
        if reasons and position in reasons:
            rows.append(("", "", "", "", f"  {reasons[position]}"))
    lines += table(rows, right=(0,)).split("\n") if rows else []
    for name, output in plan.outputs.items():
        lines.append(f"output {name}: {output.type} {_shards(plan, output.shards)}")
    return "\n".join(lines) + "\n"


def _shards(plan: Plan, shards: Shards) -> str:
    return ", ".join(_place(plan, name) for name in shards if name is not None)


def _row(plan: Plan, position: int, step: Step) -> Row:
    values = f"{', '.join(step.operands)} -> {', '.join(_place(plan, name) for name in step.results)}"
    waits = ", ".join(map(str, plan.waits[position]))
    workspace = plan.workspaces.get(position)
    more = [f"works in {_bytes(workspace)}"] * (workspace is not None) + [f"waits for {waits}"] * bool(waits)
    return str(position), str(step.stream), step.name, _op(step.op), "  ".join([values.lstrip(), *more])


def _place(plan: Plan, name: str) -> str:
    """A value and where it is."""
    layout = "" if plan.layouts[name] == plain(plan.types[name]) else f" {plan.layouts[name]}"
    if name in plan.slots:
        return f"{name}{_bytes(plan.slots[name])}{layout}"
    return f"{name}[= {plan.aliases[name]}]{layout}" if name in plan.aliases else f"{name}{layout}"


def _bytes(slot: Slot | None) -> str:
    return f"[{slot.offset}:{slot.end}]" if slot else ""


def _op(op: Op) -> str:
    return f"{op.name} {op.rule}" if isinstance(op, Fused) else op.name


def plan_data(plan: Plan) -> dict[str, object]:
    """The plan as plain data. Shards of a value are listed by device; offsets are bytes of that device's arena."""
    return {
        "name": plan.name,
        "devices": [
            {"states_bytes": arena.states, "arena_bytes": arena.size, "peak_bytes": arena.peak} for arena in plan.arenas
        ],
        "inputs": {
            name: {"type": str(input.type), "default": input.default, "shards": input.shards}
            for name, input in plan.inputs.items()
        },
        "states": {
            name: {"type": str(state.type), "role": state.role, "shards": state.shards, "updates": state.updates}
            for name, state in plan.states.items()
        },
        "outputs": {name: {"type": str(output.type), "shards": output.shards} for name, output in plan.outputs.items()},
        "values": {name: dict(_value(plan, name)) for name in plan.types},
        "steps": [_step(plan, position, step) for position, step in enumerate(plan.steps)],
    }


def _value(plan: Plan, name: str) -> Iterator[tuple[str, object]]:
    type_ = plan.types[name]
    yield from (("dtype", type_.dtype), ("shape", type_.shape), ("device", type_.device), ("bytes", plan.nbytes(name)))
    yield "layout", str(plan.layouts[name])
    if name in plan.slots:
        yield "offset", plan.slots[name].offset
    elif name in plan.aliases:
        yield "in_place_of", plan.aliases[name]


def _step(plan: Plan, position: int, step: Step) -> dict[str, object]:
    workspace = plan.workspaces.get(position)
    return {
        "name": step.name,
        "op": _op(step.op),
        "stream": str(step.stream),
        "operands": step.operands,
        "results": step.results,
        "workspace": None if workspace is None else {"offset": workspace.offset, "bytes": workspace.nbytes},
        "waits": plan.waits[position],
        "line": step.span.line if step.span else None,
    }
