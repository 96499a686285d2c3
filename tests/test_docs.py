"""The programs in docs/language.md are accepted as they stand, and `compile` reports what docs/usage.md says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.diagnostics import Source
from alexnet_ir.dsl.model import check

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
USAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
PROGRAMS = [
    text for text in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "net " in text and "{" in text
]


@pytest.mark.parametrize("text", [text for text in PROGRAMS if "start: version" not in text])
def test_programs(text: str) -> None:
    whole = text if text.startswith("alx 1") else f"alx 1\n{text}"
    assert check(Source("language.md", whole)).errors == ()


def test_there_are_some() -> None:
    assert len(PROGRAMS) >= 2


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command of the usage page's section on `compile` reports."""
    monkeypatch.chdir(ROOT)
    command = re.search(r"^    alexnet-ir (compile .* --profile gtx580)$", USAGE, re.MULTILINE)
    assert command
    assert main([*command[1].split(), "--arch", "avx2", "--threads", "2", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_prediction_for_the_paper(report: dict[str, Any]) -> None:
    predicted = report["predicted"]
    seconds, million = predicted["seconds"], predicted["seconds_per_million_images"]
    said = (
        f"predicts {1000 * seconds:.0f} ms a step, {predicted['gain']:.2f} times as fast as one device, and "
        f"{million / 60:.1f} minutes for a million images. The paper's 90 passes over 1.2 million images would take "
        f"{90 * 1.2 * million / 86400:.2f} days"
    )
    assert said in " ".join(USAGE.split())


def test_every_key_of_the_report_is_told(report: dict[str, Any]) -> None:
    section = USAGE.partition("`--json` prints one object")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", section))
    parts = (report["devices"][0], report["layers"][0], report["exchange"], report["exchange"]["edges"][0])
    for keys in (report, report["steps"], report["recomputed"], report["fusions"][0], *parts):
        assert set(keys) <= told
