"""fc-to-conv: maps of scores, against the net itself on each window of the larger image."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings

from alexnet_ir.compiler import dense_graph, inference_graph, read_model
from alexnet_ir.dense import dense_figures
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.setup import setup_of
from alexnet_ir.training.step import TrainingStep

from .. import strategies
from .unpadded import Unpadded, unpadded

EXAMPLES = Path(__file__).parents[2] / "examples"

BEFORE = """\
graph net {
  input %image : f32[2, 3, 4, 4] loc(m.alx:1:1)
  state %fc1.weight : f32[5, 12] = normal(std = 0.1) {lr_mult = 2.0} loc(m.alx:3:1)
  state %fc1.bias : f32[5] = constant(value = 0.0)
  state %fc2.weight : f32[2, 5] = constant(value = 1.0)
  %pool1, %pool1.argmax = maxpool(%image) {size = 2, stride = 2} : f32[2, 3, 2, 2], u8[2, 3, 2, 2] loc(m.alx:2:1)
  %flatten1 = flatten(%pool1) : f32[2, 12]
  %fc1 = fc(%flatten1, %fc1.weight) : f32[2, 5] loc(m.alx:3:1)
  %fc1.bias_add = bias_add(%fc1, %fc1.bias) : f32[2, 5] loc(m.alx:3:1)
  %fc2 = fc(%fc1.bias_add, %fc2.weight) : f32[2, 2]
  output score = %fc2
}
"""
AFTER = """\
graph net {
  input %image : f32[2, 3, 8, 6] loc(m.alx:1:1)
  state %fc1.weight : f32[5, 12] = normal(std = 0.1) {lr_mult = 2.0} loc(m.alx:3:1)
  state %fc1.bias : f32[5] = constant(value = 0.0)
  state %fc2.weight : f32[2, 5] = constant(value = 1.0)
  %pool1, %pool1.argmax = maxpool(%image) {size = 2, stride = 2} : f32[2, 3, 4, 3], u8[2, 3, 4, 3] loc(m.alx:2:1)
  %fc1.kernels = unflatten(%fc1.weight) {shape = (3, 2, 2)} : f32[5, 3, 2, 2] loc(m.alx:3:1)
  %fc1 = conv(%pool1, %fc1.kernels) : f32[2, 5, 3, 2] loc(m.alx:3:1)
  %fc1.bias_add = bias_add(%fc1, %fc1.bias) : f32[2, 5, 3, 2] loc(m.alx:3:1)
  %fc2.kernels = unflatten(%fc2.weight) {shape = (5, 1, 1)} : f32[2, 5, 1, 1]
  %fc2 = conv(%fc1.bias_add, %fc2.kernels) : f32[2, 2, 3, 2]
  output score = %fc2
}
"""


def test_before_and_after() -> None:
    assert print_graph(run_passes(parse(BEFORE), [FcToConv((8, 6))])) == AFTER


def net(chain: str, rows: int = 8, columns: int = 8, channels: int = 4) -> Model:
    return read_model(f"alx 1 net N {{ image = input({channels}, {rows}, {columns}) return image -> {chain} }}")


def evaluated(model: Model, images: Array) -> Array:
    """The net's own scores [n, classes], in float64."""
    scores, _ = strategies.run(inference_graph(model), strategies.initial(model.graph), {"image": images})
    return scores["score"]


def mapped(model: Model, images: Array) -> Array:
    """The maps of scores [n, classes, rows, columns] by the same weights."""
    graph = dense_graph(model, images.shape[2:])  # type: ignore[arg-type] # a size, for images
    scores, _ = strategies.run(graph, strategies.initial(model.graph), {"image": images})
    return scores["score"]


def images_for(model: Model, size: Pair) -> Array:
    return np.random.default_rng(1).standard_normal((model.batch, model.image[0], *size))


