"""The README's transcript and Python are run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def transcript() -> list[tuple[str, str]]:
    """Commands and what they print."""
    parts = re.split(r"^\$ (.*)\n", blocks("console")[0], flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def without_figures(text: str) -> str:
    """Rates, losses and errors depend on the machine's arithmetic and speed, vectors and threads on what it is."""
    return re.sub(r"[\d,]+ images/s|\d+\.\d+%?|\w+, \d+ threads?", "#", text)


def losses(text: str) -> list[float]:
    """These depend on the machine's rounding only."""
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", text)]


def test_the_transcript(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for command, expected in transcript():
        shown = command.replace("alexnet-ir", f"{sys.executable} -m alexnet_ir", 1)
        found = subprocess.run(shown, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        compare = without_figures if "digits" in command else str
        assert compare(found.stdout + found.stderr) == compare(expected), command
        assert losses(found.stdout) == pytest.approx(losses(expected), rel=0.05), command


def test_the_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names = {"images": np.zeros((64, 1, 8, 8)), "labels": np.arange(64) % 10}
    exec(blocks("python")[0], names)
    assert np.isfinite(names["loss"])


def test_it_fits_a_screen_and_names_no_place() -> None:
    assert len(README.splitlines()) < 100
    for command in (
        'pip install -e ".[examples,plot]" && alexnet-ir train examples/digits.alx',
        'pip install -e ".[test]" && pytest',
    ):
        assert f"    {command}\n" in README
