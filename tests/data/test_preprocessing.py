"""Transforms against plain computations and against a second telling of them, and the independence of what is
random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.spec import (
    CenterCrop,
    DataSpec,
    Digits,
    PcaLight,
    RandomCrop,
    RandomFlip,
    Resize,
    Scale,
    SubtractMean,
    TenCrop,
    Transform,
)
from tests.data.stepwise import center, step_by_step, ten_crops

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 9, 8), np.uint8)
SPLIT = Split(IMAGES, np.zeros(40, np.int32))
PLACES = np.arange(40)
MEAN = IMAGES.astype(np.float64).mean(axis=0)


def preprocessing(*train: Transform, seed: int = 0, eval_steps: tuple[Transform, ...] = ()) -> Preprocessing:
    section = DataSpec("d", Digits(), train, eval_steps, None, Path())
    return Preprocessing.of(section, seed, SPLIT)


def trained(*steps: Transform, epoch: int = 0, seed: int = 0) -> np.ndarray:
    return preprocessing(*steps, seed=seed).train_images(IMAGES, PLACES, epoch)


def evaluated(pipeline: Preprocessing, images: np.ndarray = IMAGES, first: int = 0) -> np.ndarray:
    return pipeline.eval_batch(pipeline.read_eval(images)[:], first).evaluate()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_steps_give_the_images_as_they_are() -> None:
    close(trained(), IMAGES)
    assert preprocessing().mean is None


def test_subtract_mean_per_pixel() -> None:
    close(trained(SubtractMean()), IMAGES - MEAN)


def test_subtract_mean_per_channel() -> None:
    close(trained(SubtractMean("channel")), IMAGES - MEAN.mean(axis=(1, 2), keepdims=True))


def test_scale_and_its_order() -> None:
    close(trained(Scale(1 / 255)), IMAGES / 255)
    close(trained(Scale(1 / 255), SubtractMean()), (IMAGES - MEAN) / 255)
    close(trained(SubtractMean(), Scale(1 / 255)), (IMAGES - MEAN) / 255)


def test_center_crop_before_or_after_the_mean() -> None:
    expected = (IMAGES - MEAN)[:, :, 2:7, 1:6]
    close(trained(SubtractMean(), CenterCrop(5)), expected)
    close(trained(CenterCrop(5), SubtractMean()), expected)


def test_random_crop_after_the_mean_takes_the_matching_part() -> None:
    crops = trained(SubtractMean(), RandomCrop(4))
    whole = IMAGES - MEAN
    found = set()
    for crop, image in zip(crops, whole, strict=True):
        places = [
            (r, c) for r in range(6) for c in range(5) if np.allclose(image[:, r : r + 4, c : c + 4], crop, atol=1e-4)
        ]
        assert len(places) == 1
        found.update(places)
    assert {row for row, _ in found} == set(range(6))
    assert {column for _, column in found} == set(range(5))


def test_random_crop_before_the_mean_subtracts_its_centre() -> None:
    close(trained(RandomCrop(4), SubtractMean()), trained(RandomCrop(4)) - MEAN[:, 2:6, 2:6])


def test_random_flip_reflects_about_half() -> None:
    flipped = trained(RandomFlip())
    mirrored = (flipped == IMAGES[..., ::-1]).all(axis=(1, 2, 3))
    kept = (flipped == IMAGES).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 8 <= mirrored.sum() <= 32


RANDOM = (SubtractMean(), RandomCrop(5), RandomFlip(), RandomFlip())


@given(chosen=st.lists(st.integers(0, 39), min_size=1, max_size=20))
def test_augmentation_does_not_depend_on_the_batch(chosen: list[int]) -> None:
    pipeline = preprocessing(*RANDOM)
    whole = pipeline.train_images(IMAGES, PLACES, epoch=3)
    np.testing.assert_array_equal(pipeline.train_images(IMAGES[chosen], chosen, epoch=3), whole[chosen])


def test_augmentation_depends_on_seed_epoch_and_step() -> None:
    runs = [trained(*RANDOM, epoch=0), trained(*RANDOM, epoch=1), trained(*RANDOM, seed=1)]
    assert not any(np.array_equal(a, b) for a, b in [(runs[0], runs[1]), (runs[0], runs[2]), (runs[1], runs[2])])
    assert not np.array_equal(trained(RandomFlip(), RandomFlip()), IMAGES)


def test_stored_images_are_left_alone() -> None:
    images = IMAGES.astype(np.float32)
    preprocessing(SubtractMean(), Scale(2), RandomFlip()).train_images(images, PLACES, 0)
    np.testing.assert_array_equal(images, IMAGES)


def test_evaluation_can_be_made_again_from_the_mean() -> None:
    steps = (SubtractMean(), CenterCrop(5))
    first = preprocessing(eval_steps=steps)
    again = Preprocessing((), steps, seed=9, mean=first.mean)
    np.testing.assert_array_equal(evaluated(again), evaluated(first))
    close(evaluated(again, IMAGES[:1]), (IMAGES - MEAN)[:1, :, 2:7, 1:6])


def test_evaluation_does_not_depend_on_the_batch() -> None:
    pipeline = preprocessing(eval_steps=(RandomCrop(5),))
    np.testing.assert_array_equal(evaluated(pipeline, IMAGES[7:9], 7), evaluated(pipeline)[7:9])


COVARIANCE = np.cov(IMAGES.transpose(1, 0, 2, 3).reshape(3, -1), bias=True)


@st.composite
def step_lists(draw: st.DrawFn, kinds: str = "mcscrflp") -> tuple[Transform, ...]:
    """Steps in any order, crops ever smaller."""
    steps: list[Transform] = []
    size = 8
    for kind in draw(st.text(kinds, max_size=7)):
        if kind in "crt":
            size = draw(st.integers(max(1, size - 3), size))
        made: dict[str, Transform] = {
            "m": SubtractMean(), "l": SubtractMean("channel"), "s": Scale(0.5), "c": CenterCrop(size),
            "r": RandomCrop(size), "f": RandomFlip(), "p": PcaLight(0.1), "t": TenCrop(size),
        }  # fmt: skip
        steps.append(made[kind])
    return tuple(steps)


@given(steps=step_lists(), chosen=st.lists(st.integers(0, 39), min_size=1, max_size=6), epoch=st.integers(0, 3))
def test_steps_composed_are_steps_one_by_one(steps: tuple[Transform, ...], chosen: list[int], epoch: int) -> None:
    found = preprocessing(*steps, seed=7).train_images(IMAGES[chosen], chosen, epoch)
    mean = MEAN.astype(np.float32)
    told = step_by_step(
        steps, IMAGES[chosen], np.array(chosen), seed=7, epoch=epoch, mean=mean, covariance=COVARIANCE
    )  # fmt: skip
    np.testing.assert_allclose(found, told, atol=2e-3)
    if not any(isinstance(step, Scale | PcaLight) or step == SubtractMean("channel") for step in steps):
        np.testing.assert_array_equal(found, told)


@given(steps=step_lists("mscrflpt"))
def test_ten_crops_anywhere(steps: tuple[Transform, ...]) -> None:
    if sum(isinstance(step, TenCrop) for step in steps) > 1:
        return
    pipeline = preprocessing(*(s for s in steps if isinstance(s, SubtractMean | PcaLight)), seed=7, eval_steps=steps)
    told = step_by_step(
        steps, IMAGES[5:8], np.arange(5, 8), seed=7, epoch=0, mean=MEAN.astype(np.float32), covariance=COVARIANCE
    )  # fmt: skip
    views = pipeline.eval_views(IMAGES[5:8], 5)
    assert len(views) == 3 * (10 if pipeline.ten_crop else 1)
    assert views.images.base is IMAGES  # nothing is copied
    np.testing.assert_allclose(views.evaluate(), told, atol=2e-3)


def test_ten_crops_by_hand() -> None:
    pipeline = preprocessing(eval_steps=(SubtractMean(), TenCrop(5)))
    whole = IMAGES - MEAN
    close(pipeline.eval_views(IMAGES).evaluate(), ten_crops(whole, 5))
    close(evaluated(pipeline), center(whole, 5))
    assert not preprocessing(eval_steps=(CenterCrop(5),)).ten_crop


def test_a_colour_shift_is_the_same_for_all_pixels_of_an_image() -> None:
    shifts = trained(PcaLight(0.1)) - IMAGES
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[:, :, :1, :1], shifts.shape), atol=1e-4)
    assert not np.allclose(shifts, (trained(PcaLight(0.1), epoch=1) - IMAGES), atol=1)
    np.testing.assert_allclose(trained(Scale(0.5), PcaLight(0.1)), trained(Scale(1), PcaLight(0.1)) / 2, atol=1e-3)


def test_colour_shifts_are_spread_as_the_colours_are() -> None:
    colours = np.random.default_rng(1).normal(size=(3, 3)) * [[60], [40], [20]]
    pipeline = Preprocessing((PcaLight(0.1),), (), 3, None, covariance=colours @ colours.T)
    shifts = pipeline.train_batch(np.zeros((4000, 3, 1, 1), np.uint8), np.arange(4000), 0).shifts
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1)
    np.testing.assert_allclose(np.cov(shifts.T), 0.01 * colours @ colours.T, atol=2)


def test_an_event_turns_the_colour_shift_off() -> None:
    pipeline = preprocessing(RandomCrop(5), PcaLight(0.1))
    off = pipeline.setting("pca_light", std=0)
    np.testing.assert_array_equal(off.train_images(IMAGES, PLACES, 2), trained(RandomCrop(5), epoch=2))
    assert not np.allclose(pipeline.train_images(IMAGES, PLACES, 2), off.train_images(IMAGES, PLACES, 2))


def test_grey_images_have_one_component() -> None:
    grey = Split(IMAGES[:, :1], SPLIT.labels)
    pipeline = Preprocessing.of(DataSpec("d", Digits(), (PcaLight(1),), (), None, Path()), 0, grey)
    assert pipeline.covariance == pytest.approx(grey.images[:].var())
    assert pipeline.train_batch(IMAGES[:, :1], PLACES, 0).shifts.std() == pytest.approx(IMAGES[:, :1].std(), rel=0.3)


@pytest.mark.parametrize(
    ("steps", "mean", "expected"),
    [
        ((CenterCrop(9),), None, "a crop of 9 is larger than the image, 3 x 9 x 8"),
        ((RandomCrop(10),), None, "a crop of 10 is larger than the image, 3 x 9 x 8"),
        ((CenterCrop(5), Resize(10)), None, "resize(...) stands after a crop"),
        ((PcaLight(0.1),), None, "pca_light(...) needs the covariance"),
        ((SubtractMean(),), None, "needs the mean of the training images"),
        (
            (SubtractMean(),),
            np.zeros((1, 9, 8), np.float32),
            "is 1 x 9 x 8, but the images are 3 x 9 x 8",
        ),
    ],
)
def test_refusals(steps: tuple[Transform, ...], mean: Any, expected: str) -> None:
    with pytest.raises(AlexnetError) as caught:
        Preprocessing(steps, (), 0, mean).train_images(IMAGES, PLACES, 0)
    assert expected in str(caught.value)
