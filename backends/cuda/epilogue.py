"""Pointwise ops as one generated expression: what a kernel does to an element on the way to memory.

A kernel's file says `EPILOGUE_PARAMETERS` at the end of its parameters and stores `EPILOGUE(v, n, c, h, w)` at logical
index (n, c, h, w) of its result; of a vector, h and w are 0. The source gets the two macros and the function from
`generated`, the launch the places in `arguments`, last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet_ir.backends.cuda.launch import Emission, Place
from alexnet_ir.backends.cuda.site import Site, Tensor, describe, float_literal
from alexnet_ir.ir.op import Op
from alexnet_ir.ops import elementwise
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.philox import Domain, keep_threshold

Expression = Callable[[Any, Sequence[str]], str]
"""From an op and the C++ expressions of its operands (plain names) to that of its result."""


def _dropout(op: Dropout, given: Sequence[str]) -> str:
    input, seed, step = given
    scaled = input if op.scale == "test" else f"{input} / {float_literal(1 - op.p)}"
    drawn = f"random_word({seed}, {op.stream}u, (unsigned){step}, {int(Domain.DROPOUT)}u, ELEMENT)"
    return f"{drawn} >= {min(keep_threshold(op.p), 2**32 - 1)}u ? {scaled} : {input} * 0.0f"


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
    Dropout: _dropout,
}
"""Of every pointwise op."""


@dataclass(frozen=True)
class Pointwise:
    """One op of an epilogue. Operand -1 is the element that arrives, -2 - i the result of the i-th of these ops, and
    others are the tensors of the epilogue."""

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Epilogue:
    """Pointwise ops on elements of a result of this shape, in order; the last one's result is stored."""

    ops: tuple[Pointwise, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def arguments(self) -> tuple[Place, ...]:
        """What the launch passes after the kernel's own arguments."""
        return tuple(tensor.place for tensor in self.tensors)

    @property
    def generated(self) -> str:
        """The macros and, unless there is nothing to do, the function."""
        if not self.ops:
            return "#define EPILOGUE_PARAMETERS\n#define EPILOGUE(v, n, c, h, w) (v)\n"
        names = [f"e{i}" for i in range(len(self.tensors))]
        described = "".join(describe(f"E{i}", tensor) for i, tensor in enumerate(self.tensors))
        parameters = "".join(f", const E{i}_T *{name}" for i, name in enumerate(names))
        passed = "".join(f", {name}" for name in names)
        body = "\n".join(f"  {line}" for line in self._body())
        return (
            f"{described}#define EPILOGUE_PARAMETERS {parameters}\n"
            f"#define EPILOGUE(v, n, c, h, w) epilogue(v, n, c, h, w{passed})\n"
            f"__device__ __forceinline__ float epilogue(float v, int n, int c, int h, int w{parameters}) {{\n"
            f"{body}\n}}\n"
        )

    def _body(self) -> list[str]:
        values = {-1: "v"}
        lines = []
        read = dict.fromkeys(i for op in self.ops for i in op.operands if i >= 0)
        for i in read:
            values[i] = f"x{i}"
            lines.append(f"const {_kind(self.tensors[i])} x{i} = {self._element(i)};")
        for position, part in enumerate(self.ops):
            expression = EXPRESSIONS[type(part.op)](part.op, [values[i] for i in part.operands])
            values[-2 - position] = f"r{position}"
            lines.append(f"const float r{position} = {expression.replace('ELEMENT', self._logical(part.op))};")
        return [*lines, f"return r{len(self.ops) - 1};"]

    def _element(self, i: int) -> str:
        """The element of a tensor that belongs to (n, c, h, w): of a tensor of the result's shape, of one without the
        batch, of one with the channels alone, or of a scalar."""
        tensor = self.tensors[i]
        rank = len(tensor.shape)
        index = {0: "", 1: "c"}.get(rank, "nchw" if rank in (len(self.shape), 2) else "chw")[:4]
        index = "nc" if rank == 2 else index
        offset = " + ".join(f"{name} * (index_t){s}" for name, s in zip(index, tensor.strides, strict=True)) or "0"
        at = f"e{i} + {offset}"
        return f"*({at})" if _kind(tensor) == "index_t" else f"get({at})"

    def _logical(self, op: Op) -> str:
        """The position of the element in the whole value that a share is of, channels first."""
        _, c, h, w = (*self.shape, 1, 1, 1)[:4]
        inner = f"((index_t)c * {h} + h) * {w} + w"
        if not isinstance(op, Dropout):
            return inner
        sample = op.period or c * h * w
        return f"{op.start} + (index_t)n * {sample} + {inner}"


NONE = Epilogue()

Emitter = Callable[[Site, Epilogue], Emission]
"""From a site, and what is done to each element of its first result before that is written."""
FusedEmitter = Callable[[Site], Emission]
"""From a site whose op is fused, as a whole."""


def _kind(tensor: Tensor) -> str:
    """What a scalar seed or step is read as, and all else."""
    return "index_t" if tensor.layout.stored == "i64" else "float"
