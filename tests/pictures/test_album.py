"""A run with its pictures, its page and its events for TensorBoard, as training leaves them."""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from alexnet_ir.cli.main import main
from alexnet_ir.data.dataset import Split
from alexnet_ir.pictures import album
from alexnet_ir.pictures.page import page
from alexnet_ir.training.features import nearest
from alexnet_ir.training.run import read_metrics
from alexnet_ir.training.tensorboard import scalars

from ..training.models import TINY

RUN = Path("runs/model-1")
FOUR = {"curves.svg", "kernels.png", "answers.png", "neighbours.png"}


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.alx"
    path.write_text(TINY.replace("optimizer", "schedule: drops(at = [epochs(1)], factor = 1/10)\n  optimizer"))
    return path


class Reader(HTMLParser):
    """What a page says, and what it would ask the network for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def read(path: Path) -> Reader:
    text = path.read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.open == []
    assert all(source.startswith("data:image/") for source in reader.sources)
    assert not re.search(r"url\(|@import|<script|<link", text)
    return reader


def test_a_finished_run_has_pictures_and_a_page() -> None:
    assert main(["train"]) == 0
    assert {path.name for path in (RUN / "pictures").iterdir()} == FOUR
    found = read(RUN / "report.html")
    assert len(found.sources) == 4
    final = next(record for record in read_metrics(RUN) if record["kind"] == "final")
    assert f"{final['center']['top1']:.2%}" in found.words
    assert {"model-1", "rate", "What it ran on", "placement", "single"} <= set(found.words)
    assert "finished" in " ".join(found.words)
    assert next(word for word in found.words if word.startswith("learning rate 0.005"))
    assert found.words.count((RUN / "resolved.alx").read_text().strip()) == 1  # as the model was written


def test_pictures_wait_until_they_have_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes 5 seconds, a drawing one: the first is thought to take 2, and waits for 40; others wait for 20."""
    clock = SimpleNamespace(now=0)
    drawn: list[int] = []

    def pictures(self: album.Album, run: object) -> dict[str, object]:
        drawn.append(clock.now)
        clock.now += 1
        return {}

    monkeypatch.setattr(album, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(album.Album, "_pictures", pictures)
    run: Any = SimpleNamespace(folder=SimpleNamespace(path=tmp_path), step=SimpleNamespace(steps=0), say=pytest.fail)
    metrics: Any = None
    made = album.Album()
    made.at_start(run)
    for _ in range(20):
        clock.now, run.step.steps = clock.now + 5, run.step.steps + 1
        made.after_epoch(run, metrics)
    made.at_end(run)
    assert drawn == [40, 61, 82, 103]
    made.at_end(run)  # of the same step: drawn already
    assert len(drawn) == 4


def test_a_picture_that_fails_ends_no_run_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(album, "FIRST", 0.0)
    monkeypatch.setattr(album, "SHARE", 1e9)
    monkeypatch.setattr(album, "kernels_png", fail)
    assert main(["train"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "could not be drawn" in line]
    assert said == ["runs/model-1/pictures/kernels.png could not be drawn: [Errno 28] No space left on device"]
    assert {path.name for path in (RUN / "pictures").iterdir()} == FOUR - {"kernels.png"}
    assert len(read(RUN / "report.html").sources) == 3


def test_a_net_without_a_hidden_layer_has_the_other_pictures(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = model.read_text()
    begin, end = text.index("-> conv1"), text.index("-> fc1")
    model.write_text(text[:begin] + "-> flatten " + text[end:])
    assert main(["train"]) == 0
    assert "neighbours.png could not be drawn: error: Tiny has no layer between" in capsys.readouterr().out
    assert {path.name for path in (RUN / "pictures").iterdir()} == FOUR - {"neighbours.png"}


def test_without_matplotlib_one_line_says_what_draws_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "pictures" in line]
    assert said == ['no pictures: they are drawn by matplotlib, which is not installed: pip install "alexnet-ir[plot]"']
    assert not (RUN / "pictures").exists()
    assert said[0] in read(RUN / "report.html").words


def test_no_pictures_where_none_are_wanted() -> None:
    assert main(["train", "--no-pictures"]) == 0
    assert not (RUN / "pictures").exists()
    assert not (RUN / "report.html").exists()


# --- the page of any run ----------------------------------------------------------------------------------------------


def test_a_report_of_a_run_that_was_killed(capsys: pytest.CaptureFixture[str]) -> None:
    """In the midst of its third epoch, of which a torn line is left; what was never drawn is drawn now."""
    assert main(["train", "--no-pictures"]) == 0
    (RUN / "final.safetensors").unlink()
    lines = (RUN / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"final"' not in line]
    (RUN / "metrics.jsonl").write_text("".join(kept) + '{"kind": "step", "step": 13, "lo')
    capsys.readouterr()
    assert main(["report", str(RUN), "-o", "out.html"]) == 0
    assert capsys.readouterr().out == "wrote out.html\n"
    found = read(Path("out.html"))
    assert len(found.sources) == 2  # curves and kernels
    assert "not at its end" in " ".join(found.words)
    assert not (RUN / "report.html").exists()


def test_a_report_of_a_run_that_has_only_begun() -> None:
    assert main(["train", "--no-pictures"]) == 0
    for path in RUN.iterdir():
        if path.suffix in (".safetensors", ".json", ".csv"):
            path.unlink()
    (RUN / "metrics.jsonl").write_text("")
    for path in (RUN / "checkpoints").iterdir():
        path.unlink()
    assert main(["report", str(RUN)]) == 0
    assert read(RUN / "report.html").sources == []


def test_a_report_of_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "."]) == 0  # model.alx lies here: nothing else is known of it
    assert main(["report", "nowhere"]) == 1
    assert "nowhere: expected the folder of a run" in capsys.readouterr().err


def test_everything_that_happened_is_told_and_nothing_is_markup(tmp_path: Path) -> None:
    run = tmp_path / "a <b> run"
    run.mkdir()
    records = [
        {"kind": "rate", "step": 10, "lr": 0.01, "reason": "plateau"},
        {"kind": "event", "step": 20, "event": "freeze(conv1)"},
        {"kind": "warning", "step": 30, "text": "<script>alert(1)</script> & dead units"},
        {"kind": "resume", "step": 1040, "changes": {"devices": "cpu -> 0,1"}},
        {"kind": "final", "step": 50, "center": {"top1": 0.39, "top5": 0.183},
         "ten_crop": {"top1": 0.375, "top5": 0.17}, "images": 7},
    ]  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (run / "model.alx").write_text("alx 1  # a < b && c\n")
    (run / "report.html").write_text(page(run, {}))
    found = read(run / "report.html")
    told = ["learning rate 0.01: plateau", "freeze(conv1)", "<script>alert(1)</script> & dead units"]
    told += ["taken up after step 1,040, with devices: cpu -> 0,1", "a <b> run", "alx 1  # a < b && c"]
    assert found.words.count("Model and recipe, as they were written") == 1
    told += ["39.00%", "18.30%", "37.50%", "17.00%"]
    assert [text for text in told if text not in found.words] == []


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_images_are_chosen_at_even_distances() -> None:
    split = Split(np.arange(10, dtype="u1").reshape(10, 1, 1, 1), np.arange(10, dtype="i4"))
    assert album.spread(split, 4).labels.tolist() == [0, 2, 5, 7]
    assert album.spread(split, 50).labels.tolist() == list(range(10))


def test_the_nearest_by_euclidean_distance() -> None:
    random = np.random.default_rng(1)
    among, query = random.standard_normal((200, 7), dtype="f4"), random.standard_normal(7, dtype="f4")
    among[17] = among[5]
    order, distances = nearest(among, query, 200)
    expected = [float(np.linalg.norm(row.astype("f8") - query)) for row in among]
    assert order.tolist() == sorted(range(200), key=lambda n: (expected[n], n))
    np.testing.assert_allclose(distances, sorted(expected), rtol=1e-5)


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def events(folder: Path) -> Iterator[Event]:
    """The records of event files: length (8 bytes), checksum (4), content, checksum (4)."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def points(folder: Path) -> list[tuple[str, int, float]]:
    return [(v.tag, event.step, v.simple_value) for event in events(folder) for v in event.summary.value]


def test_events_are_the_metrics_and_none_is_doubled_by_a_resume() -> None:
    assert main(["train", "--tensorboard", "--no-pictures"]) == 0
    before = points(RUN / "tensorboard")
    assert main(["train", "--resume", str(RUN), "--epochs", "4", "--no-pictures"]) == 0
    after = points(RUN / "tensorboard")
    records = read_metrics(RUN)
    expected = [(tag, record["step"], value) for record in records for tag, value in scalars(record)]
    assert [point[:2] for point in after] == [point[:2] for point in expected]
    np.testing.assert_allclose([point[2] for point in after], [point[2] for point in expected], rtol=1e-6)
    assert [point for point in after if point[0] == "loss/step"][:12] == [p for p in before if p[0] == "loss/step"]
    assert len({point[:2] for point in after if not point[0].startswith("final")}) == len(
        [point for point in after if not point[0].startswith("final")]
    )
    steps = [step for tag, step, _ in after if tag == "error/validation_top1"]
    assert steps == [6, 12, 18, 24]


def test_norms_and_ten_crops_have_curves_too() -> None:
    norms = {"kind": "norms", "step": 3, "layers": {"conv1.weight": {"weight": 2.0, "update": 0.5}}}
    assert dict(scalars(norms)) == {"norms_weight/conv1.weight": 2.0, "norms_update/conv1.weight": 0.5}
    final = {"kind": "final", "step": 3, "center": {"top1": 0.4}, "ten_crop": {"top1": 0.3}, "images": 5}
    assert dict(scalars(final)) == {"final/center_top1": 0.4, "final/ten_crop_top1": 0.3}


def test_without_tensorboardx_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["train", "--tensorboard"]) == 1
    assert 'pip install "alexnet-ir[tensorboard]"' in capsys.readouterr().err
    assert not Path("runs").exists()
