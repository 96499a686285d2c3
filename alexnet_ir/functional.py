"""Convolution, local response normalisation and pooling, with their gradients, on CuPy arrays: the kernels that the
compiler emits, for CuPy users who have none.

y = functional.conv2d(x, weight, bias, stride=2, padding=1)
pooled, argmax = functional.maxpool(y, 3, 2)

Arrays are float32 and lie as [images, channels, rows, columns]; what has gaps, or does not start at a multiple of 256
bytes, is copied first. Kernels are queued on CuPy's current stream of the arrays' GPU, and results are new CuPy arrays
there. Arrays of other libraries that have `__cuda_array_interface__` are taken as they are. NumPy arrays are computed
by the very same kernels on the CPU, given g++: slow, to try things without a GPU.

A kernel is compiled for each new set of shapes and arguments (a second or so, then kept on disk). Whatever does not fit
is a TypeError or a ValueError that says what was expected and found. Nothing differentiates by itself: each gradient is
a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from alexnet_ir.backends.cuda.eager import arrays_at, evaluate, located
from alexnet_ir.backends.cuda.gpu import PRECISIONS, Gpu, Precision
from alexnet_ir.ir.attributes import PADS, AttributeValueError, Kind, Pads, converted
from alexnet_ir.ir.op import Op, TypeRuleError
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.pool import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad

__all__ = [
    "avgpool", "avgpool_gradient", "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient", "lrn", "lrn_gradient",
    "maxpool", "maxpool_gradient",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
Size = int | tuple[int, int]
"""One for both axes, or (rows, columns)."""
Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]
"""One for all edges, (rows, columns) for both edges of each, or ((top, bottom), (left, right))."""


def _told(function: Callable[P, R]) -> Callable[P, R]:
    """What the ops refuse as a ValueError, in the function's words."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeRuleError as failure:
            said = ". ".join(part for part in (failure.message, failure.label) if part)
            raise ValueError(f"{function.__name__}: {said}") from None
        except AttributeValueError as failure:
            name = SPELLED.get(failure.name, failure.name)
            expected = f"expected {failure.kind.expects}, found {failure.value!r}"
            raise ValueError(f"{function.__name__}: {name}: {expected}") from None
        except (TypeError, ValueError) as failure:
            kind = TypeError if isinstance(failure, TypeError) else ValueError
            raise kind(f"{function.__name__}: {failure}") from failure

    return call


# --- convolution ------------------------------------------------------------------------------------------------------


@_told
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    precision: str | None = None,
) -> Any:
    """x [n, c, h, w], weight [kernels, c / groups, rows, columns], bias [kernels] -> [n, kernels, oh, ow], as
    `torch.nn.functional.conv2d`: what a stride leaves over at the far edges is not read.

    `precision` is what products are computed in, from "fp32", "tf32" (10 bits of mantissa; the default where the GPU
    has tensor cores, as in PyTorch) and "bf16" (7 bits); sums are fp32 in all."""
    op: Op = Conv(**_convolved(stride, padding, dilation, groups))
    if bias is None:
        return _computed(op, {"x": x, "weight": weight}, precision)[0]
    both = Fused("conv_bias_relu", (Part(op, (0, 1)), Part(BiasAdd(), (3, 2))), yields=(4,))
    return _computed(both, {"x": x, "weight": weight, "bias": bias}, precision)[0]


@_told
def conv2d_input_gradient(
    grad_output: Any,
    weight: Any,
    input_shape: Sequence[int],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    precision: str | None = None,
) -> Any:
    """The gradient of `conv2d` by x, which was of `input_shape`. (That by the bias is grad_output.sum((0, 2, 3)).)"""
    shape = _shape("input_shape", input_shape)
    op = ConvGradInput(**_convolved(stride, padding, dilation, groups), input_size=shape[2:])
    return _computed(op, {"grad_output": grad_output, "weight": weight}, precision, input_shape=shape)[0]


