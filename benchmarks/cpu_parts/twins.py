"""VGG-16 and the CIFAR-10 net as PyTorch modules, beside those that benchmarks/gpu.py has. Needs torch.

Children are named as the model files name layers, and widths are read off the weights, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from torch import Tensor, nn

from benchmarks.gpu_parts import twins
from benchmarks.gpu_parts.twins import MakeLrn, Shapes, _last, _windows, conv, fc

SIZE, K, ALPHA, BETA = 3, 1.0, 5e-5 / 9, 0.75
"""The CIFAR-10 net's local_norm: over windows within each map."""


class PooledNorm(nn.Module):
    """local_norm of PyTorch's own operations: the sums by an average pool that divides by 1."""

    def forward(self, x: Tensor) -> Tensor:
        sums = F.avg_pool2d(x * x, SIZE, 1, SIZE // 2, divisor_override=1)
        return x * (K + ALPHA * sums) ** -BETA


def _squares(values: Tensor) -> Tensor:
    """Sums of SIZE x SIZE neighbours along rows and columns of [n, h, w, c]."""
    _, rows, columns, _ = values.shape
    padded = F.pad(values, (0, 0, *(SIZE // 2,) * 4))
    down: Any = sum(padded[:, i : i + rows] for i in range(SIZE))
    return sum(down[:, :, i : i + columns] for i in range(SIZE))  # type: ignore[no-any-return]


def norm_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """local_norm by slices, and s^-0.5; s^-0.75 by square roots. Channels last: all slices are of whole vectors."""
    x = x.permute(0, 2, 3, 1)
    r = torch.rsqrt(K + ALPHA * _squares(x * x))
    return (x * r * torch.sqrt(r)).permute(0, 3, 1, 2), r


def norm_backward(x: Tensor, r: Tensor, grad: Tensor) -> Tensor:
    """Its gradient by hand."""
    x, grad = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    scaled = grad * r * torch.sqrt(r)
    return (scaled - 2 * ALPHA * BETA * x * _squares(scaled * x * r * r)).permute(0, 3, 1, 2)


def lrn_forward(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """The same over neighbouring maps."""
    x = _last(x, groups)
    r = torch.rsqrt(twins.K + twins.ALPHA * _windows(x * x))
    return (x * r * torch.sqrt(r)).flatten(3).permute(0, 3, 1, 2), r


def lrn_backward(x: Tensor, r: Tensor, grad: Tensor, groups: int) -> Tensor:
    """Its gradient by hand. On a CPU it is quicker to keep the scale than to compute it again: nothing holds a compiler
    back from doing so for each of the slices."""
    x, grad = _last(x, groups), _last(grad, groups)
    scaled = grad * r * torch.sqrt(r)
    made = scaled - 2 * twins.ALPHA * twins.BETA * x * _windows(scaled * x * r * r)
    return made.flatten(3).permute(0, 3, 1, 2)


class Sliced(nn.Module):
    """A normalisation by slices: both directions given, and compiled."""

    def __init__(self, forward: Callable[..., tuple[Tensor, Tensor]], backward: Callable[..., Tensor]) -> None:
        super().__init__()

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                made, scale = forward(x)
                ctx.save_for_backward(x, scale)
                return made

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Tensor:
                return backward(*ctx.saved_tensors, grad)

        self.function = Function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def sliced(key: str, groups: int, compile: Callable[[Any], Any]) -> Sliced:
    """The normalisation of a net."""
    if key == "cifar18":
        return Sliced(compile(norm_forward), compile(norm_backward))
    return Sliced(compile(partial(lrn_forward, groups=groups)), compile(partial(lrn_backward, groups=groups)))


class Cifar18(nn.Module):
    """Overlapping pools that reach over the edge; `norm` is asked for one group."""

    def __init__(self, shapes: Shapes, norm: MakeLrn, p: float) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (conv(shapes, f"conv{i}", pad=2) for i in (1, 2, 3))
        self.fc10, self.norm1, self.norm2 = fc(shapes, "fc10"), norm(1), norm(1)
        self.pool1, self.pool = nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True)

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm1(F.relu(self.pool1(self.conv1(image)), inplace=True))
        x = self.norm2(self.pool(F.relu(self.conv2(x), inplace=True)))
        x = self.pool(F.relu(self.conv3(x), inplace=True))
        return self.fc10(x.flatten(1))  # type: ignore[no-any-return]


class Vgg(nn.Module):
    """VGG-16: stages of two, two, three, three and three convolutions."""

    def __init__(self, shapes: Shapes, norm: MakeLrn, p: float) -> None:
        super().__init__()
        for stage in range(1, 6):
            convs = {f"conv{i}": conv(shapes, f"conv{stage}_{i}/conv1", pad=1) for i in range(1, 3 + (stage > 2))}
            for name, made in convs.items():
                self.add_module(f"conv{stage}_{name[4:]}", nn.ModuleDict({"conv1": made}))
        self.fc6, self.fc7, self.fc8 = (fc(shapes, name) for name in ("fc6", "fc7", "fc8"))
        self.pool, self.drop6, self.drop7 = nn.MaxPool2d(2), nn.Dropout(p), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        for stage in range(1, 6):
            for turn in range(1, 3 + (stage > 2)):
                x = F.relu(self.get_submodule(f"conv{stage}_{turn}.conv1")(x), inplace=True)
            x = self.pool(x)
        x = self.drop6(F.relu(self.fc6(x.flatten(1)), inplace=True))
        return self.fc8(self.drop7(F.relu(self.fc7(x), inplace=True)))  # type: ignore[no-any-return]


TWINS: Mapping[str, Callable[[Shapes, MakeLrn, float], nn.Module]] = {**twins.TWINS, "cifar18": Cifar18, "vgg16": Vgg}
