"""The nets of `models` as PyTorch modules, by hand. Needs torch.

Children are named as the model files name layers: `stage2/basic1/conv1.weight` there is `stage2.basic1.conv1.weight`
here. Widths are read off the weights, so that a twin of a smaller net is a smaller twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]
"""Of parameters and statistics, by our names."""
SIZE, K, ALPHA, BETA = 5, 2.0, 1e-4, 0.75
"""The paper's local response normalisation."""


# --- local response normalisation -------------------------------------------------------------------------------------


class ModuleLrn(nn.Module):
    """As PyTorch has it, which divides alpha by the size and knows no groups: they are images of their own."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups, self.norm = groups, nn.LocalResponseNorm(SIZE, ALPHA * SIZE, BETA, K)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return self.norm(x.reshape(n * self.groups, c // self.groups, h, w)).reshape(n, c, h, w)  # type: ignore[no-any-return]


def _windows(squares: Tensor) -> Tensor:
    """Sums of SIZE neighbours along the last axis."""
    padded, length = F.pad(squares, (SIZE // 2, SIZE // 2)), squares.shape[-1]
    return sum(padded[..., i : i + length] for i in range(SIZE))  # type: ignore[return-value]


def _last(x: Tensor, groups: int) -> Tensor:
    """[n, h, w, groups, channels], a view of what lies channels last."""
    x = x.permute(0, 2, 3, 1)
    return x.reshape(*x.shape[:3], groups, -1)


def lrn_forward(x: Tensor, groups: int) -> Tensor:
    """By slices, in float32; s^-0.75 by square roots."""
    wide = _last(x, groups).float()
    r = torch.rsqrt(K + ALPHA * _windows(wide * wide))
    return (wide * r * torch.sqrt(r)).to(x.dtype).flatten(3).permute(0, 3, 1, 2)


def lrn_backward(x: Tensor, grad: Tensor, groups: int) -> Tensor:
    """The gradient by hand, with the scale computed again."""
    wide, given = _last(x, groups).float(), _last(grad, groups).float()
    r = torch.rsqrt(K + ALPHA * _windows(wide * wide))
    scaled = given * r * torch.sqrt(r)
    made = scaled - 2 * ALPHA * BETA * wide * _windows(scaled * wide * r * r)
    return made.to(x.dtype).flatten(3).permute(0, 3, 1, 2)


class SlicedLrn(nn.Module):
    """By slices, each direction compiled into one kernel or so."""

    def __init__(self, groups: int, compile: Callable[[Any], Any]) -> None:
        super().__init__()
        forward, backward = compile(lrn_forward), compile(lrn_backward)

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_backward(x)
                return forward(x, groups)  # type: ignore[no-any-return]

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Tensor:
                return backward(*ctx.saved_tensors, grad, groups)  # type: ignore[no-any-return]

        self.function = Function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x)  # type: ignore[no-any-return,no-untyped-call]


MakeLrn = Callable[[int], nn.Module]
"""A normalisation over so many groups."""


# --- nets -------------------------------------------------------------------------------------------------------------


def conv(shapes: Shapes, name: str, stride: int = 1, pad: int = 0, groups: int = 1) -> nn.Conv2d:
    """A convolution whose weights have the shape that ours have."""
    kernels, channels, size, _ = shapes[f"{name}.weight"]
    bias = f"{name}.bias" in shapes
    return nn.Conv2d(channels * groups, kernels, size, stride, pad, groups=groups, bias=bias)


def fc(shapes: Shapes, name: str) -> nn.Linear:
    """The same of a fully connected layer."""
    units, inputs = shapes[f"{name}.weight"]
    return nn.Linear(inputs, units)


class AlexNet(nn.Module):
    """The paper's: two groups, overlapping pools; `image` is padded as ours."""

    def __init__(self, shapes: Shapes, lrn: MakeLrn, p: float) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 3, 0, 3))
        self.conv1 = conv(shapes, "conv1", stride=4)
        self.conv2 = conv(shapes, "conv2", pad=2, groups=2)
        self.conv3 = conv(shapes, "conv3", pad=1)
        self.conv4 = conv(shapes, "conv4", pad=1, groups=2)
        self.conv5 = conv(shapes, "conv5", pad=1, groups=2)
        self.fc6, self.fc7, self.fc8 = (fc(shapes, name) for name in ("fc6", "fc7", "fc8"))
        self.norm1, self.norm2, self.pool = lrn(2), lrn(2), nn.MaxPool2d(3, 2)
        self.drop6, self.drop7 = nn.Dropout(p), nn.Dropout(p)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(self.norm1(F.relu(self.conv1(self.pad(image)), inplace=True)))
        x = self.pool(self.norm2(F.relu(self.conv2(x), inplace=True)))
        for layer in (self.conv3, self.conv4, self.conv5):
            x = F.relu(layer(x), inplace=True)
        x = self.drop6(F.relu(self.fc6(self.pool(x).flatten(1)), inplace=True))
        return self.fc8(self.drop7(F.relu(self.fc7(x), inplace=True)))  # type: ignore[no-any-return]


