"""(being written)"""

from __future__ import annotations

from alexnet_ir.backends.cuda.epilogue import Emitter
from alexnet_ir.ir.op import Op

EMITTERS: dict[type[Op], Emitter] = {}
