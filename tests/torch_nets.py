"""The nets of test_against_torch.py as torch modules. Needs torch.

Children are named as the model files name layers, so that `stage2/basic1/conv1.weight` there is
`stage2.basic1.conv1.weight` here.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from torch import Tensor, nn

from alexnet_ir.philox import Domain, Key, keep_mask


class Dropout(nn.Module):
    """The paper's: nothing is scaled in training, all by 1 - p after it. The masks are ours; `step` says which."""

    def __init__(self, p: float, stream: int, seed: int) -> None:
        super().__init__()
        self.p, self.stream, self.seed, self.step = p, stream, seed, 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.p)
        key = Key(self.seed, Domain.DROPOUT, self.stream, self.step)
        return x * torch.from_numpy(keep_mask(key, self.p, x.numel())).reshape(x.shape)


def lrn(x: Tensor, n: int, k: float, alpha: float, beta: float, groups: int = 1) -> Tensor:
    """The paper's formula: torch divides alpha by n, and knows no groups."""
    return torch.cat([F.local_response_norm(part, n, alpha * n, beta, k) for part in x.chunk(groups, dim=1)], dim=1)


class AlexNet(nn.Module):
    """Two groups, LRN that stays inside them, overlapping pools; a sixth of the width."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 11, stride=4)
        self.conv2 = nn.Conv2d(16, 24, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(24, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, 32, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(32, 24, 3, padding=1, groups=2)
        self.fc6, self.fc7, self.fc8 = nn.Linear(96, 40), nn.Linear(40, 40), nn.Linear(40, classes)
        self.drop6, self.drop7 = Dropout(0.5, 0, seed), Dropout(0.5, 1, seed)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.conv1(F.pad(image, (0, 3, 0, 3))))
        x = F.max_pool2d(lrn(x, 5, 2, 0.02, 0.75, 2), 3, 2)
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(lrn(x, 5, 2, 0.02, 0.75, 2), 3, 2)
        x = F.relu(self.conv5(F.relu(self.conv4(F.relu(self.conv3(x))))))
        x = F.max_pool2d(x, 3, 2).flatten(1)
        return self.fc8(self.drop7(F.relu(self.fc7(self.drop6(F.relu(self.fc6(x)))))))


class LeNet(nn.Module):
    """As in examples/lenet5.alx."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5)
        self.fc4, self.fc5 = nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.tanh(self.conv1(image)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.conv3(x)).flatten(1)
        return self.fc5(torch.tanh(self.fc4(x)))


class VGG13(nn.Module):
    """Two convolutions a stage; an eighth of the width."""

    WIDTHS = (3, 8, 16, 32, 64, 64)

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        for stage, (before, width) in enumerate(pairwise(self.WIDTHS), 1):
            for turn, channels in enumerate((before, width), 1):
                self.add_module(
                    f"conv{stage}_{turn}", nn.ModuleDict({"conv1": nn.Conv2d(channels, width, 3, padding=1)})
                )
        self.fc6, self.fc7, self.fc8 = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, classes)
        self.drop6, self.drop7 = Dropout(0.5, 0, seed), Dropout(0.5, 1, seed)

    def forward(self, x: Tensor) -> Tensor:
        for stage in range(1, len(self.WIDTHS)):
            for turn in (1, 2):
                x = F.relu(self.get_submodule(f"conv{stage}_{turn}.conv1")(x))
            x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        return self.fc8(self.drop7(F.relu(self.fc7(self.drop6(F.relu(self.fc6(x)))))))


class Module(nn.Module):
    """GoogLeNet's inception module."""

    def __init__(self, channels: int, c1: int, r3: int, c3: int, r5: int, c5: int, proj: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, c1, 1)
        self.conv2, self.conv3 = nn.Conv2d(channels, r3, 1), nn.Conv2d(r3, c3, 3, padding=1)
        self.conv4, self.conv5 = nn.Conv2d(channels, r5, 1), nn.Conv2d(r5, c5, 5, padding=2)
        self.conv6 = nn.Conv2d(channels, proj, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.conv1(x))
        b = F.relu(self.conv3(F.relu(self.conv2(x))))
        c = F.relu(self.conv5(F.relu(self.conv4(x))))
        d = F.relu(self.conv6(F.max_pool2d(x, 3, 1, padding=1)))
        return torch.cat([a, b, c, d], dim=1)


class Head(nn.Module):
    """GoogLeNet's auxiliary classifier."""

    def __init__(self, channels: int, classes: int, stream: int, seed: int) -> None:
        super().__init__()
        self.conv1, self.fc1, self.fc2 = nn.Conv2d(channels, 8, 1), nn.Linear(32, 24), nn.Linear(24, classes)
        self.drop = Dropout(0.7, stream, seed)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(F.avg_pool2d(x, 5, 3))).flatten(1)
        return self.fc2(self.drop(F.relu(self.fc1(x))))


class Inception(nn.Module):
    """Two modules, with a head after the first; it gives both scores while it trains."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.inception_3a = Module(8, 4, 6, 8, 3, 5, 4)
        self.inception_3b = Module(21, 5, 4, 6, 2, 4, 3)
        self.fc = nn.Linear(18, classes)
        self.drop = Dropout(0.4, 0, seed)
        self.head1 = Head(21, classes, 1, seed)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = lrn(F.relu(self.conv1(image)), 5, 1, 0.02, 0.75)
        low = self.inception_3a(F.max_pool2d(x, 3, 2, ceil_mode=True))
        score = self.fc(self.drop(self.inception_3b(low).mean(dim=(2, 3))))
        return (score, self.head1(low)) if self.training else score


class Shortcut(nn.Module):
    """A window of 1 where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
        self.batchnorm1 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.batchnorm1(self.conv1(x))


class Basic(nn.Module):
    """ResNet-18's block."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.batchnorm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.batchnorm2 = nn.BatchNorm2d(width)
        if stride > 1:
            self.shortcut1 = Shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        main = self.batchnorm2(self.conv2(F.relu(self.batchnorm1(self.conv1(x)))))
        return F.relu(main + (self.shortcut1(x) if hasattr(self, "shortcut1") else x))


class ResNet18(nn.Module):
    """An eighth of the width."""

    WIDTHS = (8, 8, 16, 32, 64)

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.batchnorm1 = nn.BatchNorm2d(8)
        for stage, (before, width) in enumerate(pairwise(self.WIDTHS), 2):
            first, second = Basic(before, width, 1 if stage == 2 else 2), Basic(width, width, 1)
            self.add_module(f"stage{stage}", nn.ModuleDict({"basic1": first, "basic2": second}))
        self.fc = nn.Linear(64, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.batchnorm1(self.conv1(image))), 3, 2, padding=1)
        for stage in range(2, 6):
            for block in ("basic1", "basic2"):
                x = self.get_submodule(f"stage{stage}.{block}")(x)
        return self.fc(x.mean(dim=(2, 3)))
