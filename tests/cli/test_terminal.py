"""Colours: on a terminal only, and never with NO_COLOR."""

from __future__ import annotations

import io
import sys

import pytest

from alexnet_ir.cli.terminal import show
from alexnet_ir.diagnostics import Diagnostic, Source, Span

SPAN = Span(Source("model.alx", "alx 1 oops"), 1, 7, 1, 11)
ERROR = Diagnostic("P010", "unexpected", SPAN, "found this", helps=("leave it out",))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "no_color", "colored"), [
    (Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False),
])  # fmt: skip
def test_colour(stream: io.StringIO, no_color: str, colored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    show([ERROR])
    shown = stream.getvalue()
    assert ("\x1b[" in shown) is colored
    if colored:
        assert shown.startswith("\x1b[1;31merror[P010]\x1b[0m: unexpected\n")
        assert "^^^^ found this\x1b[0m\n" in shown
    else:
        assert shown == ERROR.render() + "\n"
