"""How fast a device and its links are, and what a step or a transfer takes by that: the time model.

A profile holds rates that are sustained, not peaks. The built-in ones are data sheets times a share that is assumed;
none of them was measured, but for `cpu`. A machine's own is measured by `alexnet-ir profile`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from alexnet_ir.diagnostics import error, listed, nearest
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Profile:
    """One of N equal devices, and the links between them; with `shared`, one piece of hardware that N logical devices
    share, each with 1/N of its rates. `notes` say where the figures come from."""

    name: str
    description: str
    product_flops: float
    """FLOP/s in convolutions and matrix products; a multiply-add counts as two."""
    bandwidth: float
    """Bytes/s of the device's memory, those read and those written together."""
    overhead: float
    """Seconds to start a step."""
    link_bandwidth: float
    """Bytes/s from one device to another."""
    link_latency: float
    """Seconds until the first byte of a transfer arrives."""
    memory_bytes: int | None = None
    """Memory of a device; None where it does not matter."""
    shared: bool = False
    notes: tuple[str, ...] = ()

    def of(self, devices: int) -> Profile:
        """What one of so many devices has."""
        if not self.shared or devices == 1:
            return self
        rates = {name: getattr(self, name) / devices for name in ("product_flops", "bandwidth", "link_bandwidth")}
        return replace(self, shared=False, **rates)

    def step_seconds(self, op: Op, operands: Sequence[TensorType], results: Sequence[TensorType]) -> float:
        """Time of an op on one device, from the types of its share there: it is bound by products or by memory."""
        cost = op.cost(operands, results)
        return self.overhead + max(2 * cost.macs / self.product_flops, cost.nbytes / self.bandwidth)

    def transfer_seconds(self, nbytes: int) -> float:
        """Time to take so many bytes from one device to another; nothing takes none."""
        return self.link_latency + nbytes / self.link_bandwidth if nbytes else 0.0

    def to_json(self) -> str:
        """The text of a profile's file."""
        return json.dumps(asdict(self), indent=2) + "\n"


BANDWIDTH_SHARE = 0.75
"""Assumed: what large elementwise steps and transfers reach of a memory's or link's peak."""


def _data_sheet(
    name: str,
    description: str,
    *,
    tera_flops: float,
    share: float,
    giga_bytes: float,
    link_giga_bytes: float,
    memory_gib: int,
    overhead: float,
    latency: float,
    link: str,
    why: str,
) -> Profile:
    """A profile from peaks: fp32 TFLOP/s, GB/s of memory, GB/s of a link in one direction."""
    return Profile(
        name,
        description,
        product_flops=share * tera_flops * 1e12,
        bandwidth=BANDWIDTH_SHARE * giga_bytes * 1e9,
        overhead=overhead,
        link_bandwidth=BANDWIDTH_SHARE * link_giga_bytes * 1e9,
        link_latency=latency,
        memory_bytes=memory_gib << 30,
        notes=(
            f"data sheet: {tera_flops} TFLOP/s fp32, {giga_bytes} GB/s, {memory_gib} GiB",
            f"link: {link}, {link_giga_bytes} GB/s in each direction",
            f"assumed: products sustain {share:.0%} of peak ({why})",
            f"assumed: memory and link sustain {BANDWIDTH_SHARE:.0%} of peak",
            f"assumed: {overhead * 1e6:g} us to start a step, {latency * 1e6:g} us until a transfer arrives",
        ),
    )


