"""What the sections of a model file mean, as values: where the data comes from, the recipe, the placement.

Each class that can be called in a section (`sgd(...)`, `epochs(90)`, `random_crop(224)`) is a dataclass whose fields
are the arguments; docs/language.md says what each does. Nothing here reads data or trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.attributes import (
    COUNT,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    REAL,
    TEXT,
    WHOLE,
    Attributes,
    Kind,
    attribute,
    choice,
    instance_of,
    optional,
    sequence_of,
)


@dataclass(frozen=True)
class Reference:
    """A name in a section that points at something else in the file: a layer, a transform, a net."""

    id: str
    arguments: tuple[tuple[str, Any], ...] = ()
    span: Span | None = None

    def __str__(self) -> str:
        return f"`{self.id}`"


REFERENCE = instance_of(Reference, expects="the name of a layer or transform")

# --- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source(Attributes):
    """A set of labelled images. `stored` is the (channels, rows, columns) it keeps and `class_count` its classes,
    where they are known without reading it."""

    stored: ClassVar[tuple[int, int, int] | None] = None
    class_count: ClassVar[int | None] = None


@dataclass(frozen=True)
class Digits(Source):
    """scikit-learn's 1,797 handwritten digits of 8 x 8, grey, brought to 0 to 255."""

    name: ClassVar[str] = "digits"
    stored: ClassVar[tuple[int, int, int] | None] = (1, 8, 8)
    class_count: ClassVar[int | None] = 10


@dataclass(frozen=True)
class Mnist(Source):
    """MNIST's official idx files, gzipped or not."""

    name: ClassVar[str] = "mnist"
    stored: ClassVar[tuple[int, int, int] | None] = (1, 28, 28)
    class_count: ClassVar[int | None] = 10
    dir: str = attribute(TEXT)


def _batch(value: Any) -> int:
    if value not in range(1, 7):
        raise ValueError
    return int(value)


_BATCHES = sequence_of(Kind("a whole number from 1 to 6", _batch), "batches from 1 to 6")


@dataclass(frozen=True)
class Cifar10(Source):
    """CIFAR-10, binary or Python version; batch 6 is the official test batch."""

    name: ClassVar[str] = "cifar10"
    stored: ClassVar[tuple[int, int, int] | None] = (3, 32, 32)
    class_count: ClassVar[int | None] = 10
    dir: str = attribute(TEXT)
    train: tuple[int, ...] = attribute(_BATCHES, (1, 2, 3, 4, 5))
    eval: tuple[int, ...] = attribute(_BATCHES, (6,))


@dataclass(frozen=True)
class Folder(Source):
    """One folder a class, or a prepared container."""

    name: ClassVar[str] = "folder"
    dir: str = attribute(TEXT)


@dataclass(frozen=True)
class Synthetic(Source):
    """Made-up images of the net's input size, each class a pattern of its own under noise: for trying and timing."""

    name: ClassVar[str] = "synthetic"
    images: int = attribute(COUNT)
    classes: int = attribute(COUNT)


@dataclass(frozen=True)
class Transform(Attributes):
    """One step from a stored image to what the net sees."""


@dataclass(frozen=True)
class Resize(Transform):
    """Shorter side to `size`."""

    name: ClassVar[str] = "resize"
    size: int = attribute(COUNT)


@dataclass(frozen=True)
class SubtractMean(Transform):
    """Minus the training set's mean, of each pixel or of each channel."""

    name: ClassVar[str] = "subtract_mean"
    per: str = attribute(choice("pixel", "channel"), "pixel")


@dataclass(frozen=True)
class Scale(Transform):
    """Times `factor`."""

    name: ClassVar[str] = "scale"
    factor: float = attribute(REAL)


@dataclass(frozen=True)
class RandomCrop(Transform):
    """A square of `size` at a random place."""

    name: ClassVar[str] = "random_crop"
    size: int = attribute(COUNT)


