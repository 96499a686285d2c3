"""All passes by name, and the pipelines: which passes make a training step, and which an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import Pass
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.passes.fuse import Fuse
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.specialise import Specialise
from alexnet_ir.passes.update import Update

PASSES: dict[str, type[Pass]] = {p.name: p for p in (Loss, Backward, Update, Specialise, FcToConv, Cleanup, Fuse)}

PIPELINES: dict[str, tuple[str, ...]] = {
    "train": ("loss", "backward", "update", "cleanup"),
    "infer": ("specialise", "cleanup"),
    "dense": ("specialise", "cleanup", "fc-to-conv"),
}
"""Graph to graph; `schedule` then makes the plan."""


def pipeline(name: str, options: Mapping[str, Pass]) -> list[Pass]:
    """The passes of a pipeline: those in `options` as they are given, the others with their defaults."""
    return [options.get(p) or PASSES[p]() for p in PIPELINES[name]]
