"""Which placement a net gets on the devices there are: the one that was named, the file's own, or the best found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from alexnet_ir.diagnostics import AlexnetError, error, listed, nearest
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Strategy
from alexnet_ir.ir.profile import Profile
from alexnet_ir.ir.types import On
from alexnet_ir.passes.placements import BUILT_IN, Mode, Refusal, built_in, follow, layers, mode_of, refusal
from alexnet_ir.passes.search import search

SINGLE, AUTO = "single", "auto"
Predict = Callable[["Placing"], float]
"""From a placement to the seconds that a step is predicted to take."""


@dataclass(frozen=True)
class Placing:
    """How a net lies on `devices` devices: a strategy for every node of its forward graph with the loss, and the mode
    of each layer with parameters. `refusals` are the layers that could not be as the placement wants them; `tried` are
    the placements that `auto` compared, with their predicted seconds a step, and `best` the one it took."""

    name: str
    devices: int
    modes: Mapping[str, Mode] = field(default_factory=dict)
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    tried: Mapping[str, float] = field(default_factory=dict)
    best: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.best})" if self.best not in ("", self.name) else self.name


def placing_of(
    model: Model, forward: Graph, devices: int, name: str | None, profile: Profile, predict: Predict
) -> Placing:
    """The placement by this name, else the file's section for so many devices, else `auto`. `forward` is the net with
    its loss."""
    sections = _sections(model)
    if name is None:
        name = next((place.name for place in sections.values() if place.devices == devices), AUTO)
    section = _on(sections[name], devices) if name in sections else None
    if devices == 1 and (section or name in BUILT_IN):
        return Placing(SINGLE, 1)
    if section:
        return _of_section(section, model, forward)
    if name == AUTO:
        return _automatic(model, forward, devices, profile, predict)
    if name in BUILT_IN:
        return _built_in(name, forward, devices)
    known = (*sections, *BUILT_IN)
    close = nearest(name, known)
    helps = [f"did you mean `{close}`?"] if close else []
    raise error(f"--place {name}: no such placement", helps=[*helps, f"there are {listed(known)}"])


def _sections(model: Model) -> dict[str, spec.PlaceSpec]:
    """The file's placements of this net, by name."""
    return {place.name: place for place in model.places if place.net == model.net}


def _on(place: spec.PlaceSpec, devices: int) -> spec.PlaceSpec:
    if place.devices != devices:
        raise error(
            f"`place {place.name}` is for {place.devices} devices, and there are {devices}",
            span=place.span,
            helps=[f"give --devices {','.join(['cpu'] * place.devices)}, or another --place"],
        )
    return place


def _built_in(name: str, forward: Graph, devices: int) -> Placing:
    modes, refusals = built_in(name, forward, devices)
    return Placing(name, devices, modes, follow(forward, devices, modes), tuple(refusals))


def _of_section(place: spec.PlaceSpec, model: Model, forward: Graph) -> Placing:
    """A `place` section's; AlexnetError where a layer cannot be shared out as it says."""
    modes = modes_of(place, model, forward)
    nodes = {node.name: node for node in layers(forward)}
    for name, mode in modes.items():
        failed = refusal(forward, nodes[name], mode, place.devices)
        if failed is not None:
            raise error(
                f"{failed.layer}: {failed.reason}",
                code="D003",
                span=place.span,
                helps=[f"leave `{failed.layer}` out of the split, or split it otherwise"],
            )
    return Placing(place.name, place.devices, modes, follow(forward, place.devices, modes))


def modes_of(place: spec.PlaceSpec, model: Model, forward: Graph) -> dict[str, Mode]:
    """What a section says of each layer with parameters; of two that say something, the later holds."""
    names = [layer.path for layer in model.layers]
    parametric = {node.name for node in layers(forward)}
    modes: dict[str, Mode] = {}
    for split in place.splits:
        if isinstance(split, spec.BatchSplit | spec.ChannelSplit):
            mode: Mode = "batch" if isinstance(split, spec.BatchSplit) else "channels"
            covered = names[names.index(split.first.id) : names.index(split.last.id) + 1]
            modes.update((name, mode) for name in covered if name in parametric)
        elif isinstance(split, spec.OnDevice):
            modes[split.layer.id] = On(split.device)
        else:
            modes[split.layer.id] = "inputs" if isinstance(split, spec.InputSplit) else "channels"
    return {name: mode for name, mode in modes.items() if name in parametric}


def _automatic(model: Model, forward: Graph, devices: int, profile: Profile, predict: Predict) -> Placing:
    """The searched placement, or a named one that is predicted to be quicker still."""
    strategies = search(forward, devices, profile)
    modes = {node.name: mode_of(strategies[node.name]) for node in layers(forward)}
    candidates = [Placing(AUTO, devices, modes, strategies)]
    candidates += [_built_in(name, forward, devices) for name in BUILT_IN if name != AUTO]
    for place in _sections(model).values():
        if place.devices == devices:
            try:
                candidates.append(_of_section(place, model, forward))
            except AlexnetError:
                continue  # it says itself what is wrong when it is asked for by name
    tried = {candidate.name: predict(candidate) for candidate in candidates}
    best = min(candidates, key=lambda candidate: tried[candidate.name])
    return replace(best, name=AUTO, tried=tried, best=best.name)
