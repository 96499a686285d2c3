"""Fully connected layers and their gradients: products by NumPy's BLAS, then what is fused behind them."""

from __future__ import annotations

from alexnet_ir.backends.cpu.emitters.pointwise import computed
from alexnet_ir.backends.cpu.site import Emit, Site
from alexnet_ir.backends.emission.commands import Command, Emission, Gemm
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight


def _product(site: Site, epilogue: Epilogue, transposed: tuple[bool, bool]) -> Emission:
    """The product, and the epilogue in its memory."""
    (result,), (a, b) = site.results, site.operands
    m, n = result.shape
    k = a.shape[0] if transposed[0] else a.shape[1]
    gemm = Gemm(a.place, b.place, result.place, m, n, k, transposed, "f32", "f32")
    after: tuple[Command, ...] = (computed(site, result, result, epilogue),) if epilogue.ops else ()
    return Emission((gemm, *after))


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
"""By the class of op."""
