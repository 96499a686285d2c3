"""The packaged examples: accepted, formatted, of the published sizes, and ready to train."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.compiler import inference_graph, read_model, recipe_of, training_graph
from alexnet_ir.data.dataset import Dataset
from alexnet_ir.data.load import load as load_data
from alexnet_ir.data.loader import Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError, Source
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import Choice, Model, check, load, read_source
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.initial import Constant, Normal
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.verify import verify
from alexnet_ir.ops.table import parse
from alexnet_ir.setup import setup_of
from alexnet_ir.training.control import Control
from alexnet_ir.training.evaluate import Errors, evaluate
from alexnet_ir.training.step import TrainingStep

EXAMPLES = Path(__file__).parent.parent / "examples"

PARAMETERS = {
    "alexnet": 60_965_224,
    "alexnet-2012": 60_965_224,
    "alexnet-conv6": 61_260_392,  # with a conv6 like conv5: the paper does not tell its size
    "alexnet-one-tower": 61_100_840,
    "all-cnn-c": 1_369_738,
    "cifar-11pct": 2_112_970,
    "cifar-13pct": 1_116_490,
    "cifar-18pct": 89_578,
    "digits": 80_714,
    "googlenet": 13_378_280,  # both heads included
    "lenet5": 61_706,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "vgg16": 138_357_544,
    "zfnet": 62_357_608,
}

SIZES = {
    "conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27), "pool2": (256, 13, 13),
    "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
    "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
}  # fmt: skip
"""What AlexNet's layers give for an image, by the paper's figure 2."""

MACS = {
    "conv1": 105_415_200, "conv2": 223_948_800, "conv3": 149_520_384, "conv4": 112_140_288, "conv5": 74_760_192,
    "fc6": 37_748_736, "fc7": 16_777_216, "fc8": 4_096_000,
}  # fmt: skip
"""AlexNet's multiply-accumulates an image: 665,784,864 in convolutions, 58,621,952 in fully connected layers."""


def path(name: str) -> Path:
    return EXAMPLES / f"{name}.alx"


def example(name: str, batch: int | None = 2, **settings: str) -> Model:
    """An example at a small batch; settings are `net_act="tanh"` for `--set net.act=tanh`."""
    return read_model(
        path(name), Choice(batch=batch, settings={k.replace("_", ".", 1): v for k, v in settings.items()})
    )


def variant(name: str, *changes: tuple[str, str]) -> Model:
    """An example's net with pieces of the text exchanged, each of which must be there."""
    text = path(name).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return load(Source(f"{name}.alx", text), Choice(net=example(name).net, batch=2))


def sizes(graph: Graph) -> dict[str, int]:
    """How many numbers each parameter holds."""
    return {s.name: math.prod(graph.tensor(s.read).shape) for s in graph.states.values() if s.role == "parameter"}


def parameters(model: Model) -> int:
    return sum(sizes(model.graph).values())


def macs(model: Model) -> dict[str, int]:
    """Multiply-accumulates an image, of the layers that have any."""
    graph, found = model.graph, {}
    for node in graph.topo():
        cost = node.op.cost([graph.tensor(v) for v in node.operands], [graph.tensor(v) for v in node.results])
        if cost.macs:
            found[node.name] = cost.macs // model.batch
    return found


def shape(model: Model, value: str) -> tuple[int, ...]:
    """What a layer gives for one image."""
    return model.graph.tensor(model.graph.named(value)).shape[1:]


def layer_values(model: Model, *ops: str) -> int:
    """How many numbers an image the layers of these ops give."""
    return sum(math.prod(shape(model, layer.value)) for layer in model.layers if layer.op in ops)


# --- every example --------------------------------------------------------------------------------------------------


def test_every_example_is_listed() -> None:
    assert sorted(p.stem for p in EXAMPLES.glob("*.alx")) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_accepted_without_a_word(name: str) -> None:
    assert [d.render() for d in check(read_source(path(name))).all] == []


