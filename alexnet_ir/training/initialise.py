"""Fine-tuning: a net that begins with another's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alexnet_ir.diagnostics import error, listed
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.op import Array
from alexnet_ir.training.run import weights_path
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import read_weights


@dataclass(frozen=True)
class Taken:
    """What a net took over from the weights file `source`: `layers` of which it took all that it has, and why each
    other tensor of either was left."""

    source: str
    layers: tuple[str, ...]
    left: Mapping[str, str]

    @property
    def text(self) -> str:
        """In a few lines."""
        head = f"initialised from {self.source}: {listed(self.layers)}" if self.layers else f"from {self.source}"
        return "\n".join([head, *(f"  not taken: {name}, {why}" for name, why in self.left.items())])


def initialise_from(net: Predictor, run_or_weights: Path) -> Taken:
    """Take over the parameters and statistics of a run or weights file that the net has by the same name and of the
    same shape; AlexnetError where there are none."""
    path = weights_path(run_or_weights)
    return take_over(net, read_weights(path).tensors, str(path))


def take_over(net: Predictor, tensors: Mapping[str, Array], source: str) -> Taken:
    """The same of tensors that were read from `source`."""
    left: dict[str, str] = {}
    for name in net.weights:
        here = net.plan.states[name].type.shape
        if name not in tensors:
            left[name] = "which is not in the file"
        elif tensors[name].shape != here:
            left[name] = f"which has shape {list(tensors[name].shape)} there and {list(here)} here"
    taken = [name for name in net.weights if name not in left]
    if not taken:
        raise error(
            f"{source}: nothing in it has a name and shape of {net.model.net}",
            notes=[f"the net has {_some(net.weights)}", f"the file has {_some(tensors)}"],
            helps=["layers are matched by name: label them as in the model that was trained"],
        )
    for name in taken:
        net.weights[name] = tensors[name]
    unfinished = {layer_of(name) for name in left}
    layers = dict.fromkeys(layer for name in taken if (layer := layer_of(name)) not in unfinished)
    left |= {name: "which is not in the net" for name in tensors if name not in net.weights}
    return Taken(source, tuple(layers), left)


def _some(tensors: Mapping[str, Array]) -> str:
    """The first few, with shapes."""
    shown = [f"{name} {list(tensors[name].shape)}" for name in list(tensors)[:4]]
    return f"{', '.join(shown)}{', ...' if len(tensors) > len(shown) else ''}"
