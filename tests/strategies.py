"""Nets that Hypothesis grows, as model files: every op of the language, values used again, blocks, repeats, branches.

A net grows forward: each stage draws from what fits the shape it is given, so the rules of windows, groups and names
are said here a second time, and `check` must accept every text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from alexnet_ir.backends.reference.executor import NumpyExecutable, ReferenceBackend
from alexnet_ir.compiler import LOSSES, UPDATES, plan_of, recipe_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array
from alexnet_ir.passes.base import Pass
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.table import pipeline
from alexnet_ir.passes.update import Update

Shape = tuple[int, ...]
"""Of one sample: (channels, rows, columns) or (units,)."""

RATES = {
    "train.lr": 0.05, "train.momentum": 0.9, "train.weight_decay": 0.01,
    "train.beta1": 0.8, "train.beta2": 0.95, "train.eps": 1e-4,
}  # fmt: skip

MOST_CHANNELS = 8
MOST_CELLS = 9


@dataclass(frozen=True)
class Grown:
    """A model file with one net, `Grown`, and one recipe."""

    text: str
    image: Shape
    batch: int
    classes: int
    results: int
    seed: int

    def feeds(self, seed: int = 0, step: int = 0) -> dict[str, Any]:
        """A batch of images and labels, and rates for any optimizer."""
        random = np.random.default_rng(seed)
        image = random.standard_normal((self.batch, *self.image)).astype("f4")
        label = random.integers(self.classes, size=self.batch).astype("i4")
        return {"image": image, "train.label": label, "train.seed": self.seed, "train.step": step, **RATES}


def windows(length: int, size: int, stride: int, pad: tuple[int, int], dilation: int, rounding: str) -> int:
    """The windows along an axis."""
    steps, rest = divmod(length + sum(pad) - dilation * (size - 1) - 1, stride)
    inside = (steps + 1) * stride < length + pad[0]
    return steps + 1 + (rest > 0 and rounding == "up" and inside)


@dataclass(frozen=True)
class _Axis:
    """A window along one axis."""

    size: int
    stride: int
    pad: tuple[int, int]
    dilation: int = 1

    def fits(self, length: int) -> bool:
        return self.dilation * (self.size - 1) < length + sum(self.pad)

    def whole(self, length: int) -> bool:
        return (length + sum(self.pad) - self.dilation * (self.size - 1) - 1) % self.stride == 0

    def count(self, length: int, rounding: str) -> int:
        return windows(length, self.size, self.stride, self.pad, self.dilation, rounding)


_SAME = (1, 1)
_CELL = _Axis(1, 1, (0, 0))
_CONVOLVED = (
    _Axis(3, 1, _SAME), _Axis(1, 1, (0, 0)), _Axis(2, 1, (0, 0)), _Axis(3, 2, _SAME), _Axis(3, 1, (0, 0)),
    _Axis(2, 2, (0, 1)), _Axis(3, 2, (0, 0)), _Axis(1, 3, (0, 0)), _Axis(2, 1, (1, 0), 2), _Axis(3, 1, (2, 2), 2),
    _Axis(2, 3, (1, 2)), _Axis(4, 3, (0, 3)),
)  # fmt: skip
_POOLED = (
    _Axis(2, 2, (0, 0)), _Axis(3, 2, (0, 0)), _Axis(3, 1, _SAME), _Axis(2, 1, (0, 0)), _Axis(3, 2, _SAME),
    _Axis(1, 1, (0, 0)), _Axis(2, 3, (0, 1)), _Axis(1, 2, (0, 0)), _Axis(3, 3, (2, 0)), _Axis(3, 1, (0, 2)),
)  # fmt: skip
_WEIGHTS = (
    "", "", "weight = normal(0.3)", "weight = xavier()", "weight = he()", "weight = uniform(-0.5, 0.5)",
    "weight = normal(0.4), bias = 0.1", "bias = none", "bias = normal(0.2)", "bias = uniform(0, 1/2)",
    "lr_mult = 2, bias_decay_mult = 0", "bias = -1, decay_mult = 0.5, bias_lr_mult = 2", "lr_mult = 0",
)  # fmt: skip
_SMOOTH = ("tanh", "sigmoid", "identity")
_KINKED = ("relu", "leaky_relu", "leaky_relu(0.2)", "leaky_relu(slope = 0.5)", "abs")
_NORMS = ("eps = 0.01", "eps = 0.1, momentum = 0.5", "eps = 1, lr_mult = 0.5", "momentum = 0, eps = 0.3")
_DROPS = ("0.5", "0.25", 'p = 0.4, scale = "train"', '0.2, scale = "test"', "0")
_MAP = (
    "conv", "activation", "pool", "group", "lrn", "local", "local_norm", "batchnorm", "dropout", "flatten",
    "global_avgpool", "block", "repeat", "choice", "conv", "activation", "pool", "pool", "activation", "repeat",
)  # fmt: skip
_VECTOR = ("fc", "activation", "dropout", "fc", "batchnorm", "flatten", "group", "repeat", "choice", "block")
_DEFAULTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("conv, fc, local: (weight = normal(0.5), bias = 0.1)", {}),
    ('conv, local: (round = "down")', {"conv": "down", "local": "down"}),
    ('maxpool, avgpool, l2pool: (round = "up")', {"maxpool": "up", "avgpool": "up", "l2pool": "up"}),
    ('conv, avgpool: (round = "up", pad = 0)', {"conv": "up", "avgpool": "up"}),
    ("lrn: (n = 3, k = 2, alpha = 0.1, beta = 0.75)", {"lrn": "given"}),
    ('dropout: (p = 0.25, scale = "train")', {"dropout": "given"}),
    ("conv: (bias = none, decay_mult = 0.5)  batchnorm: (eps = 0.2)", {}),
)
_LOSSES = ("softmax_cross_entropy", "softmax_cross_entropy", "hinge")
_OPTIMIZERS = (
    "sgd(lr = 0.01)",
    "sgd(lr = 0.01, momentum = 0.9, weight_decay = 5e-4)",
    "sgd(0.02, 0.5, lr_mult = 0.5, bias_decay_mult = 0)",
    "adam(lr = 0.001)",
    "adam(0.002, beta1 = 0.8, eps = 1e-4, weight_decay = 0.01)",
)


@cache
def _among(options: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@dataclass(frozen=True)
class _Block:
    """A block as it was grown: for one shape, under the defaults of the place where it was called first."""

    name: str
    arguments: str
    takes: Shape
    gives: tuple[Shape, ...]
    defaults: Mapping[str, str]


@dataclass
class _Body:
    """The body of a net or block while it grows: its values and parameters, and the defaults that hold in it."""

    values: list[tuple[str, Shape]]
    parameters: dict[str, str]
    defaults: Mapping[str, str]
    depth: int
    lines: list[str] = field(default_factory=list)


class _Grower:
    def __init__(self, draw: st.DrawFn, smooth: bool, batch: int) -> None:
        self.draw, self.smooth, self.batch = draw, smooth, batch
        self.activations = _SMOOTH if smooth else (*_KINKED, *_SMOOTH)
        self.pools = ("avgpool",) if smooth else ("maxpool", "avgpool", "l2pool")
        self.blocks: list[_Block] = []
        self.texts: list[str] = []
        self.names = 0
        self.room = 14
        """Stages that the net may still get, so that texts stay small."""

    def pick(self, *options: Any) -> Any:
        return self.draw(_among(options))

    def fresh(self, letter: str) -> str:
        self.names += 1
        return f"{letter}{self.names}_"

    # --- stages ---------------------------------------------------------------------------------------------------

    def stage(self, body: _Body, shape: Shape, depth: int = 0) -> tuple[str, Shape]:
        """A stage that takes this shape, and the shape it gives."""
        self.room -= 1
        kind = self.draw(_among(_MAP if len(shape) == 3 else _VECTOR))
        if (depth > 1 or self.room < 0) and kind in ("group", "repeat", "choice", "block"):
            kind = "activation"
        text, gives = getattr(self, kind)(body, shape, *([depth] if kind in ("group", "repeat", "choice") else []))
        if kind not in ("repeat", "choice") and self.pick(False, False, False, True):
            text = f"{self.fresh('l')}: {text}"
        return text, gives

    def window(
        self, body: _Body, op: str, shape: Shape, axes: Sequence[_Axis]
    ) -> tuple[list[str], tuple[_Axis, _Axis], Shape]:
        """Arguments for a window over maps of this shape, the window, and the size it gives."""
        rows = self.draw(_among(axes))
        columns = rows if self.pick(True, True, False) else self.draw(_among(axes))
        if not rows.fits(shape[1]) or rows.count(shape[1], "up") > MOST_CELLS:
            rows = _CELL
        if not columns.fits(shape[2]) or columns.count(shape[2], "up") > MOST_CELLS:
            columns = _CELL
        usual = body.defaults.get(op, "exact")
        rounding = self.pick("exact", "down", "up")
        if rounding == "exact" and not (rows.whole(shape[1]) and columns.whole(shape[2])):
            rounding = "down"
        arguments = [_pair(rows.size, columns.size)]
        pooling = axes is _POOLED
        if (rows.stride, columns.stride) != ((rows.size, columns.size) if pooling else (1, 1)):
            arguments.append(f"stride = {_pair(rows.stride, columns.stride)}")
        if (rows.pad, columns.pad) != ((0, 0), (0, 0)) or self.pick(False, True):
            arguments.append(f"pad = {_pads(rows.pad, columns.pad)}")
        if (rows.dilation, columns.dilation) != (1, 1):
            arguments.append(f"dilation = {_pair(rows.dilation, columns.dilation)}")
        if rounding != usual:
            arguments.append(f'round = "{rounding}"')
        return arguments, (rows, columns), (rows.count(shape[1], rounding), columns.count(shape[2], rounding))

    def count(self, body: _Body, groups: int = 1) -> tuple[str, int]:
        """How many kernels or units: a number, a sum, or a parameter."""
        width = int(body.parameters.get("width", 0))
        if width and width % groups == 0 and self.pick(True, False):
            return self.pick("width", "2 * width / 2"), width
        number = groups * self.pick(*range(1, MOST_CHANNELS // groups + 1))
        return (f"2 * {number // 2}" if number % 2 == 0 and self.pick(False, False, True) else str(number)), number

    def conv(self, body: _Body, shape: Shape, op: str = "conv") -> tuple[str, Shape]:
        groups = self.draw(_among(tuple(g for g in (1, 1, 2, 3, 4) if shape[0] % g == 0)))
        text, kernels = self.count(body, groups)
        arguments, _, size = self.window(body, op, shape, _CONVOLVED)
        if groups > 1:
            arguments.append(f"groups = {groups}")
        weights = self.draw(_among(_WEIGHTS))
        return f"{op}({', '.join([text, *arguments, *filter(None, [weights])])})", (kernels, *size)

    def local(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        return self.conv(body, shape, "local")

    def fc(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        text, units = self.count(body)
        weights = self.draw(_among(_WEIGHTS))
        return f"fc({', '.join([text, *filter(None, [weights])])})", (units,)

    def activation(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        given = ("act",) if "act" in body.parameters else ()
        return self.draw(_among((*self.activations, *given))), shape

    def lrn(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        groups = self.draw(_among(tuple(g for g in (1, 2, 3) if shape[0] % g == 0)))
        if body.defaults.get("lrn") and self.pick(True, False):
            return ("lrn" if groups == 1 else f"lrn(groups = {groups})"), shape
        window = self.pick("5, 2, 0.5, 0.75", "3, k = 1, alpha = 0.3, beta = 0.5", "1, 2, 1e-4, 1")
        return f"lrn({window}, groups = {groups})", shape

    def local_norm(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        return f"local_norm({self.pick('3, 2, 0.2, 0.75', 'size = 5, k = 1, alpha = 0.1, beta = 0.5')})", shape

    def pool(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        op = self.draw(_among(self.pools))
        arguments, _, size = self.window(body, op, shape, _POOLED)
        if op == "avgpool" and self.pick(False, True):
            arguments.append("count_pad = true")
        return f"{op}({', '.join(arguments)})", (shape[0], *size)

    def batchnorm(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        return f"batchnorm({self.draw(_among(_NORMS))})", shape

    def dropout(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        if body.defaults.get("dropout") and self.pick(True, False):
            return "dropout", shape
        return f"dropout({self.draw(_among(_DROPS))})", shape

    def flatten(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        return "flatten", (int(np.prod(shape)),)

    def global_avgpool(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        return "global_avgpool", shape[:1]

    def group(self, body: _Body, shape: Shape, depth: int) -> tuple[str, Shape]:
        first, between = self.stage(body, shape, depth + 1)
        second, gives = self.stage(body, between, depth + 1)
        return f"({first} -> {second})", gives

    def repeat(self, body: _Body, shape: Shape, depth: int) -> tuple[str, Shape]:
        """A stage as often as a number or parameter says; once where it does not give what it takes."""
        text, gives = self.stage(body, shape, depth + 1)
        if gives != shape or " * " in text.rpartition(")")[2]:
            return text, gives
        label, colon, unit = text.partition(": ") if text[0] == "l" and "_: " in text[:8] else ("", "", text)
        again = "depth" if "depth" in body.parameters and self.pick(True, False) else self.pick("2", "1", "0", "3")
        return f"{label}{colon}{unit} * {again}", gives

    def choice(self, body: _Body, shape: Shape, depth: int) -> tuple[str, Shape]:
        """A branch; what is not taken need not fit."""
        flag, taken = self.flag(body)
        text, gives = self.stage(body, shape, depth + 1)
        other = self.pick("identity", "conv(1000, 99)", "fc(7) * 3", f"{self.fresh('l')}: (lrn -> flatten)")
        then, otherwise = (text, other) if taken else (other, text)
        return f"(if {flag} then {then} else {otherwise})", gives

    def flag(self, body: _Body) -> tuple[str, bool]:
        flags = tuple((name, body.parameters[name] == "true") for name in ("wide", "deep") if name in body.parameters)
        return self.draw(_among((*flags, ("true", True), ("false", False))))

    # --- blocks ---------------------------------------------------------------------------------------------------

    def block(self, body: _Body, shape: Shape) -> tuple[str, Shape]:
        block = self.called(body, shape, 1)
        bare = not block.arguments and self.pick(True, False)
        return block.name if bare else f"{block.name}({block.arguments})", block.gives[0]

    def called(self, body: _Body, shape: Shape, results: int) -> _Block:
        """A block that takes this shape: one that is there, or a new one."""
        there = tuple(
            b for b in self.blocks
            if b.takes == shape and b.defaults == body.defaults and len(b.gives) == results
            and ("act = act" not in b.arguments or "act" in body.parameters)
        )  # fmt: skip
        if there and (body.depth > 1 or self.pick(True, False)):
            return there[-1]
        return self.new_block(body, shape, results)

    def new_block(self, body: _Body, shape: Shape, results: int) -> _Block:
        name, x = self.fresh("b"), self.pick("x", "image")
        header, parameters, arguments = [x], {}, []
        if self.pick(True, False):
            parameters["width"] = str(self.pick(2, 4, 6))
            header.append(f"width = {self.pick(parameters['width'], '3')}")
            arguments.append(f"width = {parameters['width']}")
        if self.pick(False, True):
            parameters["act"] = self.draw(_among(self.activations))
            header.append("act")
            arguments.append(f"act = {self.draw(_among(('act',))) if 'act' in body.parameters else parameters['act']}")
        if self.pick(False, True):
            parameters["deep"] = self.pick("true", "false")
            header.append(f"deep = {parameters['deep']}")
        inner = _Body([(x, shape)], parameters, body.defaults, body.depth + 1)
        text = self.body(inner, results)
        self.texts.append(f"block {name}({', '.join(header)}) {{\n{text}}}\n")
        block = _Block(name, ", ".join(arguments), shape, tuple(s for _, s in inner.values[-results:]), body.defaults)
        self.blocks.append(block)
        return block

    # --- bodies ---------------------------------------------------------------------------------------------------

    def body(self, body: _Body, results: int) -> str:
        """The text between the braces; the values returned are the last of `body.values`."""
        text = self.new_defaults(body)
        for _ in range(self.pick(1, 2, 3) if body.depth == 0 else self.pick(0, 1)):
            self.let(body)
        returned = []
        for _ in range(results):
            base, shape = body.values[-1] if self.pick(True, False) else self.value(body)
            stages, shape = self.stages(body, shape)
            returned.append((" -> ".join([base, *stages]), shape))
        body.values += returned
        return text + "".join(body.lines) + f"  return {', '.join(text for text, _ in returned)}\n"

    def new_defaults(self, body: _Body) -> str:
        rules = self.draw(_among(((), (), *((r,) for r in range(len(_DEFAULTS))), (0, 2), (1, 4), (3, 5))))
        if not rules:
            return ""
        for rule in rules:
            body.defaults = {**body.defaults, **_DEFAULTS[rule][1]}
        return "  defaults {\n" + "".join(f"    {_DEFAULTS[rule][0]}\n" for rule in rules) + "  }\n"

    def stages(self, body: _Body, shape: Shape) -> tuple[list[str], Shape]:
        texts = []
        for _ in range(self.pick(1, 2, 3)):
            if self.room > 0:
                text, shape = self.stage(body, shape)
                texts.append(text)
        return texts, shape

    def value(self, body: _Body) -> tuple[str, Shape]:
        return self.draw(_among(tuple(body.values)))

    def let(self, body: _Body) -> None:
        """One more named value: a chain, a join of values, a branch, or the results of a block."""
        kind = self.pick("chain", "chain", "join", "join", "branch", "fork")
        base, shape = self.value(body)
        if kind == "fork" and body.depth == 0 and self.room > 0:
            block = self.called(body, shape, 2)
            names = [self.fresh("v"), self.fresh("v")]
            given = f", {block.arguments}" if block.arguments else ""
            body.lines.append(f"  {', '.join(names)} = {block.name}({base}{given})\n")
            body.values += zip(names, block.gives, strict=True)
            return
        if kind == "join":
            text, gives = self.join(body, base, shape)
        elif kind == "branch":
            flag, taken = self.flag(body)
            stages, gives = self.stages(body, shape)
            text = " -> ".join([base, *stages])
            other = self.pick(base, f"({base} -> fc(3))", f"{base} -> conv(1, 77)")
            text = f"if {flag} then {text} else {other}" if taken else f"if {flag} then {other} else {text}"
        else:
            stages, gives = self.stages(body, shape)
            text = " -> ".join([base, *stages])
        name = self.fresh("v")
        body.lines.append(f"  {name} = {text}\n")
        body.values.append((name, gives))

    def join(self, body: _Body, base: str, shape: Shape) -> tuple[str, Shape]:
        """`add` or `concat` of values and chains that fit."""
        alike = tuple(name for name, s in body.values if s == shape)
        beside = tuple((name, s) for name, s in body.values if s[1:] == shape[1:])
        other = self.draw(_among(beside))
        if self.pick(True, False) and shape[0] + other[1][0] <= 2 * MOST_CHANNELS:
            extra = f" -> {self.draw(_among(self.activations))}" if self.pick(False, True) else ""
            return f"concat({base}, {other[0]}{extra})", (shape[0] + other[1][0], *shape[1:])
        extra = f" -> {self.draw(_among(self.activations))}" if self.pick(False, True) else ""
        return f"add({base}{extra}, {self.draw(_among(alike))})", shape

    # --- the file -------------------------------------------------------------------------------------------------

    def file(self) -> Grown:
        image = self.pick((3, 6, 6), (1, 5, 7), (2, 4, 3), (4, 7, 7), (3, 1, 5), (6, 2, 2))
        classes = self.pick(3, 4, 2, 5)
        body = _Body([("image", image)], {"act": "", "depth": "", "wide": "", "width": ""}, {}, 0)
        act, again = self.draw(_among(self.activations)), self.pick(1, 2, 0)
        body.parameters = {"act": act, "depth": str(again), "wide": self.pick("true", "false"), "width": "4"}
        results = self.pick(1, 1, 2, 3)
        text = self.body(body, results)
        ends = []
        for chain, shape in body.values[-results:]:
            end = self.pick("flatten", "global_avgpool") if len(shape) == 3 else self.pick("identity", "flatten")
            label = f"{self.fresh('l')}: " if self.pick(False, True) else ""
            ends.append(f"{chain} -> {end} -> {label}fc({self.pick('classes', str(classes))})")
        head, _, _ = text.rpartition("  return ")
        parameters = ", ".join(f"{name} = {value}" for name, value in body.parameters.items())
        net = f"net Grown(classes = 3, {parameters}) {{\n  image = input{image}\n{head}  return {', '.join(ends)}\n}}\n"
        if "  defaults {" in head:
            defaults, _, rest = head.partition("  }\n")
            net = net.replace(f"  image = input{image}\n{head}", f"{defaults}  }}\n  image = input{image}\n{rest}")
        seed = self.pick(0, 7, 2**40 + 1)
        return Grown(
            f"alx 1\n{''.join(self.texts)}{net}{self.recipe(classes, results, seed)}",
            image, self.batch, classes, results, seed,
        )  # fmt: skip

    def recipe(self, classes: int, results: int, seed: int) -> str:
        loss = "softmax_cross_entropy" if self.smooth else self.draw(_among(_LOSSES))
        weights = ", ".join(("1", "0.3", "0.5")[:results]) if results > 1 and self.pick(True, False) else ""
        return (
            f"train recipe {{\n  net: Grown(classes = {classes})\n  batch: {self.batch}\n  stop: steps(3)\n"
            f"  loss: {loss}({f'weights = [{weights}]' if weights else ''})\n"
            f"  optimizer: {self.draw(_among(_OPTIMIZERS))}\n  seed: {seed}\n}}\n"
        )


def _pair(first: int, second: int) -> str:
    return str(first) if first == second else f"({first}, {second})"


def _pads(rows: tuple[int, int], columns: tuple[int, int]) -> str:
    if rows != columns:
        return f"({rows}, {columns})"
    return str(rows[0]) if rows[0] == rows[1] else str(rows)


@st.composite
def nets(draw: st.DrawFn, smooth: bool = False, batches: tuple[int, ...] = (2, 3, 5)) -> Grown:
    """A model file over all ops of the language; `smooth` ones have no kinks, so that differences tell slopes."""
    return _Grower(draw, smooth, draw(_among(batches))).file()


# --- running graphs -----------------------------------------------------------------------------------------------


def training_passes(model: Model) -> list[Pass]:
    """The passes that make a model's training step, as its recipe has it."""
    recipe = recipe_of(model)
    loss = Loss(LOSSES[recipe.loss.name], recipe.loss.weights)
    return pipeline("train", {"loss": loss, "update": Update(UPDATES[recipe.optimizer.name])})


def initial(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """The states of a graph before the first step, constants (biases, statistics) moved apart so that each matters."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for state in graph.states.values():
        shape = graph.tensor(state.read).shape
        found[state.name] = state.initial.values(state.name, shape, seed).astype("f8")
        if state.role != "slot":
            found[state.name] += 0.1 * random.random(shape)
    return found


def executable(graph: Graph, states: Mapping[str, Array], dtype: str = "f8") -> NumpyExecutable:
    """The graph on the reference backend, its states among these."""
    backend = ReferenceBackend(np.dtype(dtype))
    plan = plan_of(graph)
    return backend.build(plan, backend.storage(plan, states))


def run(
    graph: Graph, states: Mapping[str, Array], feeds: Mapping[str, Any], dtype: str = "f8"
) -> tuple[dict[str, Array], dict[str, Array]]:
    """One run on the reference backend: the outputs, and the states after it."""
    made = executable(graph, states, dtype)
    outputs = made.run(feeds)
    return outputs, {name: made.storage.read(name) for name in graph.states}
