"""Fully connected layers and their gradients: products by cuBLAS, then what is fused behind them."""

from __future__ import annotations

from dataclasses import replace

from alexnet_ir.backends.cuda.emitters.pointwise import computed
from alexnet_ir.backends.cuda.emitters.relayout import brought
from alexnet_ir.backends.cuda.gpu import MULTIPLIED
from alexnet_ir.backends.cuda.site import Emit, Site
from alexnet_ir.backends.emission.commands import Command, Emission, Gemm, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.ir.layout import STORED_BYTES, Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight


def _product(site: Site, epilogue: Epilogue, transposed: tuple[bool, bool]) -> Emission:
    """The two operands brought to one stored type, multiplied, and the rest of the work on what comes out."""
    (result,) = site.results
    workspace = Workspace()
    stored = MULTIPLIED[site.precision]
    a, before_a = brought(site.operands[0], Layout(stored), workspace)
    b, before_b = brought(site.operands[1], Layout(stored), workspace)
    out, after = _finish(result, epilogue, stored, workspace)
    m, n = result.shape
    k = a.shape[0] if transposed[0] else a.shape[1]
    gemm = Gemm(a.place, b.place, out.place, m, n, k, transposed, stored, out.layout.stored)
    commands: tuple[Command, ...] = (*before_a, *before_b, gemm, *after)
    reason = f"cuBLAS in {site.precision}, {len(before_a) + len(before_b)} operand(s) converted"
    return Emission(commands, workspace.nbytes, reason)


def _finish(
    result: Tensor, epilogue: Epilogue, stored: Stored, workspace: Workspace
) -> tuple[Tensor, tuple[Command, ...]]:
    """Where the product goes, and the command that makes it the result: none if nothing follows and it can be written
    as it is stored. Sums stay f32 until the end, in the result's memory where they fit."""
    if not epilogue.ops and (result.layout.stored == "f32" or result.layout.stored == stored == "bf16"):
        return result, ()
    sums = Layout("f32")
    fits = STORED_BYTES[result.layout.stored] == STORED_BYTES["f32"]
    out = replace(result, layout=sums) if fits else workspace.tensor(result.shape, sums)
    return out, (computed(result, out, epilogue),)


def fc(site: Site, epilogue: Epilogue) -> Emission:
    """input weight^T."""
    return _product(site, epilogue, (False, True))


def fc_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output weight."""
    return _product(site, epilogue, (False, False))


def fc_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output^T input."""
    return _product(site, epilogue, (True, False))


EMITTERS: dict[type[Op], Emit] = {Fc: fc, FcGradInput: fc_grad_input, FcGradWeight: fc_grad_weight}
