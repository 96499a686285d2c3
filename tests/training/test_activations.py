"""The values of layers: on every kind of device and placement, against the ops' meanings walked through the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.augment import PLACES, Augmented
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.compiler import read_model
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Value
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.batchnorm import BatchNorm
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.setup import Setup, setup_of
from alexnet_ir.training.activations import activations, computed_layers, last_hidden, layer_named
from alexnet_ir.training.step import Predictor, TrainingStep

from .models import TINY
from .test_devices import HARD

EXAMPLES = Path(__file__).parents[2] / "examples"


def images_for(model: Model, count: int) -> Array:
    return np.random.default_rng(3).standard_normal((count, *model.image)).astype("f4")


def trained(model: Model, setup: Setup) -> TrainingStep:
    """After two steps, so that running statistics and weights are not the first ones."""
    step = TrainingStep(model, setup, 1)
    for _ in range(2):
        step(images_for(model, model.batch), np.arange(model.batch) % 3)
    return step


def walked(net: Predictor, images: Array) -> dict[str, Array]:
    """Every layer's value by the meanings in float64, evaluation written out by hand: (x - mean) / sqrt(var + eps),
    and dropout a factor."""
    graph, found = net.model.graph, dict[Value, Array]()
    feed = {name: np.asarray(net.weights[name], "f8") for name in net.weights}
    for node in graph.topo():
        operands = [found[value] for value in node.operands] if node.operands else []
        if not node.operands:
            made: tuple[Array, ...] = (feed.get(node.name, images.astype("f8")),)
        elif isinstance(node.op, Dropout):
            made = (operands[0] * ((1 - node.op.p) if node.op.scale == "test" else 1),)
        elif isinstance(node.op, BatchNorm):
            x, gamma, beta = operands
            bn, tail = node.name, (-1,) + (1,) * (x.ndim - 2)
            mean, var = feed[f"{bn}.running_mean"], feed[f"{bn}.running_var"]
            normal = (x - mean.reshape(tail)) / np.sqrt(var.reshape(tail) + node.op.eps)
            made = (normal * gamma.reshape(tail) + beta.reshape(tail), mean, var)
        else:
            made = node.op.evaluate(operands)
        found.update(zip(node.results, made, strict=True))
    return {layer.path: found[graph.named(layer.value)] for layer in computed_layers(net.model)}


@pytest.mark.parametrize(
    ("devices", "place"),
    [("reference", None), ("cpu", None), ("cpu,cpu", "mixed"), ("cpu,cpu", "towers"), ("reference,reference", "data")],
)
def test_every_layer_is_what_its_meaning_says(devices: str, place: str | None) -> None:
    """14 images, a batch of 12: the second is filled up, and nothing of that comes out."""
    net = trained(read_model(HARD), setup_of(devices, place))
    images = images_for(net.model, 14)
    names = [layer.path for layer in computed_layers(net.model)]
    found, expected = activations(net, names)(images), walked(net, images)
    assert list(found) == names
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, atol=2e-5, err_msg=name)


def test_without_a_compiler_and_after_another_step() -> None:
    """A predictor of NumPy kernels; the weights are those of the moment it is called."""
    net = Predictor(read_model(TINY), Setup(NumpyBackend()), 2)
    layer, images = activations(net, ["relu1", "fc1"]), images_for(net.model, 3)
    before = layer(images)
    np.testing.assert_array_equal(before["fc1"], net.predict(images))
    net.weights["conv1.weight"] = net.weights["conv1.weight"] * 2
    after = layer(images)
    assert not np.array_equal(before["relu1"], after["relu1"])
    np.testing.assert_allclose(after["relu1"], walked(net, images)["relu1"], rtol=1e-4, atol=1e-5)


def test_a_batch_that_is_not_made_yet_and_one_of_nothing() -> None:
    net = Predictor(read_model(TINY), setup_of("cpu"), 2)
    stored = np.random.default_rng(0).integers(256, size=(2, 2, 9, 9), dtype="u1")
    places = np.zeros((2, len(PLACES)), "i4")
    places[:, 0] = 1, 0
    batch = Augmented(stored, places, np.zeros((2, 2), "f4"), np.full((2, 1, 1), 7, "f4"), 1 / 64, (6, 6))
    layer = activations(net, ["maxpool1"])
    np.testing.assert_allclose(layer(batch)["maxpool1"], layer(batch.evaluate())["maxpool1"], rtol=1e-6)
    assert layer(np.zeros((0, 2, 6, 6)))["maxpool1"].shape == (0, 4, 3, 3)


def test_a_name_that_is_no_layers() -> None:
    model = read_model(EXAMPLES / "alexnet.alx")
    with pytest.raises(AlexnetError, match="AlexNet has no layer `rel7`") as failure:
        layer_named(model, "rel7")
    assert "did you mean relu7" in failure.value.diagnostics[0].helps[0]


@pytest.mark.parametrize(
    ("example", "layer"),
    [("alexnet", "relu7"), ("digits", "relu4"), ("resnet18", "global_avgpool1"), ("googlenet", "global_avgpool1"),
     ("lenet5", "tanh4"), ("cifar-18pct", "pool3")],
)  # fmt: skip
def test_the_last_hidden_layer(example: str, layer: str) -> None:
    assert last_hidden(read_model(EXAMPLES / f"{example}.alx")) == layer


def test_a_net_without_a_hidden_layer() -> None:
    model = read_model("alx 1\nnet N { image = input(1, 4, 4)  return image -> flatten -> fc(3) }")
    with pytest.raises(AlexnetError, match="no layer between its image and its scores"):
        last_hidden(model)
