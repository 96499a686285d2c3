"""What the tests of commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from alexnet_ir.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"

SMALL = """alx 1

net Small(classes = 10) {
  image = input(1, 8, 8)
  return image -> conv1: conv(4, 3) -> relu -> flatten -> fc(classes)
}

data d { source: digits() }

train t {
  batch: 8
  stop: steps(1)
  optimizer: sgd(lr = 0.1, momentum = 0.9)
}
"""

TINY = """\
alx 1
net Tiny {
  image = input(2, 8, 8)
  return image -> conv(8, 3, pad = 1) -> relu -> lrn(3, 2, 1e-2, 0.75) -> maxpool(2) -> conv(8, 3, groups = 2) -> relu
    -> flatten -> dropout(0.5) -> fc(4)
}
data noise {
  source: synthetic(40, 4)
  holdout: 20%
}
train recipe {
  data: noise
  batch: 8
  stop: steps(2)
  optimizer: sgd(lr = 0.01, momentum = 0.9)
}
"""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *args: str | Path) -> Done: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*args: str | Path) -> Done:
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with a small model in `model.alx`."""
    monkeypatch.chdir(tmp_path)
    path = Path("model.alx")
    path.write_text(SMALL)
    return path
