"""Placements: what the words of a section mean, who follows whom, the built-in ones, the bytes of the paper's net."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import alexnet_ir.examples
from alexnet_ir.compiler import read_model
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.profile import PROFILES
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, On, Placement
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.placements import BUILT_IN, Mode, Refusal, built_in, follow, layers, mode_of, refusal
from alexnet_ir.placement import Placing, placing_of

from .placed import copied, forward_of, predicted, step_of

EXAMPLES = {path.stem: path for path in sorted(Path(alexnet_ir.examples.__path__[0]).glob("*.alx"))}
SLOW = {
    "googlenet",
    "resnet18",
    "resnet50",
    "vgg16",
    "alexnet-2012",
    "alexnet-conv6",
    "zfnet",
    "cifar-13pct",
    "cifar-18pct",
}
"""Large nets, and those much like another."""
NAMED = [name for name in BUILT_IN if name != "auto"]
NET = """\
alx 1
net N {
  image = input(4, 8, 8)
  return image -> conv1: conv(12, 3, pad = 1) -> relu1: relu -> lrn1: lrn(3, 2, 0.1, 0.75, groups = 2)
    -> pool1: maxpool(2) -> conv2: conv(12, 3, pad = 1, groups = 2) -> norm2: batchnorm -> relu2: relu -> flat: flatten
    -> fc3: fc(8) -> relu3: relu -> drop3: dropout(0.5) -> fc4: fc(24)
}
train t { batch: 12 stop: steps(2) loss: softmax_cross_entropy() optimizer: sgd(lr = 0.01) }
"""
LAYERS = ("conv1", "conv2", "fc3", "fc4")


def place(devices: int, *splits: str) -> Model:
    """The net with a section `own`."""
    section = f"place own {{ net: N devices: {devices} split: [{', '.join(splits)}] }}\n"
    return read_model(NET + section)


def placing(model: Model, devices: int, name: str | None) -> Placing:
    """The placement of this name; nothing else is compared with it."""
    return placing_of(model, forward_of(model), devices, name, PROFILES["cpu"], lambda _: 0.0)


@cache
def net() -> Graph:
    return forward_of(read_model(NET))


def lies(modes: dict[str, Mode], devices: int = 2) -> dict[str, Placement]:
    """Where each node's result lies."""
    return {name: s.results[0] for name, s in follow(net(), devices, modes).items()}


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splits", "modes"),
    [
        (["batch(from = conv1, to = fc3)"], {"conv1": "batch", "conv2": "batch", "fc3": "batch"}),
        (["channels(from = conv2, to = fc4)"], {"conv2": "channels", "fc3": "channels", "fc4": "channels"}),
        (["batch(from = relu1, to = pool1)"], {}),
        (["inputs(fc3)", "outputs(fc4)"], {"fc3": "inputs", "fc4": "channels"}),
        (["on(conv2, 1)"], {"conv2": On(1)}),
        (["batch(from = conv1, to = fc4)", "on(conv2, 0)"], {**dict.fromkeys(LAYERS, "batch"), "conv2": On(0)}),
        (["on(fc3, 1)", "channels(from = fc3, to = fc3)"], {"fc3": "channels"}),
    ],
)
def test_sections(splits: list[str], modes: dict[str, Mode]) -> None:
    """Both ends count; of two that say something of a layer, the later holds."""
    found = placing(place(2, *splits), 2, "own")
    assert (found.name, found.devices, found.modes) == ("own", 2, modes)
    graph = net()
    for node in layers(graph):
        assert mode_of(found.strategies[node.name]) == modes.get(node.name, On(0))


def test_a_mode_is_a_strategy() -> None:
    found = follow(net(), 2, {"conv1": "batch", "conv2": "channels", "fc3": "inputs", "fc4": On(1)})
    assert {name: (found[name].operands, found[name].results) for name in LAYERS} == {
        "conv1": ((BATCH, REPLICATED), (BATCH,)),
        "conv2": ((CHANNELS, BATCH), (CHANNELS,)),  # by groups
        "fc3": ((CHANNELS, CHANNELS), (PARTIAL,)),
        "fc4": ((On(1), On(1)), (On(1),)),
    }
    assert follow(net(), 2, {"conv1": "channels"})["conv1"].operands == (REPLICATED, BATCH)


