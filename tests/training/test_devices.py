"""Several devices give the losses and weights of one: every placement, dropout included, on real digits and on a net
that has what is hard to share out; bytes as predicted; weights of one placement under another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.compiler import read_model
from alexnet_ir.data.load import load as load_data
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.shape import Copy
from alexnet_ir.setup import Setup, setup_of
from alexnet_ir.training.step import TrainingStep

EXAMPLES = Path(__file__).parents[2] / "examples"
HARD = """\
alx 1
net Hard {
  image = input(4, 8, 8)
  a = image -> conv1: conv(12, 3, pad = 1) -> batchnorm -> relu -> lrn(5, 2, 0.1, 0.75) -> maxpool(2)
  b = a -> conv2: conv(12, 3, pad = 1, groups = 2, bias = none) -> batchnorm -> relu -> dropout(0.3, scale = "train")
  c = add(a, b) -> lrn(3, 2, 0.1, 0.5, groups = 2) -> local_norm(3, 1, 0.1, 0.75)
  d = concat(c, c -> conv3: local(12, 1) -> tanh) -> avgpool(2)
  return d -> flatten -> fc4: fc(24) -> relu -> dropout(0.5) -> fc5: fc(12), c -> global_avgpool -> fc6: fc(12)
}
train r {
  batch: 12  stop: steps(9)  seed: 5
  loss: softmax_cross_entropy(weights = [1, 0.3])
  optimizer: sgd(lr = 0.02, momentum = 0.9, weight_decay = 1e-3)
}
place mixed {
  net: Hard  devices: 2
  split: [batch(conv1, conv2), inputs(conv3), outputs(fc4), inputs(fc5), on(fc6, 1)]
}
place towers { net: Hard  devices: 2  split: channels(from = conv1, to = fc6) }
place four {
  net: Hard  devices: 4
  split: [channels(from = fc4, to = fc6), batch(conv1, conv3), channels(conv1, conv1)]
}
"""
PLACEMENTS = [
    ("single", 2), ("columns", 2), ("data", 2), ("weird_trick", 2), ("auto", 2), ("mixed", 2), ("towers", 2),
    ("columns", 3), ("data", 3), ("columns", 4), ("weird_trick", 4), ("four", 4),
]  # fmt: skip


@cache
def hard() -> Model:
    return read_model(HARD)


def batches(model: Model, count: int, classes: int) -> list[tuple[Array, Array]]:
    """Made-up images and labels."""
    random = np.random.default_rng(0)
    shape = (model.batch, *model.image)
    return [
        (random.standard_normal(shape).astype("f4"), random.integers(classes, size=model.batch)) for _ in range(count)
    ]


@cache
def digits() -> tuple[Model, list[tuple[Array, Array]]]:
    """The example, and 100 batches of its images."""
    model = read_model(EXAMPLES / "digits.alx", Choice(batch=16))
    assert model.data is not None
    images = load_data(model.data, model.image, 0).train
    random = np.random.default_rng(0)
    chosen = [random.integers(len(images), size=model.batch) for _ in range(100)]
    return model, [(images.images[some].astype("f4") / 16, images.labels[some]) for some in chosen]


def on(device: str, count: int, place: str | None = None) -> Setup:
    return setup_of(",".join([device] * count), place)


def trained(model: Model, setup: Setup, given: list[tuple[Array, Array]]) -> tuple[TrainingStep, Array]:
    """The step after these batches, and its losses."""
    step = TrainingStep(model, setup)
    return step, np.array([step(images, labels) for images, labels in given])


def emitted(step: TrainingStep) -> int:
    """The bytes of the plan's transfers."""
    plan = step.compiled.plan
    return sum(plan.types[s.results[0]].nbytes for s in plan.steps if isinstance(s.op, Copy))


@cache
def alone(device: str, steps: int) -> tuple[TrainingStep, Array]:
    return trained(hard(), on(device, 1), batches(hard(), steps, 12))


@pytest.mark.parametrize(("place", "devices"), PLACEMENTS)
def test_a_net_that_is_hard_to_share_out(place: str, devices: int) -> None:
    """Groups, halos, batch statistics, branches, partial sums, a head elsewhere."""
    for device, rtol in (("reference", 1e-9), ("cpu", 1e-4)):
        one, losses = alone(device, 4)
        many, others = trained(hard(), on(device, devices, place), batches(hard(), 4, 12))
        np.testing.assert_allclose(others, losses, rtol=rtol)
        assert many.exchanged_bytes == emitted(many)
        assert list(many.weights) == list(one.weights)
        for name, value in one.weights.items():
            np.testing.assert_allclose(many.weights[name], value, rtol=rtol, atol=rtol, err_msg=name)
        images = batches(hard(), 1, 12)[0][0][:7]
        np.testing.assert_allclose(many.predict(images), one.predict(images), rtol=10 * rtol, atol=10 * rtol)


