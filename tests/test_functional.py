"""Functions of arrays: on NumPy's by the host runner, on CuPy's by its double; against the ops' meaning and PyTorch."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir import AlexnetError, functional, setup
from alexnet_ir.backends.cuda import eager, executor
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.eager import CupyArrays, HostArrays
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.host.machine import HostMachine, at
from alexnet_ir.compiler import read_model
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.pool import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad
from alexnet_ir.setup import Setup, setup_of
from alexnet_ir.training.step import TrainingStep

from .backends.cuda import cupy_double
from .backends.cuda.array_double import DeviceArray, with_arrays
from .backends.cuda.cupy_double import Model, World, pickled
from .backends.cuda.running import needs_gxx

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 6, 9, 11)).astype("f4")
WEIGHT = RNG.standard_normal((8, 3, 3, 2)).astype("f4")
BIAS = RNG.standard_normal(8).astype("f4")
CONV: dict[str, Any] = {"stride": [2, 1], "padding": (1, 2), "dilation": (1, np.int64(2)), "groups": 2}
POOL: dict[str, Any] = {"size": (3, 2), "stride": 2, "padding": (1, 0), "ceil_mode": True}
ATTRIBUTES: dict[str, Any] = {"stride": (2, 1), "pad": ((1, 1), (2, 2)), "dilation": (1, 2), "groups": 2}
WINDOWS: dict[str, Any] = {"size": (3, 2), "stride": (2, 2), "pad": ((1, 1), (0, 0)), "round": "up"}


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Of one shape and nearly one value."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def exact(op: Any, *arrays: Any) -> Any:
    """What an op means, in float64."""
    found = op.evaluate([a.astype("f8") if a.dtype.kind == "f" else a for a in arrays])
    return found if len(found) > 1 else found[0]


# --- on NumPy's arrays ------------------------------------------------------------------------------------------------


@needs_gxx
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("tf32", 2e-3), ("bf16", 2e-2), (None, 2e-3)])
def test_convolutions(precision: str | None, tolerance: float) -> None:
    op = Conv(**ATTRIBUTES, round="down")
    y = exact(op, X, WEIGHT)
    close(functional.conv2d(X, WEIGHT, **CONV, precision=precision), y, tolerance)
    close(functional.conv2d(X, WEIGHT, BIAS, **CONV, precision=precision), y + BIAS[:, None, None], tolerance)
    grad = RNG.standard_normal(y.shape).astype("f4")
    found = functional.conv2d_input_gradient(grad, WEIGHT, X.shape, **CONV, precision=precision)
    close(found, exact(ConvGradInput(**ATTRIBUTES, round="down", input_size=(9, 11)), grad, WEIGHT), tolerance)
    found = functional.conv2d_weight_gradient(grad, X, WEIGHT.shape, **CONV, precision=precision)
    close(found, exact(ConvGradWeight(**ATTRIBUTES, round="down", size=(3, 2)), grad, X), tolerance)


@needs_gxx
def test_normalisation() -> None:
    grad = RNG.standard_normal(X.shape).astype("f4")
    close(functional.lrn(X, 3, 2, 1e-1, 0.75, groups=2), exact(Lrn(3, 2, 1e-1, 0.75, 2), X))
    close(functional.lrn_gradient(grad, X, 3, 2, 1e-1, 0.75), exact(LrnGrad(3, 2, 1e-1, 0.75), grad, X))


@needs_gxx
def test_poolings() -> None:
    y, argmax = functional.maxpool(X, **POOL)
    expected, cells = exact(MaxPool(**WINDOWS), X)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(argmax, cells)
    grad = RNG.standard_normal(y.shape).astype("f4")
    found = functional.maxpool_gradient(grad, argmax, X.shape, **POOL)
    close(found, exact(MaxPoolGrad(**WINDOWS, input_size=(9, 11)), grad, argmax))
    for count in (True, False):
        close(functional.avgpool(X, **POOL, count_include_pad=count), exact(AvgPool(**WINDOWS, count_pad=count), X))
        found = functional.avgpool_gradient(grad, X.shape, **POOL, count_include_pad=count)
        close(found, exact(AvgPoolGrad(**WINDOWS, count_pad=count, input_size=(9, 11)), grad))


@needs_gxx
def test_pytorch_means_the_same() -> None:
    torch: Any = pytest.importorskip("torch")
    F = torch.nn.functional  # noqa: N806
    x, weight, bias = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (X, WEIGHT, BIAS))
    y = F.conv2d(x, weight, bias, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
    close(functional.conv2d(X, WEIGHT, BIAS, **CONV, precision="fp32"), y.detach().numpy(), 1e-6)
    grad = RNG.standard_normal(y.shape).astype("f4")
    y.backward(torch.tensor(grad))
    close(functional.conv2d_input_gradient(grad, WEIGHT, X.shape, **CONV, precision="fp32"), x.grad.numpy(), 1e-6)
    close(functional.conv2d_weight_gradient(grad, X, WEIGHT.shape, **CONV, precision="fp32"), weight.grad.numpy(), 1e-6)
    close(functional.lrn(X, 3, 2, 0.3 / 3, 0.75), F.local_response_norm(x, 3, 0.3, 0.75, 2).detach().numpy())
    pooled = F.max_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True)
    close(functional.maxpool(X, **POOL)[0], pooled.detach().numpy())
    for count in (True, False):
        mean = F.avg_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True, count_include_pad=count)
        close(functional.avgpool(X, **POOL, count_include_pad=count), mean.detach().numpy())


@needs_gxx
def test_arrays_with_gaps_are_made_whole() -> None:
    turned = np.asfortranarray(X)
    part = np.zeros((3, 6, 9, 30), "f4")[..., 5:16]
    part[...] = X
    expected = functional.lrn(X, 3, 2, 1e-1, 0.75)
    for array in (turned, part):
        np.testing.assert_array_equal(functional.lrn(array, 3, 2, 1e-1, 0.75), expected)


Y, CELLS = np.zeros((3, 6, 3, 4), "f4"), np.zeros((3, 6, 3, 4), "u1")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: functional.conv2d([1.0], WEIGHT), TypeError, "conv2d: x: expected a CuPy or .* array, found list"),
        (lambda: functional.conv2d(X.astype("f8"), WEIGHT), TypeError, "conv2d: x: expected float32, found float64"),
        (lambda: functional.conv2d(X[0], WEIGHT), ValueError, r"conv2d: x: expected a shape .* found \[6, 9, 11\]"),
        (lambda: functional.conv2d(X[:0], WEIGHT), ValueError, r"conv2d: x: expected .* none 0, found \[0, 6"),
        (lambda: functional.conv2d(X, WEIGHT), ValueError, "conv2d: `conv`: kernels over 3 channels, not 6"),
        (lambda: functional.conv2d(X, WEIGHT, WEIGHT, groups=2), ValueError, r"bias: expected a shape \[kernels\]"),
        (lambda: functional.conv2d(X, WEIGHT, BIAS[1:], groups=2), ValueError, "conv2d: `bias_add`"),
        (lambda: functional.conv2d(X, WEIGHT, stride=0), ValueError, "conv2d: stride: expected a whole .* found 0"),
        (lambda: functional.conv2d(X, WEIGHT, padding=(1, 2, 3)), ValueError, r"conv2d: padding: .*\(rows, columns\)"),
        (lambda: functional.conv2d(X, WEIGHT, groups=2, precision="fp16"), ValueError, "precision: expected fp32 or"),
        (lambda: functional.lrn(X, 4, 2, 1, 1), ValueError, "lrn: size: expected an odd whole number, found 4"),
        (lambda: functional.maxpool(X, 12), ValueError, "maxpool: a window of 12 rows is larger"),
        (lambda: functional.avgpool(X, 2, count_include_pad=3), ValueError, "count_include_pad: expected true"),
        (lambda: functional.maxpool_gradient(Y, CELLS, (9, 11), 3), ValueError, "input_shape: expected the four"),
        (lambda: functional.maxpool_gradient(Y, CELLS, X.shape, 2), ValueError, "expected grad_output of shape"),
        (lambda: functional.maxpool_gradient(Y, Y, (3, 6, 9, 12), 3), TypeError, "argmax: expected uint8, found f"),
        (lambda: functional.maxpool_gradient(Y, CELLS, (3, 6, 99, 99), 33), TypeError, "argmax: expected int32"),
    ],
)  # fmt: skip
@needs_gxx
def test_what_does_not_fit(call: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


@needs_gxx
def test_a_shape_that_the_arrays_contradict() -> None:
    with pytest.raises(
        ValueError, match=r"input_shape: expected \[3, 6, 9, 11\] for these arrays, found \[3, 7, 9, 11\]"
    ):
        functional.avgpool_gradient(np.zeros((3, 6, 3, 4), "f4"), (3, 7, 9, 11), 3, ceil_mode=True)


# --- on CuPy's, by its double -----------------------------------------------------------------------------------------

Enter = Callable[[World], Any]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Has a world in the place of CuPy; gives the module."""

    def enter(world: World) -> Any:
        cupy_double.enter(world, monkeypatch)
        module = with_arrays(executor.cupy(), world)

        @cache
        def arrays_at(number: int | None) -> Any:
            return HostArrays() if number is None else CupyArrays(module, number, pickled)

        monkeypatch.setattr(eager, "cupy", lambda: module)
        monkeypatch.setattr(functional, "arrays_at", arrays_at)
        return module

    return enter


