"""`alexnet-ir fmt`: files replaced whole, or left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import SMALL, Run

UNTIDY = SMALL.replace("  image = input", "      image=input")


def test_a_formatted_file_is_not_touched(run: Run, small: Path) -> None:
    before = small.stat()
    assert run("fmt").out == ""
    assert run("fmt", "--check", small).code == 0
    assert (small.stat().st_mtime_ns, small.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("text", [UNTIDY, SMALL.replace("\n", "\r\n"), "\ufeff" + SMALL])
def test_other_files_are_rewritten_and_named(run: Run, small: Path, text: str) -> None:
    small.write_bytes(text.encode())
    small.chmod(0o640)
    done = run("fmt", "--check", small)
    assert (done.code, done.out) == (1, "model.alx: would change\n")
    assert small.read_bytes() == text.encode()
    done = run("fmt", small)
    assert (done.code, done.out, done.err) == (0, "model.alx: formatted\n", "")
    assert small.read_bytes() == SMALL.encode()
    assert small.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in Path().iterdir()] == ["model.alx"]


def test_a_link_stays_one(run: Run, small: Path) -> None:
    small.write_text(UNTIDY)
    link = Path("link.alx")
    link.symlink_to(small)
    assert run("fmt", link).code == 0
    assert link.is_symlink()
    assert small.read_text() == SMALL


def test_a_file_that_does_not_parse_stays_as_it_is(run: Run, small: Path) -> None:
    Path("bad.alx").write_text("alx 1\nnet A {")
    small.write_text(UNTIDY)
    done = run("fmt", "bad.alx", small)
    assert (done.code, done.out) == (1, "model.alx: formatted\n")
    assert "error[P005]" in done.err
    assert Path("bad.alx").read_text() == "alx 1\nnet A {"
