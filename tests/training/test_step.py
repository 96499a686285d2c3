"""The training step as a Python object: arrays in, loss out."""

from __future__ import annotations

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir import AlexnetError
from alexnet_ir.training.step import TrainingStep

from .models import TINY

RNG = np.random.default_rng(7)
IMAGES = RNG.normal(size=(16, 2, 6, 6)).astype(np.float32)
LABELS = np.arange(16) % 3


def step(**options: int) -> TrainingStep:
    return alexnet_ir.compile(TINY).trainer(**options)  # type: ignore[arg-type]


def test_the_loss_falls_on_a_batch_seen_again_and_again() -> None:
    net = step()
    losses = [net(IMAGES, LABELS) for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(3), rel=0.6)
    assert np.mean(losses[-5:]) < 0.3 * losses[0]
    assert net.steps == 60
    assert net.last_loss == losses[-1]
    assert net.scores.shape == (16, 3)
    assert (net.predict(IMAGES).argmax(axis=1) == LABELS).mean() > 0.9


def test_a_seed_gives_the_same_weights_and_another_one_others() -> None:
    first, same, other = step(seed=1), step(seed=1), step(seed=2)
    for _ in range(3):
        losses = [net(IMAGES, LABELS) for net in (first, same, other)]
    assert losses[0] == losses[1] != losses[2]
    assert all(np.array_equal(first.weights[name], same.weights[name]) for name in first.weights)


def test_weights_are_named_like_the_text_and_can_be_set() -> None:
    net = step()
    assert list(net.weights) == [
        "conv1.weight", "conv1.bias", "batchnorm1.weight", "batchnorm1.bias", "batchnorm1.running_mean",
        "batchnorm1.running_var", "fc1.weight", "fc1.bias",
    ]  # fmt: skip
    net.weights["fc1.weight"] = np.zeros((3, 36))
    net.weights["fc1.bias"] = np.array([0, 1, 0])
    assert np.array_equal(net.predict(IMAGES), np.tile([0, 1, 0], (16, 1)))
    with pytest.raises(KeyError):
        net.weights["fc2.weight"]
    with pytest.raises(ValueError, match="shape"):
        net.weights["fc1.bias"] = np.zeros(4)


def test_a_weight_read_cannot_be_written_to() -> None:
    weight = step().weights["fc1.bias"]
    with pytest.raises(ValueError, match="read-only"):
        weight += 1


@pytest.mark.parametrize("count", [0, 1, 16, 37])
def test_predict_takes_any_number_of_images_each_by_itself(count: int) -> None:
    net = step()
    images = RNG.normal(size=(count, 2, 6, 6))
    scores = net.predict(images)
    assert scores.shape == (count, 3)
    one_by_one = [net.predict(image[None])[0] for image in images]
    np.testing.assert_allclose(scores, np.reshape(one_by_one, (count, 3)), rtol=1e-5, atol=1e-6)


def test_the_learning_rate_is_the_recipes_until_it_is_set() -> None:
    net = step()
    assert net.lr == 0.05
    net.lr = 0.0
    before = {name: net.weights[name] for name in net.weights if "running" not in name}
    net(IMAGES, LABELS)
    assert all(np.array_equal(net.weights[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:15], LABELS, r"images: expected shape \[16, 2, 6, 6\], found \[15, 2, 6, 6\]"),
        (IMAGES[:, :1], LABELS, r"images: expected shape"),
        (IMAGES, LABELS[:15], r"labels: expected 16 whole numbers"),
        (IMAGES, LABELS * 0.5, r"labels: expected 16 whole numbers, found float64"),
        (IMAGES, LABELS + 1, r"labels: expected 0 to 2, found 1 to 3"),
        (IMAGES, LABELS - 1, r"labels: expected 0 to 2, found -1 to 1"),
    ],
)
def test_arrays_that_do_not_fit(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    net = step()
    with pytest.raises(ValueError, match=message):
        net(images, labels)
    assert net.steps == 0


def test_settings_batch_and_adam() -> None:
    settings = {"net.act": "tanh", "train.optimizer": "adam(lr = 0.01, beta1 = 0.8)"}
    net = alexnet_ir.compile(TINY, batch=4, settings=settings).trainer()
    assert "tanh" in {node.op.name for node in net.model.graph.topo()}
    losses = [net(IMAGES[:4], LABELS[:4]) for _ in range(40)]
    assert losses[-1] < 0.3 * losses[0]
    assert alexnet_ir.compile(TINY, settings={"train.batch": 8}).model.batch == 8


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_batch_has_an_image(wrong: int) -> None:
    with pytest.raises(ValueError, match="batch: expected a whole number of at least 1"):
        alexnet_ir.compile(TINY, batch=wrong)


@pytest.mark.parametrize("wrong", [-1, 2**63])
def test_seeds_have_a_range(wrong: int) -> None:
    with pytest.raises(ValueError, match="seed: expected a whole number"):
        step(seed=wrong)


def test_a_file_without_a_recipe_says_how_to_add_one() -> None:
    compiled = alexnet_ir.compile(TINY[: TINY.index("train recipe")])
    assert compiled.inference_graph().outputs
    with pytest.raises(AlexnetError, match="without a `train` section"):
        compiled.trainer()


def test_weights_of_another_net_are_refused() -> None:
    net = step()
    good = dict(net.weights)
    net.load(good)
    with pytest.raises(AlexnetError, match=r"lack fc1\.bias and have fc9\.bias"):
        net.load({"fc9.bias" if name == "fc1.bias" else name: value for name, value in good.items()})
    with pytest.raises(AlexnetError, match=r"shape \(3,\), not \(4,\)"):
        net.load(good | {"fc1.bias": np.zeros(4)})


def test_a_predictor_scores_as_the_step_does_in_less_memory() -> None:
    trained, net = step(), alexnet_ir.compile(TINY, batch=4).predictor(devices="cpu")
    net.load(trained.weights)
    images = np.random.default_rng(5).standard_normal((5, *net.model.image))
    np.testing.assert_allclose(net.predict(images), trained.predict(images), rtol=1e-5, atol=1e-6)
    assert list(net.plan.states) == list(net.weights) == list(trained.weights)
    assert max(a.peak for a in net.plan.arenas) < max(a.peak for a in trained.plan.arenas)