@needs_gxx
def test_on_the_current_stream_nobody_waits_for_anything(enter: Enter) -> None:
    for seed in range(4):
        cupy = enter(World(gpus=(Model(),) * 2, seed=seed))
        with cupy.cuda.Device(1):
            x, weight, bias = (cupy.asarray(a) for a in (X, WEIGHT, BIAS))
        y = functional.conv2d(x, weight, bias, **CONV, precision="fp32")
        pooled, argmax = functional.maxpool(y, 2)
        back = functional.maxpool_gradient(pooled, argmax, y.shape, 2)
        assert isinstance(back, DeviceArray)
        assert back.device.id == 1
        assert cupy.world.launches == 0
        expected = functional.conv2d(X, WEIGHT, BIAS, **CONV, precision="fp32")
        np.testing.assert_array_equal(y.get(), expected)
        np.testing.assert_array_equal(back.get(), np.where(back.get() == 0, 0, expected))
        assert cupy.world.current == 0


@needs_gxx
def test_parts_of_arrays_on_a_gpu_are_made_whole(enter: Enter) -> None:
    x = enter(World()).asarray(X)
    for part, host in ((x[1:], X[1:]), (x[:, :, 1:], X[:, :, 1:])):
        expected = functional.lrn(np.ascontiguousarray(host), 3, 2, 1e-1, 0.75)
        np.testing.assert_array_equal(functional.lrn(part, 3, 2, 1e-1, 0.75).get(), expected)


