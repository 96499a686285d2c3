"""From folders, tars and arrays to containers."""

from __future__ import annotations

import gzip
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from alexnet_ir.data.container.layout import MANIFEST
from alexnet_ir.data.container.reading import Container, open_container
from alexnet_ir.data.decode import decode_stored, encode_stored
from alexnet_ir.data.prepare.run import Options, prepare
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.durable import held

IDS = ("n01440764", "n01443537", "n02084071")
SMALL = Options(size=72, shard_images=5)


def photograph(seed: int, kind: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def train_files(each: int = 6) -> dict[str, bytes]:
    return {f"{id_}/{id_}_{n}.JPEG": photograph(10 * k + n) for k, id_ in enumerate(IDS) for n in range(each)}


VAL = {f"ILSVRC2012_val_{n:08}.JPEG": photograph(100 + n) for n in range(1, 8)}
VAL_LABELS = [2, 0, 1, 1, 0, 2, 0]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes with six photographs each."""
    root = tmp_path_factory.mktemp("classes")
    for name, content in train_files().items():
        put(root / name, content)
    return root


@pytest.fixture(scope="module")
def undisturbed(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    prepare(classes, out, SMALL)
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def made(source: Path, out: Path, **options: Any) -> Container:
    prepare(source, out, Options(**({"size": 72} | options)))
    return open_container(out)


def refusal(source: Path, out: Path, **options: Any) -> str:
    with pytest.raises(AlexnetError) as caught:
        made(source, out, **options)
    return str(caught.value)


def stored(photo: bytes, size: int = 72) -> np.ndarray:
    """What is read of a photograph: a second telling."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    left = (image.width - image.height) / 2
    box = (left, 0, left + image.height, image.height)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    out = np.empty_like(pixels)
    decode_stored("jpeg", encode_stored("jpeg", pixels), out)
    return out.transpose(2, 0, 1)


# Sources


def test_folder_of_classes(classes: Path, tmp_path: Path) -> None:
    found = made(classes, tmp_path / "out")
    assert (found.ids, found.classes, found.eval) == (IDS, IDS, None)
    assert found.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    expected = np.stack([stored(photo) for photo in train_files().values()])
    np.testing.assert_array_equal(found.train.images[:], expected)


def test_names_and_order_of_classes(classes: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(classes, tmp_path / "source"))
    put(source / "synset_words.txt", "n02084071 dog\nn00000000 nothing\nn01440764 tench, Tinca tinca\n")
    found = made(source, tmp_path / "out")
    assert found.ids == ("n02084071", "n01440764", "n01443537")
    assert found.classes == ("dog", "tench, Tinca tinca", "n01443537")
    np.testing.assert_array_equal(found.train.images[0:1][0], stored(train_files()["n02084071/n02084071_0.JPEG"]))


def imagenet_folders(root: Path, val: Callable[[str, int], str] = lambda name, label: name) -> Path:
    for name, photo in train_files().items():
        put(root / "train" / name, photo)
    for (name, photo), label in zip(VAL.items(), VAL_LABELS, strict=True):
        put(root / "val" / val(name, label), photo)
    return root


def imagenet_tars(root: Path) -> Path:
    by_class: dict[str, dict[str, bytes]] = {id_: {} for id_ in IDS}
    for name, photo in train_files().items():
        folder, _, file = name.partition("/")
        by_class[folder][file] = photo
    put(root / "ILSVRC2012_img_train.tar", tar_of({f"{id_}.tar": tar_of(some) for id_, some in by_class.items()}))
    put(root / "ILSVRC2012_img_val.tar", tar_of(VAL))
    return root


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, inside in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(inside)
            tar.addfile(info, io.BytesIO(inside))
    return out.getvalue()


def caffe(root: Path) -> None:
    lines = [f"{name} {label}" for name, label in zip(VAL, VAL_LABELS, strict=True)]
    put(root / "val.txt", "\n".join(reversed(lines)) + "\n")


def kaggle(root: Path) -> None:
    lines = [f"{name[:-5]},{IDS[label]} 1 2 3 4 {IDS[0]} 5 6 7 8" for name, label in zip(VAL, VAL_LABELS, strict=True)]
    put(root / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *lines]))


