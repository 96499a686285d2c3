"""Starting: what is imported for what, and pipes that close."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import EXAMPLES, SMALL

HEAVY = ("numpy", "networkx", "lark")
TRAINING = ("safetensors", "tqdm", "sklearn", "matplotlib")


def imported(*args: str) -> set[str]:
    """The packages that a command imports."""
    program = "import sys; from alexnet_ir.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    program += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "args", [["--help"], ["train", "--help"], ["--version"], ["explain", "S014"], ["new", "digits"]]
)
def test_little_is_imported_to_say_little(args: list[str]) -> None:
    assert imported(*args).isdisjoint((*HEAVY, *TRAINING))


@pytest.mark.parametrize("command", ["check", "summary"])
def test_reading_a_model_imports_nothing_of_training(command: str) -> None:
    assert imported(command, str(EXAMPLES / "alexnet.alx")).isdisjoint(TRAINING)


@pytest.mark.parametrize("args", [["explain"], ["new", "alexnet"], ["summary"], ["compile", "--emit", "ir"], ["check"]])
def test_a_reader_who_goes_away_is_no_mistake(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "model.alx").write_text(SMALL)
    command = [sys.executable, "-m", "alexnet_ir", *args]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_wrong_usage_ends_with_2() -> None:
    done = subprocess.run([sys.executable, "-m", "alexnet_ir", "draw"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: alexnet-ir draw")