@pytest.mark.parametrize("name", PARAMETERS)
def test_formatted(name: str) -> None:
    source = read_source(path(name))
    assert format_source(source) == source.text
    assert max(map(len, source.text.splitlines())) <= 120


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters(name: str, expected: int) -> None:
    assert parameters(example(name)) == expected


@pytest.mark.parametrize("name", PARAMETERS)
def test_graphs(name: str) -> None:
    """Forward, training and evaluation: each holds, and its text says all of it. The step updates every parameter, and
    the evaluation reads nothing but the image and changes nothing."""
    model = example(name)
    step, evaluation = training_graph(model), inference_graph(model)
    for graph in (model.graph, step, evaluation):
        verify(graph)
        assert print_graph(parse(print_graph(graph))) == print_graph(graph)
    assert all(state.update is not None for state in step.states.values())
    assert set(sizes(step)) == set(sizes(model.graph))
    assert list(evaluation.inputs) == ["image"]
    assert all(state.update is None for state in evaluation.states.values())
    assert list(evaluation.outputs) == ["score"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_node_points_at_its_line(name: str) -> None:
    model = example(name, batch=2)
    lines = model.source.text.splitlines()
    for graph in (training_graph(model), inference_graph(model)):
        for node in graph.topo():
            assert node.span is not None, node.name
            assert 1 <= node.span.line <= len(lines)


@pytest.mark.parametrize("name", PARAMETERS)
def test_sections(name: str) -> None:
    """Each file stands alone: a recipe that names its net and data, at the batch of its own choice."""
    model = example(name, batch=None)
    recipe = recipe_of(model)
    assert recipe.net.id == model.net
    assert model.data is not None
    assert recipe.batch == model.batch > 1


def test_a_small_batch_on_one_device_minds_no_placement() -> None:
    """The file's placement for eight devices cuts the batch, and is not what a batch of 2 was chosen for."""
    assert example("alexnet-one-tower", batch=2).places[0].devices == 8
    assert example("alexnet-one-tower", batch=None, train_batch="2").batch == 2


# --- AlexNet by the paper -------------------------------------------------------------------------------------------


def test_alexnet_is_the_program_of_the_language() -> None:
    """But for the comment on top."""
    program = read_source(Path(__file__).parent / "dsl" / "programs" / "alexnet.alx")
    assert read_source(path("alexnet")).text.partition("\nnet ")[2] == format_source(program).partition("\nnet ")[2]


def test_alexnet_sizes() -> None:
    model = example("alexnet")
    assert model.image == (3, 224, 224)
    assert {name: shape(model, name) for name in SIZES} == SIZES
    assert layer_values(model, "conv", "fc") == 659_272  # the paper: "650,000 neurons"


@pytest.mark.parametrize("batch", [1, 128])
def test_alexnet_multiply_accumulates(batch: int) -> None:
    found = macs(example("alexnet", batch))
    assert found == MACS
    assert sum(count for name, count in found.items() if name.startswith("conv")) == 665_784_864
    assert sum(count for name, count in found.items() if name.startswith("fc")) == 58_621_952
    assert sum(found.values()) == 724_406_816


def test_alexnet_2012_has_the_same_sizes_by_rounding_up() -> None:
    model = example("alexnet-2012")
    assert {name: shape(model, name) for name in SIZES} == SIZES
    assert macs(model) == MACS


def test_alexnet_initial_values() -> None:
    """Section 5: N(0, 0.01); biases of 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0."""
    states = example("alexnet").graph.states
    ones = {name for name, state in states.items() if state.initial == Constant(1)}
    assert ones == {f"{layer}.bias" for layer in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    assert {s.initial for n, s in states.items() if n.endswith("weight")} == {Normal(0.01)}


def test_alexnet_2012_recipe() -> None:
    """Rates by epoch as the released code had them, conv1's among them."""
    model = example("alexnet-2012", batch=None)
    steps = 10_009  # an epoch of 1,281,167 images
    control = Control(model, steps)
    found = {epoch: control.at(epoch * steps) for epoch in (0, 24, 25, 51, 66, 67, 71, 72, 78, 79, 90)}
    rates = {
        0: 1e-2,
        24: 1e-2,
        25: 1e-3,
        51: 1e-4,
        66: 1e-4,
        67: 1e-4,
        71: 1e-4,
        72: 1e-4,
        78: 1e-4,
        79: 1e-5,
        90: 1e-5,
    }
    assert {epoch: now.lr for epoch, now in found.items()} == pytest.approx(rates)
    assert control.total == 91 * steps
    factors = {
        epoch: (now.factors.get("conv1.weight.lr_mult", 1), now.factors.get("conv1.bias.lr_mult", 2))
        for epoch, now in found.items()
    }
    own = {67: (0.1, 0.2), 71: (0.1, 0.2), 72: (0, 0), 78: (0, 0), 79: (0, 0), 90: (0, 0)}
    assert factors == {epoch: own.get(epoch, (1, 2)) for epoch in found}
    assert found[67].lr * factors[67][0] == pytest.approx(1e-5)
    assert {epoch for epoch, now in found.items() if now.transforms == {"pca_light": {"std": 0}}} == set(own)
    assert control.changes(67 * steps - 1) == []
    for name, state in model.graph.states.items():
        assert (state.lr_mult, state.decay_mult) == ((2, 0) if name.endswith("bias") else (1, 1))


# --- other published numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("alexnet", [("input(3, 224, 224)", "input(3, 227, 227)"), (", pad = (0, 3)", "")], 60_965_224),  # bvlc_alexnet
        ("alexnet", [(", groups = 2", "")], 62_378_344),  # Chainer's alex.py
        ("vgg16", [("deep = 3", "deep = 2")], 133_047_848),
        ("vgg16", [("deep = 3", "deep = 4")], 143_667_240),
        (
            "resnet18",
            [
                ("basic(64) * 2", "basic(64) * 3"),
                ("basic(128))", "basic(128) * 3)"),
                ("basic(256))", "basic(256) * 5)"),
                ("basic(512))", "basic(512) * 2)"),
            ],
            21_797_672,
        ),
    ],
    ids=["bvlc", "chainer", "vgg13", "vgg19", "resnet34"],
)  # fmt: skip
def test_parameters_of_variants(name: str, changes: list[tuple[str, str]], expected: int) -> None:
    assert parameters(variant(name, *changes)) == expected


