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

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class Taken:
    """The layers that a net took over from the weights file `source`, and why each other layer of either was left."""

    source: str
    layers: tuple[str, ...]
    left: Mapping[str, str]

    @property
    def head(self) -> str:
        """Where from, and what."""
        return f"initialised from {self.source}: {listed(self.layers)}"

    @property
    def reasons(self) -> list[str]:
        """A line for each layer that was left."""
        return [f"  not taken: {layer}, {why}" for layer, why in self.left.items()]


def initialise_from(net: Predictor, run_or_weights: Path) -> Taken:
    """Take over the layers of a run or weights file that the net has by the same name, with parameters and statistics
    of the same shapes; AlexnetError where there are none."""
    path = weights_path(run_or_weights)
    return take_over(net, read_weights(path).tensors, str(path))


def take_over(net: Predictor, tensors: Tensors, source: str) -> Taken:
    """The same of tensors that were read from `source`."""
    ours, theirs = _by_layer(net.weights), _by_layer(tensors)
    left = {layer: why for layer in (ours | theirs) if (why := _why_not(ours.get(layer, {}), theirs.get(layer, {})))}
    taken = tuple(layer for layer in ours if layer not in left)
    if not taken:
        raise error(
            f"{source}: no layer in it has the name and shapes of one of {net.model.net}",
            notes=[f"the net has {_some(net.weights)}", f"the file has {_some(tensors)}"],
            helps=["layers are matched by name: label them as in the model that was trained"],
        )
    for layer in taken:
        for name, value in theirs[layer].items():
            net.weights[name] = value
    return Taken(source, taken, left)


def _by_layer(tensors: Tensors) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for name, value in tensors.items():
        found.setdefault(layer_of(name), {})[name] = value
    return found


def _why_not(ours: dict[str, Array], theirs: dict[str, Array]) -> str | None:
    """Why a layer of the file cannot be the net's; None where it can."""
    if not ours or not theirs:
        return f"which is not in the {'file' if ours else 'net'}"
    for name in ours | theirs:
        what = name.rpartition(".")[2]
        if name not in ours or name not in theirs:
            return f"whose {what} is not in the {'file' if name in ours else 'net'}"
        if ours[name].shape != theirs[name].shape:
            return f"whose {what} has shape {list(theirs[name].shape)} there and {list(ours[name].shape)} here"
    return None


def _some(tensors: Tensors) -> str:
    """The first few, with shapes."""
    shown = [f"{name} {list(tensors[name].shape)}" for name in list(tensors)[:4]]
    return f"{', '.join(shown)}{', ...' if len(tensors) > len(shown) else ''}"
