"""What is found of GPUs, and what is missing, each with its mending."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from alexnet_ir.backends.cuda import found
from alexnet_ir.diagnostics import AlexnetError

from .cupy_double import Model, World, enter


def supported(count: object) -> None:
    count._obj.value = 3  # type: ignore[attr-defined]


def write_supported(numbers: object) -> None:
    numbers[:] = [75, 80, 90]  # type: ignore[index]


LIBRARY = SimpleNamespace(nvrtcGetNumSupportedArchs=supported, nvrtcGetSupportedArchs=write_supported)


def nvrtc_13() -> SimpleNamespace:
    return SimpleNamespace(version=(13, 0), place="here", library=LIBRARY)


def missing_of(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    enter(world, monkeypatch)
    monkeypatch.setattr(found, "nvrtc", nvrtc_13)
    with pytest.raises(AlexnetError) as raised:
        found.machine_of((0,))
    return str(raised.value)


def test_gpus_and_versions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(World(gpus=(Model(name="Big"), Model("80", name="Small", memory=1 << 20))), monkeypatch)
    monkeypatch.setattr(found, "nvrtc", nvrtc_13)
    seen = found.available()
    assert seen.missing == ()
    assert [(g.number, g.name, g.arch, g.memory) for g in seen.gpus] == [
        (0, "Big", "sm_90", 1 << 30),
        (1, "Small", "sm_80", 1 << 20),
    ]
    assert seen.versions == {
        "cupy": "14.2.0",
        "cupy-cuda": "13.2",
        "driver": "13.0",
        "nvrtc": "13.0",
        "cublas": "13.1.0",
    }
    assert [gpu.free for gpu in seen.gpus] == [None, None]
    assert [gpu.free for gpu in found.available(free=True).gpus] == [1 << 30, 1 << 20]
    assert found.machine_of((1, 1)).devices == (1, 1)


def test_without_cupy_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def cupy() -> None:
        raise ModuleNotFoundError("No module named 'cupy'", name="cupy")

    monkeypatch.setattr(found, "cupy", cupy)
    with pytest.raises(AlexnetError) as raised:
        found.machine_of((0, 1))
    said = str(raised.value)
    assert "--devices 0,1: no GPU can be used: CuPy is not installed" in said
    assert "alexnet-ir[cuda13]" in said
    assert "alexnet-ir[cuda12]" in said


def test_a_broken_cupy_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for failure, said in ((ImportError("libfoo.so: broken"), "libfoo.so"), (SystemError("odd"), "SystemError: odd")):

        def cupy(failure: Exception = failure) -> None:
            raise failure

        monkeypatch.setattr(found, "cupy", cupy)
        (missing,) = found.available().missing
        assert said in missing.render()


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (World(driver=0), ("no NVIDIA driver",)),
        (World(driver=12040), ("is for CUDA 12.4, CuPy for 13.2", "alexnet-ir[cuda12]", "cupy-cuda13x")),
        (World(driver=11080), ("is for CUDA 11.8", "install a driver for CUDA 13.2")),
        (World(gpus=()), ("sees no GPU", "nvidia-smi")),
        (World(gpus=(Model("120"),)), ("NVRTC 13.0 does not know sm_120, GPU 0", "newer")),
        (World(has_cublas=False), ("cuBLAS was not found", "alexnet-ir[cuda13]", "libcublas.so.13")),
    ],
    ids=["no driver", "older driver", "old driver", "no GPU", "new GPU", "no cuBLAS"],
)
def test_what_is_missing_is_said(world: World, said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    message = missing_of(world, monkeypatch)
    assert "--devices 0: no GPU can be used" in message
    for part in said:
        assert part in message


def test_a_compiler_too_new_for_the_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = missing_of(World(driver=12090, made_for=12090), monkeypatch)
    assert "NVRTC 13.0 makes code that a driver for CUDA 12.9 does not load" in message


@pytest.mark.parametrize(
    ("gpus", "devices", "said"),
    [
        ((Model(), Model()), (3,), "--devices 3: there are 2 GPUs, 0 and 1"),
        ((Model(),), (0, 1), "--devices 0,1: there is 1 GPU, 0"),
        ((Model(), Model("80")), (0, 1), "GPUs of one generation work together, not sm_90 and sm_80"),
        ((Model("70"),), (0,), "GPU 0, Double, is sm_70: kernels are for sm_75 and later"),
    ],
)
def test_gpus_that_cannot_be_had_are_refused(
    gpus: tuple[Model, ...],
    devices: tuple[int, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(found, "nvrtc", nvrtc_13)
    enter(World(gpus=gpus), monkeypatch)
    with pytest.raises(AlexnetError) as raised:
        found.machine_of(devices)
    assert said in str(raised.value)
    assert raised.value.diagnostics[0].helps


def test_a_gpu_that_another_program_has_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def machine(devices: tuple[int, ...], graph: bool) -> None:
        raise RuntimeError("cudaErrorDevicesUnavailable")

    enter(World(), monkeypatch)
    monkeypatch.setattr(found, "nvrtc", nvrtc_13)
    monkeypatch.setattr(found, "CupyMachine", machine)
    with pytest.raises(AlexnetError, match="--devices 0: no GPU can be used: cudaErrorDevicesUnavailable"):
        found.machine_of((0,))
