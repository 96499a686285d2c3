"""What layers make of images: the values that evaluation passes through, on the net's own devices."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from numpy.typing import ArrayLike

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.diagnostics import error, listed
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.ir.graph import Value
from alexnet_ir.ir.names import SCORE, activation
from alexnet_ir.passes.placements import PRODUCTS
from alexnet_ir.training.step import Floats, Predictor

Activations = Callable[[ArrayLike | Augmented], dict[str, Floats]]
"""From n images (any number) to [n, ...] for each layer, channels first, by the layers' names."""


def activations(net: Predictor, layers: Sequence[str]) -> Activations:
    """The values of layers, by their names in `alexnet-ir summary`, in one pass for each batch, by the weights as they
    are when it is called. Of dropout, the value times its factor; of batch normalisation, by its running statistics.
    AlexnetError for a name that is no layer's."""
    chosen = [layer_named(net.model, name) for name in layers]
    fetched = net.fetching({activation(layer.path): layer.value for layer in chosen})

    def run(images: ArrayLike | Augmented) -> dict[str, Floats]:
        found = fetched(images)
        return {layer.path: found[activation(layer.path)] for layer in chosen}

    return run


def computed_layers(model: Model) -> list[Layer]:
    """All but the inputs, in the order of the text."""
    return [layer for layer in model.layers if layer.op != "input"]


def layer_named(model: Model, name: str) -> Layer:
    """The layer of this name; AlexnetError, with the names nearest to it, where there is none."""
    known = {layer.path: layer for layer in computed_layers(model)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=3)
    helps = [f"did you mean {listed(close)}?"] if close else []
    raise error(
        f"{model.net} has no layer `{name}`", helps=[*helps, f"`alexnet-ir summary {model.source.name}` lists them"]
    )


def last_hidden(model: Model) -> str:
    """The layer whose value the last layer with parameters reads, whatever flattens or drops it on the way: relu7 of
    AlexNet. Its values are features: images that are alike have features that are near. AlexnetError where a net has no
    such layer."""
    graph, value = model.graph, model.graph.outputs[SCORE]
    named = {graph.named(layer.value): layer for layer in computed_layers(model)}
    while not isinstance(graph.node(value).op, PRODUCTS):
        value = _first(graph.node(value).operands, model)
    value = _first(graph.node(value).operands, model)
    while value not in named or named[value].op in ("dropout", "flatten"):
        value = _first(graph.node(value).operands, model)
    return named[value].path


def _first(operands: Iterable[Value], model: Model) -> Value:
    """What a node reads, its parameters aside."""
    for operand in operands:
        return operand
    raise error(f"{model.net} has no layer between its image and its scores", span=model.layers[0].span)