def test_a_gpu_that_is_too_old_is_named(enter: Enter) -> None:
    x = enter(World(gpus=(Model("70"),))).asarray(X)
    with pytest.raises(AlexnetError, match="GPU 0 is sm_70: kernels are for sm_75 and later"):
        functional.lrn(x, 3, 2, 1e-1, 0.75)


@needs_gxx
def test_turing_computes_in_fp32_only(enter: Enter) -> None:
    cupy = enter(World(gpus=(Model("75"),)))
    x, weight = cupy.asarray(X), cupy.asarray(WEIGHT)
    close(functional.conv2d(x, weight, groups=2).get(), exact(Conv(groups=2, round="down"), X, WEIGHT), 1e-6)
    with pytest.raises(ValueError, match="precision: expected fp32 on sm_75, found 'tf32'"):
        functional.conv2d(x, weight, groups=2, precision="tf32")


def test_arrays_must_lie_together(enter: Enter) -> None:
    cupy = enter(World(gpus=(Model(),) * 2))
    x = cupy.asarray(X)
    with cupy.cuda.Device(1):
        weight = cupy.asarray(WEIGHT)
    with pytest.raises(TypeError, match="conv2d: weight: expected an array on GPU 0, as x, found one on GPU 1"):
        functional.conv2d(x, weight)
    with pytest.raises(TypeError, match="conv2d: weight: expected an array on GPU 0, as x, found one of NumPy"):
        functional.conv2d(x, WEIGHT)


# --- training on them -------------------------------------------------------------------------------------------------

NET = """alx 1
net Tiny(classes = 3) {
  image = input(2, 6, 6)
  return image -> conv1: conv(4, 3) -> relu -> flatten -> fc1: fc(classes)
}
train recipe {
  batch: 4
  stop: epochs(2)
  optimizer: sgd(lr = 0.05, momentum = 0.9)
}
"""
IMAGES = RNG.standard_normal((4, 2, 6, 6)).astype("f4")
LABELS = np.array([0, 2, 1, 1])


def step_on(devices: tuple[int, ...], graph: bool = True) -> TrainingStep:
    """On the GPUs of the double."""
    machine = CupyMachine(devices, graph, pickled)
    setup = Setup(CudaBackend(machine.gpu, "fp32", machine), tuple(map(str, devices)), "data")
    return TrainingStep(read_model(NET), setup, seed=3)