def devkit(root: Path) -> None:
    """As it is unpacked: its own numbers, from 1, in another order than the ids, and families of classes among them."""
    order = {IDS[2]: 1, IDS[0]: 2, IDS[1]: 3, "n00001740": 4}
    synsets = np.zeros(4, [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)])
    for place, (id_, number) in enumerate(order.items()):
        synsets[place] = (number, id_, f"the {id_}", 3 * (number == 4))
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    put(folder / "ILSVRC2012_validation_ground_truth.txt", "".join(f"{order[IDS[n]]}\n" for n in VAL_LABELS))
    savemat(folder / "meta.mat", {"synsets": synsets})


def in_order_of_names(root: Path) -> None:
    put(root / "val.txt", "".join(f"{IDS[label]}\n" for label in VAL_LABELS))


def tiny(root: Path) -> None:
    lines = [f"{name}\t{IDS[label]}\t0\t32\t44\t62" for name, label in zip(VAL, VAL_LABELS, strict=True)]
    put(root / "val" / "val_annotations.txt", "\n".join(lines))


def by_folder(name: str, label: int) -> str:
    return f"{IDS[label]}/{name}"


@pytest.mark.parametrize("form", ["tars", "devkit", "flat", "ids", "by class", "kaggle", "tiny imagenet"])
def test_imagenet(form: str, tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    match form:
        case "tars":
            caffe(imagenet_tars(root))
        case "devkit":
            devkit(imagenet_tars(root))
        case "ids":
            in_order_of_names(imagenet_folders(root))
        case "flat":
            caffe(imagenet_folders(root))
        case "by class":
            imagenet_folders(root, by_folder)
        case "kaggle":
            imagenet_folders(root / "ILSVRC/Data/CLS-LOC")
            kaggle(root)
        case _:
            tiny(imagenet_folders(root, lambda name, label: f"images/{name}"))
    found = made(root, tmp_path / "out")
    assert found.ids == IDS
    np.testing.assert_array_equal(found.train.images[:], np.stack([stored(p) for p in train_files().values()]))
    assert found.eval is not None
    expected = dict(zip([stored(p).tobytes() for p in VAL.values()], VAL_LABELS, strict=True))
    read = [(image.tobytes(), label) for image, label in zip(found.eval.images[:], found.eval.labels, strict=True)]
    assert dict(read) == expected
    assert len(read) == len(expected)


def test_labels_that_are_named(tmp_path: Path) -> None:
    root = imagenet_folders(tmp_path / "imagenet")
    caffe(tmp_path)
    (tmp_path / "val.txt").rename(tmp_path / "mine.txt")
    found = made(root, tmp_path / "out", labels=tmp_path / "mine.txt")
    assert found.eval is not None
    assert sorted(found.eval.labels.tolist()) == sorted(VAL_LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no list of their labels"),
        ("1\n2\n3\n", "expected a line for each of the 7 images, found 3"),
        ("1\n" * 7, "val/meta.mat: expected the devkit's list of classes"),
        ("n00000000\n" * 7, "found `n00000000`"),
        ("ILSVRC2012_val_00000001.JPEG 3\n", "a number below 3, found `3`"),
        ("name label\nILSVRC2012_val_00000001.JPEG n99999999\n", "found `n99999999`"),
        ("name label\nILSVRC2012_val_00000001.JPEG\n", "found ``"),
        ("labels\nILSVRC2012_val_00000001.JPEG 0\n", "found ``"),
        ("ILSVRC2012_val_00000001.JPEG 0\n", "6 of the 7 images"),
    ],
)
def test_labels_that_do_not_do(text: str | None, message: str, tmp_path: Path) -> None:
    root = imagenet_folders(tmp_path / "imagenet")
    if text is not None:
        put(root / "val" / "val.txt", text)
    assert message in refusal(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photographs_named_by_wnid(tmp_path: Path) -> None:
    for k, id_ in enumerate(IDS):
        put(tmp_path / "source" / f"{id_}_some_name.JPEG", photograph(k))
    put(tmp_path / "source" / "synset_words.txt", "".join(f"{id_} the {id_[-1]}\n" for id_ in IDS[::-1]))
    found = made(tmp_path / "source", tmp_path / "out")
    assert found.classes == ("the 1", "the 7", "the 4")
    np.testing.assert_array_equal(found.train.images[:], np.stack([stored(photograph(k)) for k in (2, 1, 0)]))


def test_cifar10_keeps_its_pixels_unless_asked(tmp_path: Path) -> None:
    records = np.random.default_rng(0).integers(0, 256, (5, 4, 3073), np.uint8)
    records[:, :, 0] %= 10
    for batch in range(5):
        put(tmp_path / "cifar" / "cifar-10-batches-bin" / f"data_batch_{batch + 1}.bin", records[batch].tobytes())
    found = made(tmp_path / "cifar", tmp_path / "own", size=None)
    pixels = records.reshape(20, 3073)[:, 1:].reshape(20, 3, 32, 32)
    np.testing.assert_array_equal(found.train.images[:], pixels)
    assert (found.classes[3], found.eval) == ("cat", None)
    assert made(tmp_path / "cifar", tmp_path / "larger", size=96).train.images.shape == (20, 3, 96, 96)


def test_mnist(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    for part in ("train", "t10k"):
        head = bytes([0, 0, 8, 3]) + np.array([6, 28, 28], ">u4").tobytes()
        put(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz", gzip.compress(head + pixels.tobytes()))
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 6, 1, 2, 3, 4, 5, 6])
        put(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz", gzip.compress(labels))
    found = made(tmp_path / "mnist", tmp_path / "out", size=None)
    np.testing.assert_array_equal(found.train.images[:][:, 0], pixels)
    assert found.eval is not None
    assert found.eval.labels.tolist() == [1, 2, 3, 4, 5, 6]
    assert made(tmp_path / "mnist", tmp_path / "smaller", size=14).train.images.shape == (6, 1, 14, 14)


def test_holdout(classes: Path, tmp_path: Path) -> None:
    found = made(classes, tmp_path / "out", holdout=1 / 3)
    assert found.eval is not None
    assert np.bincount(found.train.labels).tolist() == [4, 4, 4]
    assert np.bincount(found.eval.labels).tolist() == [2, 2, 2]
    images = [*found.train.images[:], *found.eval.images[:]]
    assert {image.tobytes() for image in images} == {stored(photo).tobytes() for photo in train_files().values()}
    assert "leaves one of the two sets empty" in refusal(classes, tmp_path / "none", holdout=0.01)


@pytest.mark.parametrize("kind", ["nothing", "a file", "empty", "texts"])
def test_what_is_not_understood(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if kind == "a file":
        put(source, b"some bytes")
    if kind in ("empty", "texts"):
        source.mkdir()
    if kind == "texts":
        put(source / "read.me", "text")
    message = refusal(source, tmp_path / "out")
    assert f"{source}: expected a folder of images" in message
    assert "ILSVRC2012_img_train.tar" in message
    assert "CIFAR-10" in message


def test_what_is_prepared_already(classes: Path, tmp_path: Path) -> None:
    made(classes, tmp_path / "out")
    assert "prepared already" in refusal(tmp_path / "out", tmp_path / "again")
    (tmp_path / "out" / MANIFEST).unlink()
    assert f"interrupted\n  = help: go on with it: alexnet-ir prepare SOURCE {tmp_path / 'out'}" in refusal(
        tmp_path / "out", tmp_path / "again"
    )


@pytest.mark.parametrize("which", ["train", "val"])
@pytest.mark.parametrize("how", ["cut in an image", "cut after an image", "an entry", "an entry of a class"])
def test_a_damaged_tar(which: str, how: str, tmp_path: Path) -> None:
    """Also where Python's tarfile takes the damage for the end."""
    caffe(imagenet_tars(tmp_path / "imagenet"))
    path = tmp_path / "imagenet" / f"ILSVRC2012_img_{which}.tar"
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        second = tar.getmembers()[1].offset
    match how:
        case "cut in an image":
            content = content[: second - 600]
        case "cut after an image":
            content = content[:second]
        case "an entry":
            content = content[: second + 4] + b"?" + content[second + 5 :]
        case _:  # the last name
            last = content.rindex(b".JPEG" + bytes(60))
            content = content[:last] + b"?" + content[last + 1 :]
    path.write_bytes(content)
    assert f"{path}: expected a whole tar" in refusal(tmp_path / "imagenet", tmp_path / "out")


def test_what_is_no_file_and_links_that_have_no_end(classes: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(classes, tmp_path / "source"))
    os.mkfifo(source / IDS[0] / "pipe.JPEG")
    (source / IDS[0] / "back").symlink_to("..")
    (source / IDS[1] / "further").symlink_to(f"../{IDS[2]}")
    found = made(source, tmp_path / "out", max_broken=0)
    assert np.bincount(found.train.labels).tolist() == [6, 12, 6]


def test_strange_names(tmp_path: Path) -> None:
    names = ("a\nb.JPEG", "ü 猫.png", os.fsdecode(b"\xff\xfe.JPEG"))
    for n, name in enumerate(names):
        put(tmp_path / "source" / "a b" / name, photograph(n))
        put(tmp_path / "source" / "a b" / f"broken {name}", "no image")
    assert len(made(tmp_path / "source", tmp_path / "out", max_broken=0.5).train) == 3
    lines = os.fsdecode((tmp_path / "out" / "skipped.txt").read_bytes()).splitlines()
    expected = {f"a b/broken {name}".replace("\n", "\\n") for name in names}
    assert {line.rpartition(":")[0] for line in lines} == expected


def test_validation_classes_that_training_does_not_have(tmp_path: Path) -> None:
    root = imagenet_folders(tmp_path / "imagenet", by_folder)
    put(root / "val" / "n99999999" / "a.JPEG", photograph(0))
    assert "1 classes have no training images, such as n99999999" in refusal(root, tmp_path / "out")


# Files that are broken


def with_broken(classes: Path, tmp_path: Path) -> Path:
    source = Path(shutil.copytree(classes, tmp_path / "source"))
    put(source / IDS[0] / "a.JPEG", photograph(50)[:400])
    put(source / IDS[0] / "b.JPEG", "no image")
    put(source / IDS[1] / "c.JPEG", photograph(51, "PNG"))
    (source / IDS[2] / "d.JPEG").symlink_to("nowhere")
    put(source / IDS[2] / ".hidden", "no image")
    return source


def test_broken_files_are_listed_and_skipped(classes: Path, tmp_path: Path) -> None:
    found = made(with_broken(classes, tmp_path), tmp_path / "out", max_broken=0.2, shard_images=5)
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"{IDS[0]}/a.JPEG", f"{IDS[0]}/b.JPEG", f"{IDS[2]}/d.JPEG"]
    assert "No such file" in lines[2]
    assert np.bincount(found.train.labels).tolist() == [6, 7, 6]
    png = found.train.images[:][found.train.labels == 1][0]
    assert np.abs(png.astype(int) - stored(photograph(51, "PNG"))).max() <= 1


def test_too_many_broken_files(classes: Path, tmp_path: Path) -> None:
    """What was made stays, and more patience goes on from there."""
    source, out = with_broken(classes, tmp_path), tmp_path / "out"
    message = refusal(source, out, max_broken=0.1, shard_images=5)
    assert "3 of 22 files could not be read, more than 10.00%" in message
    assert "--max-broken" in message
    assert len((out / "skipped.txt").read_text().splitlines()) == 3
    assert not (out / MANIFEST).exists()
    inode = (out / "train-00000.data").stat().st_ino
    prepare(source, out, Options(72, max_broken=0.2, shard_images=5))
    assert (out / "train-00000.data").stat().st_ino == inode


def test_not_one_image(tmp_path: Path) -> None:
    put(tmp_path / "source" / "a" / "b.jpg", "no image")
    assert "no image to train on" in refusal(tmp_path / "source", tmp_path / "out", max_broken=1.0)


# The same bytes, whatever happens


@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_are_of_no_matter(jobs: int, classes: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    prepare(classes, tmp_path / "out", Options(72, jobs, shard_images=5))
    assert content(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    "name", ["train-00001.data", "train-00001.index", "train-00003.data", "statistics.safetensors", MANIFEST]
)
@pytest.mark.parametrize("how", ["missing", "changed"])
def test_what_is_damaged_is_made_again(
    name: str, how: str, classes: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(classes, out, SMALL)
    whole = (out / "train-00000.data").stat().st_ino
    (out / name).unlink()
    if how == "changed":
        put(out / name, undisturbed[name][:-1] + b"\xff")
    prepare(classes, out, SMALL)
    assert content(out) == undisturbed
    assert (out / "train-00000.data").stat().st_ino == whole, "a finished shard is not made again"


def test_killed_at_any_moment(classes: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """Killed without a warning again and again, a little later each time, until it ends by itself."""
    out, images = tmp_path / "out", ""
    code = (
        "import sys, time; from pathlib import Path; from alexnet_ir.data.prepare import run; make = run.write_shard\n"
        "def slowly(*args):\n    print('.', flush=True); time.sleep(0.02); return make(*args)\n"
        "run.write_shard = slowly\n"
        "run.prepare(Path(sys.argv[1]), Path(sys.argv[2]), run.Options(72, 2, shard_images=5))"
    )
    for attempt in range(30):
        process = subprocess.Popen([sys.executable, "-c", code, classes, out], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 * attempt)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        images += f"{len(list(out.glob('*.index')))} "
    assert content(out) == undisturbed, f"finished shards when it was killed: {images}"


def test_two_at_once(classes: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """The second one is told, and changes nothing; a lock ends with its process, so that a killed one leaves none."""
    out = tmp_path / "out"
    out.mkdir()
    with held(out):
        assert f"{out}: another process prepares it" in refusal(classes, out, shard_images=5)
        assert content(out) == {}
    prepare(classes, out, SMALL)
    assert content(out) == undisturbed


def test_a_full_disk(classes: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """Files may not grow beyond some bytes: one error, and the rest is done when there is room."""
    out, (soft, hard) = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = {name: len(inside) for name, inside in undisturbed.items()}
    limit = max(size for name, size in sizes.items() if name.endswith(".data")) + 100
    assert limit < sizes["train-00000.index"]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(AlexnetError) as caught:
            prepare(classes, out, SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{out / 'train-00000.index'}: {os.strerror(27)}" in str(caught.value)
    assert sorted(content(out)) == ["plan.json", "train-00000.data"]
    prepare(classes, out, SMALL)
    assert content(out) == undisturbed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(80, shard_images=5), "shape: (3, 72, 72) there, (3, 80, 80) now"),
        (Options(72, shard_images=6), "shard_images: 5 there, 6 now"),
        (Options(72, shard_images=5, holdout=0.5), "holdout: None there, 0.5 now"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_question_is_refused(
    options: Options, said: str, finished: bool, classes: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(classes, out, SMALL)
    if not finished:
        before = tmp_path / "plan"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("alexnet_ir.data.prepare.run.write_shard", interrupted)
            with pytest.raises(KeyboardInterrupt):
                prepare(classes, before, SMALL)
        out = before
    files = content(out)
    with pytest.raises(AlexnetError) as caught:
        prepare(classes, out, options)
    assert said in str(caught.value)
    assert content(out) == files


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_source_is_refused(classes: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(classes, out, SMALL)
    source = Path(shutil.copytree(classes, tmp_path / "source"))
    prepare(source, out, SMALL)  # the same files elsewhere
    put(source / IDS[1] / "one.more", photograph(0))
    with pytest.raises(AlexnetError, match="the source has other images"):
        prepare(source, out, SMALL)
    assert content(out) == undisturbed


def test_a_folder_with_something_else(classes: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / "thesis.tex", "text")
    assert "expected a new folder" in refusal(classes, tmp_path / "out")
    assert content(tmp_path / "out") == {"thesis.tex": b"text"}


def test_what_is_made_inside_the_source_is_no_class(classes: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(classes, tmp_path / "source"))
    for _ in range(2):
        assert made(source, source / "out").ids == IDS