@cache
def digits_alone(device: str, steps: int) -> Array:
    model, given = digits()
    return trained(model, on(device, 1), given[:steps])[1]


@pytest.mark.parametrize("place", ["columns", "data", "weird_trick", "auto"])
def test_a_hundred_steps_on_digits_in_double_precision(place: str) -> None:
    model, given = digits()
    losses = trained(model, on("reference", 2, place), given)[1]
    np.testing.assert_allclose(losses, digits_alone("reference", 100), rtol=0, atol=1e-9)
    assert losses[-10:].mean() < losses[:10].mean()


@pytest.mark.parametrize("place", ["columns", "data", "weird_trick", "auto"])
@pytest.mark.parametrize("devices", [2, 4])
def test_twenty_steps_on_digits_in_single_precision(place: str, devices: int) -> None:
    model, given = digits()
    losses = trained(model, on("cpu", devices, place), given[:20])[1]
    np.testing.assert_allclose(losses, digits_alone("cpu", 20), rtol=0, atol=1e-4)


def test_weights_of_one_placement_under_another() -> None:
    given = batches(hard(), 3, 12)
    first, _ = trained(hard(), on("reference", 2, "towers"), given[:2])
    saved = {name: np.array(value) for name, value in first.weights.items()}
    expected = first.predict(given[2][0])
    for place, devices in (("single", 1), ("data", 3), ("mixed", 2), ("four", 4)):
        other = TrainingStep(hard(), on("reference", devices, place))
        other.load(saved)
        np.testing.assert_allclose(other.predict(given[2][0]), expected, rtol=1e-9)
        assert all(np.array_equal(other.weights[name], value) for name, value in saved.items())


def test_a_memory_limit_changes_no_loss() -> None:
    """What is dropped is made again; the least that can be is said where the limit is below it."""
    model, given = digits()
    for devices in (1, 2):
        plain = TrainingStep(model, on("cpu", devices, "columns"))
        limit = max(arena.peak for arena in plain.compiled.plan.arenas) * 95 // 100
        limited = TrainingStep(model, setup_of(",".join(["cpu"] * devices), "columns", memory_limit=limit))
        assert limited.compiled.recomputed
        assert max(arena.peak for arena in limited.compiled.plan.arenas) <= limit
        for images, labels in given[:3]:
            assert limited(images, labels) == plain(images, labels)
    with pytest.raises(AlexnetError, match="at least"):
        TrainingStep(model, setup_of("cpu", memory_limit=1000))


@pytest.mark.parametrize(
    ("devices", "place", "expected"),
    [
        ("cpu,cpu", "colums", "--place colums: no such placement"),
        ("cpu,cpu,cpu", "towers", "`place towers` is for 2 devices, and there are 3"),
        ("cpu,reference", None, "devices of one kind work together"),
        ("0,1", None, "no GPU can be used"),
        ("cpu,gpu", None, "no such device as 'gpu'"),
    ],
)
def test_what_cannot_be(devices: str, place: str | None, expected: str) -> None:
    with pytest.raises(AlexnetError, match=expected):
        TrainingStep(hard(), setup_of(devices, place))


def test_a_placement_on_one_device_is_that_device() -> None:
    text = HARD + "place solo { net: Hard  devices: 1  split: batch(conv1, fc4) }\n"
    model = read_model(text)
    for place in ("solo", "columns", None):
        assert TrainingStep(model, setup_of("cpu", place)).compiled.placing.name == "single"
    with pytest.raises(AlexnetError, match="`place towers` is for 2 devices, and there are 1"):
        TrainingStep(model, setup_of("cpu", "towers"))


def test_a_file_s_own_placement_is_taken_for_as_many_devices() -> None:
    assert TrainingStep(hard(), on("cpu", 2)).compiled.placing.name == "mixed"
    assert TrainingStep(hard(), on("cpu", 4)).compiled.placing.name == "four"
    placing = TrainingStep(hard(), on("cpu", 3)).compiled.placing
    assert placing.name == "auto"
    assert set(placing.tried) == {"auto", "single", "columns", "data", "weird_trick"}
    assert placing.tried[placing.best] == min(placing.tried.values())
