"""A compiler's report as plain data: a net's layers and where they lie, what each device holds, what is exchanged, what
was fused, and how long a step is predicted to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from alexnet_ir.passes.base import PassRecord
from alexnet_ir.passes.exchanges import Phase


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: shape, parameters and MACs are those of one image; `activation_bytes` those of its output for the
    whole batch. `split` says in a word how it is shared out, or where it lies."""

    layer: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    split: str
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Device:
    """What one device holds. The peak is states and arena together; no plan goes below the lower bound; `unplanned` is
    with a place of its own for every value. Temporaries are the most that a step allocates beside the arena."""

    name: str
    parameters: int
    states_bytes: int
    arena_bytes: int
    peak_bytes: int
    lower_bound_bytes: int
    unplanned_bytes: int
    temporary_bytes: int


@dataclass(frozen=True, slots=True)
class Temporary:
    """A step that allocates memory beside the arena."""

    step: str
    device: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What one rule of fusion did: how often, and the bytes of memory traffic that saves."""

    rule: str
    count: int
    saved_bytes: int


@dataclass(frozen=True, slots=True)
class Edge:
    """One exchange, caused by a layer at a line of the model file; bytes over all devices."""

    layer: str
    line: int | None
    kind: str
    phase: Phase
    bytes: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a step exchanges, predicted from the logical graph; `emitted_bytes` is what the plan's transfers move."""

    total_bytes: int
    emitted_bytes: int
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many steps all devices run."""

    before_fusion: int
    after_fusion: int


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What runs twice for a limit of memory, and what that costs."""

    nodes: tuple[str, ...]
    flops: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the profile's time model says of a step, and of the whole `run` (`run_seconds`, where that can be said).
    `gain` is how many times as fast as one device it would be, `explanation` why."""

    profile: str
    description: str
    memory_bytes: int | None
    seconds: float
    single_device_seconds: float
    gain: float
    images_per_second: float
    seconds_per_million_images: float
    run: str
    run_seconds: float | None
    explanation: str


@dataclass(frozen=True, slots=True)
class States:
    """All states of one role."""

    role: str
    count: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """What one run of a logical graph takes. `ops` counts the nodes of each op; inputs and states are none."""

    ops: dict[str, int]
    flops: int
    states: tuple[States, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The compiler's report. MACs are those of one image forward. `place_from` says who chose the placement, `tried`
    what `auto` compared (predicted seconds a step) and `found` which of them it took; `refusals` are layers that could
    not be as it wants them."""

    net: str
    file: str
    recipe: str
    batch: int
    parameters: int
    macs: int
    place: str
    place_from: str
    found: str
    tried: Mapping[str, float]
    refusals: tuple[str, ...]
    memory_limit: int | None
    layers: tuple[Layer, ...]
    devices: tuple[Device, ...]
    temporaries: tuple[Temporary, ...]
    exchange: Exchanged
    fusions: tuple[Rule, ...]
    fusion_refusals: tuple[str, ...]
    steps: StepCount
    recomputed: Recomputed
    predicted: Prediction
    passes: tuple[PassRecord, ...]
    step: GraphFigures
    inference: GraphFigures
    inference_peak_bytes: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        return asdict(self)