@_told
def conv2d_weight_gradient(
    grad_output: Any,
    x: Any,
    weight_shape: Sequence[int],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    precision: str | None = None,
) -> Any:
    """The gradient of `conv2d` by the weight, which is of `weight_shape`; the same bits every time."""
    shape = _shape("weight_shape", weight_shape)
    op = ConvGradWeight(**_convolved(stride, padding, dilation, groups), size=shape[2:])
    return _computed(op, {"grad_output": grad_output, "x": x}, precision, weight_shape=shape)[0]


# --- local response normalisation -------------------------------------------------------------------------------------


@_told
def lrn(x: Any, size: int, k: float, alpha: float, beta: float, *, groups: int = 1) -> Any:
    """x / (k + alpha S)^beta, where S is the sum of squares over `size` (odd) neighbouring channels: section 3.3 of the
    AlexNet paper, which has lrn(x, 5, 2, 1e-4, 0.75). With groups, windows end at their borders.

    `torch.nn.functional.local_response_norm(x, size, alpha, beta, k)` divides its alpha by the size: that of this
    function is alpha / size of that one."""
    return _computed(Lrn(*_plain((size, k, alpha, beta, groups))), {"x": x})[0]


@_told
def lrn_gradient(grad_output: Any, x: Any, size: int, k: float, alpha: float, beta: float, *, groups: int = 1) -> Any:
    """The gradient of `lrn` by x: nothing of the forward pass but x is needed."""
    return _computed(LrnGrad(*_plain((size, k, alpha, beta, groups))), {"grad_output": grad_output, "x": x})[0]


# --- pooling ----------------------------------------------------------------------------------------------------------


@_told
def maxpool(
    x: Any, size: Size, stride: Size | None = None, padding: Padding = 0, ceil_mode: bool = False
) -> tuple[Any, Any]:
    """The largest of each window, and which cell of the window that was: rows after one another, the first of equals,
    uint8 (int32 for windows of more than 256 cells), where PyTorch numbers the cells of the map. The stride is the size
    unless given; with `ceil_mode` a last window may stand over the far edge. NaN comes through."""
    y, argmax = _computed(MaxPool(**_pooled(size, stride, padding, ceil_mode)), {"x": x})
    return y, argmax


