"""Profiles: the time model, the built-in ones, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.profile import PROFILES, Profile, on_tensor_cores, profile_of, read_profile
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.elementwise import Relu

ROUND = Profile(
    "round", "of round figures", product_flops=1e9, bandwidth=1e6, overhead=0.5, link_bandwidth=1e3, link_latency=2.0
)


def test_a_step_is_bound_by_memory_or_by_products() -> None:
    assert ROUND.step_seconds(Relu(), [f32(1000)], [f32(1000)]) == 0.5 + 8000 / 1e6
    operands, results = [f32(1000, 1000), f32(1000, 1000)], [f32(1000, 1000)]
    assert ROUND.step_seconds(Fc(), operands, results) == 0.5 + 12e6 / 1e6
    assert replace(ROUND, bandwidth=1e9).step_seconds(Fc(), operands, results) == 0.5 + 2e9 / 1e9


def test_a_transfer_takes_its_latency_and_its_bytes() -> None:
    assert ROUND.transfer_seconds(500) == 2.5
    assert ROUND.transfer_seconds(0) == 0


@pytest.mark.parametrize("name", PROFILES)
def test_the_built_in_ones_say_what_is_assumed(name: str) -> None:
    profile = profile_of(name)
    assert profile.name == name
    assert any(note.startswith("assumed: ") for note in profile.notes)
    assert read_profile(profile.to_json(), "here") == profile


def test_what_a_data_sheet_says_is_an_upper_bound() -> None:
    gtx580 = PROFILES["gtx580"]
    assert 0.2 * 1.581e12 < gtx580.product_flops < 1.581e12
    assert 0.5 * 192.4e9 < gtx580.bandwidth < 192.4e9
    assert 0.5 * 8e9 < gtx580.link_bandwidth < 8e9
    assert gtx580.memory_bytes == 3 << 30


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(ROUND.to_json())
    assert profile_of(str(path)) == ROUND


def message(name: str) -> str:
    with pytest.raises(AlexnetError) as raised:
        profile_of(name)
    return str(raised.value)


def test_the_nearest_name() -> None:
    assert "no such device profile as 'gtx508'" in message("gtx508")
    assert "did you mean `gtx580`?" in message("gtx508")
    assert "there are gtx580, k20," in message("abacus")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in message(str(tmp_path / "none.json"))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\xfa")
    assert "no text" in message(str(tmp_path / "binary.json"))


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("overhead missing", lambda data: data.pop("overhead")),
    ("what is speed?", lambda data: data.update(speed=1)),
    ("numbers above 0", lambda data: data.update(bandwidth=0)),
    ("numbers above 0", lambda data: data.update(bandwidth=float("nan"))),
    ("numbers above 0", lambda data: data.update(link_bandwidth=float("inf"))),
    ("seconds, at least 0", lambda data: data.update(link_latency=-1)),
    ("could not convert", lambda data: data.update(bandwidth="fast")),
    ("not 'list'", lambda data: data.update(bandwidth=[1])),
    ("not iterable", lambda data: data.update(notes=1)),
]


@pytest.mark.parametrize(("reason", "change"), CHANGES)
def test_files_that_hold_no_profile(reason: str, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(ROUND.to_json())
    change(data)
    with pytest.raises(AlexnetError, match=r"here: no device profile: .*") as raised:
        read_profile(json.dumps(data), "here")
    assert reason in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "{", "{}", "[" * 100_000])
def test_texts_that_hold_no_profile(text: str) -> None:
    with pytest.raises(AlexnetError, match="here: no device profile"):
        read_profile(text, "here")


def test_tensor_cores_by_precision() -> None:
    h100 = PROFILES["h100-nvlink"]
    fp32, tf32, bf16 = (on_tensor_cores(h100, precision) for precision in ("fp32", "tf32", "bf16"))
    assert tf32.product_flops == pytest.approx(3 * fp32.product_flops) == pytest.approx(bf16.product_flops / 2)
    assert h100.product_flops < fp32.product_flops < 495e12 / 3
    assert (tf32.bandwidth, tf32.name) == (h100.bandwidth, h100.name)
    assert "tf32 on tensor cores" in tf32.description
    assert on_tensor_cores(PROFILES["gtx580"], "fp32") is PROFILES["gtx580"]
