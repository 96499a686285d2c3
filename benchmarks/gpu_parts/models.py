"""The nets that are measured, as model files, and weights to begin with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_ir.compiler import read_model
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.op import Array

EXAMPLES = Path(__file__).parents[2] / "examples"

TORCHVISION = """\
alx 1

# torchvision's `alexnet`: one tower, no normalisation.

net Torchvision(classes = 1000) {
  defaults { conv, maxpool: (round = "down") }
  image = input(3, 224, 224)
  return image
    -> conv1: conv(64, 11, stride = 4, pad = 2) -> relu -> maxpool(3, stride = 2)
    -> conv2: conv(192, 5, pad = 2) -> relu -> maxpool(3, stride = 2)
    -> conv3: conv(384, 3, pad = 1) -> relu
    -> conv4: conv(256, 3, pad = 1) -> relu
    -> conv5: conv(256, 3, pad = 1) -> relu -> maxpool(3, stride = 2)
    -> flatten -> dropout(0.5)
    -> fc6: fc(4096) -> relu -> dropout(0.5)
    -> fc7: fc(4096) -> relu
    -> fc8: fc(classes)
}
"""

RECIPE = """
data made_up {{ source: synthetic(8, {classes}) }}

train measured {{
  net: {net}
  data: made_up
  batch: {batch}
  stop: steps(100)
  optimizer: sgd(lr = 0.001, momentum = 0.9, weight_decay = 5e-4)
}}
"""
CLASSES, FEW = 1000, 10
"""Of the nets, and of the smaller ones of a rehearsal."""
CROPS = re.compile(r"random_crop\(224\), |, (ten|center)_crop\(224\)")
DROPOUT = re.compile(r"\s*-> dropout\([^)]*\)")


@dataclass(frozen=True)
class Net:
    """A net to measure: `key` names its twin in `nets`; `smaller` are changes of the text for a rehearsal."""

    key: str
    title: str
    text: str
    smaller: tuple[tuple[str, str], ...]

    def source(self, tiny: bool, dropout: bool = True) -> str:
        """Its file's text, with its dropout or without."""
        text = self.text
        for old, new in self.smaller if tiny else ():
            assert old in text
            text = text.replace(old, new)
        text = CROPS.sub("", text.replace(f"classes = {CLASSES}", f"classes = {FEW}")) if tiny else text
        return text if dropout else DROPOUT.sub("", text)

    def model(self, batch: int, tiny: bool, dropout: bool = True) -> Model:
        """It at a batch, with its dropout or without, and the same recipe for all; placements as its file has them."""
        text, classes = self.source(tiny, dropout), FEW if tiny else CLASSES
        net, _, rest = text.partition("\ndata ")
        _, between, place = rest.partition("\nplace ")
        named = re.search(r"^net (\w+)", net, re.MULTILINE)
        assert named
        recipe = RECIPE.format(classes=classes, net=named[1], batch=batch)
        return read_model(f"{net}{recipe}{between}{place}")


def example(name: str) -> str:
    """The text of a file in examples/."""
    return (EXAMPLES / f"{name}.alx").read_text(encoding="utf-8")


SIXTH = (("conv(96,", "conv(16,"), ("conv(256,", "conv(16,"), ("conv(384,", "conv(32,"), ("fc(4096", "fc(24"))
NETS = {
    net.key: net
    for net in (
        Net("alexnet", "AlexNet, the paper's", example("alexnet"), (("3, 224, 224", "3, 64, 64"), *SIXTH)),
        Net("torchvision", "torchvision's AlexNet, without LRN", TORCHVISION,
            (("3, 224, 224", "3, 64, 64"), ("conv(64,", "conv(16,"), ("conv(192,", "conv(16,"), *SIXTH[1:])),
        Net("resnet18", "ResNet-18", example("resnet18"),
            (("3, 224, 224", "3, 32, 32"), ("conv(64, 7", "conv(8, 7"), ("basic(64)", "basic(8)"),
             ("basic(128", "basic(8"), ("basic(256", "basic(8"), ("basic(512", "basic(8"))),
    )
}  # fmt: skip


def start(model: Model) -> dict[str, Array]:
    """Weights that keep what passes through them about as large as it was, so that losses say something from the first
    step on. Float32: all sides have the same."""
    random = np.random.default_rng(5)
    found = {}
    for name, state in model.graph.states.items():
        shape = model.graph.tensor(state.read).shape
        if state.role == "statistic":
            value = np.full(shape, float(name.endswith("var")))
        elif len(shape) > 1:
            value = random.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            value = float(name.endswith("weight")) + 0.1 * random.standard_normal(shape)
        found[name] = value.astype(np.float32)
    return found


def batches(model: Model, classes: int, count: int) -> list[tuple[Array, Array]]:
    """Images as decoders give them, uint8 [n, rows, columns, channels], and labels."""
    random = np.random.default_rng(6)
    channels, rows, columns = model.image
    shape = (model.batch, rows, columns, channels)
    return [
        (random.integers(0, 256, shape, np.uint8), random.integers(0, classes, model.batch).astype(np.int32))
        for _ in range(count)
    ]
