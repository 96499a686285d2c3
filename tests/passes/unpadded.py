"""Nets without padding, grown backward from their last map so that all windows come out whole, or round down."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from alexnet_ir.ir.attributes import Pair


@dataclass(frozen=True)
class Unpadded:
    """A net without padding, an image that is larger by whole strides, and by how many."""

    text: str
    size: Pair
    more: Pair


WINDOWS = (
    (1, 1, 1, "{x} -> conv(4, 1)"), (2, 1, 1, "{x} -> conv(4, 2, groups = 2)"),
    (3, 2, 1, "{x} -> conv(4, 3, stride = 2)"), (2, 1, 1, "{x} -> avgpool(2, stride = 1)"),
    (3, 2, 1, '{x} -> conv(4, 3, stride = 2, round = "down")'), (2, 2, 1, '{x} -> maxpool(2, round = "down")'),
    (3, 1, 1, "{x} -> conv(4, 3, bias = none) -> batchnorm"), (2, 1, 2, "{x} -> conv(4, 2, dilation = 2)"),
    (2, 2, 1, "{x} -> maxpool(2)"), (3, 2, 1, "{x} -> maxpool(3, stride = 2)"),
    (2, 2, 1, "{x} -> l2pool(2)"), (2, 3, 1, "{x} -> conv(4, 2, stride = 3)"),
    (3, 2, 1, "add({x} -> conv(4, 3, stride = 2), {x} -> maxpool(3, stride = 2))"),
    (2, 1, 1, "concat({x} -> conv(2, 2), {x} -> avgpool(2, stride = 1)) -> conv(4, 1)"),
)  # fmt: skip
"""Size, stride, dilation and text; all of them take and give 4 channels."""
SAME = ("relu", "tanh", "lrn(n = 3, k = 2, alpha = 0.1, beta = 0.75)", "dropout(0.5)", "batchnorm")
ENDS = (
    "{x} -> flatten -> fc(3)", "{x} -> flatten -> fc(6) -> relu -> dropout(0.5) -> fc(3)",
    "{x} -> global_avgpool -> fc(3)", "{x} -> global_avgpool",
    "{x} -> flatten -> tanh -> flatten -> fc(5) -> batchnorm -> flatten -> fc(2)",
    "concat({x} -> flatten, {x} -> relu -> flatten) -> fc(3)", "add({x} -> flatten, {x} -> tanh -> flatten) -> fc(3)",
    "concat({x} -> flatten -> fc(2), {x} -> global_avgpool) -> fc(3)",
    "add({x} -> flatten -> fc(4), {x} -> global_avgpool)",
)  # fmt: skip


@st.composite
def unpadded(draw: st.DrawFn) -> Unpadded:
    layers = draw(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4))
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 2))  # of the last map
    stride = 1
    for size, step, dilation, text in reversed(layers):
        reach, unread = dilation * (size - 1) + 1, st.integers(0, step - 1 if "down" in text else 0)
        rows, columns = ((n - 1) * step + reach + draw(unread) for n in (rows, columns))
        stride *= step
    lines = [f"image = input(4, {rows}, {columns})", "x0 = image"]
    for number, (*_, text) in enumerate(layers):
        lines.append(f"x{number + 1} = {text.format(x=f'x{number}')} -> {draw(st.sampled_from(SAME))}")
    lines.append(f"return {draw(st.sampled_from(ENDS)).format(x=f'x{len(layers)}')}")
    more = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = (rows + more[0] * stride, columns + more[1] * stride)
    return Unpadded("\n".join(["alx 1", "net N {", *lines, "}"]), size, more)
