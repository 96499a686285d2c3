"""Checkpoints as files: whole or refused, the last few kept, nothing lost on a full disk."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from alexnet_ir import AlexnetError
from alexnet_ir.durable import write_durably
from alexnet_ir.training.checkpoint import Checkpoint, Checkpoints, Progress, Tally, read_checkpoint
from alexnet_ir.training.run import EpochMetrics
from alexnet_ir.training.weights import Saved, read_weights, write_weights

RNG = np.random.default_rng(3)


def a_checkpoint(step: int = 8) -> Checkpoint:
    """Of a run of 6 steps an epoch."""
    weights = {"conv.weight": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32), "scale": np.float32(3).reshape(())}
    metrics = EpochMetrics(1, 6, 0.1, 1 / 3, 0.1, 10, 0.2, 0.0, 123.4, 0.5, 0.1)
    progress = Progress(Tally(*divmod(step, 6), 0.1 + 0.2, 1e-300, 0.7, 0.1), 0.05, 0.2, metrics, 6, 0)
    saved = Saved(
        weights, "alx 1\n", "model.alx", {"settings": {"net.act": "tanh"}}, ("a", "ü"),
        RNG.normal(size=(2, 6, 6)).astype(np.float32), (2, 6, 6), "0.1", 5, step,
    )  # fmt: skip
    slots = {"conv.weight.velocity": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)}
    return Checkpoint(saved, slots, progress, {"best": None}, (10, 20), 101, 16, {"data": None}, {"cores": 2})


def same(one: Checkpoint, other: Checkpoint) -> bool:
    """In every bit."""

    def arrays(checkpoint: Checkpoint) -> list[tuple[str, object, bytes]]:
        named = sorted({**checkpoint.states, "mean": np.asarray(checkpoint.saved.mean)}.items())
        return [(name, value.shape, value.tobytes()) for name, value in named]

    rest = [replace(c, saved=replace(c.saved, tensors={}, mean=None), slots={}) for c in (one, other)]
    return arrays(one) == arrays(other) and rest[0] == rest[1]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoints, written = Checkpoints(tmp_path), a_checkpoint()
    checkpoints.save(written)
    (path,) = checkpoints.paths()
    assert path.name == "step-000000008.safetensors"
    assert same(read_checkpoint(path), written)
    weights = read_weights(path)
    assert set(weights.tensors) == {"conv.weight", "scale"}
    assert weights.step == 8


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    whole, path = b"".join(a_checkpoint().pieces()), tmp_path / "damaged"
    for place in [*RNG.integers(0, len(whole), 150), 0, 8, len(whole) - 1]:
        content = bytearray(whole)
        content[place] ^= 1 << int(RNG.integers(8))
        path.write_bytes(content)
        with pytest.raises(AlexnetError):
            read_checkpoint(path)
    for length in [*RNG.integers(0, len(whole), 20), 0, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(AlexnetError):
            read_checkpoint(path)


def test_metadata_and_tensors_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "step-000000008.safetensors"
    write_durably(path, a_checkpoint().pieces())
    with safe_open(path, "np") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata)
    read_checkpoint(path)
    save_file(tensors, path, metadata | {"step": "9"})
    with pytest.raises(AlexnetError, match="damaged, or changed by another program"):
        read_checkpoint(path)


def test_where_it_stands_in_the_data_agrees_with_its_step(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "checkpoint", a_checkpoint()
    checkpoint.progress.tally.steps += 1
    write_durably(path, checkpoint.pieces())
    with pytest.raises(AlexnetError, match="8 updates are not step 3 of epoch 2, of 6 steps each"):
        read_checkpoint(path)


def test_weights_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    write_weights(path, a_checkpoint().saved)
    assert read_weights(path).step == 8
    with pytest.raises(AlexnetError, match="weights alone, without the optimizer's tensors"):
        read_checkpoint(path)
    with pytest.raises(AlexnetError, match="no such file"):
        read_checkpoint(tmp_path / "nothing")


def test_the_same_content_gives_the_same_bytes_which_others_read(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "checkpoint", a_checkpoint()
    assert checkpoint.pieces() == checkpoint.pieces()
    write_durably(path, checkpoint.pieces())
    tensors = load_file(path)
    for name, value in checkpoint.states.items():
        assert (tensors[name].dtype, tensors[name].shape) == (value.dtype, value.shape)
        assert tensors[name].tobytes() == value.tobytes()


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (3, 9, 1000, 12):
        checkpoints.save(a_checkpoint(step))
    assert [path.stem for path in checkpoints.paths()] == ["step-000001000", "step-000000012"]
    assert checkpoints.newest()[0].saved.step == 1000
    assert checkpoints.newest(up_to=999)[0].saved.step == 12


def test_a_damaged_one_is_passed_over_and_put_aside(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (3, 9, 12):
        checkpoints.save(a_checkpoint(step))
    newest, middle, _ = checkpoints.paths()
    newest.write_bytes(newest.read_bytes()[:-1])
    middle.write_bytes(b"")
    found, problems = checkpoints.newest()
    assert found.saved.step == 3
    assert [str(path) in problem for path, problem in zip((newest, middle), problems, strict=True)] == [True, True]
    part = newest.with_name(newest.name + ".part")
    part.touch()
    checkpoints.tidy(3)
    assert not part.exists()
    assert [path.stem for path in checkpoints.paths()] == ["step-000000003"]
    assert newest.with_name(newest.name + ".aside").exists()
    with pytest.raises(AlexnetError, match="no checkpoint to go on from"):
        Checkpoints(tmp_path / "elsewhere").newest()


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(a_checkpoint(3))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as failure:
            checkpoints.save(a_checkpoint(9))
    assert str(failure.value.filename).endswith("step-000000009.safetensors")
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000000003.safetensors"]
    assert checkpoints.newest()[0].saved.step == 3


def test_a_folder_that_cannot_be_written_is_said_of_the_file_that_was_wanted(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(NotADirectoryError) as failure:
        write_durably(tmp_path / "folder" / "file", b"content")
    assert failure.value.filename == str(tmp_path / "folder" / "file")


def test_saves_are_as_far_apart_as_they_take_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "alexnet_ir.training.checkpoint.write_durably", lambda path, content: clock.__setitem__(0, clock[0] + 2)
    )
    checkpoints = Checkpoints(tmp_path)
    assert not checkpoints.due(5)
    clock[0] = 10
    assert checkpoints.due(5)
    checkpoints.save(a_checkpoint(5))
    clock[0] += 59
    assert not checkpoints.due(6)
    clock[0] += 1
    assert checkpoints.due(6)
    every = Checkpoints(tmp_path, every=3)
    assert [step for step in range(1, 10) if every.due(step)] == [3, 6, 9]
