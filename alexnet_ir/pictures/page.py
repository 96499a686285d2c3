"""A run as one HTML page that needs no network and no other file: it opens in a browser, in light and dark."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from alexnet_ir.diagnostics import counted
from alexnet_ir.training.run import ENVIRONMENT, MODEL, RESOLVED, read_metrics

CURVES, KERNELS, ANSWERS, NEIGHBOURS = "curves.svg", "kernels.png", "answers.png", "neighbours.png"
CAPTIONS = {
    CURVES: ("Learning curves", "Training loss and errors; dotted lines where the learning rate changed."),
    KERNELS: (
        "The first layer's kernels",
        "As in the paper's figure 3: all in one range with zero in the middle grey, groups apart.",
    ),
    ANSWERS: (
        "What the net says",
        "Evaluation images, what they show, and the five most probable labels; right in red.",
    ),
    NEIGHBOURS: (
        "What the net finds alike",
        "Evaluation images in the first column, and the training images nearest to each by the features of the last "
        "hidden layer, the nearest first.",
    ),
}
KINDS = {"svg": "image/svg+xml", "png": "image/png"}
COLUMNS = (
    ("epoch", "epoch", "d"), ("step", "step", ",d"), ("rate", "lr", ".3g"), ("training loss", "loss", ".4f"),
    ("training error", "error", ".2%"), ("top-1 error", "eval_top1", ".2%"), ("top-5 error", "eval_top5", ".2%"),
    ("images/s", "images_per_second", ",.0f"), ("seconds", "seconds", ",.1f"), ("waiting", "waited", ",.1f"),
)  # fmt: skip
"""Of the table of epochs: heading, key of the metrics, format."""
STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --paper: #f6f7f9; --card: #fff; --rule: #d9dee4; --quiet: #5c6875; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ed; --paper: #14181d; --card: #1e242b; --rule: #39424d; --quiet: #9aa6b3; }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1040px; padding: 24px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 26px } h2 { margin: 32px 0 8px; font-size: 19px }
p { margin: 4px 0 } .quiet { color: var(--quiet) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(122px, 1fr)); gap: 12px; margin: 20px 0 }
.tile { padding: 10px 12px }
.tile b { display: block; font-size: 21px } .tile span { color: var(--quiet); font-size: 13px }
.box { max-height: 420px; overflow: auto }
.tile, .box { background: var(--card); border: 1px solid var(--rule); border-radius: 8px }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top }
th { position: sticky; top: 0; background: var(--card); white-space: nowrap }
tr:last-child td { border-bottom: 0 }
.told td:last-child { width: 100%; overflow-wrap: anywhere }
.numbers th, .numbers td { text-align: right; white-space: nowrap }
pre { margin: 0; padding: 12px 16px; font: 13px/1.45 ui-monospace, monospace }
figure { margin: 0; padding: 12px; overflow: auto; background: #fff; border: 1px solid var(--rule); border-radius: 8px }
img { display: block; margin: auto; max-width: max(100%, 640px) }
"""

Record = Mapping[str, Any]


def page(run: Path, pictures: Mapping[str, bytes], missing: str = "") -> str:
    """The page of a run's folder with these pictures, by their file names; `missing` says why there are none."""
    records = read_metrics(run)
    environment = _environment(run)
    parts = [
        *_head(run, records, environment),
        *_shown(pictures, (CURVES,)),
        *([f'<p class="quiet">{escape(missing)}</p>'] if missing else []),
        *_epochs(records),
        *_happened(records),
        *_shown(pictures, (KERNELS, ANSWERS, NEIGHBOURS)),
        *_models(run),
        *_section("What it ran on", _table(("", ""), _flat(environment), "told")),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(run.name)}</title>'
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _head(run: Path, records: Sequence[Record], environment: Record) -> Iterator[str]:
    """The title, how far the run is, and the figures that are asked for first."""
    epochs, finals = _of(records, "epoch"), _of(records, "final")
    step = max((int(r["step"]) for r in records), default=0)
    state = "finished" if finals else "not at its end: running, stopped or killed"
    when = str(environment.get("started", "")).replace("T", " ").replace("+00:00", " UTC")
    yield f"<h1>{escape(run.resolve().name)}</h1>"
    yield f'<p class="quiet">{escape(", ".join(filter(None, (when, state, counted(len(epochs), "epoch")))))}</p>'
    yield '<div class="tiles">'
    if finals:
        yield from _errors(finals[-1])
    elif epochs:
        yield _tile(f"{epochs[-1]['eval_top1']:.2%}", "top-1 error of the last epoch")
        yield _tile(f"{epochs[-1]['eval_top5']:.2%}", "top-5 error of the last epoch")
    if epochs:
        best = min(epochs, key=lambda r: float(r["eval_top1"]))
        yield _tile(f"{best['eval_top1']:.2%}", f"lowest top-1 error, after epoch {best['epoch']}")
        yield _tile(f"{epochs[-1]['error']:.2%}", "training error of the last epoch")
        yield _tile(_duration(sum(r["seconds"] for r in epochs)), f"of training, {step:,} steps")
    yield "</div>"


