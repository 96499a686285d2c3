"""Convolution and its gradients: by which algorithm each is computed, by layer and phase.

It depends on the windows, on the size of the maps, and on whether a group has channels and kernels enough to fill
vectors, never on the batch: placements of a net that are compared with one another use the same algorithms.
"""

from __future__ import annotations

from alexnet_ir.backends.cpu.emitters import conv_1x1, direct, direct_weight, winograd, winograd_weight
from alexnet_ir.backends.cpu.site import Emit, Site
from alexnet_ir.backends.cpu.winograd import Winograd
from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight

FEWEST = 8
"""Channels, and kernels, of a group that Winograd takes; and FEWEST_PAIRS of one with the other."""
FEWEST_PAIRS = 256
LARGE = 8
"""Cells of a map's shorter side from which 4 x 4 results pay for 3 x 3 filters. On smaller maps tiles stand over the
edge, and there are so few of them that transforming filters to 36 points takes the longest."""


def algorithm(site: Site) -> Winograd | None:
    """Winograd's for these windows; None where a direct convolution is better, or asked for."""
    op = site.op
    assert isinstance(op, ConvAttributes)
    if site.exact or op.stride != (1, 1) or op.dilation != (1, 1):
        return None
    backward = isinstance(op, ConvGradWeight)
    (kernels, channels, *size), maps = (site.results if backward else site.operands[1:])[0].shape, _maps(site)
    each = kernels // op.groups
    if min(each, channels) < FEWEST or each * channels < FEWEST_PAIRS:
        return None
    large = Winograd(4 if min(maps) >= LARGE else 2, 3)
    return {(3, 3): large, (5, 5): Winograd(2, 5)}.get((size[0], size[1]))


def _maps(site: Site) -> tuple[int, ...]:
    """Rows and columns that are cut into tiles: of the output, and of the input in an input's gradient."""
    tiled = site.operands[0] if isinstance(site.op, ConvGradWeight) else site.results[0]
    return tiled.shape[2:]


def conv(site: Site, epilogue: Epilogue) -> Emission:
    """A convolution."""
    if conv_1x1.takes(site, epilogue):
        return conv_1x1.convolution(site, epilogue)
    chosen = algorithm(site)
    return winograd.convolution(site, epilogue, chosen) if chosen else direct.conv(site, epilogue)


def conv_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient of a convolution's input."""
    if conv_1x1.takes(site, epilogue):
        return conv_1x1.convolution(site, epilogue)
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
