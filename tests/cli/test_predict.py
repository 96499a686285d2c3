"""What a trained net is asked: predict, features, similar; against the net itself on the same pixels."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_ir.cli.main import main
from alexnet_ir.dsl.model import Choice, load, read_source
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import setup_of
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import read_weights, write_weights

from .conftest import Run

COLOUR = """alx 1

net Colour(classes = 3) {
  image = input(3, 6, 6)
  return image -> conv1: conv(4, 3) -> relu -> flatten -> fc1: fc(7) -> tanh -> dropout(0.5) -> fc2: fc(classes)
}

data d {
  source: synthetic(96, 3)
  train: [subtract_mean(), scale(1/64)]
  eval: [subtract_mean(), scale(1/64)]
}

train t { batch: 16  stop: steps(3)  optimizer: sgd(lr = 0.05) }
"""
GREY = COLOUR.replace("Colour", "Grey").replace("input(3,", "input(1,")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each net."""
    folder = tmp_path_factory.mktemp("runs")
    for name, text in (("colour", COLOUR), ("grey", GREY)):
        (folder / f"{name}.alx").write_text(text)
        assert main(["train", f"{folder / name}.alx", "--run-dir", str(folder / name), "--no-pictures"]) == 0
    return folder


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of 6 x 6, whose pixels are what the nets store, in this folder; and one that is no image."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for n in range(9):
        Image.fromarray(random.integers(256, size=(6, 6, 3), dtype="u1")).save(f"{n}.png")
    Path("notes.txt").write_text("no image")
    return [f"{n}.png" for n in range(9)]


def stored(names: list[str]) -> Array:
    return np.stack([np.asarray(Image.open(name).convert("RGB")) for name in names]).transpose(0, 3, 1, 2)


def weights_of(run: Path) -> dict[str, Array]:
    """With the mean image as `mean`."""
    saved = read_weights(run / "final.safetensors")
    assert saved.mean is not None
    return dict(saved.tensors) | {"mean": saved.mean}


def by_hand(run: Path, images: Array) -> tuple[Array, Array]:
    """Features (of tanh) and probabilities, by NumPy alone."""
    w = {name: value.astype("f8") for name, value in weights_of(run).items()}
    x = (images - w["mean"]) / 64
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    maps = np.einsum("ncijhw,kchw->nkij", windows, w["conv1.weight"]) + w["conv1.bias"][:, None, None]
    features = np.tanh(np.maximum(maps, 0).reshape(len(x), -1) @ w["fc1.weight"].T + w["fc1.bias"])
    scores = 0.5 * features @ w["fc2.weight"].T + w["fc2.bias"]
    powers = np.exp(scores)
    return features, powers / powers.sum(axis=1, keepdims=True)


def test_classes_with_their_probabilities_the_best_first(run: Run, runs: Path, photographs: list[str]) -> None:
    done = run("predict", runs / "colour", *photographs[:5], "--json", "--top", "2")
    found = json.loads(done.out)["images"]
    assert [each["image"] for each in found] == photographs[:5]
    expected = by_hand(runs / "colour", stored(photographs[:5]))[1]
    for each, own in zip(found, expected, strict=True):
        best = np.argsort(-own)[:2]
        assert [int(c["class"]) for c in each["classes"]] == best.tolist()
        np.testing.assert_allclose([c["probability"] for c in each["classes"]], own[best], rtol=1e-4)


def test_as_a_text(run: Run, runs: Path, photographs: list[str]) -> None:
    lines = run("predict", runs / "colour", "0.png", "1.png").out.splitlines()
    assert [lines[0], lines[4]] == ["0.png", "1.png"]
    shares = [float(line.split()[0].removesuffix("%")) for line in lines[1:4]]
    assert sum(shares) == pytest.approx(100, abs=0.02)
    assert shares == sorted(shares, reverse=True)