@pytest.mark.parametrize(
    ("devices", "layer", "mode", "reason"),
    [
        (8, "conv1", "batch", "12 images of a batch cannot be shared out evenly over 8 devices"),
        (8, "conv1", "channels", "12 kernels cannot be shared out evenly over 8 devices"),
        (3, "fc3", "channels", "8 units cannot be shared out evenly over 3 devices"),
        (3, "conv1", "inputs", "4 inputs cannot be shared out evenly over 3 devices"),
        (2, "conv2", "inputs", "its 2 groups already read different inputs"),
        (4, "conv2", "channels", "its 2 groups cannot be shared out evenly over 4 devices"),
        (2, "fc3", On(2), "there is no device 2: they are 0 to 1"),
    ],
)
def test_refusals(devices: int, layer: str, mode: Mode, reason: str) -> None:
    graph = net()
    assert refusal(graph, graph.node(graph.named(layer)), mode, devices) == Refusal(layer, mode, reason)


def test_a_section_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(AlexnetError, match="fc3"):
        placing(place(3, "outputs(fc3)"), 3, "own")


def test_a_layer_that_can_be_shared_out_is_not_refused() -> None:
    graph = net()
    for node in layers(graph):
        for mode in ("batch", "channels", On(1)):
            assert refusal(graph, node, mode, 2) is None


# --- followers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "where"), [("channels", CHANNELS), ("batch", BATCH), (On(1), On(1))])
def test_what_has_no_parameters_follows_its_producer(mode: Mode, where: Placement) -> None:
    found = lies(dict.fromkeys(LAYERS, mode))
    vectors = {"norm2.running_mean.next", "norm2.running_var.next"}
    assert {place for name, place in found.items() if name not in {"score.loss", *vectors}} == {where}
    assert found["score.loss"] == (where if isinstance(where, On) else PARTIAL)
    assert {found[name] for name in vectors} == {{CHANNELS: BATCH, BATCH: REPLICATED}.get(where, where)}


def test_what_is_not_named_lies_on_device_0() -> None:
    assert set(lies({}).values()) == {On(0)}
    found = lies({"conv2": "channels"})
    assert [found[name] for name in ("conv1", "pool1", "conv2", "norm2", "flat", "fc3", "score.loss")] == [
        On(0), On(0), CHANNELS, CHANNELS, CHANNELS, On(0), On(0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "where"), [("batch", BATCH), ("inputs", CHANNELS), (On(0), On(0)), (On(1), On(1)), ("channels", BATCH)]
)
def test_a_partial_sum_goes_where_the_next_layer_wants_it(mode: Mode, where: Placement) -> None:
    """Where that reads all of it, by images: each device then has its share to send to all."""
    found = lies({"fc3": "inputs", "fc4": mode})
    assert (found["fc3"], found["fc3.bias_add"]) == (PARTIAL, PARTIAL)
    assert (found["relu3"], found["drop3"]) == ((where, where) if where != REPLICATED else (BATCH, BATCH))


def test_scores_by_classes_are_not_put_together_where_the_loss_can_be_shared_out() -> None:
    """Two numbers a sample go round instead of all its scores: that is less from some number of classes on."""
    model = read_model(NET.replace("fc(24)", "fc(1000)"))
    forward = forward_of(model)
    found = follow(forward, 2, {"fc4": "channels"})
    assert found["score.loss"].operands == (CHANNELS, REPLICATED)
    assert predicted(step_of(model, forward, 2, found))["score.loss"] == 2 * 2 * 4 * 12


def test_states_that_are_settled_pull_what_reads_them() -> None:
    found = follow(net(), 2, {}, {"norm2.weight": BATCH, "norm2.bias": BATCH})
    assert found["norm2"].operands == (On(0), On(0), On(0))  # moving the maps would cost more
    assert follow(net(), 2, dict.fromkeys(LAYERS, "channels"), {})["norm2"].operands == (CHANNELS, BATCH, BATCH)


# --- built-in placements ------------------------------------------------------------------------------------------


def test_built_in_modes() -> None:
    modes = {name: built_in(name, net(), 2)[0] for name in NAMED}
    assert modes == {
        "single": dict.fromkeys(LAYERS, On(0)),
        "columns": {"conv1": "channels", "conv2": "channels", "fc3": "channels", "fc4": On(0)},
        "data": dict.fromkeys(LAYERS, "batch"),
        "weird_trick": {"conv1": "batch", "conv2": "batch", "fc3": "channels", "fc4": "channels"},
    }