@dataclass(frozen=True)
class CenterCrop(Transform):
    """The middle square of `size`."""

    name: ClassVar[str] = "center_crop"
    size: int = attribute(COUNT)


@dataclass(frozen=True)
class RandomFlip(Transform):
    """A left-right reflection, every second time."""

    name: ClassVar[str] = "random_flip"


@dataclass(frozen=True)
class PcaLight(Transform):
    """The paper's colour shift (section 4.1), as the released code did it."""

    name: ClassVar[str] = "pca_light"
    std: float = attribute(NON_NEGATIVE)


@dataclass(frozen=True)
class TenCrop(Transform):
    """Corners and centre and their reflections, scores averaged."""

    name: ClassVar[str] = "ten_crop"
    size: int = attribute(COUNT)


@dataclass(frozen=True)
class DataSpec:
    """A `data` section. Relative directories count from `base`, the model file's folder."""

    name: str
    source: Source
    train: tuple[Transform, ...]
    eval: tuple[Transform, ...]
    holdout: float | None
    base: Path
    span: Span | None = None


# --- recipe -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epochs(Attributes):
    """A length of training in passes over the training set."""

    name: ClassVar[str] = "epochs"
    count: float = attribute(POSITIVE)


@dataclass(frozen=True)
class Steps(Attributes):
    """A length of training in updates."""

    name: ClassVar[str] = "steps"
    count: int = attribute(COUNT)


@dataclass(frozen=True)
class ErrorBelow(Attributes):
    """Until the top-1 error of an epoch is below `error` (a fraction), on the training or the evaluation set."""

    name: ClassVar[str] = "error_below"
    error: float = attribute(FRACTION)
    on: str = attribute(choice("train", "eval"), "train")


Moment = Epochs | Steps
Stop = Epochs | Steps | ErrorBelow
MOMENT = instance_of(Epochs, Steps, expects="epochs(n) or steps(n)")


@dataclass(frozen=True)
class Optimizer(Attributes):
    """The update rule's rates; the four factors are Caffe's, for weights and biases."""

    lr: float = attribute(POSITIVE)


@dataclass(frozen=True)
class Sgd(Optimizer):
    """v = momentum v - lr (grad + weight_decay w); w = w + v: section 5 of the paper."""

    name: ClassVar[str] = "sgd"
    momentum: float = attribute(FRACTION, 0)
    weight_decay: float = attribute(NON_NEGATIVE, 0)
    lr_mult: float = attribute(NON_NEGATIVE, 1)
    decay_mult: float = attribute(NON_NEGATIVE, 1)
    bias_lr_mult: float = attribute(NON_NEGATIVE, 1)
    bias_decay_mult: float = attribute(NON_NEGATIVE, 1)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma and Ba 2015, algorithm 1, with the decay added to the gradient (as torch.optim.Adam)."""

    name: ClassVar[str] = "adam"
    beta1: float = attribute(FRACTION, 0.9)
    beta2: float = attribute(FRACTION, 0.999)
    eps: float = attribute(POSITIVE, 1e-8)
    weight_decay: float = attribute(NON_NEGATIVE, 0)


@dataclass(frozen=True)
class Loss(Attributes):
    """A mean over the batch; `weights` weigh the net's results, one each."""

    weights: tuple[float, ...] | None = attribute(optional(sequence_of(NON_NEGATIVE, "numbers of at least 0")), None)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Multinomial logistic loss."""

    name: ClassVar[str] = "softmax_cross_entropy"


@dataclass(frozen=True)
class Hinge(Loss):
    """Sum over the wrong classes of max(0, 1 + score - score of the right class)."""

    name: ClassVar[str] = "hinge"


@dataclass(frozen=True)
class Schedule(Attributes):
    """How the learning rate moves; the recipe's `lr` is where it begins."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Never."""

    name: ClassVar[str] = "constant"


