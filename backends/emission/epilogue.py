"""Pointwise ops as one generated expression: what a kernel does to an element on the way to memory.

A kernel's file says `EPILOGUE_PARAMETERS` at the end of its parameters and stores `EPILOGUE(v, n, c, h, w)` at logical
index (n, c, h, w) of its result; of a vector, h and w are 0, and of a result of one axis n is, too. `EPILOGUE_CHUNK(v,
n, c, h, w)` does the same in place to an array float v[V], elements of V channels side by side from a multiple of V on,
where V divides the channels (or, of one axis, the chunk lies inside). In C it is `EPILOGUE_CHUNK(v, count, n, c, h, w)`
of any count of channels from any one on. The source gets the macros and the functions from `source`, the command the
places in `arguments`, last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.backends.emission.site import AXES, Dialect, float_literal
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops import elementwise
from alexnet_ir.ops.batchnorm import BatchNormGradInput, BatchNormInference, RunningAverage
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.loss import Maximum
from alexnet_ir.philox import Domain, keep_threshold

Expression = Callable[[Any, Sequence[str]], str]
"""From an op and the C++ expressions of its operands (plain names) to that of its result. Dropout's also gets the
element's random number, as one operand more."""


def _dropout(op: Dropout, given: Sequence[str]) -> str:
    input, _, _, drawn = given
    kept = input if op.scale == "test" else f"{input} / {float_literal(1 - op.p)}"
    threshold = keep_threshold(op.p)
    return f"{drawn} >= {threshold}{'u' if threshold < 2**32 else 'ull'} ? {kept} : {input} * 0.0f"


def _normalized(op: BatchNormInference, x: Sequence[str]) -> str:
    input, weight, bias, mean, variance = x
    return f"{weight} * rsqrtf({variance} + {float_literal(op.eps)}) * ({input} - {mean}) + {bias}"


def _normalized_grad(op: BatchNormGradInput, x: Sequence[str]) -> str:
    grad, input, weight, mean, variance, grad_weight, grad_bias = x
    inverse, share = f"rsqrtf({variance} + {float_literal(op.eps)})", float_literal(1 / op.count)
    unit = f"({input} - {mean}) * {inverse}"
    return f"{weight} * {inverse} * ({grad} - {share} * ({grad_bias} + {unit} * {grad_weight}))"


def _running(op: RunningAverage, x: Sequence[str]) -> str:
    return f"{float_literal(1 - op.momentum)} * {x[0]} + {float_literal(op.momentum * op.correction)} * {x[1]}"


EXPRESSIONS: dict[type[Op], Expression] = {
    elementwise.Identity: lambda op, x: x[0],
    elementwise.Relu: lambda op, x: f"relu({x[0]})",
    elementwise.ReluGrad: lambda op, x: f"{x[0]} * ({x[1]} > 0.0f ? 1.0f : 0.0f)",
    elementwise.LeakyRelu: lambda op, x: f"{x[0]} > 0.0f ? {x[0]} : {float_literal(op.slope)} * {x[0]}",
    elementwise.LeakyReluGrad: lambda op, x: f"{x[1]} > 0.0f ? {x[0]} : {float_literal(op.slope)} * {x[0]}",
    elementwise.Tanh: lambda op, x: f"tanhf({x[0]})",
    elementwise.TanhGrad: lambda op, x: f"{x[0]} * (1.0f - {x[1]} * {x[1]})",
    elementwise.Sigmoid: lambda op, x: f"0.5f * tanhf(0.5f * {x[0]}) + 0.5f",
    elementwise.SigmoidGrad: lambda op, x: f"{x[0]} * {x[1]} * (1.0f - {x[1]})",
    elementwise.Abs: lambda op, x: f"fabsf({x[0]})",
    elementwise.AbsGrad: lambda op, x: f"{x[0]} * ({x[1]} > 0.0f ? 1.0f : {x[1]} < 0.0f ? -1.0f : {x[1]})",
    elementwise.Scale: lambda op, x: f"{float_literal(op.factor)} * {x[0]}",
    elementwise.Add: lambda op, x: f"{x[0]} + {x[1]}",
    BiasAdd: lambda op, x: f"{x[0]} + {x[1]}",
    BatchNormGradInput: _normalized_grad,
    BatchNormInference: _normalized,
    Dropout: _dropout,
    Maximum: lambda op, x: f"{x[0]} > {x[1]} || {x[0]} != {x[0]} ? {x[0]} : {x[1]}",
    RunningAverage: _running,
}
"""Of every pointwise op: the first operand and the result are of one shape, the others as `Epilogue.tensors` says."""


