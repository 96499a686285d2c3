"""The programs in docs/language.md are accepted as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alexnet_ir.diagnostics import Source
from alexnet_ir.dsl.model import check

PAGE = (Path(__file__).parents[1] / "docs" / "language.md").read_text(encoding="utf-8")
PROGRAMS = [
    text for text in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "net " in text and "{" in text
]


@pytest.mark.parametrize("text", [text for text in PROGRAMS if "start: version" not in text])
def test_programs(text: str) -> None:
    whole = text if text.startswith("alx 1") else f"alx 1\n{text}"
    assert check(Source("language.md", whole)).errors == ()


def test_there_are_some() -> None:
    assert len(PROGRAMS) >= 2
