"""`alexnet-ir explain`: what an error code means, with an example."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from alexnet_ir.cli.table import table
from alexnet_ir.diagnostics import error, nearest
from alexnet_ir.dsl.codes import CODES


def run(args: argparse.Namespace) -> int:
    """Explain one code, or list them all."""
    if args.code is None:
        listing = [{"code": code, "title": CODES[code].title} for code in sorted(CODES)]
        print(json.dumps(listing, indent=2) if args.json else table([tuple(row.values()) for row in listing]))
        return 0
    code = args.code.upper()
    if code not in CODES:
        close = nearest(code, [known for known in CODES if known[0] == code[:1]]) or nearest(code, CODES)
        hints = [f"did you mean {close}, {CODES[close].title}?"] if close else []
        raise error(f"no code `{args.code}`", helps=[*hints, "`alexnet-ir explain` lists them all"])
    found = CODES[code]
    print(
        json.dumps({"code": code, **asdict(found)}, indent=2) if args.json else f"{code}: {found.title}\n\n{found.text}"
    )
    return 0
