"""PyTorch's side of a step, in a process of its own. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.gpu_parts.twins import ModuleLrn

from .job import RATE, Job, Variant
from .twins import TWINS, PooledNorm, sliced


class TorchSide:
    """A net of PyTorch's, in training or asked for scores."""

    def __init__(self, job: Job, variant: Variant) -> None:
        torch.set_num_threads(job.threads)
        self._job, self._variant = job, variant
        self._layout = torch.channels_last if variant.channels_last else torch.contiguous_format
        self._mean = torch.from_numpy(job.mean())
        self._net = self._module()
        if job.train:
            groups = [{"params": [p], "lr": RATE * lr, "weight_decay": job.weight_decay * decay}
                      for name, p in self._net.named_parameters() for lr, decay in [job.factors[name]]]  # fmt: skip
            self._optimizer = torch.optim.SGD(groups, momentum=job.momentum, fused=variant.tuned or None)
        if variant.compiled and not job.train:
            import torch._inductor.config as inductor

            inductor.freezing = True
        called: Any = self._loss if job.train else self._scores
        self._called: Any = torch.compile(called, dynamic=False) if variant.compiled else called

    def _module(self) -> nn.Module:
        job, variant = self._job, self._variant
        # what is compiled as a whole has no use for bodies that are compiled by themselves
        compile: Any = (lambda body: body) if variant.compiled else partial(torch.compile, dynamic=False)

        def norm(groups: int) -> nn.Module:
            if variant.by_hand:
                return sliced(job.key, groups, compile)
            return PooledNorm() if job.key == "cifar18" else ModuleLrn(groups)

        net = TWINS[job.key](job.shapes, norm, 0.5 if job.dropout else 0.0).train(job.train)
        net.to(memory_format=self._layout)  # type: ignore[call-overload]
        with torch.no_grad(), np.load(job.start) as start:
            for name, tensor in self._tensors(net):
                tensor.copy_(torch.from_numpy(start[name]))
        return net

    def _tensors(self, net: nn.Module) -> Iterator[tuple[str, Tensor]]:
        every = (*net.named_parameters(), *net.named_buffers())
        return ((name, tensor) for name, tensor in every if not name.endswith("num_batches_tracked"))

    def feed(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """The batch of the steps that follow."""
        self._images, self._labels = torch.from_numpy(images), torch.from_numpy(labels)

    def step(self) -> float:
        """One update, and the loss from before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._called(self._images, self._labels)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def predict(self) -> NDArray[np.float32]:
        """Scores [n, classes]."""
        with torch.inference_mode():
            return self._called(self._images).numpy()  # type: ignore[no-any-return]

    def weights(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """As they are."""
        return ((name, tensor.detach().numpy()) for name, tensor in self._tensors(self._net))

    def _scores(self, images: Tensor) -> Tensor:
        return self._net(images.to(torch.float32, memory_format=self._layout).sub_(self._mean))  # type: ignore[no-any-return]

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._scores(images), labels)