def check_own_size(model: Model) -> None:
    """A map of one cell, which is the net's score."""
    images = images_for(model, model.image[1:])
    scores, maps = evaluated(model, images), mapped(model, images)
    assert maps.shape == (*scores.shape, 1, 1)
    np.testing.assert_allclose(maps[..., 0, 0], scores, rtol=1e-12, atol=1e-12 * np.abs(scores).max())


def check_windows(model: Model, size: Pair) -> None:
    """Each cell is the net's score on its window; what a window has past the image is not read."""
    images, figures = images_for(model, size), dense_figures(model, size)
    maps = mapped(model, images)
    assert figures.exact
    assert maps.shape[2:] == figures.map
    wide = np.pad(images, ((0, 0), (0, 0), (0, figures.window[0]), (0, figures.window[1])), constant_values=9.0)
    for row, column in itertools.product(*map(range, figures.map)):
        top, left = row * figures.stride[0], column * figures.stride[1]
        scores = evaluated(model, wide[..., top : top + figures.window[0], left : left + figures.window[1]])
        np.testing.assert_allclose(maps[..., row, column], scores, rtol=1e-10, atol=1e-10 * np.abs(scores).max())


# --- the net's own size -----------------------------------------------------------------------------------------------


def refused(model: Model) -> str:
    """Why the net cannot be made dense; empty where it can."""
    try:
        dense_graph(model, model.image[1:])
    except AlexnetError as refusal:
        return str(refusal)
    return ""


