"""`prepare` and `data`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_ir.data.container.reading import open_container

from .conftest import Run

MODEL = """alx 1

net Small(classes = 2) {
  image = input(3, 48, 48)
  return image -> conv1: conv(4, 3) -> relu -> flatten -> fc(classes)
}

data d {
  source: folder("set")
  train: [subtract_mean(), random_crop(48), scale(1/58)]
  eval: [subtract_mean(), center_crop(48), scale(1/58)]
}

train t {
  data: d
  batch: 2
  stop: steps(1)
  optimizer: sgd(lr = 0.1)
}
"""


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes, cats brighter than dogs, with five photographs each, of which one is broken."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, level in (("cat", 120), ("dog", 40)):
        folder = Path("photographs") / name
        folder.mkdir(parents=True)
        for number in range(5):
            pixels = random.integers(level, level + 80, (80, 100, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    Path("photographs/dog/4.png").write_bytes(b"no image")
    return Path("photographs")


@pytest.fixture
def prepared(photographs: Path, run: Run) -> Path:
    """Of size 72, a shard of six and one of four."""
    done = run("prepare", photographs, "set", "--size", 72, "--max-broken", "10%", "--shard-images", 6)
    assert done.code == 0, done.err
    return Path("set")


def test_prepare_says_what_it_made(photographs: Path, run: Run) -> None:
    done = run("prepare", photographs, "set", "--size", 72, "--max-broken", "0.1", "--jobs", 1, "--holdout", "25%")
    assert (done.code, done.err) == (0, "")
    assert "set: a folder of classes: 7 images of train, 2 images of eval, classes: 2\n" in done.out
    assert "3 x 72 x 72, jpeg" in done.out
    assert "1 file skipped, as set/skipped.txt says" in done.out


def test_prepare_is_given_up_where_too_much_is_broken(photographs: Path, run: Run) -> None:
    done = run("prepare", photographs, "set")
    assert (done.code, done.out) == (1, "")
    assert "error: 1 of 10 files could not be read, more than 1.00%" in done.err


@pytest.mark.parametrize(
    "option", ["--size 0", "--jobs -1", "--shard-images 0", "--max-broken many", "--max-broken 101%", "--holdout -1"]
)
def test_options_that_make_no_sense(option: str, photographs: Path, run: Run) -> None:
    flag, value = option.split()
    done = run("prepare", photographs, "set", f"{flag}={value}")
    assert done.code == 1
    assert f"error: {flag} {value}: expected" in done.err
    assert not Path("set").exists()


def test_verify(prepared: Path, run: Run, photographs: Path) -> None:
    assert run("data", "verify", prepared).out == "set: 2 shards, all as they were written\n"
    path = prepared / "train-00001.data"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run("data", "verify", prepared)
    assert done.code == 1
    assert "set/train-00001.data: dog/3.png is damaged" in done.err
    assert "alexnet-ir prepare SOURCE set" in done.err
    listed = json.loads(run("data", "verify", prepared, "--json").out)
    assert (listed["fine"], listed["shards"], len(listed["damage"])) == (False, 2, 2)
    assert run("prepare", photographs, "set", "--size", 72, "--max-broken", "10%", "--shard-images", 6).code == 0
    assert run("data", "verify", prepared).code == 0


def test_stats(prepared: Path, run: Run) -> None:
    found = json.loads(run("data", "stats", prepared, "--json").out)
    train = open_container(prepared).train
    images = train.images[:].astype(np.float64)
    assert found["sets"]["train"] == {
        "images": 9, "shards": 2, "bytes": sum(p.stat().st_size for p in prepared.glob("*.data")), "skipped": 1,
        "fewest": 4, "most": 5, "by_class": [5, 4],
    }  # fmt: skip
    assert [entry["name"] for entry in found["classes"]] == ["cat", "dog"]
    np.testing.assert_allclose(found["mean"], images.mean(axis=(0, 2, 3)), rtol=1e-6)
    values, vectors = np.array(found["eigenvalues"]), np.array(found["eigenvectors"])
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors.T * values @ vectors, found["covariance"], rtol=1e-9)
    text = run("data", "stats", prepared).out
    assert "a folder of classes: 2 classes, images of 3 x 72 x 72, jpeg" in text
    assert "4 to 5" in text
    assert f"{values[0]:.2f}" in text


def test_show_draws_stored_images_and_crops(prepared: Path, run: Run) -> None:
    done = run("data", "show", prepared, "-o", "sheet.png", "--images", 3)
    assert done.code == 0, done.err
    assert "random_crop(63)" in done.out
    sheet = np.asarray(Image.open("sheet.png")).astype(int)
    stored = open_container(prepared).train.images[:]
    first = sheet[18 : 18 + 144, 4 : 4 + 144]  # magnified twice, below a gap and a caption
    np.testing.assert_array_equal(first[::2, ::2], stored[0].transpose(1, 2, 0))
    crop = sheet[18 : 18 + 126 : 2, 152 : 152 + 126 : 2]
    shift = (crop.mean(axis=(0, 1)) - stored[0].mean(axis=(1, 2))).mean()
    assert abs(crop.mean() - shift - stored[0].mean()) < 5
    assert crop.std() == pytest.approx(stored[0].std(), rel=0.2)


def test_show_as_a_model_augments(prepared: Path, run: Run) -> None:
    """Where nothing but a crop is done, crops are parts of the stored image; the mean stays in the picture."""
    Path("model.alx").write_text(MODEL)
    done = run("data", "show", prepared, "--model", "model.alx", "--images", 1)
    assert done.code == 0, done.err
    sheet, stored = np.asarray(Image.open("sheet.png")), open_container(prepared).train.images[:][0]
    windows = np.lib.stride_tricks.sliding_window_view(stored, (48, 48), axis=(1, 2))
    crop = sheet[18 : 18 + 96 : 2, 152 : 152 + 96 : 2].transpose(2, 0, 1)
    assert (windows == crop[:, None, None]).all(axis=(0, 3, 4)).sum() == 1


def test_show_needs_a_data_section(prepared: Path, run: Run) -> None:
    Path("net.alx").write_text(MODEL.partition("data d")[0])
    done = run("data", "show", prepared, "--model", "net.alx")
    assert done.code == 1
    assert "net.alx: it has no `data` section" in done.err
    assert run("data", "show", prepared, "--images", 0).code == 1


def test_bench(prepared: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_ir.data.bench.IMAGES", 20)
    rows = json.loads(run("data", "bench", prepared, "--batch", 4, "--rounds", 2, "--json").out)
    assert {row["what"] for row in rows} == {"decoded", "decoded and augmented"}
    assert all(row["images_per_second"] > 0 and row["per_core"] > 0 for row in rows)
    assert "decoded and augmented" in run("data", "bench", prepared, "--rounds", 1).out
    assert run("data", "bench", prepared, "--batch", 0).code == 1


@pytest.mark.parametrize("action", ["verify", "stats", "show", "bench"])
def test_no_prepared_set(action: str, photographs: Path, run: Run) -> None:
    done = run("data", action, photographs)
    assert done.code == 1
    assert "photographs/manifest.json: No such file" in done.err
