"""Convolution and its gradients: by which algorithm each is computed, by layer and phase.

It depends on the windows, on the size of the maps, and on whether a group has channels and kernels enough to fill
vectors, never on the batch: placements of a net that are compared with one another use the same algorithms.
"""

from __future__ import annotations

from alexnet_ir.backends.cpu.emitters import direct, direct_weight, winograd, winograd_weight
from alexnet_ir.backends.cpu.site import Emit, Site
from alexnet_ir.backends.cpu.winograd import Winograd
from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight

FEWEST = 8
"""Channels and kernels of a group that Winograd takes."""


def algorithm(site: Site) -> Winograd | None:
    """Which of Winograd's takes the fewest products; None where a direct convolution is better, or asked for."""
    op = site.op
    assert isinstance(op, ConvAttributes)
    kernels = site.results[0] if isinstance(op, ConvGradWeight) else site.operands[1]
    if site.exact or op.stride != (1, 1) or op.dilation != (1, 1):
        return None
    if min(kernels.shape[0] // op.groups, kernels.shape[1]) < FEWEST:
        return None
    return {(3, 3): Winograd(4, 3), (5, 5): Winograd(2, 5)}.get((kernels.shape[2], kernels.shape[3]))


def conv(site: Site, epilogue: Epilogue) -> Emission:
    """A convolution."""
    chosen = algorithm(site)
    return winograd.convolution(site, epilogue, chosen) if chosen else direct.conv(site, epilogue)


def conv_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient of a convolution's input."""
    chosen = algorithm(site)
    return winograd.convolution(site, epilogue, chosen) if chosen else direct.conv_grad_input(site, epilogue)


def conv_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient of a convolution's filters."""
    chosen = algorithm(site)
    if chosen:
        return winograd_weight.filter_gradient(site, epilogue, chosen)
    return direct_weight.conv_grad_weight(site, epilogue)


EMITTERS: dict[type[Op], Emit] = {
    Conv: conv,
    ConvGradInput: conv_grad_input,
    ConvGradWeight: conv_grad_weight,
}
"""By the class of op."""
