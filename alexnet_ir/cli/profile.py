"""`alexnet-ir profile`: measures this machine, for the time model that placements and schedules go by."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alexnet_ir.cli.table import count_text, table
from alexnet_ir.ir.profile import PROFILES, Profile
from alexnet_ir.ir.timeline import duration
from alexnet_ir.measure import FULL, QUICK, Measured, measure
from alexnet_ir.setup import setup_of

COLUMNS = ("products", "memory", "step", "link", "transfer")


def run(args: argparse.Namespace) -> int:
    """Measure; print the figures beside those of the built-in profiles, or the profile as JSON; write it with -o."""
    setup = setup_of(args.devices)
    profile, measured = measure(setup.backend, QUICK if args.quick else FULL)
    if args.output:
        Path(args.output).write_text(profile.to_json(), encoding="utf-8")
    if args.json:
        sys.stdout.write(profile.to_json())
    else:
        print(text(profile, measured, args.output))
    return 0


def text(profile: Profile, measured: tuple[Measured, ...], file: str | None) -> str:
    """What was measured, the profile that comes of it, and those that are built in."""
    chains = [(m.name, duration(m.seconds), _rate(m.rate, m.unit) if m.amount else "") for m in measured]
    profiles = [("device", *COLUMNS), *(_figures(p) for p in (profile, *PROFILES.values()))]
    use = f"to use it: --profile {file}" if file else "to keep it: -o FILE"
    return "\n\n".join(
        [
            f"{profile.description}\n{table([('', *row) for row in chains], right=(2, 3))}",
            table(profiles, right=range(1, 6)),
            f"the built-in ones are data sheets and assumptions, but for cpu; {use}",
        ]
    )


def _figures(profile: Profile) -> tuple[str, ...]:
    return (
        profile.name,
        _rate(profile.product_flops, "FLOP"),
        _rate(profile.bandwidth, "B"),
        duration(profile.overhead),
        _rate(profile.link_bandwidth, "B"),
        duration(profile.link_latency),
    )


def _rate(rate: float, unit: str) -> str:
    return f"{count_text(rate)}{unit}/s"
