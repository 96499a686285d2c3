"""The nets and cases that are measured, and what is hoped for in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import alexnet_ir
from alexnet_ir.compiler import recipe_of
from alexnet_ir.ir.names import SCORE
from benchmarks.gpu_parts.models import NETS, SIXTH, Net, example

from .job import Job, Variant

CIFAR = Net("cifar18", "CIFAR-10, 18%", example("cifar-18pct"), (("conv(64,", "conv(16,"),))
VGG = Net("vgg16", "VGG-16", example("vgg16"), (
    ("3, 224, 224", "3, 32, 32"), *((f"conv({width},", f"conv({width // 16},") for width in (64, 128, 256, 512)),
    ("fc(4096", "fc(24"),
))  # fmt: skip
ALEXNET = replace(NETS["alexnet"], title="AlexNet", smaller=(("3, 224, 224", "3, 64, 64"), *SIXTH))
EPOCH = 50_000
"""Images of CIFAR-10's."""

OURS = Variant("alexnet-ir", "ours")
PLAIN, TUNED, BY_HAND = "PyTorch as it comes (a)", "PyTorch tuned (b)", "PyTorch tuned, norms by hand (c)"
A = Variant(PLAIN, "torch")
B = Variant(TUNED, "torch", tuned=True, channels_last=True)
WHOLE = replace(B, compiled=True)  # quicker for AlexNet with the LRN of the module, and there alone
C = replace(B, name=BY_HAND, by_hand=True)
ORT = Variant("ONNX Runtime", "onnx")
BEST = "the best"


@dataclass(frozen=True)
class Case:
    """A net at a batch; `steps` a turn; the opponents, and what of their time over ours is hoped for: by name, or of
    the BEST."""

    key: str
    net: Net
    batch: int
    steps: int
    opponents: Sequence[Variant]
    aims: Mapping[str, float]
    train: bool = True

    def __str__(self) -> str:
        if self.key == "cifar":
            return f"{self.net.title}, batch {self.batch}, an epoch of {EPOCH:,} images"
        return f"{self.net.title}, batch {self.batch}, {'training step' if self.train else 'inference'}"

    def at(self, batch: int) -> Case:
        """The same at another batch."""
        return replace(self, batch=batch)

    def scale(self) -> float:
        """What a step's seconds are multiplied by: CIFAR's are shown as an epoch's."""
        return EPOCH / self.batch if self.key == "cifar" else 1.0

    def job(self, threads: int, tiny: bool, dropout: bool, start: str) -> Job:
        """What all sides are told."""
        batch = min(self.batch, 2) if tiny else self.batch
        text = self.net.source(tiny, dropout and self.train)
        model = alexnet_ir.compile(text, batch=batch).model
        optimizer: Any = recipe_of(model).optimizer
        states = model.graph.states
        names = {name: name.replace("/", ".") for name in states}
        return Job(
            key=self.net.key, text=text, batch=batch, train=self.train, dropout=dropout, threads=threads,
            image=model.image, classes=model.graph.tensor(model.graph.outputs[SCORE]).shape[1],
            shapes={name: model.graph.tensor(state.read).shape for name, state in states.items()},
            factors={names[n]: (s.lr_mult, s.decay_mult) for n, s in states.items() if s.role == "parameter"},
            momentum=optimizer.momentum, weight_decay=optimizer.weight_decay, start=start,
        )  # fmt: skip


CASES = {
    case.key: case
    for case in (
        Case("alexnet-128", ALEXNET, 128, 1, (A, WHOLE, C), {PLAIN: 3.3, TUNED: 2.2, BY_HAND: 1.5}),
        Case("alexnet-32", ALEXNET, 32, 2, (A, WHOLE, C), {PLAIN: 2.6, TUNED: 2.0, BY_HAND: 1.4}),
        Case("cifar", CIFAR, 128, 15, (A, B, C), {BY_HAND: 1.5}),
        Case("vgg", VGG, 8, 1, (A, B), {BEST: 1.7}),
        Case("resnet", NETS["resnet18"], 8, 3, (A, B), {BEST: 1.3}),
        Case("inference-1", ALEXNET, 1, 20, (A, B, C, ORT), {ORT.name: 1.0}, train=False),
        Case("inference-32", ALEXNET, 32, 3, (A, B, C, ORT), {ORT.name: 1.4}, train=False),
    )
}