class Torchvision(nn.Module):
    """torchvision's `alexnet`."""

    def __init__(self, shapes: Shapes, lrn: MakeLrn, p: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(shapes, "conv1", stride=4, pad=2), conv(shapes, "conv2", pad=2)
        self.conv3, self.conv4, self.conv5 = (conv(shapes, f"conv{i}", pad=1) for i in (3, 4, 5))
        self.fc6, self.fc7, self.fc8 = (fc(shapes, name) for name in ("fc6", "fc7", "fc8"))
        self.pool, self.drop6, self.drop7 = nn.MaxPool2d(3, 2), nn.Dropout(p), nn.Dropout(p)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(image), inplace=True))
        x = self.pool(F.relu(self.conv2(x), inplace=True))
        for layer in (self.conv3, self.conv4, self.conv5):
            x = F.relu(layer(x), inplace=True)
        x = F.relu(self.fc6(self.drop6(self.pool(x).flatten(1))), inplace=True)
        return self.fc8(F.relu(self.fc7(self.drop7(x)), inplace=True))  # type: ignore[no-any-return]


class Shortcut(nn.Module):
    """A window of 1 where the shape changes."""

    def __init__(self, shapes: Shapes, name: str, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(shapes, f"{name}/conv1", stride)
        self.batchnorm1 = nn.BatchNorm2d(self.conv1.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.batchnorm1(self.conv1(x))  # type: ignore[no-any-return]


class Basic(nn.Module):
    """ResNet-18's block."""

    def __init__(self, shapes: Shapes, name: str, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(shapes, f"{name}/conv1", stride, 1), conv(shapes, f"{name}/conv2", pad=1)
        self.batchnorm1, self.batchnorm2 = (nn.BatchNorm2d(c.out_channels) for c in (self.conv1, self.conv2))
        self.has_shortcut = f"{name}/shortcut1/conv1.weight" in shapes
        if self.has_shortcut:
            self.shortcut1 = Shortcut(shapes, f"{name}/shortcut1", stride)

    def forward(self, x: Tensor) -> Tensor:
        main = self.batchnorm2(self.conv2(F.relu(self.batchnorm1(self.conv1(x)), inplace=True)))
        return F.relu(main + (self.shortcut1(x) if self.has_shortcut else x), inplace=True)


class ResNet18(nn.Module):
    """Four stages of two blocks."""

    def __init__(self, shapes: Shapes, lrn: MakeLrn, p: float) -> None:
        super().__init__()
        self.conv1 = conv(shapes, "conv1", stride=2, pad=3)
        self.batchnorm1, self.pool = nn.BatchNorm2d(self.conv1.out_channels), nn.MaxPool2d(3, 2, padding=1)
        for stage in range(2, 6):
            blocks = {f"basic{i}": Basic(shapes, f"stage{stage}/basic{i}", 1 + (stage > 2 and i == 1)) for i in (1, 2)}
            self.add_module(f"stage{stage}", nn.ModuleDict(blocks))
        self.fc = fc(shapes, "fc")

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(F.relu(self.batchnorm1(self.conv1(image)), inplace=True))
        for stage in range(2, 6):
            for block in ("basic1", "basic2"):
                x = self.get_submodule(f"stage{stage}.{block}")(x)
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


TWINS: Mapping[str, Callable[[Shapes, MakeLrn, float], nn.Module]] = {
    "alexnet": AlexNet, "torchvision": Torchvision, "resnet18": ResNet18,
}  # fmt: skip
