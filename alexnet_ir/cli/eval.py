"""`alexnet-ir eval`: the errors of trained nets on the evaluation set, and of the average of several."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace

import numpy as np

from alexnet_ir.cli.dense import averaged, size_of, uncropped
from alexnet_ir.cli.model import remark_on
from alexnet_ir.cli.runs import Opened, open_run
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.spec import CenterCrop, TenCrop
from alexnet_ir.ir.op import Array
from alexnet_ir.training.evaluate import Errors, Predict, probabilities, ranks, scored

CENTER, TEN_CROPS = "centre crop", "ten crops"
Scores = dict[str, Array]
"""[n, classes] by CENTER and, where it is asked for, by TEN_CROPS."""


def run(args: argparse.Namespace) -> int:
    """Print top-1 and top-5 error of each run, then of the mean of their probabilities."""
    if args.dense and (args.ten_crop or len(args.runs) > 1):
        raise error(
            "--dense is of one run, whose images are not cropped", helps=["leave out --ten-crop and other runs"]
        )
    first: tuple[Opened, Split] | None = None
    rows: list[tuple[str, dict[str, Errors]]] = []
    sums: Scores = {}
    for name in args.runs:
        opened = open_run(name, args)
        if args.dense:
            opened, predict = _enlarged(opened, args.dense)
        else:
            predict = opened.net.predict
        split = opened.data(args.data).eval
        if first is None:
            remark_on(opened.net.setup)
            first = opened, split
        _check_same(first, (opened, split))
        scores = _scores(opened, split, predict, args.ten_crop)
        rows.append((str(opened.path), _errors(scores, split)))
        for view, found in scores.items():
            mass = found if view == TEN_CROPS else probabilities(opened.net, found)
            sums[view] = sums[view] + mass if view in sums else mass
    assert first is not None
    if len(rows) > 1:
        shared = {view: total for view, total in sums.items() if all(view in errors for _, errors in rows)}
        rows.append((f"average of {len(rows)} runs", _errors(shared, first[1])))
    source = first[0].section.source.name
    print(json.dumps(_plain(rows, source)) if args.json else _text(rows, source, args.dense))
    return 0


def _enlarged(opened: Opened, dense: str) -> tuple[Opened, Predict]:
    """The run on images of the size that `--dense` says, and what scores them."""
    size = size_of(dense)
    section = uncropped(opened.section, size)
    prep = replace(opened.preprocessing, eval=section.eval)
    model = replace(opened.model, data=section, image=(opened.model.image[0], *size))
    return replace(opened, preprocessing=prep, model=model), averaged(opened.net, size)


def _scores(opened: Opened, split: Split, predict: Predict, ten_crop: bool) -> Scores:
    """By the centre, and by ten crops where the run's data says so, or it is asked for."""
    views = {CENTER: opened.preprocessing}
    if ten_crop or opened.preprocessing.ten_crop:
        views[TEN_CROPS] = _cropped(opened.preprocessing)
    found = {}
    for view, prep in views.items():
        batches = scored(opened.net, split, prep, ten_crop=view == TEN_CROPS, predict=predict)
        found[view] = np.concatenate([scores for scores, _ in batches])
    return found


def _cropped(preprocessing: Preprocessing) -> Preprocessing:
    """With ten crops in the place of the centre crop."""
    steps = tuple(TenCrop(step.size) if isinstance(step, CenterCrop) else step for step in preprocessing.eval)
    cropped = replace(preprocessing, eval=steps)
    if not cropped.ten_crop:
        raise error(
            "--ten-crop: evaluation takes whole images, not crops",
            helps=["say `eval: [..., center_crop(n)]` in the data section of a net that sees less than the image"],
        )
    return cropped


def _errors(scores: Scores, split: Split) -> dict[str, Errors]:
    return {view: Errors.of(ranks(found, split.labels)) for view, found in scores.items()}


def _check_same(first: tuple[Opened, Split], other: tuple[Opened, Split]) -> None:
    """AlexnetError where two runs are not evaluated on the same images: labels, and some of the images, must agree."""
    (a, one), (b, two) = first, other
    same = one.images.shape == two.images.shape and np.array_equal(one.labels, two.labels)
    some = np.linspace(0, len(one) - 1, 8).astype(np.intp)
    if not same or not np.array_equal(one.images[some], two.images[some]):
        raise error(
            f"{a.path} and {b.path} are not evaluated on the same images",
            notes=["a `holdout` is drawn by the seed: runs of several seeds set aside different images"],
            helps=["give runs of one data set and, with `holdout`, of one seed"],
        )


def _text(rows: list[tuple[str, dict[str, Errors]]], source: str, dense: str | None) -> str:
    lines = []
    for name, views in rows:
        for view, found in views.items():
            how = f" at {dense}" if dense else f", {view}" if len(views) > 1 else ""
            lines.append(
                f"{name}: {found.images:,} images of {source}{how}: "
                f"top-1 error {found.top1:.2%}, top-5 error {found.top5:.2%}"
            )
    return "\n".join(lines)


def _plain(rows: list[tuple[str, dict[str, Errors]]], source: str) -> dict[str, object]:
    """Of one run its centre crop's errors, `ten_crop` within; of several, `runs` and their `average`."""
    found: list[dict[str, object]] = [
        {"weights": name, "data": source}
        | asdict(views[CENTER])
        | {"ten_crop": asdict(views[TEN_CROPS]) if TEN_CROPS in views else None}
        for name, views in rows
    ]
    return found[0] if len(found) == 1 else {"runs": found[:-1], "average": found[-1]}