def test_one_tower_as_torchvision_has_it() -> None:
    """A padding of 2 rounded down, in the place of the 2012 code's rounding up, leaves 55 x 55 and the parameters."""
    model = variant("alexnet-one-tower", ("stride = 4)", 'stride = 4, pad = 2, round = "down")'))
    assert shape(model, "conv1") == (64, 55, 55)
    assert parameters(model) == 61_100_840


def test_conv1_of_alexnet_untied() -> None:
    untied = sizes(variant("alexnet", ("conv1: conv(", "conv1: local(")).graph)
    assert untied["conv1.weight"] + untied["conv1.bias"] == 105_705_600


def test_googlenet_without_its_heads() -> None:
    """Evaluation keeps what the score needs."""
    assert sum(sizes(inference_graph(example("googlenet"))).values()) == 6_998_552


def test_vgg16_activations() -> None:
    """The image, and what convolutions, pools and fully connected layers give."""
    model = example("vgg16")
    assert math.prod(model.image) + layer_values(model, "conv", "maxpool", "fc") == 15_237_608


def test_vgg16_on_a_larger_image() -> None:
    """12 x 12 before the fully connected layers, whose windows of 7 then fit 6 x 6 times."""
    model = variant("vgg16", ("input(3, 224, 224)", "input(3, 384, 384)"))
    assert shape(model, "pool5") == (512, 12, 12)
    assert 12 - shape(example("vgg16"), "pool5")[1] + 1 == 6


