"""The form of what `alexnet-ir explain CODE` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """One line, and then the cause with an example of it wrong and right."""

    title: str
    text: str


def explained(title: str, cause: str, wrong: str, right: str) -> Explanation:
    """An explanation from its parts."""
    return Explanation(title, f"{cause}\n\nWrong:\n\n{_indent(wrong)}\n\nRight:\n\n{_indent(right)}\n")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
