"""The experiments as data: nets that are trained, and what the paper claims of them.

An arm is a net with arguments, trained once for each seed. A claim sets arms beside each other, by one measure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

SEEDS = (0, 1, 2)
BUDGET = 20
"""Epochs of every arm of cifar-small.alx, as that file says."""
CAP = 20
"""Epochs after which a race to a training error is given up."""
SMALL, FIGURE_1 = "benchmarks/nets/cifar-small.alx", "benchmarks/nets/figure-1.alx"
CIFAR, PHOTOGRAPHS = "CIFAR-10", "photographs"
CLASSES = {CIFAR: 10, PHOTOGRAPHS: 96}
"""Of the data sets."""

Run = Mapping[str, Sequence[float]]
"""The epochs of a run: loss, error, eval_top1 and seconds, a number each."""


@dataclass(frozen=True)
class Arm:
    """What is trained. A run is complete after so many epochs, or as soon as the training error is below `target`."""

    name: str
    net: str
    arguments: tuple[str, ...] = ()
    epochs: int = BUDGET
    seeds: tuple[int, ...] = SEEDS
    target: float = 0
    data: str = CIFAR

    @property
    def key(self) -> str:
        """Of what it is trained with: results of another key are those of another arm of the same name."""
        said = repr((self.net, self.arguments, self.epochs, self.target))
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    def is_complete(self, run: Run) -> bool:
        """Whether nothing of a run is left to do."""
        return len(run["error"]) >= self.epochs or any(error < self.target for error in run["error"])


def rehearsed(arm: Arm) -> Arm:
    """The same for a few steps, on images that are made."""
    source = f"data.source=synthetic(images = 192, classes = {CLASSES[arm.data]})"
    few = ("--set", source, "--batch", "64", "--epochs", "2")
    return replace(arm, arguments=arm.arguments + few, epochs=2, seeds=(0,), target=0)


@dataclass(frozen=True)
class Measure:
    """A number of a run."""

    name: str
    curve: str
    of: Callable[[Run], float]
    percent: bool = True

    def text(self, value: float) -> str:
        """As it is printed."""
        return f"{value:.2%}" if self.percent else f"{value:g}" if math.isfinite(value) else f"more than {CAP}"


def _epochs_to(error: float) -> Callable[[Run], float]:
    return lambda run: next((n for n, found in enumerate(run["error"], 1) if found < error), math.inf)


EVALUATION = Measure("evaluation error", "eval_top1", lambda run: run["eval_top1"][-1])
TRAINING = Measure("training error", "error", lambda run: run["error"][-1])
EARLY = Measure("training error of the first epoch", "error", lambda run: run["error"][0])
GAP = Measure("evaluation error less training error", "eval_top1", lambda run: run["eval_top1"][-1] - run["error"][-1])
RACE = Measure("epochs to a training error of 25%", "error", _epochs_to(0.25), percent=False)


@dataclass(frozen=True)
class Contender:
    """An arm of a claim, or several of which the best counts: each net has its own learning rate, for instance."""

    label: str
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """That the measure of the contender `smaller` is below that of `larger`, or below a number; or so many `times`."""

    smaller: str
    larger: str | float
    times: float = 1
    measure: Measure = EVALUATION

    def verdict(self, smaller: Sequence[float], larger: Sequence[float]) -> str:
        """Of the measures of all seeds."""
        below, above = [self.times * value for value in smaller], list(larger)
        if max(below) < min(above):
            return "comes out"
        return "does not come out" if min(below) > max(above) else "within noise"


@dataclass(frozen=True)
class Claim:
    """What was `said`, by whom, and what of it is tried; `remark` is on how."""

    name: str
    title: str
    said: str
    contenders: tuple[Contender, ...]
    expected: tuple[Expected, ...]
    remark: str = ""


def _small(name: str, *settings: str) -> Arm:
    return Arm(name, SMALL, tuple(word for setting in settings for word in ("--set", setting)))


def _race(start: str, act: str, rate: float) -> Arm:
    optimizer = f"train.optimizer=sgd(lr = {rate:g}, momentum = 0.9)"
    arguments = ("--recipe", start, "--set", f"net.act={act}", "--set", optimizer)
    return Arm(_racer(start, act, rate), FIGURE_1, arguments, CAP, SEEDS, 0.25)


def _racer(start: str, act: str, rate: float) -> str:
    return f"figure-1-{start}-{act}-{rate:g}"


RATES = {
    ("plain", "relu"): (0.001, 0.003, 0.01),
    ("plain", "tanh"): (0.001, 0.003, 0.01, 0.03),
    ("even", "relu"): (0.003, 0.01, 0.03),
    ("even", "tanh"): (0.003, 0.01, 0.03),
}
"""Tried of each net of figure 1: how its weights begin, and its units."""

ARMS = (
    Arm(
        "cifar-18pct", "examples/cifar-18pct.alx",
        ("--set", 'data.source=cifar10("cifar-10", train = [1, 2, 3, 4], eval = [5])'), 140, (0,),
    ),
    _small("as-is"),
    _small("no-lrn", "net.norm=false"),
    _small("plain-pooling", "net.window=2"),
    _small("one-tower", "net.columns=1"),
    _small("never-meet", "net.meet=2"),
    _small("half-kernels", "net.columns=1", "net.kernels=1/2"),
    _small("no-middle", "net.middle=false"),
    _small("no-dropout", "net.drop=0"),
    _small("no-decay", "train.optimizer=sgd(lr = 0.01, momentum = 0.9)"),
    _small("biases-0", "net.one=0"),
    *(_race(start, act, rate) for (start, act), rates in RATES.items() for rate in rates),
    _small("colour-shift", 'data.train=[subtract_mean(per = "pixel"), pca_light(std = 0.1)]'),
    Arm("photographs", "benchmarks/nets/photographs.alx", (), 1000, (0,), 0.01, PHOTOGRAPHS),
)  # fmt: skip


def _one(label: str, arm: str) -> Contender:
    return Contender(label, (arm,))


AS_IS = _one("as it is", "as-is")


def _figure_1(start: str, title: str, remark: str) -> Claim:
    nets = [
        Contender(label, tuple(_racer(start, act, rate) for rate in RATES[start, act]))
        for label, act in (("ReLU", "relu"), ("tanh", "tanh"))
    ]
    said = (
        "The paper: a four-layer net reaches a training error of 25% about six times sooner with ReLU than with tanh, "
        "each at the rate that suits it. At least twice as soon is asked for here."
    )
    expected = Expected("ReLU", "tanh", 2, RACE)
    return Claim(f"figure-1-{start}", title, said, (*nets,), (expected,), remark)


CLAIMS = (
    Claim(
        "cifar-18pct", "A published net in full", "cuda-convnet: 18% of the test images, with five batches to train.",
        (_one("cifar-18pct", "cifar-18pct"),), (Expected("cifar-18pct", 0.2),),
        "With four batches a little more is expected: below 20%.",
    ),
    _figure_1(
        "plain", "Figure 1: ReLU against tanh",
        "These nets begin as nets of the time did: small normal weights, pixels as large as 255. Rates are tried with "
        f"one seed at least, the best with all; what does not come there in {CAP} epochs counts as never.",
    ),
    _figure_1("even", "Figure 1, as nets begin today", "With Xavier's initial weights, and pixels divided by 64."),
    Claim(
        "lrn", "Local response normalisation", 
        "The paper: without it 1.4 points worse; on CIFAR-10, another net had 13% without and 11% with.",
        (AS_IS, _one("without LRN", "no-lrn")), (Expected("as it is", "without LRN"),),
    ),
    Claim(
        "pooling", "Overlapping pooling", "The paper: plain pooling is 0.4 points worse.",
        (AS_IS, _one("windows of 2", "plain-pooling")), (Expected("as it is", "windows of 2"),),
    ),
    Claim(
        "towers", "Two columns",
        "The paper: a net of half the kernels, on one device, is 1.7 points worse. Of its code: columns that never "
        "meet are 1.2 points worse.",
        (
            AS_IS, _one("columns apart", "never-meet"), _one("half the kernels", "half-kernels"),
            _one("one tower", "one-tower"),
        ),
        (Expected("as it is", "half the kernels"), Expected("as it is", "columns apart")),
        "Half the kernels: one tower, with half in all convolutions but the last, as in the paper. Columns apart are "
        "joined by fc8 alone. One tower has all kernels, and more weights than two columns: the paper has no figure.",
    ),
    Claim(
        "depth", "A middle layer removed", "The paper: about 2 points worse.",
        (AS_IS, _one("without conv4", "no-middle")), (Expected("as it is", "without conv4"),),
    ),
    Claim(
        "dropout", "Dropout",
        "The paper: without it the net overfits; with it training takes about twice the iterations.",
        (AS_IS, _one("without dropout", "no-dropout")),
        (
            Expected("as it is", "without dropout"),
            Expected("as it is", "without dropout", measure=GAP),
            Expected("without dropout", "as it is", measure=TRAINING),
        ),
        "The training error is measured as images come, with dropout where there is any.",
    ),
    Claim(
        "decay", "Weight decay", "The paper: a decay of 0.0005 lowers the training error too.",
        (AS_IS, _one("decay 0", "no-decay")), (Expected("as it is", "decay 0", measure=TRAINING),),
    ),
    Claim(
        "biases", "Biases that begin at 1", "The paper: they speed up early learning.",
        (AS_IS, _one("biases begin at 0", "biases-0")), (Expected("as it is", "biases begin at 0", measure=EARLY),),
    ),
    Claim(
        "colour", "Colour shift along principal components", "The paper: without it more than 1 point worse.",
        (AS_IS, _one("with the shift", "colour-shift")), (Expected("with the shift", "as it is"),),
    ),
    Claim(
        "photographs", "The whole road to ImageNet, on 96 photographs",
        "A small AlexNet learns 96 photographs, each of another class, by heart: prepared, augmented, in ten crops.",
        (_one("photographs", "photographs"),), (Expected("photographs", 0.01, measure=TRAINING),),
        "A training error below 1% of 96 images is none. DIR is what `alexnet-ir prepare` made: here the command above "
        "leaves it in `runs/results/photographs`.",
    ),
)  # fmt: skip