def test_files_are_brought_to_the_size_and_channels_of_the_net(run: Run, runs: Path, photographs: list[str]) -> None:
    """The middle square of a large one, upright by EXIF; grey for a grey net, palette and grey for one of colours."""
    down, across = np.indices((6, 6)) * 40
    image = Image.fromarray(np.stack([down, across, 255 - down], axis=2).astype("u1"))
    wide = Image.new("RGB", (60, 24), "red")
    wide.paste(image.resize((24, 24)), (18, 0))
    wide.rotate(90, expand=True).save("wide.tiff", exif=turned(6))
    image.save("small.png")
    image.transpose(Image.Transpose.ROTATE_90).save("lying.png")
    image.convert("P", palette=Image.Palette.ADAPTIVE).save("palette.png")
    image.convert("L").save("grey.jpg", quality=100)
    small, wide_, lying, palette = (
        read(run, runs / "colour", name) for name in ("small.png", "wide.tiff", "lying.png", "palette.png")
    )
    np.testing.assert_allclose(palette, small, atol=0.02)
    np.testing.assert_allclose(wide_, small, atol=0.05)
    assert np.abs(lying - small).max() > 0.1
    assert read(run, runs / "colour", "grey.jpg").shape == (3,)
    grey = np.asarray(image.convert("L"))[None, None]
    np.testing.assert_allclose(read(run, runs / "grey", "small.png"), by_hand(runs / "grey", grey)[1][0], rtol=1e-4)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def read(run: Run, folder: Path, name: str) -> Array:
    """Probabilities by class."""
    classes = json.loads(run("predict", folder, name, "--json").out)["images"][0]["classes"]
    return np.array([found["probability"] for found in sorted(classes, key=lambda found: str(found["class"]))])


def test_ten_crops_where_the_run_is_evaluated_so(run: Run, tmp_path: Path, photographs: list[str]) -> None:
    crops = COLOUR.replace("input(3, 6, 6)", "input(3, 4, 4)").replace("synthetic(96, 3)", 'folder("set")')
    crops = crops.replace("subtract_mean()", "resize(6), subtract_mean(), random_crop(4)", 1)
    crops = crops.replace("[subtract_mean()", "[resize(6), subtract_mean(), ten_crop(4)")
    for n, name in enumerate(photographs):
        for part in ("train", "val"):
            (tmp_path / "set" / part / "abc"[n % 3]).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / part / "abc"[n % 3] / name).write_bytes(Path(name).read_bytes())
    Path("model.alx").write_text(crops.replace("batch: 16", "batch: 8"))
    assert run("train", "--no-pictures", "--run-dir", "r").code == 0
    found = read(run, Path("r"), "4.png")
    weights = weights_of(Path("r"))
    image = stored(["4.png"])[0] - weights["mean"]
    views = [image[:, y : y + 4, x : x + 4] for y, x in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))]
    views += [view[..., ::-1] for view in views]
    net = Predictor(load(read_source(Path("model.alx")), Choice()), setup_of("reference"))
    net.load({name: value for name, value in weights.items() if name != "mean"})
    powers = np.exp(net.predict(np.stack(views) / 64))
    np.testing.assert_allclose(found, (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0), rtol=1e-3)


def test_a_net_trained_for_no_probabilities_gives_scores(run: Run, photographs: list[str]) -> None:
    Path("model.alx").write_text(COLOUR.replace("batch:", "loss: hinge()  batch:"))
    assert run("train", "--no-pictures", "--run-dir", "r").code == 0
    classes = json.loads(run("predict", "r", "0.png", "--json").out)["images"][0]["classes"]
    assert sorted(classes[0]) == ["class", "score"]
    assert "%" not in run("predict", "r", "0.png").out


@pytest.mark.parametrize("command", [["predict"], ["features", "-o", "f.npy"]])
def test_one_bad_file_and_nothing_is_done(run: Run, runs: Path, photographs: list[str], command: list[str]) -> None:
    whys = {"notes.txt": "expected an image", "none.png": "No such file", ".": "expected an image, found a folder"}
    for bad, why in whys.items():
        done = run(command[0], runs / "colour", "0.png", bad, *command[1:])
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {bad}: {why}")
        assert done.err.count("error") == 1
    assert not Path("f.npy").exists()


def test_weights_that_do_not_say_the_size_of_images(run: Run, runs: Path, photographs: list[str]) -> None:
    saved = read_weights(runs / "colour" / "final.safetensors")
    write_weights(Path("older.safetensors"), replace(saved, stored=None))
    found = run("predict", "older.safetensors", photographs[0])
    assert found.code == 1
    assert "older.safetensors: an older file, which does not say" in found.err


def test_a_net_whose_images_no_file_has(run: Run, photographs: list[str]) -> None:
    Path("model.alx").write_text(COLOUR.replace("input(3, 6, 6)", "input(2, 6, 6)"))
    assert run("train", "--no-pictures", "--run-dir", "r").code == 0
    assert "reads images of 2 × 6 × 6" in run("predict", "r", "0.png").err
    assert run("predict", "r", "0.png", "--top", "0").err.startswith("error: --top 0: expected")


# --- features ---------------------------------------------------------------------------------------------------------


