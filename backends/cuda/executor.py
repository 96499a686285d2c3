"""(being written) The machine of real GPUs, through CuPy."""

from __future__ import annotations

from typing import Any

from alexnet_ir.diagnostics import error


def machine_of(devices: tuple[int, ...], graph: bool = True) -> Any:
    """A machine of these GPUs; AlexnetError where they cannot be used."""
    raise error("no GPU can be used", helps=["use --devices cpu"])
