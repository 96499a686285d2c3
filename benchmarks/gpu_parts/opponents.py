"""PyTorch's side of a whole step, as its users have it. Needs torch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it

from alexnet_ir.backends.cuda.gpu import Precision
from alexnet_ir.compiler import recipe_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.normalize import Lrn, LrnGrad

from .ours import FACTOR, MEAN, RATE
from .report import Report
from .twins import ALPHA, BETA, SIZE, TWINS, K, ModuleLrn, SlicedLrn

LRN_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Variant:
    """How PyTorch is used. `whole`: the module is compiled; `best`: an LRN of slices compiled, channels last,
    cudnn.benchmark, a fused update, everything captured as a CUDA graph."""

    name: str
    whole: bool = False
    best: bool = False


VARIANTS = (
    Variant("PyTorch eager"),
    Variant("PyTorch compiled", whole=True),
    Variant("PyTorch at its best", best=True),
    Variant("PyTorch at its best, all compiled", whole=True, best=True),
)


class Opponent:
    """A net of PyTorch's in training. On a CPU, for a rehearsal, nothing is captured, and what would be compiled is
    only traced."""

    def __init__(self, variant: Variant, key: str, model: Model, precision: Precision, dropout: bool) -> None:
        self.name, self._variant, self._precision = variant.name, variant, precision
        self._on_gpu = torch.cuda.is_available()
        self._device = torch.device("cuda" if self._on_gpu else "cpu")
        self._start, self._peak = torch.cuda.memory_allocated() if self._on_gpu else 0, 0
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._compile: Callable[[Any], Any] = partial(
            torch.compile, dynamic=False, **({} if self._on_gpu else {"backend": "eager"})
        )
        self._net = self._module(key, model, 0.5 if dropout else 0.0)
        self._called: Any = self._compile(self._net) if variant.whole else self._net
        optimizer: Any = recipe_of(model).optimizer
        self._optimizer = torch.optim.SGD(
            self._net.parameters(), lr=RATE, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay,
            fused=variant.best or None,
        )  # fmt: skip
        channels, rows, columns = model.image
        self._images = torch.zeros((model.batch, rows, columns, channels), dtype=torch.uint8, device=self._device)
        self._labels = torch.zeros(model.batch, dtype=torch.int64, device=self._device)
        self._given = self._images, self._labels
        self._graph: Any = None
        self._loss: Any = None

    def _module(self, key: str, model: Model, p: float) -> torch.nn.Module:
        shapes = {name: model.graph.tensor(state.read).shape for name, state in model.graph.states.items()}

        def sliced(groups: int) -> torch.nn.Module:
            return SlicedLrn(groups, (lambda f: f) if self._variant.whole else self._compile)

        net = TWINS[key](shapes, sliced if self._variant.best else ModuleLrn, p).to(self._device).train()
        return net.to(memory_format=torch.channels_last) if self._variant.best else net  # type: ignore[call-overload]

    @property
    def memory(self) -> str:
        """Of PyTorch's allocator, at the peak of its first steps."""
        return f"{self._peak / 2**20:,.0f} MiB allocated" if self._on_gpu else "not measured"

    def load(self, weights: Mapping[str, Array]) -> None:
        """Weights by our names; momenta 0, in the place where they are."""
        tensors = dict(self._net.named_parameters()) | dict(self._net.named_buffers())
        ours = {name.replace("/", "."): value for name, value in weights.items()}
        missing = {name for name in tensors if not name.endswith("num_batches_tracked")} ^ set(ours)
        if missing:
            raise ValueError(f"other weights than ours: {sorted(missing)}")
        with torch.no_grad():
            for name, value in ours.items():
                if tuple(tensors[name].shape) != value.shape:
                    raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, ours {value.shape}")
                tensors[name].copy_(torch.from_numpy(value))
            for state in self._optimizer.state.values():
                state["momentum_buffer"].zero_()

    def prepare(self, weights: Mapping[str, Array], images: Array, labels: Array) -> None:
        """Warm up, and capture if it is to be; then weights and momenta as at the start."""
        self.load(weights)
        self.feed(images, labels)
        with self._settings():
            if self._on_gpu and self._variant.best:
                self._capture()
            else:
                for _ in range(2):
                    self._queue()
        self.step()
        if self._on_gpu:
            self._peak = torch.cuda.max_memory_allocated() - self._start
        self.load(weights)

    def feed(self, images: Array, labels: Array) -> None:
        """The batch of the steps that follow, to the device."""
        self._given = torch.from_numpy(images).to(self._device), torch.from_numpy(labels).long().to(self._device)

    def convert(self) -> object:
        """Bytes to floats, alone."""
        return self._converted(self._given[0])

    def step(self) -> float:
        """One update, and the loss from before it."""
        if self._graph is not None:
            self._images.copy_(self._given[0])
            self._labels.copy_(self._given[1])
            self._graph.replay()
        else:
            with self._settings():
                self._loss = self._queue()
        return float(self._loss)

    def close(self) -> None:
        """Give the memory back."""
        self._graph = self._loss = self._net = self._called = self._optimizer = None  # type: ignore[assignment]
        gc.collect()
        if self._on_gpu:
            torch.cuda.empty_cache()

    # --- how ----------------------------------------------------------------------------------------------------------

    def _converted(self, images: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last if self._variant.best else torch.contiguous_format
        floats = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        return floats.sub_(MEAN).mul_(FACTOR)

    def _queue(self) -> torch.Tensor:
        images, labels = (self._images, self._labels) if self._variant.best and self._on_gpu else self._given
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=self._precision == "bf16", cache_enabled=not self._variant.best
        ):
            scores = self._called(self._converted(images))
            loss = F.cross_entropy(scores.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()

    def _capture(self) -> None:
        self._images.copy_(self._given[0])
        self._labels.copy_(self._given[1])
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                self._queue()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        gc.collect()
        gc.disable()  # memory that is given back meanwhile, by whomever, would end the capture
        try:
            with torch.cuda.graph(self._graph):
                self._loss = self._queue()
        finally:
            gc.enable()

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """The precision of products and the search for algorithms, of which PyTorch has one for all."""
        cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
        kept = cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark
        cudnn.allow_tf32 = cublas.allow_tf32 = self._precision != "fp32"
        cudnn.benchmark = self._variant.best
        try:
            yield
        finally:
            cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark = kept


def check_lrn(report: Report) -> None:
    """Rows: each normalisation and its gradient against our op's meaning, on numbers for which it matters. The losses
    of a few steps would hardly show it."""
    on_gpu = torch.cuda.is_available()
    compile = partial(torch.compile, dynamic=False, **({} if on_gpu else {"backend": "eager"}))
    random, shape, groups = np.random.default_rng(4), (2, 16, 7, 9), 2
    maps, grads = (100 * random.standard_normal(shape) for _ in range(2))
    op = Lrn(n=SIZE, k=K, alpha=ALPHA, beta=BETA, groups=groups)
    wanted = op.reference(maps), LrnGrad(n=SIZE, k=K, alpha=ALPHA, beta=BETA, groups=groups).reference(grads, maps)
    for name, module in (("module", ModuleLrn(groups)), ("slices, compiled", SlicedLrn(groups, compile))):
        with report.going_on(f"PyTorch's normalisation, {name}", fails=False):
            x = torch.from_numpy(maps.astype("f4")).to("cuda" if on_gpu else "cpu").requires_grad_()
            made = module(x)
            made.backward(torch.from_numpy(grads.astype("f4")).to(x.device))
            found = made.detach().cpu().numpy(), x.grad.cpu().numpy()  # type: ignore[union-attr]
            far = max(float(abs(a - b).max() / abs(b).max()) for a, b in zip(found, wanted, strict=True))
            error = "" if far <= LRN_TOLERANCE else f"{far:.1e} of the largest"
            report.check(f"PyTorch's normalisation, {name}, means ours", error, f"{far:.1e} of the largest")


def forget() -> None:
    """All that was compiled: only so many versions of a function are kept, and then it would not be compiled at all."""
    torch._dynamo.reset()


def facts() -> list[str]:
    """Versions and flags, a line each."""
    lines = [f"PyTorch: {torch.__version__}, for CUDA {torch.version.cuda}"]
    lines.append("PyTorch's flags: allow_tf32 but in fp32; bf16 by autocast; cudnn.benchmark at its best")
    if torch.cuda.is_available():
        lines.append(f"cuDNN: {torch.backends.cudnn.version()}")  # type: ignore[no-untyped-call]
    return lines
