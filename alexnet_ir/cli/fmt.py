"""`alexnet-ir fmt`: model files in the one style."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from alexnet_ir.cli.model import model_path
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import read_source


def run(args: argparse.Namespace) -> int:
    """Format all the files; 1 if one cannot be formatted or, with --check, would change."""
    bad = False
    for path in [Path(file) for file in args.files] or [model_path(None)]:
        try:
            changed = format_file(path, write=not args.check)
        except AlexnetError as failure:
            print(failure, file=sys.stderr)
            bad = True
            continue
        if changed:
            print(f"{path}: would change" if args.check else f"{path}: formatted")
            bad |= args.check
    return int(bad)


def format_file(path: Path, *, write: bool) -> bool:
    """Whether the file is in another style; it is rewritten if `write`."""
    source = read_source(path)
    text = format_source(source)
    # Line ends are compared too: reading turned Windows' into plain ones.
    changed = text.encode() != path.read_bytes()
    if changed and write:
        try:
            replace_text(path, text)
        except OSError as failure:
            raise error(f"{path}: {failure.strerror or failure}") from None
    return changed


def replace_text(path: Path, text: str) -> None:
    """Put `text` in the place of a file's, all or nothing; links are followed and the mode stays."""
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