@settings(max_examples=80, deadline=None)
@given(strategies.nets())
def test_at_its_own_size_a_net_is_itself(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    refusal = refused(model)
    event("refused" if refusal else "dense")
    if refusal:
        assert "cannot be made dense" in refusal
    else:
        check_own_size(model)


@pytest.mark.parametrize("name", ["lenet5", "digits", "all-cnn-c", "cifar-18pct"])
def test_at_their_own_size_examples_are_themselves(name: str) -> None:
    check_own_size(read_model(EXAMPLES / f"{name}.alx", Choice(batch=2)))


def test_a_residual_net_at_its_own_size() -> None:
    text = (EXAMPLES / "resnet18.alx").read_text(encoding="utf-8").partition("data imagenet")[0]
    check_own_size(read_model(text.replace("3, 224, 224", "3, 64, 64"), Choice(batch=1)))


@pytest.mark.slow
def test_alexnet_on_the_cpu() -> None:
    step = TrainingStep(read_model(EXAMPLES / "alexnet.alx", Choice(batch=1)), setup_of("cpu"))
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("f4")
    scores = step.predict(image)
    np.testing.assert_allclose(step.dense(224, 224)(image)[..., 0, 0], scores, atol=1e-5 * np.abs(scores).max())


# --- larger images ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(unpadded())
def test_without_padding_each_cell_is_the_net_on_its_window(case: Unpadded) -> None:
    model = read_model(case.text, Choice(batch=2))
    assert dense_figures(model, case.size).map == (case.more[0] + 1, case.more[1] + 1)
    check_windows(model, case.size)


def test_a_window_may_end_past_the_image_in_pixels_it_does_not_read() -> None:
    model = net('conv(3, 3, stride = 2, round = "down") -> flatten -> fc(2)')
    assert dense_figures(model, (9, 11)).map == (2, 3)  # the second begins at 2 and ends at 10
    check_windows(model, (9, 11))


def test_with_padding_a_window_sees_its_neighbours() -> None:
    model = net("conv1: conv(3, 3, pad = 1) -> relu -> flatten -> fc(2)")
    images = images_for(model, (10, 9))
    figures = dense_figures(model, (10, 9))
    assert (figures.map, figures.padded, figures.exact) == ((3, 2), ("conv1",), False)
    states = strategies.initial(model.graph)
    maps = net("conv1: conv(3, 3, pad = 1) -> relu", 10, 9)
    (features,) = strategies.run(inference_graph(maps), states, {"image": images})[0].values()
    head = net("flatten -> fc(2)", channels=3)
    found = mapped(model, images)
    for row, column in itertools.product(range(3), range(2)):
        window = features[..., row : row + 8, column : column + 8]
        scores = strategies.run(inference_graph(head), states, {"image": window})[0]["score"]
        np.testing.assert_allclose(found[..., row, column], scores, rtol=1e-10, atol=1e-10)
        alone = evaluated(model, images[..., row : row + 8, column : column + 8])
        assert np.abs(found[..., row, column] - alone).max() > 1e-3


@pytest.mark.parametrize(
    ("chain", "size", "padded"),
    [
        ("conv(4, 3) -> maxpool(3)", (14, 14), ()),
        ("a: conv(4, 3, pad = 1) -> b: maxpool(2) -> c: avgpool(3, stride = 1, pad = (0, 1))", (12, 12), ("a", "c")),
        ('a: maxpool(3, stride = 2, round = "up")', (12, 12), ("a",)),  # over the edge as it is
        ('a: maxpool(2, round = "up")', (10, 9), ("a",)),  # over the larger image's edge
        ('a: maxpool(2, round = "up")', (10, 10), ()),
        ('a: conv(4, 3, stride = 3, pad = (0, 1), round = "down")', (10, 10), ("a",)),
        ('a: conv(4, 2, stride = 2, pad = (0, 1), round = "down")', (10, 10), ()),  # never reads it
        ("a: local_norm(3, k = 1, alpha = 1, beta = 1)", (9, 9), ("a",)),
        ("a: local_norm(1, k = 1, alpha = 1, beta = 1)", (9, 9), ()),
    ],
)
def test_the_layers_that_pad(chain: str, size: Pair, padded: tuple[str, ...]) -> None:
    model = net(f"{chain} -> flatten -> fc(2)")
    figures = dense_figures(model, size)
    assert (figures.padded, figures.exact) == (padded, not padded)
    if not padded:
        check_windows(model, size)
    assert dense_figures(model, (8, 8)).exact


@pytest.mark.parametrize(("name", "layers"), [("vgg16", 13), ("alexnet", 5), ("resnet18", 18), ("googlenet", 33)])
def test_published_nets_at_384(name: str, layers: int) -> None:
    model = read_model(EXAMPLES / f"{name}.alx", Choice(batch=1))
    figures = dense_figures(model, (384, 384))
    assert (figures.window, figures.stride, figures.map) == ((224, 224), (32, 32), (6, 6))
    assert len(figures.padded) == layers
    assert not figures.exact
    graph = dense_graph(model, (384, 384))
    assert graph.tensor(graph.outputs["score"]).shape == (1, 1000, 6, 6)
    assert dense_figures(model, (256, 384)).map == (2, 6)


# --- sizes and refusals -----------------------------------------------------------------------------------------------


def inside(first: int, last: int) -> set[int]:
    """Some of what lies between the two."""
    return {first + 1, (first + last) // 2, last - 1} - {first, last} if last > first else set()


@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [
        ("alexnet", (385, 384), "384 x 384 and 416 x 384"),
        ("alexnet", (227, 227), "224 x 224 and 256 x 256"),
        ("vgg16", (300, 400), "288 x 384 and 320 x 416"),
        ("lenet5", (28, 31), "28 x 28 and 28 x 32"),
        ("digits", (9, 13), "8 x 12 and 12 x 16"),
    ],
)
def test_sizes_that_do_not_come_out_whole_name_the_nearest(name: str, size: Pair, nearest: str) -> None:
    model = read_model(EXAMPLES / f"{name}.alx", Choice(batch=1))
    with pytest.raises(AlexnetError, match=f"{size[0]} x {size[1]} does not come out whole at `") as caught:
        dense_graph(model, size)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.span is not None
    assert diagnostic.helps == (f"the nearest sizes that do: {nearest}",)
    (top, left), (bottom, right) = ((int(a), int(b)) for a, b in re.findall(r"(\d+) x (\d+)", nearest))
    for fitting in ((top, left), (bottom, right), (top, right)):
        dense_graph(model, fitting)
    for other in {(n, left) for n in inside(top, bottom)} | {(top, n) for n in inside(left, right)}:
        with pytest.raises(AlexnetError, match="whole"):
            dense_graph(model, other)


def test_branches_that_come_apart_at_a_size() -> None:
    text = """alx 1 net N {
      image = input(1, 9, 9)
      a = image -> conv(2, 3, stride = 2, round = "down")
      b = image -> conv(2, 2, stride = 2, round = "down")
      return add(a, b) -> flatten -> fc(2)
    }"""
    with pytest.raises(AlexnetError, match=r"10 x 9 does not come out whole at `add1`[^$]*: 9 x 9 and 11 x 9"):
        dense_graph(read_model(text), (10, 9))
    check_windows(read_model(text), (11, 13))


def test_smaller_than_the_net() -> None:
    with pytest.raises(AlexnetError, match="7 x 8 is smaller than the 8 x 8"):
        dense_graph(net("flatten -> fc(2)"), (7, 8))


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("image -> local(2, 3) -> flatten -> fc(2)", "`local1`.*weights for each position"),
        ("image -> flatten -> n: batchnorm -> fc(2)", "`n`.*numbers for each position of a flattened map of 8 x 8"),
        ("image -> conv(2, 3)", "`conv1`.*a map already"),
        ("image -> conv(2, 3) -> flatten", "`flatten1`.*a flattened map of 6 x 6"),
        (
            "concat(image -> conv(2, 3) -> flatten, image -> flatten) -> fc(2)",
            "`concat1`.*hold maps of 6 x 6 and 8 x 8",
        ),
        ("add(image -> flatten, image -> flatten -> fc(256)) -> fc(2)", "`add1`.*hold maps of 1 x 1 and 8 x 8"),
        (
            "add(image -> conv(2, 6), image -> conv(2, 4, stride = 2)) -> flatten -> fc(2)",
            "`add1`.*are 1 x 1 and 2 x 2 pixels apart",
        ),
    ],
)
def test_what_cannot_be_made_dense(result: str, why: str) -> None:
    model = read_model(f"alx 1 net N {{ image = input(4, 8, 8) return {result} }}")
    with pytest.raises(AlexnetError, match=why) as caught:
        dense_graph(model, (8, 8))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.span is not None