@needs_gxx
@pytest.mark.parametrize(("devices", "graph"), [((0,), True), ((1, 0), False)], ids=str)
def test_a_step_takes_what_lies_on_a_gpu(devices: tuple[int, ...], graph: bool, enter: Enter) -> None:
    cupy = enter(World(gpus=(Model(),) * 2))
    reference = step_on(devices, graph)
    losses = [reference(IMAGES * scale, LABELS) for scale in (1, 2, 3)]
    for seed in range(3):
        cupy = enter(World(gpus=(Model(),) * 2, seed=seed))
        step = step_on(devices, graph)
        for scale, loss in zip((1, 2, 3), losses, strict=True):
            images, labels = cupy.asarray(IMAGES.astype("f8") * scale), cupy.asarray(LABELS)
            assert step(images, labels) == loss
        whole = np.concatenate([IMAGES, 2 * IMAGES, IMAGES[:2]])
        np.testing.assert_array_equal(step.predict(cupy.asarray(whole)), reference.predict(whole))
        large = RNG.standard_normal((5, 2, 7, 8)).astype("f4")
        np.testing.assert_array_equal(step.dense(7, 8)(cupy.asarray(large)), reference.dense(7, 8)(large))


@needs_gxx
@pytest.mark.parametrize(("number", "device"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_what_is_adopted_may_be_written_on_and_freed_at_once(number: int, device: int, enter: Enter) -> None:
    for seed in range(12):
        cupy = enter(World(gpus=(Model(),) * 2, seed=seed))
        machine = CupyMachine((0, 1), True, pickled)
        block = machine.allocate(device, IMAGES.nbytes)
        with cupy.cuda.Device(number):
            first, second = cupy.asarray(IMAGES), cupy.asarray(IMAGES.astype("f8"))
        for array in (first, second):
            at(block.address, block.nbytes)[:] = 0
            machine.adopt(device, block.address, array, "float32")
            array.fill(7)
            cupy.cuda.Device(number).use()
            cupy.cuda.get_current_stream().synchronize()
            del array
            found = machine.download(device, block.address, block.nbytes).view("f4").reshape(IMAGES.shape)
            np.testing.assert_array_equal(found, IMAGES)


def test_arrays_on_a_gpu_that_do_not_fit(enter: Enter) -> None:
    cupy = enter(World())
    step = step_on((0,))
    images, labels = cupy.asarray(IMAGES), cupy.asarray(LABELS)
    with pytest.raises(ValueError, match=r"images: expected shape \[4, 2, 6, 6\], found \[3, 2, 6, 6\]"):
        step(images[:3], labels)
    with pytest.raises(ValueError, match=r"labels: expected 4 whole numbers, found float32\[4\]"):
        step(images, images[:, 0, 0, 0])
    with pytest.raises(ValueError, match=r"labels: expected 0 to 2, found 1 to 3"):
        step(images, LABELS * 2 % 3 + 1)
    assert step.steps == 0


def test_nets_on_the_cpu_take_none(enter: Enter) -> None:
    images = enter(World()).asarray(IMAGES)
    step = TrainingStep(read_model(NET), Setup())
    with pytest.raises(TypeError, match="images: expected a NumPy array, as the net runs on cpu; found one on a GPU"):
        step(images, LABELS)
    with pytest.raises(TypeError, match="expected a NumPy array, as the kernels run on the CPU"):
        HostMachine().adopt(0, 0, images, "float32")
    with pytest.raises(TypeError, match="runs on reference"):
        TrainingStep(read_model(NET), setup_of("reference")).predict(images)


def test_the_trainer_takes_a_precision() -> None:
    backend = alexnet_ir.compile(NET).trainer(devices="host", precision="bf16").setup.backend
    assert isinstance(backend, CudaBackend)
    assert backend.precision == "bf16"
    with pytest.raises(AlexnetError, match="--no-graph: that is of emitted CUDA kernels"):
        alexnet_ir.compile(NET).trainer(graph=False)


# --- the document -----------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")


@needs_gxx
def test_the_page_says_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enter: Enter) -> None:
    (tmp_path / "model.alx").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", enter(World()))
    monkeypatch.setattr(setup, "machine_of", lambda devices, graph: CupyMachine(devices, graph, pickled))
    names: dict[str, Any] = {"images": IMAGES, "labels": LABELS}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(block, names)
    assert np.isfinite(names["loss"])
    assert names["scores"].shape == (4, 3)
    x, weight, grad = (names[name].astype("f8") for name in ("x", "weight", "grad"))
    geometry: dict[str, Any] = {"stride": 2, "pad": ((1, 1), (1, 1)), "round": "down"}
    close(names["y"], exact(Conv(**geometry), x, weight))
    close(names["grad_x"], exact(ConvGradInput(**geometry, input_size=(15, 15)), grad, weight), 2e-3)