def test_columns_leave_the_layers_that_give_scores_on_device_0() -> None:
    """All of several heads."""
    text = NET.replace("return image", "x = image").replace("-> fc3", "\n  return x -> fc3").replace(
        "fc4: fc(24)", "fc4: fc(24), x -> head: fc(24)"
    )  # fmt: skip
    modes, refusals = built_in("columns", forward_of(read_model(text)), 2)
    assert [name for name, mode in modes.items() if mode == On(0)] == ["fc4", "head"]
    assert not refusals


def test_what_cannot_be_had_falls_back_and_says_why() -> None:
    modes, refusals = built_in("columns", net(), 4)
    assert refusals == [Refusal("conv2", "channels", "its 2 groups cannot be shared out evenly over 4 devices")]
    assert modes == {"conv1": "channels", "conv2": "batch", "fc3": "channels", "fc4": On(0)}
    modes, refusals = built_in("data", net(), 5)
    assert set(modes.values()) == {On(0)}
    assert {r.reason for r in refusals} == {"12 images of a batch cannot be shared out evenly over 5 devices"}


def test_names() -> None:
    model = place(2, "batch(from = conv1, to = fc4)")
    assert placing(model, 1, None) == placing(model, 1, "data") == Placing("single", 1)
    assert placing(model, 2, None).name == "own"
    assert placing(model, 2, "columns").name == "columns"
    assert placing(model, 3, None).name.startswith("auto")
    with pytest.raises(AlexnetError, match="is for 2 devices, and there are 3"):
        placing(model, 3, "own")
    with pytest.raises(AlexnetError, match="did you mean `columns`"):
        placing(model, 2, "column")


def test_a_large_net_can_be_placed() -> None:
    """The others of its kind take long."""
    test_every_example_can_be_placed("resnet18", 2, "columns")


def test_single_moves_nothing() -> None:
    model = read_model(NET)
    step = step_of(model, net(), 3, follow(net(), 3, built_in("single", net(), 3)[0]))
    assert predicted(step) == {}
    assert {str(step.tensor(v).placement) for n in step.topo() for v in n.results if step.tensor(v).shape} == {"on(0)"}


def cases() -> list[object]:
    """All examples, devices and built-in placements."""
    return [
        pytest.param(name, devices, place, marks=pytest.mark.slow if name in SLOW else ())
        for name in EXAMPLES
        for devices in (2, 3, 4)
        for place in NAMED
    ]


@cache
def example(name: str) -> tuple[Model, Graph]:
    model = read_model(EXAMPLES[name], Choice(batch=12))
    return model, forward_of(model)


@pytest.mark.parametrize(("name", "devices", "place"), cases())
def test_every_example_can_be_placed(name: str, devices: int, place: str) -> None:
    """Types alone: what is moved is what was said to be."""
    model, forward = example(name)
    modes, _ = built_in(place, forward, devices)
    step = step_of(model, forward, devices, follow(forward, devices, modes))
    assert copied(run_passes(step, [Distribute()])) == predicted(step)
    assert bool(predicted(step)) == (place != "single")


# --- the paper's net ----------------------------------------------------------------------------------------------

COLUMNS = dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"), "channels")
MIXED = dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5"), "batch") | {
    "fc6": "inputs", "fc7": "channels", "fc8": "inputs",
}  # fmt: skip


@cache
def alexnet() -> tuple[Model, Graph]:
    model = read_model(EXAMPLES["alexnet"])
    return model, forward_of(model)


def moved(modes: dict[str, Mode], devices: int = 2) -> int:
    model, forward = alexnet()
    step = step_of(model, forward, devices, follow(forward, devices, modes))
    found = copied(run_passes(step, [Distribute()]))
    assert found == predicted(step)
    return sum(found.values())


def test_bytes_of_the_papers_placement() -> None:
    """Two devices, both directions: columns with fc8 on one of them, and shared out too, with the softmax."""
    model, _ = alexnet()
    assert placing(model, 2, "two_gpus").modes == COLUMNS
    assert moved({**COLUMNS}) == 60_030_976
    assert moved({**COLUMNS, "fc8": "channels"}) == 62_130_176


@pytest.mark.parametrize(
    ("place", "nbytes"), [("columns", 60_030_976), ("data", 487_721_792), ("weird_trick", 36_500_480), ("single", 0)]
)
def test_bytes_of_the_built_in_placements(place: str, nbytes: int) -> None:
    assert moved(built_in(place, alexnet()[1], 2)[0]) == nbytes


def test_bytes_of_the_best_that_splits_every_layer() -> None:
    assert moved({**MIXED}) == 32_803_840
