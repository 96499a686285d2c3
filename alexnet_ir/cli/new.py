"""`alexnet-ir new`: a packaged example, to start from."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from importlib import resources

from alexnet_ir.cli.table import table
from alexnet_ir.diagnostics import error, nearest

ABOUT = 80


def run(args: argparse.Namespace) -> int:
    """Print an example, or the list of them."""
    known = examples()
    if args.name is None:
        listing = [{"name": name, "about": about(text)} for name, text in known.items()]
        print(json.dumps(listing, indent=2) if args.json else table([tuple(row.values()) for row in listing]))
        return 0
    name = args.name.removesuffix(".alx")
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean `{close}`?" if close else f"there are {', '.join(known)}"
        raise error(f"no example `{name}`", helps=[hint])
    print(json.dumps({"name": name, "text": known[name]}, indent=2) if args.json else known[name], end="")
    return 0


def examples() -> dict[str, str]:
    """Name and text of every packaged model file."""
    files = resources.files("alexnet_ir.examples").iterdir()
    found = {file.name.removesuffix(".alx"): file for file in files if file.name.endswith(".alx")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def about(text: str) -> str:
    """What an example says of itself: the first sentence of its first comment that has lines of its own."""
    comment = re.search(r"(?:^#.*\n)+", text, re.MULTILINE)
    words = " ".join(comment[0].replace("#", "").split()) if comment else ""
    return textwrap.shorten(words.partition(". ")[0].removesuffix("."), ABOUT, placeholder=" ...")
