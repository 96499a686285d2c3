"""Codes of messages: each one that is in use is explained, and shown by a bad program."""

from __future__ import annotations

import re
from pathlib import Path

from alexnet_ir.dsl.codes import CODES

ROOT = Path(__file__).parents[2]
INTERNAL = {"S001", "S004", "S030"}
"""What only the text of a graph, or a pass, can get wrong; tests/ops has them."""


def used() -> set[str]:
    """The codes that occur in the source."""
    files = [f for folder in ("dsl", "alexnet_ir/ops", "alexnet_ir/ir") for f in (ROOT / folder).rglob("*.py")]
    text = "".join(f.read_text(encoding="utf-8") for f in files if not f.name.startswith("codes"))
    return set(re.findall(r'"([A-Z]\d{3})"', text))


def test_codes_in_use_are_explained_and_no_others() -> None:
    assert used() == CODES.keys()


def test_every_code_has_a_bad_program() -> None:
    goldens = (ROOT / "tests/dsl/bad").glob("*.txt")
    shown = set(re.findall(r"(?:error|warning)\[(\w+)\]", "".join(g.read_text(encoding="utf-8") for g in goldens)))
    assert shown == CODES.keys() - INTERNAL


def test_explanations_have_a_title_a_cause_and_two_examples() -> None:
    for code, explanation in CODES.items():
        assert explanation.title
        form = r".+\n\nWrong:\n\n    .+\n\nRight:\n\n    .+\n"
        assert re.fullmatch(form, explanation.text, re.DOTALL), code
        assert all(len(line) <= 115 for line in explanation.text.split("\n"))
