"""`alexnet-ir profile`: that it measures, prints and writes; what it measures decides nothing here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alexnet_ir.backends.base import Backend
from alexnet_ir.ir.profile import PROFILES, profile_of
from alexnet_ir.measure import QUICK, measure
from alexnet_ir.setup import CPU

from .conftest import Run


def test_the_table(run: Run) -> None:
    done = run("profile", "--quick")
    assert (done.code, done.err) == (0, "")
    assert all(name in done.out for name in ("measured", *PROFILES))
    assert "to keep it: -o FILE" in done.out


def test_a_profile_is_written_and_read_back(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "here.json"
    done = run("profile", "--quick", "--devices", "cpu,cpu", "-o", path, "--json")
    assert done.code == 0
    assert json.loads(done.out) == json.loads(path.read_text())
    profile = profile_of(str(path))
    assert profile.to_json() == done.out
    assert profile.shared
    assert profile.of(2).bandwidth == profile.bandwidth / 2
    assert min(profile.product_flops, profile.bandwidth, profile.link_bandwidth, profile.link_latency) > 0


def test_there_must_be_such_a_device(run: Run) -> None:
    done = run("profile", "--quick", "--devices", "7")
    assert done.code == 1
    assert "no GPU can be used" in done.err


@pytest.mark.parametrize("backend", CPU.values(), ids=CPU)
def test_every_backend_can_be_measured(backend: Backend) -> None:
    profile, measured = measure(backend, sizes=QUICK)
    assert [m.name for m in measured][-4:] == ["add", "transfer", "smallest step", "smallest transfer"]
    assert all(m.seconds > 0 for m in measured)
    assert {m.name: m.amount for m in measured}["add"] == 3 * 4 * QUICK.elements
    assert profile.bandwidth == measured[-4].rate