def _errors(final: Record) -> Iterator[str]:
    for key, crops in (("center", "centre crop"), ("ten_crop", "ten crops")):
        if final.get(key):
            yield _tile(f"{final[key]['top1']:.2%}", f"top-1 error, {crops}")
            yield _tile(f"{final[key]['top5']:.2%}", f"top-5 error, {crops}")


def _tile(value: str, what: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'


def _epochs(records: Sequence[Record]) -> Iterator[str]:
    rows = [
        [format(record[key], style) if record.get(key) is not None else "" for _, key, style in COLUMNS]
        for record in _of(records, "epoch")
    ]
    if rows:
        yield from _section("Epochs", _table([heading for heading, _, _ in COLUMNS], rows, "numbers"))


def _happened(records: Sequence[Record]) -> Iterator[str]:
    """Changes of the rate, events, warnings and resumes, as they came."""
    rows = [
        (f"{record['step']:,}", str(record["kind"]), text)
        for record in records
        if (text := _told(record))
    ]  # fmt: skip
    if rows:
        yield from _section("What happened", _table(("step", "what", ""), rows, "told"))


def _told(record: Record) -> str:
    match record["kind"]:
        case "rate":
            return f"learning rate {record['lr']:g}: {record['reason']}"
        case "event":
            return str(record["event"])
        case "warning":
            return str(record["text"])
        case "resume":
            changes = ", ".join(f"{name}: {value}" for name, value in record["changes"].items())
            return f"taken up after step {record['step']:,}" + (f", with {changes}" if changes else "")
    return ""


def _shown(pictures: Mapping[str, bytes], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name in pictures:
            title, caption = CAPTIONS[name]
            source = f"data:{KINDS[name[-3:]]};base64,{base64.b64encode(pictures[name]).decode()}"
            yield f'<h2>{title}</h2><figure tabindex="0"><img alt="{title}" src="{source}"></figure>'
            yield f'<p class="quiet">{caption}</p>'


def _models(run: Path) -> Iterator[str]:
    """The text as it is trained and as it was written, once where they are the same."""
    titles = {RESOLVED: "Model and recipe, as they are trained", MODEL: "Model and recipe, as they were written"}
    paths = [run / name for name in titles if (run / name).exists()]
    texts = {path.read_text(encoding="utf-8", errors="replace"): titles[path.name] for path in reversed(paths)}
    for text, title in reversed(texts.items()):
        yield from _section(title, f"<pre>{escape(text)}</pre>")


def _section(title: str, content: str) -> Iterator[str]:
    """A heading, and a box that scrolls by itself."""
    yield f'<h2>{escape(title)}</h2><div class="box" tabindex="0">{content}</div>'


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    return f'<table class="{kind}">{top}<tbody>{body}</tbody></table>'


def _environment(run: Path) -> dict[str, Any]:
    path = run / ENVIRONMENT
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(found)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as rows: `versions numpy`, `2.1`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name} ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield above + name, shown


def _of(records: Iterable[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def _duration(seconds: float) -> str:
    """`3 h 20 min`, `45 s`."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{minutes:.1f} min" if minutes >= 2 else f"{seconds:.0f} s"
