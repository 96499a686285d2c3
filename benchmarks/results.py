"""The paper's claims, tried on CIFAR-10: four batches to train, the fifth to judge.

    python benchmarks/results.py [--data DIR] [--photographs DIR] [--only NAME,...] [--jobs N] [--report]

trains what is not yet finished, each run in a folder of its own, and writes docs/results.md from what is. Nobody need
watch: interrupted or killed, it goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.results_parts.experiments import ARMS, CIFAR, PHOTOGRAPHS, Arm, rehearsed
from benchmarks.results_parts.photographs import prepared
from benchmarks.results_parts.report import write_report
from benchmarks.results_parts.runner import Place, collected, run_all

ROOT = Path(__file__).resolve().parents[1]
PLACE = Place(ROOT, ROOT / "runs" / "results", ROOT / "benchmarks" / "results" / "cifar-10", {})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", type=Path, help="where CIFAR-10 lies, binary or Python version")
    parser.add_argument("--photographs", metavar="DIR", type=Path, help="where photographs lie, each a class")
    parser.add_argument("--work", metavar="DIR", type=Path, default=PLACE.work, help="where runs are")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {', '.join(arm.name for arm in ARMS)}")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="of a run")
    parser.add_argument("--report", action="store_true", help="train nothing, write what is known")
    parser.add_argument("--rehearse", action="store_true", help="two epochs of made images, told in the work folder")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else [arm.name for arm in ARMS]
    unknown = set(names) - {arm.name for arm in ARMS}
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: there is {', '.join(arm.name for arm in ARMS)}")
    place = replace(PLACE, work=asked.work.resolve(), threads=asked.threads)
    page, arms = ROOT / "docs" / "results.md", ARMS
    if asked.rehearse:
        place, arms = replace(place, rows=place.work / "rows"), tuple(map(rehearsed, ARMS))
        page = place.work / "results.md"
    named = [arm for arm in arms if arm.name in names]
    try:
        failures = [] if asked.report else _train(named, place, asked)
    except KeyboardInterrupt:
        print("interrupted: started again, it goes on", file=sys.stderr)
        return 130
    write_report(page, [collected(arm, place) for arm in arms])
    print("\n".join(failures), file=sys.stderr, end="\n" * bool(failures))
    return bool(failures)


def _train(arms: Sequence[Arm], place: Place, asked: argparse.Namespace) -> list[str]:
    """What failed, or could not be tried."""
    if asked.rehearse:
        return run_all(arms, place, asked.jobs)
    data = {CIFAR: asked.data.resolve()} if asked.data else {}
    if asked.photographs:
        data[PHOTOGRAPHS] = prepared(asked.photographs, place.work)
    left_out = [f"{arm.name}: left out, as no folder of {arm.data} is named" for arm in arms if arm.data not in data]
    return run_all([arm for arm in arms if arm.data in data], replace(place, data=data), asked.jobs) + left_out


if __name__ == "__main__":
    sys.exit(main())
