"""The states of a net in the memory of a machine's devices, in the layouts of its plan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alexnet_ir.backends.emission.encode import decode, encode
from alexnet_ir.backends.emission.machine import Block, Machine
from alexnet_ir.backends.emission.site import ALIGNMENT, round_up
from alexnet_ir.backends.storage import ShardedStorage
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan


class EmittedStorage(ShardedStorage):
    """One block a device for all states: parameters, momenta and statistics. It also keeps the arenas that executables
    of the net take turns in."""

    def __init__(self, plan: Plan, values: Mapping[str, Array], machine: Machine) -> None:
        super().__init__(plan, values)
        self.machine = machine
        self.layouts: dict[str, Layout] = {}
        self.addresses: dict[str, int] = {}
        """Of each shard, by its name."""
        self.changes = 0
        """How often a state or an arena was written."""
        self._shards = {name: state.shards for name, state in plan.states.items()}
        self._blocks = [self._place(plan, device) for device in range(plan.devices)]
        self._arenas: list[Block | None] = [None] * plan.devices
        for name in plan.states:
            self.write(name, np.asarray(values[name]))

    def arena(self, device: int, nbytes: int) -> Block:
        """Memory for a plan's run, whose content nobody relies on between runs; the same for all plans that fit."""
        found = self._arenas[device]
        if found is None or found.nbytes < nbytes:
            found = self._arenas[device] = self.machine.allocate(device, nbytes)
        return found

    def check_layouts(self, plan: Plan) -> None:
        """ValueError for a plan that has a state lie otherwise."""
        self.check(plan)
        for shard, layout in self.layouts.items():
            if shard in plan.layouts and plan.layouts[shard] != layout:
                raise ValueError(f"the storage has {shard} as {layout}, the plan as {plan.layouts[shard]}")

    def get(self, name: str, device: int) -> Array:
        shard, shape = self._shard(name, device), self.shape(name)
        layout = self.layouts[shard]
        return decode(self.machine.download(device, self.addresses[shard], layout.nbytes(shape)), layout, shape)

    def put(self, name: str, device: int, shard: Array) -> None:
        named = self._shard(name, device)
        self.changes += 1
        self.machine.upload(device, self.addresses[named], encode(np.asarray(shard), self.layouts[named]))

    def _shard(self, name: str, device: int) -> str:
        shard = self._shards[name][device]
        assert shard is not None
        return shard

    def _place(self, plan: Plan, device: int) -> Block:
        offsets, end = {}, 0
        for state in plan.states.values():
            shard = state.shards[device]
            if shard is not None:
                offsets[shard], self.layouts[shard] = end, plan.layouts[shard]
                end += round_up(plan.nbytes(shard), ALIGNMENT)
        block = self.machine.allocate(device, end)
        self.addresses |= {shard: block.address + offset for shard, offset in offsets.items()}
        return block
