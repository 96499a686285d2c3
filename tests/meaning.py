"""What a graph means, logical or distributed, from whole values to whole values: each node by its op's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.op import Array, Source
from alexnet_ir.ir.types import Partial, Placement, Replicated, Split


def share_of(whole: Array, placement: Placement, device: int, devices: int) -> Array:
    """A device's share of a value that is no sum."""
    return np.split(whole, devices, placement.axis)[device] if isinstance(placement, Split) else whole


def assembled(shares: Mapping[int, Array], placement: Placement) -> Array:
    """The value that shares, by device, are of; what all have must be alike."""
    parts = [shares[device] for device in sorted(shares)]
    if isinstance(placement, Split):
        return np.concatenate(parts, placement.axis)
    if isinstance(placement, Partial):
        return np.asarray(sum(parts))
    if isinstance(placement, Replicated):
        for part in parts[1:]:
            np.testing.assert_allclose(part, parts[0], rtol=1e-9, atol=1e-12)
    return parts[0]


def results(graph: Graph, given: Mapping[str, Any]) -> dict[str, Array]:
    """One run: the outputs by name, and under `%NAME` what replaces each state. `given` are inputs and states, whole;
    inputs that have a default need not be there."""
    values: dict[Value, Array] = {}
    for node in graph.topo():
        if isinstance(node.op, Source):
            found: tuple[Array, ...] = (_source(graph, node.name, given, getattr(node.op, "default", None)),)
        else:
            with np.errstate(all="ignore"):
                found = node.op.evaluate([values[v] for v in node.operands])
        for value, array in zip(node.results, found, strict=True):
            type_ = graph.tensor(value)
            assert array.shape == type_.shape, f"%{graph.value_name(value)} is {type_}, found {array.shape}"
            values[value] = np.asarray(array, "f8") if type_.dtype == "f32" else array
    updates = {f"%{s.name}": s.update for s in graph.states.values() if s.update is not None}
    made = {name: values[value] for name, value in (graph.outputs | updates).items()}
    return _wholes(graph, made) if graph.wholes else made


def _source(graph: Graph, name: str, given: Mapping[str, Any], default: float | None) -> Array:
    """What an input or state holds: of a distributed one, a device's share, which may be given as it is."""
    if not graph.wholes or name in given:
        return np.asarray(given.get(name, default))
    whole, _, device = name.rpartition("@")
    placement = graph.wholes[f"%{whole}"].placement
    return share_of(np.asarray(given.get(whole, default)), placement, int(device), graph.devices)


def _wholes(graph: Graph, made: Mapping[str, Array]) -> dict[str, Array]:
    """Whole values from those of all devices."""
    shares: dict[str, dict[int, Array]] = {}
    for name, array in made.items():
        whole, _, device = name.rpartition("@")
        shares.setdefault(whole, {})[int(device)] = array
    return {name: assembled(parts, graph.wholes[name].placement) for name, parts in shares.items()}