@pytest.mark.parametrize(("size", "layer", "quotient"), [(10, "conv(1, 3, stride = 2)", "4.5"),
                                                         (5, "conv(1, 3, stride = 3, pad = 1)", "2.333")])  # fmt: skip
def test_sizes_that_do_not_come_out(size: int, layer: str, quotient: str) -> None:
    text = f"alx 1\nnet N {{ return input(1, {size}, {size}) -> {layer} -> flatten -> fc(2) }}"
    with pytest.raises(AlexnetError, match=rf"S014.*= {quotient}\d* is not a whole number"):
        load(Source("n.alx", text))


STD_AND_DECAY = {
    "cifar-18pct": {"conv1": (1e-4, 0.004), "conv2": (0.01, 0.004), "conv3": (0.01, 0.004), "fc10": (0.01, 1)},
    "cifar-13pct": {"conv1": (1e-4, 0), "conv2": (0.01, 0), "local3": (0.04, 0.004), "local4": (0.04, 0.004),
                    "fc10": (0.01, 0.004)},
    "cifar-11pct": {"conv1": (1e-4, 0), "conv2": (0.01, 0), "local3": (0.04, 0.004), "local4": (0.04, 0.004),
                    "fc10": (0.01, 0.01)},
}  # fmt: skip
"""cuda-convnet's layer files: the initial weights' standard deviation, and their decay."""


@pytest.mark.parametrize("name", STD_AND_DECAY)
def test_recipes_of_cuda_convnet(name: str) -> None:
    model = example(name)
    optimizer = recipe_of(model).optimizer
    assert isinstance(optimizer, spec.Sgd)
    found = {}
    for parameter, state in model.graph.states.items():
        layer, _, what = parameter.partition(".")
        if what == "bias":
            assert (state.lr_mult * optimizer.lr, state.decay_mult) == (0.002, 0)
            continue
        assert isinstance(state.initial, Normal)
        assert state.lr_mult * optimizer.lr == 0.001
        found[layer] = (state.initial.std, pytest.approx(state.decay_mult * optimizer.weight_decay))
    assert found == STD_AND_DECAY[name]


# --- digits, trained ------------------------------------------------------------------------------------------------


class Run:
    """An example in training, by hand."""

    def __init__(self, model: Model) -> None:
        assert model.data is not None
        self.recipe = recipe_of(model)
        self.step = TrainingStep(model, setup_of("cpu"))
        self.data: Dataset = load_data(model.data, model.image, self.step.seed)
        self.prep = Preprocessing.of(model.data, self.step.seed, self.data.train)

    def epoch(self, number: int) -> float:
        """One pass; the mean loss."""
        losses, loader = [], Loader(self.data.train, self.prep, self.recipe.batch)
        control = Control(self.step.model, loader.steps_per_epoch)
        for images, labels in loader.train(number):
            control.steer(self.step)
            losses.append(self.step(images, labels))
        return float(np.mean(losses))

    def errors(self) -> Errors:
        return evaluate(self.step, self.data.eval, self.prep)


@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_digits_learns(act: str) -> None:
    run = Run(example("digits", batch=None, net_act=act))
    assert (len(run.data.train), len(run.data.eval)) == (1438, 359)
    losses = [run.epoch(number) for number in range(2)]
    assert losses[1] < 0.7 * losses[0]
    assert run.errors().top1 < 0.5


@pytest.mark.slow
def test_digits_reaches_97_percent() -> None:
    run = Run(example("digits", batch=None))
    (stop,) = run.recipe.stop
    assert isinstance(stop, spec.Epochs)
    for number in range(int(stop.count)):
        run.epoch(number)
    assert run.errors().top1 <= 0.03