def test_features_in_the_order_given(run: Run, runs: Path, photographs: list[str]) -> None:
    names = [*photographs[4:], *photographs[:4]]
    done = run("features", runs / "colour", *names, "-o", "f.npy", "--json")
    found = np.load("f.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(runs / "colour", stored(names))[0], rtol=1e-3, atol=1e-5)
    about = json.loads(done.out)
    assert (about["layer"], about["shape"], about["images"]) == ("tanh1", [9, 7], names)


def test_features_of_a_layer_and_of_none(run: Run, runs: Path, photographs: list[str]) -> None:
    assert run("features", runs / "colour", "0.png", "-o", "f.npy", "--layer", "conv1").code == 0
    assert np.load("f.npy").shape == (1, 4 * 4 * 4)
    before = Path("f.npy").read_bytes()
    done = run("features", runs / "colour", "0.png", "-o", "f.npy", "--layer", "conv7")
    assert done.code == 1
    assert "has no layer `conv7`" in done.err
    assert Path("f.npy").read_bytes() == before


def test_a_place_where_nothing_can_be_written(run: Run, runs: Path, photographs: list[str]) -> None:
    done = run("features", runs / "colour", "0.png", "-o", "nowhere/f.npy")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: nowhere/f.npy: No such file or directory\n"


def test_several_devices_and_few_images(run: Run, runs: Path, photographs: list[str]) -> None:
    alone, two = (
        run("predict", runs / "colour", "0.png", "--json", *args).out
        for args in ([], ["--devices", "cpu,cpu", "--place", "data"])
    )
    one, other = (json.loads(text)["images"][0]["classes"] for text in (alone, two))
    assert [c["class"] for c in one] == [c["class"] for c in other]
    np.testing.assert_allclose([c["probability"] for c in one], [c["probability"] for c in other], rtol=1e-5)


# --- similar ----------------------------------------------------------------------------------------------------------


def test_the_nearest_images_of_a_folder(run: Run, runs: Path, photographs: list[str]) -> None:
    """Folders below count, and what is no image does not."""
    Path("set/below").mkdir(parents=True)
    places = [f"set/{name}" if n % 2 else f"set/below/{name}" for n, name in enumerate(photographs)]
    for name, place in zip(photographs, places, strict=True):
        Path(name).rename(place)
    Path("notes.txt").rename("set/notes.txt")
    query = next(place for place in places if place.endswith("5.png"))
    done = run("similar", runs / "colour", query, "--in", "set", "--top", "4", "--json", "-o", "out.png")
    features = by_hand(runs / "colour", stored(places))[0]
    distances = np.linalg.norm(features - features[5], axis=1)
    best = np.argsort(distances)[:4]
    found = json.loads(done.out)
    assert (found["image"], found["among"]) == (query, 9)
    assert [each["image"] for each in found["nearest"]] == [places[n] for n in best]
    np.testing.assert_allclose([each["distance"] for each in found["nearest"]], distances[best], rtol=1e-3, atol=1e-5)
    assert Image.open(io.BytesIO(Path("out.png").read_bytes())).size[0] > 4 * 128
    lines = run("similar", runs / "colour", query, "--in", "set").out.splitlines()
    assert [line.split()[1] for line in lines] == [places[n] for n in np.argsort(distances)[:6]]


def test_the_nearest_images_of_a_prepared_set(run: Run, tmp_path: Path, photographs: list[str]) -> None:
    """Pictures are brought to the size that the set has, which the net's crop and the lack of a mean do not tell."""
    for n, name in enumerate(photographs):
        (tmp_path / "set" / "abc"[n % 3]).mkdir(parents=True, exist_ok=True)
        Path(name).rename(tmp_path / "set" / "abc"[n % 3] / name)
    assert run("prepare", "set", "made", "--size", "8").code == 0
    model = COLOUR.replace("synthetic(96, 3)", 'folder("made")\n  holdout: 34%').replace("16", "2")
    Path("model.alx").write_text(model.replace("subtract_mean()", "center_crop(6)"))
    assert run("train", "--no-pictures", "--run-dir", "r").code == 0
    found = json.loads(run("similar", "r", "set/b/4.png", "--in", "made", "--json", "--top", "20").out)
    assert found["among"] == len(found["nearest"]) == 9
    assert found["nearest"][0]["image"].endswith(", b")
    assert found["nearest"][0]["distance"] < 0.1 * found["nearest"][1]["distance"] + 1e-3


@pytest.mark.parametrize(("folder", "why"), [("nowhere", "found no folder"), ("empty", "no image in it")])
def test_nothing_to_look_in(run: Run, runs: Path, photographs: list[str], folder: str, why: str) -> None:
    Path("empty").mkdir()
    done = run("similar", runs / "colour", "0.png", "--in", folder)
    assert (done.code, done.out) == (1, "")
    assert f"--in {folder}: " in done.err
    assert why in done.err