@_told
def maxpool_gradient(
    grad_output: Any,
    argmax: Any,
    input_shape: Sequence[int],
    size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Any:
    """The gradient of `maxpool` by x, which was of `input_shape`: each element gathers from its windows."""
    shape, given = _shape("input_shape", input_shape), _pooled(size, stride, padding, ceil_mode)
    op = MaxPoolGrad(**given, input_size=shape[2:])
    dtype = "uint8" if MaxPool(**given).argmax_dtype == "u8" else "int32"
    operands = {"grad_output": grad_output, "argmax": argmax}
    return _computed(op, operands, dtypes={"argmax": dtype}, input_shape=shape)[0]


@_told
def avgpool(
    x: Any,
    size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window, as `torch.nn.functional.avg_pool2d`: padding counts as zeros or, without
    `count_include_pad`, not at all."""
    op = AvgPool(**_pooled(size, stride, padding, ceil_mode), count_pad=_plain(count_include_pad))
    return _computed(op, {"x": x})[0]


@_told
def avgpool_gradient(
    grad_output: Any,
    input_shape: Sequence[int],
    size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The gradient of `avgpool` by x, which was of `input_shape`."""
    shape, given = _shape("input_shape", input_shape), _pooled(size, stride, padding, ceil_mode)
    op = AvgPoolGrad(**given, count_pad=_plain(count_include_pad), input_size=shape[2:])
    return _computed(op, {"grad_output": grad_output}, input_shape=shape)[0]


# --- arguments --------------------------------------------------------------------------------------------------------

SPELLED = {"pad": "padding", "n": "size", "count_pad": "count_include_pad"}
"""Attributes of ops that have other names here."""


def _pads(value: Any) -> Pads:
    """Of a pair, each for both edges of an axis, as everywhere but in the language."""
    if isinstance(value, tuple) and not any(isinstance(part, tuple) for part in value):
        rows, columns = value
        value = ((rows, rows), (columns, columns))
    return PADS.convert(value)  # type: ignore[no-any-return]


PADDING = Kind("a whole number of at least 0, a pair (rows, columns), or ((top, bottom), (left, right))", _pads)
LENGTHS = {1: "[kernels]", 4: "[images or kernels, channels, rows, columns]"}


def _plain(value: Any) -> Any:
    """Lists as tuples, NumPy's numbers as Python's."""
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    return value.item() if isinstance(value, np.generic) else value


def _convolved(stride: Size, padding: Padding, dilation: Size, groups: int) -> dict[str, Any]:
    """The attributes that convolutions share."""
    pad = converted("", "padding", PADDING, _plain(padding))
    return {
        "stride": _plain(stride), "pad": pad, "dilation": _plain(dilation), "groups": _plain(groups), "round": "down"
    }  # fmt: skip


def _pooled(size: Size, stride: Size | None, padding: Padding, ceil_mode: bool) -> dict[str, Any]:
    """The attributes that poolings share."""
    pad = converted("", "padding", PADDING, _plain(padding))
    return {"size": _plain(size), "stride": _plain(stride), "pad": pad, "round": "up" if ceil_mode else "down"}


def _shape(name: str, given: Sequence[int]) -> tuple[int, int, int, int]:
    """Of four axes."""
    shape = tuple(_plain(length) for length in given)
    if len(shape) != 4 or not all(isinstance(length, int) and length > 0 for length in shape):
        raise ValueError(f"{name}: expected the four lengths {LENGTHS[4]}, found {given!r}")
    return shape


def _precision(name: str | None, gpu: Gpu) -> Precision:
    """As named, or what the GPU is best at."""
    known: tuple[Precision, ...] = PRECISIONS if gpu.tensor_cores else ("fp32",)
    for precision in known:
        if precision == (name or ("tf32" if gpu.tensor_cores else "fp32")):
            return precision
    raise ValueError(f"precision: expected {' or '.join(known)} on {gpu.arch}, found {name!r}")


# --- running ----------------------------------------------------------------------------------------------------------


def _computed(
    op: Op,
    operands: dict[str, Any],
    precision: str | None = "fp32",
    *,
    dtypes: dict[str, str] | None = None,
    **shapes: tuple[int, ...],
) -> list[Any]:
    """The op's results; `shapes` names the argument that said what the result's would be."""
    found, places = {}, {}
    for name, array in operands.items():
        try:
            found[name], places[name] = located(array)
        except TypeError as failure:
            raise TypeError(f"{name}: {failure}") from None
        _check(name, found[name], (dtypes or {}).get(name, "float32"), 1 if name == "bias" else 4)
    first, *others = places
    for name in others:
        if places[name] != places[first]:
            raise TypeError(
                f"{name}: expected an array {_on(places[first])}, as {first}, found one {_on(places[name])}"
            )
    arrays = arrays_at(places[first])
    results = evaluate(arrays, op, list(found.values()), _precision(precision, arrays.gpu))
    for name, shape in shapes.items():
        if results[0].shape != shape:
            raise ValueError(f"{name}: expected {list(results[0].shape)} for these arrays, found {list(shape)}")
    return results


def _check(name: str, array: Any, dtype: str, rank: int) -> None:
    """TypeError or ValueError where an array is of another kind."""
    if str(array.dtype) != dtype:
        raise TypeError(f"{name}: expected {dtype}, found {array.dtype}")
    if len(array.shape) != rank or 0 in array.shape:
        raise ValueError(f"{name}: expected a shape {LENGTHS[rank]}, none 0, found {list(array.shape)}")


def _on(number: int | None) -> str:
    return "of NumPy" if number is None else f"on GPU {number}"