_ALL = (
    _data_sheet(
        "gtx580", "GeForce GTX 580 with 3 GB, the paper's device, two of them on PCIe 2.0 x16",
        tera_flops=1.581, share=0.4, giga_bytes=192.4, link_giga_bytes=8.0, memory_gib=3,
        overhead=10e-6, latency=15e-6, link="PCIe 2.0 x16",
        why="convnet-benchmarks of 2014 has cuda-convnet2 at 35 to 45% of the peak of the device it was written for, "
        "a Kepler; cuda-convnet was written for this one",
    ),
    _data_sheet(
        "k20", "Tesla K20, the device of \"One weird trick\", on PCIe 2.0 x16",
        tera_flops=3.52, share=0.4, giga_bytes=208.0, link_giga_bytes=8.0, memory_gib=5,
        overhead=8e-6, latency=15e-6, link="PCIe 2.0 x16",
        why="cuda-convnet2 on a Titan Black, convnet-benchmarks of 2014: 35 to 45%",
    ),
    _data_sheet(
        "titan-x", "GeForce GTX Titan X (Maxwell) on PCIe 3.0 x16",
        tera_flops=6.14, share=0.5, giga_bytes=336.5, link_giga_bytes=15.75, memory_gib=12,
        overhead=6e-6, latency=10e-6, link="PCIe 3.0 x16",
        why="direct convolutions; those by FFT or Winograd go above",
    ),
    _data_sheet(
        "v100-nvlink", "Tesla V100 SXM2 with 16 GB, neighbours on two NVLinks",
        tera_flops=15.7, share=0.5, giga_bytes=900.0, link_giga_bytes=50.0, memory_gib=16,
        overhead=5e-6, latency=10e-6, link="two NVLinks 2.0", why="fp32 without tensor cores",
    ),
    _data_sheet(
        "h100-nvlink", "H100 SXM with 80 GB on NVLink and a switch",
        tera_flops=67.0, share=0.5, giga_bytes=3350.0, link_giga_bytes=450.0, memory_gib=80,
        overhead=4e-6, latency=10e-6, link="NVLink 4 through a switch", why="fp32 without tensor cores",
    ),
    Profile(
        "cpu", "a CPU of two cores, which logical devices share",
        product_flops=184e9, bandwidth=28e9, overhead=10e-6, link_bandwidth=14e9, link_latency=2e-6, shared=True,
        notes=(
            "one known machine, two AVX-512 cores: 184 GFLOP/s in products, 28 GB/s copying; not yours",
            "assumed: a transfer is a memcpy, which reads and writes; 10 us to start a step",
        ),
    ),
)  # fmt: skip
PROFILES: dict[str, Profile] = {profile.name: profile for profile in _ALL}


TENSOR_TERA_FLOPS = {"h100-nvlink": 495.0}
"""Peak of tf32 products on tensor cores, dense, by profile (data sheet)."""
TENSOR_SHARE = 0.4
"""Assumed: what convolutions by warp-wide products sustain of it."""
OF_TF32 = {"fp32": 1 / 3, "tf32": 1.0, "bf16": 2.0}
"""The rate of each precision's products; fp32 takes three of tf32."""


def on_tensor_cores(profile: Profile, precision: str) -> Profile:
    """A device of this profile that multiplies on its tensor cores; the profile itself where nobody knows their rate.
    Memory traffic stays that of fp32."""
    if profile.name not in TENSOR_TERA_FLOPS:
        return profile
    peak = TENSOR_TERA_FLOPS[profile.name] * OF_TF32[precision]
    note = f"tensor cores: {peak:g} TFLOP/s in {precision}, of which {TENSOR_SHARE:.0%} are assumed"
    description = f"{profile.description}; {precision} on tensor cores"
    flops = TENSOR_SHARE * peak * 1e12
    return replace(profile, description=description, product_flops=flops, notes=(*profile.notes, note))


def profile_of(name: str) -> Profile:
    """The built-in profile of this name, or that of a file which `alexnet-ir profile -o` wrote; else AlexnetError."""
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        try:
            return read_profile(path.read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as failure:
            reason = failure.strerror if isinstance(failure, OSError) else None
            raise error(f"{name}: {reason or 'no text'}") from None
    close = nearest(name, PROFILES)
    hints = [f"did you mean `{close}`?"] if close else []
    known = f"there are {listed(PROFILES)}, and files that `alexnet-ir profile -o FILE` writes"
    raise error(f"no such device profile as {name!r}", helps=[*hints, known])


def read_profile(text: str, where: str) -> Profile:
    """A profile from the text of its file; AlexnetError, naming `where`, if it is none."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("expected an object")
        return _profile(data)
    except (ValueError, TypeError, RecursionError) as failure:
        helps = ["`alexnet-ir profile -o FILE` writes one"]
        raise error(f"{where}: no device profile: {failure}", helps=helps) from None


_RATES = ("product_flops", "bandwidth", "link_bandwidth")
_SECONDS = ("overhead", "link_latency")


def _profile(data: dict[str, Any]) -> Profile:
    known = {f.name: f.default is not MISSING for f in fields(Profile)}
    if unknown := sorted(set(data) - set(known)):
        raise ValueError(f"what is {listed(unknown)}?")
    if missing := [name for name, optional in known.items() if not optional and name not in data]:
        raise ValueError(f"{listed(missing)} missing")
    numbers = {name: float(data[name]) for name in (*_RATES, *_SECONDS)}
    if not all(0 < numbers[name] < math.inf for name in _RATES):
        raise ValueError(f"{listed(_RATES)} are numbers above 0")
    if not all(0 <= numbers[name] < math.inf for name in _SECONDS):
        raise ValueError(f"{listed(_SECONDS)} are seconds, at least 0")
    memory = data.get("memory_bytes")
    return Profile(
        str(data["name"]),
        str(data["description"]),
        **numbers,
        memory_bytes=None if memory is None else int(memory),
        shared=bool(data.get("shared", False)),
        notes=tuple(map(str, data.get("notes", ()))),
    )
