"""A compiler from a text file describing a convolutional network to a training program."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.version import __version__

if TYPE_CHECKING:
    from alexnet_ir.api import Compiled, compile
    from alexnet_ir.training.step import Predictor, TrainingStep

__all__ = ["AlexnetError", "Compiled", "Predictor", "TrainingStep", "__version__", "compile"]

_LATE = {"compile": "api", "Compiled": "api", "Predictor": "training.step", "TrainingStep": "training.step"}


def __getattr__(name: str) -> Any:
    """Import what needs NumPy when it is first asked for, so that `alexnet-ir --help` need not."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"alexnet_ir.{_LATE[name]}"), name)
