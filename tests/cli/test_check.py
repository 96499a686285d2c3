"""`alexnet-ir check`: what goes where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import EXAMPLES, Run


def test_a_good_file_gets_one_line(run: Run) -> None:
    file = EXAMPLES / "alexnet.alx"
    done = run("check", file)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{file}: fine: AlexNet, 60,965,224 parameters\n"


def test_the_file_may_be_left_out(run: Run, small: Path) -> None:
    assert run("check").out == "model.alx: fine: Small, 1,490 parameters\n"
    small.rename("other.alx")
    assert run("check").out == "other.alx: fine: Small, 1,490 parameters\n"
    Path("third.alx").write_text("alx 1\n")
    done = run("check")
    assert (done.code, done.out) == (1, "")
    assert "several model files here: other.alx, third.alx" in done.err


def test_warnings_are_shown_and_are_no_mistakes(run: Run, small: Path) -> None:
    small.write_text(small.read_text().replace("  return", "  side = image -> relu\n  return"))
    done = run("check")
    assert done.code == 0
    assert done.out == "model.alx: 1 warning: Small, 1,490 parameters\n"
    assert done.err.startswith("warning[N006]: `side` is never used\n")


def test_all_files_are_checked(run: Run, small: Path) -> None:
    Path("bad.alx").write_text(small.read_text().replace("relu", "rellu").replace("fc(", "fcc("))
    done = run("check", "bad.alx", "missing.alx", small)
    assert done.code == 1
    assert done.out == "model.alx: fine: Small, 1,490 parameters\n"
    assert [line for line in done.err.split("\n") if line.startswith("error")] == [
        "error[N001]: unknown op or block `rellu`",
        "error[N001]: unknown op or block `fcc`",
        "error: missing.alx: No such file or directory",
    ]


@pytest.mark.parametrize("content", [None, b"\x7fELF\xff\xfe", b""])
def test_what_is_no_model_file_is_one_error(run: Run, small: Path, content: bytes | None) -> None:
    small.unlink()
    if content is None:
        small.mkdir()
    else:
        small.write_bytes(content)
    done = run("check", small)
    assert (done.code, done.out, done.err.count("error")) == (1, "", 1)
    assert "Traceback" not in done.err


def test_many_mistakes_are_cut_off(run: Run, small: Path) -> None:
    small.write_text(small.read_text().replace("relu", " -> ".join(f"nop{n}" for n in range(30))))
    done = run("check")
    assert done.err.count("error[N001]") == 20
    assert done.err.endswith("model.alx: and 10 more; --json shows all\n")


def test_json_has_all_of_it(run: Run, small: Path) -> None:
    Path("bad.alx").write_text(small.read_text().replace("relu", "rellu"))
    done = run("check", "--json", "bad.alx", small)
    bad, good = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert good == {
        "file": "model.alx",
        "fine": True,
        "nets": [{"name": "Small", "parameters": 1490}],
        "diagnostics": [],
    }
    assert (bad["file"], bad["fine"], bad["nets"]) == ("bad.alx", False, [])
    (mistake,) = bad["diagnostics"]
    assert (mistake["severity"], mistake["code"], mistake["helps"]) == ("error", "N001", ["did you mean `relu`?"])
    assert mistake["span"] == {"file": "bad.alx", "line": 5, "column": 40, "end_line": 5, "end_column": 45}
