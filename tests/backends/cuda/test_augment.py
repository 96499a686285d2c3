"""Images made ready on a GPU are those that the data pipeline makes on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexnet_ir.backends.cuda import nvrtc
from alexnet_ir.backends.cuda.emitters.augment import Augment, emit_augment
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Emission, Launch, Place, Tensor
from alexnet_ir.backends.emission.encode import decode, encode, round_stored
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.dsl.spec import CenterCrop, RandomCrop, RandomFlip, Scale, SubtractMean, Transform
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.philox import Domain, Key, random_blocks

from .running import Guarded, needs_gxx
from .test_nvrtc import needs_nvrtc

STORED = (5, 3, 19, 14)
"""Images as they are stored; odd everywhere."""
PIXELS = Layout("f32", channels_last=True)
Lying = tuple[tuple[int, ...], Layout]
SEED, EPOCH, SAMPLES = 7, 2, np.array([3, 11, 4, 90, 1])


def images() -> Array:
    """Bytes of all values."""
    return np.random.default_rng(0).integers(0, 256, STORED).astype(np.uint8)


def mean_image() -> Array:
    """Not the same anywhere."""
    return np.random.default_rng(1).uniform(80, 160, STORED[1:]).astype(np.float32)


def places(steps: Sequence[Transform]) -> Array:
    """(top, left, flipped) of each image as the pipeline draws them."""
    found = np.zeros((len(SAMPLES), 3), np.int32)
    for position, step in enumerate(steps):
        words = random_blocks(Key(SEED, Domain.AUGMENT, position, EPOCH), SAMPLES)
        if isinstance(step, RandomFlip):
            found[:, 2] = words[0] < 2**31
        elif isinstance(step, RandomCrop | CenterCrop):
            room = np.array(STORED[2:], np.uint64)[:, None] - np.uint64(step.size)
            drawn = words[:2] * (room + np.uint64(1)) >> np.uint64(32)
            found[:, :2] = (drawn if isinstance(step, RandomCrop) else room // np.uint64(2) + 0 * drawn).T
    return found


def augmented(
    augment: Augment,
    size: tuple[int, int],
    place: Array,
    mean: Array,
    *,
    shifts: Array | None = None,
    last: bool = True,
    result: Layout = PIXELS,
    machine: HostMachine | None = None,
) -> Array:
    """What the kernel makes of the images."""
    shifts = np.zeros(STORED[:2], np.float32) if shifts is None else shifts
    shape = (*STORED[:2], *size)
    mean = mean.reshape(1, STORED[1], -1, STORED[3] if mean.ndim == 3 else 1)
    layouts = [Layout("u8", last), Layout("i32"), Layout("f32"), Layout("f32", last)]
    given = list(zip((images(), place, shifts, mean), layouts, strict=True))
    memory = {("operand", i): Guarded(encode(array, layout)) for i, (array, layout) in enumerate(given)}
    memory["result", 0] = Guarded(result.nbytes(shape))
    commands = emission(augment, [(array.shape, layout) for array, layout in given], (shape, result)).commands
    (machine or HostMachine()).run(commands, lambda p: int(memory[p.kind, p.number].inside.ctypes.data))
    for (kind, number), guarded in memory.items():
        guarded.check(f"{kind} {number}")
    return decode(memory["result", 0].inside, result, shape)


def emission(augment: Augment, given: Sequence[Lying], result: Lying) -> Emission:
    """What is emitted for images, places, shifts and mean so laid out."""
    tensors = [Tensor(s, x, Place("operand", i, x.nbytes(s))) for i, (s, x) in enumerate(given)]
    made = Tensor(*result, Place("result", 0, result[1].nbytes(result[0])))
    return emit_augment(augment, tensors[0], tensors[1], tensors[2], tensors[3], made)


def pipeline(steps: Sequence[Transform]) -> Array:
    """What the pipeline makes of the images."""
    return Preprocessing(tuple(steps), (), SEED, mean_image()).train_images(images(), SAMPLES, EPOCH)


CROP, FLIP, SCALE = RandomCrop(11), RandomFlip(), Scale(1 / 58)
BY_PIXEL, BY_CHANNEL = SubtractMean("pixel"), SubtractMean("channel")
PIPELINES = {
    "mean, crop, flip": ((BY_PIXEL, CROP, FLIP), Augment()),
    "crop, mean, flip": ((CROP, BY_PIXEL, FLIP), Augment(centred=True)),
    "crop, flip, mean": ((CROP, FLIP, BY_PIXEL), Augment(centred=True, mean_flips=False)),
    "mean, crop, flip, scale": ((BY_PIXEL, CROP, FLIP, SCALE), Augment(factor=1 / 58)),
    "centre, mean": ((CenterCrop(12), BY_PIXEL), Augment(centred=True)),
    "crop alone": ((CROP,), Augment()),
}
BOTH = pytest.mark.parametrize("last", [True, False], ids=["pixels", "planes"])


def side(steps: Sequence[Transform]) -> tuple[int, int]:
    """The size of the crop."""
    (size,) = (step.size for step in steps if isinstance(step, RandomCrop | CenterCrop))
    return size, size


@needs_gxx
@BOTH
@pytest.mark.parametrize("name", PIPELINES)
def test_images_are_those_of_the_pipeline(name: str, last: bool) -> None:
    steps, augment = PIPELINES[name]
    subtracts = any(isinstance(step, SubtractMean) for step in steps)
    mean = mean_image() if subtracts else np.zeros(3, np.float32)
    found = augmented(augment, side(steps), places(steps), mean, last=last)
    np.testing.assert_array_equal(found, pipeline(steps))


@needs_gxx
def test_more_images_than_a_grid_has_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_ir.backends.cuda.emitters.augment.MOST_BLOCKS", 2)
    steps, augment = PIPELINES["mean, crop, flip"]
    found = augmented(augment, side(steps), places(steps), mean_image())
    np.testing.assert_array_equal(found, pipeline(steps))


@needs_gxx
def test_a_mean_of_channels_is_subtracted_from_each() -> None:
    steps = (CROP, FLIP, BY_CHANNEL)
    middle = mean_image()[:, 4:15, 1:12].mean(axis=(1, 2))
    found = augmented(Augment(), (11, 11), places(steps), middle)
    np.testing.assert_allclose(found, pipeline(steps), rtol=0, atol=1e-4)


@needs_gxx
@pytest.mark.parametrize("stored", ["f32", "tf32", "bf16"])
@BOTH
def test_the_result_is_laid_out_and_stored_as_asked(stored: Stored, last: bool) -> None:
    steps, augment = PIPELINES["mean, crop, flip, scale"]
    found = augmented(augment, (11, 11), places(steps), mean_image(), result=Layout(stored, last))
    np.testing.assert_array_equal(found, round_stored(pipeline(steps), stored))


@needs_gxx
def test_each_image_has_a_colour_shift_of_its_own() -> None:
    steps, augment = PIPELINES["crop, mean, flip"]
    shifts = np.random.default_rng(2).standard_normal(STORED[:2]).astype(np.float32)
    found = augmented(augment, (11, 11), places(steps), mean_image(), shifts=shifts)
    np.testing.assert_array_equal(found, pipeline(steps) + shifts[:, :, None, None])


@needs_gxx
def test_beyond_the_stored_image_is_the_mean() -> None:
    place = np.array([[-2, -3, 0], [10, 8, 1], [40, 0, 0], [0, 0, 0], [0, -99, 1]], np.int32)
    found = augmented(Augment(), (12, 9), place, mean_image())
    exact = np.pad(images() - mean_image(), [(0, 0), (0, 0), (120, 120), (120, 120)])
    for one, image, (top, left, flipped) in zip(found, exact, place, strict=True):
        crop = image[:, 120 + top : 132 + top, 120 + left : 129 + left]
        np.testing.assert_array_equal(one, crop[..., ::-1] if flipped else crop)


@needs_gxx
@BOTH
def test_no_access_is_out_of_bounds(last: bool) -> None:
    steps, augment = PIPELINES["crop, mean, flip"]
    machine = HostMachine(check=True, order="shuffled")
    found = augmented(augment, (11, 11), places(steps), mean_image(), last=last, machine=machine)
    np.testing.assert_array_equal(found, pipeline(steps))


@needs_nvrtc
@pytest.mark.parametrize("gpu", ["sm_75", "sm_90"])
def test_it_compiles_for_gpus(gpu: str) -> None:
    images, mean = (128, 3, 256, 256), (1, 3, 256, 256)
    given = [(images, Layout("u8", True)), ((128, 3), Layout("i32")), ((128, 3), Layout("f32")), (mean, PIXELS)]
    (launch,) = emission(Augment(centred=True), given, ((128, 3, 227, 227), PIXELS)).commands
    assert isinstance(launch, Launch)
    usage = nvrtc.compile(launch.kernel.source, launch.kernel.name, gpu).usage
    assert usage.stack == usage.spill_stores == 0
    assert usage.registers <= 64
