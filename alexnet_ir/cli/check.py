"""`alexnet-ir check`: what is wrong with model files, and how to mend it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass

from alexnet_ir.cli.model import model_path
from alexnet_ir.cli.terminal import show as show_diagnostics
from alexnet_ir.diagnostics import AlexnetError, Diagnostic
from alexnet_ir.dsl.model import examine, read_source
from alexnet_ir.ir.graph import Graph
from alexnet_ir.summary import parameter_count

SHOWN = 20
"""Diagnostics a file; whoever has more begins with these."""


@dataclass(frozen=True)
class Finding:
    """What was found in one file."""

    file: str
    diagnostics: tuple[Diagnostic, ...]
    nets: tuple[Graph, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing but warnings was found."""
        return all(d.severity == "warning" for d in self.diagnostics)

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        nets = [{"name": net.name, "parameters": parameter_count(net)} for net in self.nets if self.good]
        diagnostics = [d.to_json() for d in self.diagnostics]
        return {"file": self.file, "fine": self.good, "nets": nets, "diagnostics": diagnostics}


def run(args: argparse.Namespace) -> int:
    """Check all the files; 1 if one of them has an error."""
    findings = [find(file) for file in args.files or [str(model_path(None))]]
    if args.json:
        print(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            show(finding)
    return 0 if all(finding.good for finding in findings) else 1


def find(file: str) -> Finding:
    """Check one file."""
    try:
        report, nets = examine(read_source(model_path(file)))
    except AlexnetError as failure:  # it cannot be read
        return Finding(file, failure.diagnostics)
    return Finding(file, report.all, nets)


def show(finding: Finding) -> None:
    """Mistakes go to standard error, one line about a good file to standard output."""
    if finding.diagnostics:
        show_diagnostics(finding.diagnostics[:SHOWN])
    more = len(finding.diagnostics) - SHOWN
    if more > 0:
        print(f"{finding.file}: and {more} more; --json shows all", file=sys.stderr)
    if finding.good:
        print(f"{finding.file}: {_verdict(finding)}")


def _verdict(finding: Finding) -> str:
    nets = [f"{net.name}, {parameter_count(net):,} parameters" for net in finding.nets]
    count = len(finding.diagnostics)
    warnings = f"{count} warning{'s' if count > 1 else ''}" if count else "fine"
    return f"{warnings}: {'; '.join(nets) or 'no net'}"
