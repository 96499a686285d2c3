"""What goes to standard error: in colour on a terminal, unless NO_COLOR asks for none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from alexnet_ir.diagnostics import Diagnostic


def show(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics, a blank line between them."""
    color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print("\n\n".join(diagnostic.render(color=color) for diagnostic in diagnostics), file=sys.stderr)
