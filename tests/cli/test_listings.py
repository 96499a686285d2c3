"""`alexnet-ir new` and `explain`: texts that ship with the program, and lists of them."""

from __future__ import annotations

import json

import pytest

from alexnet_ir.dsl.codes import CODES

from .conftest import EXAMPLES, Run


@pytest.mark.parametrize("name", ["alexnet", "alexnet.alx"])
def test_new_writes_an_example_as_it_is(run: Run, name: str) -> None:
    done = run("new", name)
    assert (done.code, done.err) == (0, "")
    assert done.out == (EXAMPLES / "alexnet.alx").read_text(encoding="utf-8")


def test_new_lists_the_examples(run: Run) -> None:
    names = sorted(path.stem for path in EXAMPLES.glob("*.alx"))
    lines = run("new").out.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(len(line) <= 100 and len(line.split()) > 1 for line in lines)
    assert [entry["name"] for entry in json.loads(run("new", "--json").out)] == names


def test_new_knows_what_was_meant(run: Run) -> None:
    done = run("new", "alexnt")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: no example `alexnt`\n  = help: did you mean `alexnet`?\n"
    assert "there are alexnet, " in run("new", "transformer").err


def test_explain_says_more(run: Run) -> None:
    done = run("explain", "s014")
    assert done.code == 0
    assert done.out.startswith("S014: size that is not a whole number\n\nAlong an axis of length i")
    assert json.loads(run("explain", "S014", "--json").out)["code"] == "S014"


def test_explain_lists_the_codes(run: Run) -> None:
    assert [line.split()[0] for line in run("explain").out.splitlines()] == sorted(CODES)
    assert [entry["code"] for entry in json.loads(run("explain", "--json").out)] == sorted(CODES)


@pytest.mark.parametrize(("code", "meant"), [("S041", "did you mean S0"), ("P099", "P0"), ("hello", "lists them all")])
def test_explain_knows_what_was_meant(run: Run, code: str, meant: str) -> None:
    done = run("explain", code)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: no code `{code}`\n")
    assert meant in done.err
