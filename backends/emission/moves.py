"""Ops of one expression, and ops that only move elements: all by what a target has for out = epilogue(x)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from alexnet_ir.backends.emission.commands import Command, Emission, Tensor
from alexnet_ir.backends.emission.epilogue import EXPRESSIONS, NONE, Epilogue
from alexnet_ir.backends.emission.site import Site, Workspace
from alexnet_ir.backends.emission.views import part
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.elementwise import Identity
from alexnet_ir.ops.shape import Concat, Copy, Flatten, Slice, Unflatten

S = TypeVar("S", bound=Site)
Computed = Callable[[Tensor, Tensor, Epilogue], Command]
"""From out and x of one logical shape, in any layouts, and an epilogue to what runs out = epilogue(x)."""


def pointwise(site: Site, epilogue: Epilogue, computed: Computed) -> Emission:
    """An op of one expression, and what is fused behind it."""
    (out,) = site.results
    return Emission((computed(out, site.operands[0], epilogue.after(site.op, site.operands[1:], out.shape)),))


def moved(site: Site, epilogue: Epilogue, computed: Computed) -> Emission:
    """The same elements in the same order, of the same shape or another one."""
    (x,), (out,) = site.operands, site.results
    if x.shape == out.shape or not x.layout.channels_last:
        return Emission((computed(out, replace(x, shape=out.shape), epilogue),))
    if not out.layout.channels_last:
        return Emission((computed(replace(out, shape=x.shape), x, epilogue.reshaped(x.shape)),))
    workspace = Workspace()
    between = workspace.tensor(x.shape, Layout(x.layout.stored))
    there, back = computed(between, x, NONE), computed(out, replace(between, shape=out.shape), epilogue)
    return Emission((there, back), workspace.nbytes)


def sliced(site: Site, epilogue: Epilogue, computed: Computed) -> Emission:
    """A part of the operand."""
    assert not epilogue.ops
    assert isinstance(site.op, Slice)
    (x,), (out,) = site.operands, site.results
    window, whole = part(x, out, site.op.axis, site.op.start)
    return Emission((computed(whole, window, NONE),))


def concatenated(site: Site, epilogue: Epilogue, computed: Computed) -> Emission:
    """Each operand becomes a part of the result."""
    assert not epilogue.ops
    assert isinstance(site.op, Concat)
    (out,), axis, start, commands = site.results, site.op.axis, 0, []
    for x in site.operands:
        window, whole = part(out, x, axis, start)
        commands.append(computed(window, whole, NONE))
        start += x.shape[axis]
    return Emission(tuple(commands))


def emitters(computed: Callable[[S], Computed]) -> dict[type[Op], Callable[[S, Epilogue], Emission]]:
    """By the class of op, with what a site has for out = epilogue(x)."""
    ways = {
        **dict.fromkeys(EXPRESSIONS, pointwise),
        **dict.fromkeys((Copy, Flatten, Identity, Unflatten), moved),
        Concat: concatenated,
        Slice: sliced,
    }
    return {
        kind: lambda site, epilogue, way=way: way(site, epilogue, computed(site))  # type: ignore[misc]
        for kind, way in ways.items()
    }