@dataclass(frozen=True)
class Drops(Schedule):
    """Times `factor` at each of the moments."""

    name: ClassVar[str] = "drops"
    at: tuple[Moment, ...] = attribute(sequence_of(MOMENT, "epochs(n) or steps(n)"))
    factor: float = attribute(POSITIVE, 0.1)


@dataclass(frozen=True)
class Plateau(Schedule):
    """Times `factor` when the validation error has not improved for `patience` epochs."""

    name: ClassVar[str] = "plateau"
    factor: float = attribute(POSITIVE)
    patience: int = attribute(COUNT, 5)
    max_drops: int = attribute(COUNT, kw_only=True)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Times `factor` once every `every`, smoothly."""

    name: ClassVar[str] = "exponential"
    factor: float = attribute(POSITIVE)
    every: Moment = attribute(MOMENT)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """lr (1 - t)^power, t from 0 to 1 over the run."""

    name: ClassVar[str] = "polynomial"
    power: float = attribute(POSITIVE)


@dataclass(frozen=True)
class Cosine(Schedule):
    """lr (1 + cos(pi t)) / 2, t from 0 to 1 over the run."""

    name: ClassVar[str] = "cosine"


@dataclass(frozen=True)
class SetEvent:
    """`set(conv1, lr_mult = 0.001)`: new values for what a name stands for."""

    target: Reference
    values: tuple[tuple[str, Any], ...]
    name: ClassVar[str] = "set"


@dataclass(frozen=True)
class Freeze(Attributes):
    """`freeze(conv1)`: no more updates of this layer."""

    name: ClassVar[str] = "freeze"
    target: Reference = attribute(REFERENCE)


@dataclass(frozen=True)
class At(Attributes):
    """An event and its moment."""

    name: ClassVar[str] = "at"
    moment: Moment = attribute(MOMENT)
    event: SetEvent | Freeze = attribute(instance_of(SetEvent, Freeze, expects="set(...) or freeze(...)"))


@dataclass(frozen=True)
class TrainSpec:
    """A `train` section: the recipe. `net` has the arguments that `net: AlexNet(classes = 10)` passes; of
    several `stop`s, the first that is reached ends the run."""

    name: str
    net: Reference
    data: str
    loss: Loss
    batch: int
    stop: tuple[Stop, ...]
    optimizer: Optimizer
    schedule: Schedule
    events: tuple[At, ...]
    seed: int
    span: Span | None = None


# --- placement ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchSplit(Attributes):
    """Layers `from` to `to` see a share of the batch on each device."""

    name: ClassVar[str] = "batch"
    first: Reference = attribute(REFERENCE, spelled="from")
    last: Reference = attribute(REFERENCE, spelled="to")


@dataclass(frozen=True)
class ChannelSplit(Attributes):
    """Kernels and units of layers `from` to `to` are shared out over the devices."""

    name: ClassVar[str] = "channels"
    first: Reference = attribute(REFERENCE, spelled="from")
    last: Reference = attribute(REFERENCE, spelled="to")


@dataclass(frozen=True)
class InputSplit(Attributes):
    """A layer's weights are cut along what they read: partial sums."""

    name: ClassVar[str] = "inputs"
    layer: Reference = attribute(REFERENCE)


@dataclass(frozen=True)
class OutputSplit(Attributes):
    """A layer's weights are cut along what they make."""

    name: ClassVar[str] = "outputs"
    layer: Reference = attribute(REFERENCE)


@dataclass(frozen=True)
class OnDevice(Attributes):
    """A whole layer on one device."""

    name: ClassVar[str] = "on"
    layer: Reference = attribute(REFERENCE)
    device: int = attribute(WHOLE)


Split = BatchSplit | ChannelSplit | InputSplit | OutputSplit | OnDevice


@dataclass(frozen=True)
class PlaceSpec:
    """A `place` section: how the net named lies on `devices` devices."""

    name: str
    net: str
    devices: int
    splits: tuple[Split, ...]
    span: Span | None = None
