"""What tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .models import TINY


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, in which the test runs, with a small model in `model.alx`."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.alx"
    path.write_text(TINY)
    return path