@dataclass(frozen=True)
class Pointwise:
    """One op of an epilogue. Operand -1 is the element that arrives, -2 - i the result of the i-th of these ops, and
    others are the tensors of the epilogue."""

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Epilogue:
    """Pointwise ops on elements of a result of this shape, in order; the last one's result is stored. `tensors` are of
    the result's shape, of its shape without the batch, of its channels alone, or scalars."""

    ops: tuple[Pointwise, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def arguments(self) -> tuple[Place, ...]:
        """What the launch passes after the kernel's own arguments."""
        return tuple(tensor.place for tensor in self.tensors)

    def after(self, op: Op, tensors: Sequence[Tensor], shape: tuple[int, ...]) -> Epilogue:
        """This one behind a pointwise op on the element that arrives and these tensors."""
        first = Pointwise(op, (-1, *range(len(tensors))))
        moved = (tuple(n + len(tensors) if n >= 0 else n - 1 for n in part.operands) for part in self.ops)
        rest = (replace(part, operands=operands) for part, operands in zip(self.ops, moved, strict=True))
        return Epilogue((first, *rest), (*tensors, *self.tensors), shape)

    def reshaped(self, shape: tuple[int, ...]) -> Epilogue:
        """The same on a result of another shape of as many elements in the same order: of tensors of its shape as it
        was, or of that without the batch, in the order in which they lie."""

        def viewed(tensor: Tensor) -> Tensor:
            if tensor.shape == self.shape and tensor.shape:
                return replace(tensor, shape=shape, layout=Layout(tensor.layout.stored))
            if (
                tensor.shape == self.shape[1:]
                and len(self.shape) > 1
                and math.prod(shape[1:]) == math.prod(tensor.shape)
            ):
                return replace(tensor, shape=shape[1:], layout=Layout(tensor.layout.stored))
            return tensor

        return replace(self, tensors=tuple(viewed(tensor) for tensor in self.tensors), shape=shape)

    # --- source -----------------------------------------------------------------------------------------------------

    def source(self, dialect: Dialect) -> str:
        """The macros and, unless there is nothing to do, the functions."""
        count = "" if dialect.has_templates else "count, "
        if not self.ops:
            return (
                "#define EPILOGUE_PARAMETERS\n#define EPILOGUE(v, n, c, h, w) (v)\n"
                f"#define EPILOGUE_CHUNK(v, {count}n, c, h, w) ((void)0)\n"
            )
        names = [f"e{i}" for i in range(len(self.tensors))]
        parameters = "".join(f", const E{i}_T *{name}" for i, name in enumerate(names))
        passed = "".join(f", {name}" for name in names)
        given = "".join(f", {_kind(tensor)} x{i}" for i, tensor in enumerate(self.tensors))
        given += "".join(f", unsigned d{position}" for position in self._draws)
        chunk = "float (&v)[V]" if dialect.has_templates else "float *restrict v, int V"
        template = "template <int V> " if dialect.has_templates else ""
        return (
            "".join(f"typedef {tensor.layout.stored}_t E{i}_T;\n" for i, tensor in enumerate(self.tensors))
            + f"#define EPILOGUE_PARAMETERS {parameters}\n"
            f"#define EPILOGUE(v, n, c, h, w) epilogue(v, n, c, h, w{passed})\n"
            f"#define EPILOGUE_CHUNK(v, {count}n, c, h, w) epilogue_chunk(v, {count}n, c, h, w{passed})\n"
            + _function(f"{dialect.inline} float pointwise_value(float v, {INDEX}{given})", self._value())
            + _function(f"{dialect.inline} float epilogue(float v, {INDEX}{parameters})", self._element())
            + _function(
                f"{template}{dialect.inline} void epilogue_chunk({chunk}, {INDEX}{parameters})", self._chunk(dialect)
            )
        )

    def _value(self) -> list[str]:
        """From the element that arrives and those of the tensors to what is stored."""
        values = {-1: "v"} | {i: f"x{i}" for i in range(len(self.tensors))}
        lines = []
        for position, part in enumerate(self.ops):
            operands = [values[i] for i in part.operands]
            if isinstance(part.op, Dropout):
                operands.append(f"d{position}")
            values[-2 - position] = f"r{position}"
            lines.append(f"const float r{position} = {EXPRESSIONS[type(part.op)](part.op, operands)};")
        return [*lines, f"return r{len(self.ops) - 1};"]

    def _element(self) -> list[str]:
        """One element: the tensors' elements that belong to it, then its value."""
        read = "".join(f", {self._read(i)}" for i in range(len(self.tensors)))
        return [f"return pointwise_value(v, n, c, h, w{read}{self._words()});"]

    def _chunk(self, dialect: Dialect) -> list[str]:
        """Elements of V channels: tensors whose channels lie side by side are read as they are."""
        if not dialect.has_templates:
            return self._pieces() if self._draws_in_a_row else self._loop("0", "V", self._words("(c + j)"))
        loads, given = [], []
        for i in range(len(self.tensors)):
            channel = dict(zip(self._axes(i), self.tensors[i].strides, strict=True)).get("c")
            if channel is None:
                loads.append(f"const {_kind(self.tensors[i])} x{i} = {self._read(i)};")
            elif channel == 1:
                loads += [f"float x{i}[V];", f"get_chunk(x{i}, e{i} + {self._offset(i)});"]
            given.append(f"x{i}" if channel is None else f"x{i}[j]" if channel == 1 else self._read(i, "(c + j)"))
        passed = "".join(f", {value}" for value in given) + self._words("(c + j)")
        return [
            *loads,
            "#pragma unroll",
            f"for (int j = 0; j < V; j++) v[j] = pointwise_value(v[j], n, c + j, h, w{passed});",
        ]

    def _loop(self, first: str, end: str, words: str) -> list[str]:
        """Elements of a chunk in C, one by one."""
        read = "".join(f", {self._read(i, '(c + j)')}" for i in range(len(self.tensors)))
        step = f"v[j] = pointwise_value(v[j], n, c + j, h, w{read}{words});"
        return [f"for (int j = {first}; j < {end}; j++) {step}"]

    def _pieces(self) -> list[str]:
        """A chunk in C whose random numbers follow one another: they are drawn for many elements at a time."""
        lines = ["for (int from = 0; from < V; from += DRAWN) {", "  const int end = (int)least(V, from + DRAWN);"]
        for position in self._draws:
            drawn = f"random_words({self._key(position, '(c + from)')}, end - from, words{position})"
            lines += [f"  uint32_t words{position}[WORDS];", f"  const uint32_t *drawn{position} = {drawn};"]
        words = "".join(f", drawn{position}[j - from]" for position in self._draws)
        return [*lines, *("  " + line for line in self._loop("from", "end", words)), "}"]

    @property
    def _draws(self) -> dict[int, Dropout]:
        """Those of the ops that need a random number, by their position."""
        return {position: part.op for position, part in enumerate(self.ops) if isinstance(part.op, Dropout)}

    @property
    def _draws_in_a_row(self) -> bool:
        """Whether there are such ops, and the random numbers of neighbouring channels follow one another."""
        one_by_one = len(self.shape) > 1 or all(op.period in (0, 1) for op in self._draws.values())
        return bool(self._draws) and math.prod(self.shape[2:]) == 1 and one_by_one

    def _words(self, channel: str = "c") -> str:
        """The random numbers of an element, as further arguments."""
        return "".join(f", random_word({self._key(position, channel)})" for position in self._draws)

    def _key(self, position: int, channel: str) -> str:
        """What names the random number of an element: seed, stream, step, domain, index."""
        op, (_, seed, step) = self._draws[position], self.ops[position].operands
        numbers = f"{op.stream & 0xFFFFFFFF}u, (unsigned){self._read(step)}, {int(Domain.DROPOUT)}u"
        return f"{self._read(seed)}, {numbers}, {self._position(op, channel)}"

    def _axes(self, i: int) -> str:
        """Which of n, c, h, w the axes of a tensor are."""
        rank, letters = len(self.tensors[i].shape), AXES[len(self.shape)].lower()
        return {0: "", 1: "c", len(self.shape) - 1: letters[1:], len(self.shape): letters}[rank]

    def _offset(self, i: int, channel: str = "c") -> str:
        """Elements from a tensor's first to the one that belongs to (n, c, h, w)."""
        pairs = zip(self._axes(i), self.tensors[i].strides, strict=True)
        return " + ".join(f"{channel if a == 'c' else a} * (index_t){s}" for a, s in pairs) or "0"

    def _read(self, i: int, channel: str = "c") -> str:
        at = f"e{i} + {self._offset(i, channel)}"
        return f"*({at})" if _kind(self.tensors[i]) == "index_t" else f"get({at})"

    def _position(self, op: Dropout, channel: str) -> str:
        """The position of the element in the whole value that a share is of, channels first."""
        if len(self.shape) <= 1:
            return f"{op.start}ll + {channel} * (index_t){op.period or 1}"
        _, c, h, w = (*self.shape, 1, 1)[:4]
        return f"{op.start}ll + n * (index_t){op.period or c * h * w} + ({channel} * (index_t){h} + h) * {w} + w"


NONE = Epilogue()
INDEX = "int n, int c, int h, int w"


def _kind(tensor: Tensor) -> str:
    """What a scalar seed or step is read as, and all else."""
    return "index_t" if tensor.layout.stored in ("i32", "i64") else "float"


def _function(signature: str, body: Sequence[str]) -> str:
    lines = "".join(line + "\n" if line.startswith("#") else f"  {line}\n" for line in body)
    return f"{signature} {{\n{lines}}}\n"