def test_an_op_that_evaluation_does_not_know() -> None:
    text = BEFORE.replace("flatten(%pool1)", "unflatten(%pool1) {shape = (12)}")
    with pytest.raises(AlexnetError, match="`unflatten` has no dense form"):
        run_passes(parse(text), [FcToConv()])


# --- weights ----------------------------------------------------------------------------------------------------------


def test_the_weights_of_training_load_unchanged() -> None:
    model = read_model(EXAMPLES / "digits.alx", Choice(batch=4))
    states = inference_graph(model).states
    dense = dense_graph(model, (12, 16))
    assert list(dense.states) == list(states)
    assert all(dense.tensor(dense.states[name].read) == model.graph.tensor(states[name].read) for name in states)
    assert all(dense.states[name].initial == states[name].initial for name in states)


def test_maps_are_of_the_weights_as_they_are() -> None:
    step = TrainingStep(read_model(EXAMPLES / "digits.alx", Choice(batch=4)), setup_of("cpu"))
    maps, random = step.dense(12, 16), np.random.default_rng(0)
    images, large = random.standard_normal((5, 1, 8, 8)), random.standard_normal((5, 1, 12, 16))
    before = maps(large)
    assert before.shape == (5, 10, 2, 3)
    assert maps(large[:0]).shape == (0, 10, 2, 3)
    step(images[:4], np.arange(4))
    assert np.abs(maps(large) - before).max() > 0
    np.testing.assert_allclose(step.dense(8, 8)(images)[..., 0, 0], step.predict(images), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"expected shape \[n, 1, 12, 16\]"):
        maps(images)
