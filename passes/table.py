"""All passes by name, and the pipelines: which passes make a training step, and which an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import Pass
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.passes.fuse import Fuse
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.specialise import Specialise
from alexnet_ir.passes.update import Update

PASSES: dict[str, type[Pass]] = {
    p.name: p for p in (Loss, Specialise, FcToConv, Partition, Backward, Update, Cleanup, Distribute, Fuse)
}

PIPELINES: dict[str, tuple[str, ...]] = {
    "train": ("loss", "partition", "backward", "update", "cleanup"),
    "infer": ("specialise", "cleanup", "partition", "cleanup"),
    "dense": ("specialise", "cleanup", "fc-to-conv", "partition", "cleanup"),
    "lower": ("distribute", "fuse"),
}
"""Graph to graph. The first three make a logical graph of what is to be done, `lower` what each device does of it;
`schedule` and `plan-memory` then make the plan."""


def pipeline(name: str, options: Mapping[str, Pass]) -> list[Pass]:
    """The passes of a pipeline: those in `options` as they are given, the others with their defaults."""
    return [options.get(p) or PASSES[p]() for p in PIPELINES[name]]
