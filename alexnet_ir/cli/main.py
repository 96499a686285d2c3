"""The command line: which commands there are and what they take.

Each command is a module beside this one with a `run(args)`, imported when it is chosen, so that `--help` is quick.
Exit codes: 0 fine, 1 the user's error, 2 wrong usage, 75 a run that was asked to stop by SIGTERM or SIGUSR1 and can go
on, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from alexnet_ir.cli.terminal import show
from alexnet_ir.diagnostics import AlexnetError, Diagnostic
from alexnet_ir.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = build_parser().parse_args(argv)
    code = 0
    try:
        command = importlib.import_module(f"alexnet_ir.cli.{args.command}")
        code = command.run(args)
        sys.stdout.flush()
    except AlexnetError as failure:
        show(failure.diagnostics)
        return 1
    except BrokenPipeError:
        _reader_gone()
    except OSError as failure:  # a full disk, a folder that cannot be written
        show([Diagnostic("", f"{failure.filename or args.command}: {failure.strerror or failure}")])
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


def _reader_gone() -> None:
    """Whoever read our output has gone (`| head`); what is left in the buffer has nowhere to go either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = _Parser(
        prog="alexnet-ir",
        description="Compile a text file describing a convolutional network to a training program.",
        epilog="FILE is a model file; without it, ./model.alx or the only .alx file here.",
    )
    parser.add_argument("--version", action="version", version=f"alexnet-ir {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_language(commands)
    _add_views(commands)
    _add_data(commands)
    _add_training(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _add_language(commands: Commands) -> None:
    check = commands.add_parser("check", help="say what is wrong with model files, and how to mend it")
    check.add_argument("files", nargs="*", metavar="FILE")
    _json(check)
    fmt = commands.add_parser("fmt", help="format model files in place")
    fmt.add_argument("files", nargs="*", metavar="FILE")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a file would change")
    explain = commands.add_parser("explain", help="say more about an error code")
    explain.add_argument("code", nargs="?", metavar="CODE", help="such as S014; without it, list them all")
    _json(explain)
    new = commands.add_parser("new", help="write a packaged example to standard output")
    new.add_argument("name", nargs="?", metavar="NAME", help="such as alexnet; without it, list them all")
    _json(new)


def _add_views(commands: Commands) -> None:
    summary = commands.add_parser("summary", help="list the layers with shapes, parameters and work")
    _model(summary)
    _json(summary)
    diff = commands.add_parser("diff", help="say how two model files differ in meaning")
    diff.add_argument("old", metavar="A")
    diff.add_argument("new", metavar="B")
    diff.add_argument("--net", metavar="NAME", help="which net of both, without a recipe")
    diff.add_argument("--recipe", metavar="NAME", help="which `train` section of both")
    diff.set_defaults(data_section=None, batch=None, set=[])
    _json(diff)
    draw = commands.add_parser("draw", help="draw the net, or the training step, and how it lies on devices")
    _model(draw)
    draw.add_argument("--level", choices=["net", "step"], default="net", help="the net, or the whole training step")
    _setup(draw, limited=False)  # what is computed again is in no picture
    draw.add_argument("-o", "--output", metavar="OUT", required=True, help="net.svg or net.dot")
    compile_ = commands.add_parser("compile", help="compile the training step, and show what the passes make of it")
    _model(compile_)
    compile_.add_argument(
        "--emit",
        choices=["ast", "graph", "ir", "plan", "c", "cuda"],
        help="print the syntax tree, the forward graph, the step as it runs, its plan, or its kernels' calls",
    )
    compile_.add_argument("-o", "--output", metavar="DIR", help="write the report and all that is behind it to files")
    _setup(compile_)
    _kernels(compile_)
    _dense(compile_, "what the net makes of larger images, fully connected layers as convolutions")
    compile_.add_argument(
        "--passes", nargs="?", const="", metavar="LIST", help="run these passes only: loss,backward; alone: list them"
    )
    compile_.add_argument("--dump-after", metavar="PASS", help="the IR after this pass, or after `all`")
    _json(compile_)


def _add_data(commands: Commands) -> None:
    prepare = commands.add_parser("prepare", help="make a set of photographs ready for fast reading")
    prepare.add_argument("source", metavar="SOURCE", help="folders or ImageNet's tars, CIFAR-10, MNIST")
    prepare.add_argument("out", metavar="OUT", help="a new folder, or one that was begun by the same command")
    prepare.add_argument("--size", type=int, metavar="N", help="pixels a side (default: 256, or as arrays have)")
    prepare.add_argument("--jobs", type=int, metavar="N", help="threads (default: one a core)")
    prepare.add_argument("--labels", metavar="FILE", help="of validation images: lines of a name and a class")
    prepare.add_argument("--holdout", metavar="SHARE", help="of each class to set aside for evaluation, such as 5%%")
    prepare.add_argument("--max-broken", default="1%", metavar="SHARE", help="an error beyond (default: 1%%)")
    prepare.add_argument("--shard-images", type=int, metavar="N", help="images a shard (default: about 256 MB)")
    data = commands.add_parser("data", help="look at a prepared set: verify, stats, show, bench")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Parser)
    verify = actions.add_parser("verify", help="read everything, and say what is damaged")
    stats = actions.add_parser("stats", help="counts, classes, sizes and colours")
    show = actions.add_parser("show", help="draw a contact sheet, with the augmentations applied")
    show.add_argument("-o", "--output", default="sheet.png", metavar="FILE", help="default: sheet.png")
    show.add_argument("--images", type=int, default=8, metavar="N", help="rows (default: 8)")
    bench = actions.add_parser("bench", help="measure how fast images are decoded and augmented")
    bench.add_argument("--batch", type=int, default=128, metavar="N", help="images a batch (default: 128)")
    bench.add_argument("--rounds", type=int, default=5, metavar="N", help="of which the median counts (default: 5)")
    for action in (verify, stats, show, bench):
        action.add_argument("dir", metavar="DIR", help="what `prepare` made")
    for action in (show, bench):
        action.add_argument("--model", metavar="FILE", help="whose augmentations (default: the paper's)")
    for action in (verify, stats, bench):
        _json(action)


def _add_training(commands: Commands) -> None:
    train = commands.add_parser("train", help="train a net on the data its file names")
    _model(train, net=False)  # a recipe names its net
    train.add_argument("--data", metavar="DIR", help="the data's directory, in the place of the file's")
    train.add_argument("--epochs", type=float, metavar="N", help="stop after N epochs")
    train.add_argument("--steps", type=int, metavar="N", help="stop after N steps")
    train.add_argument("--seed", type=int, metavar="N", help="in the place of the recipe's")
    train.add_argument("--run-dir", metavar="DIR", help="where the run goes (default: runs/<file>-<n>)")
    train.add_argument(
        "--init-from", metavar="RUN_OR_WEIGHTS", help="begin with its weights, layers matched by name and shape"
    )
    train.add_argument(
        "--freeze", action="append", metavar="LAYER[,LAYER]", help="no updates of these layers; may be repeated"
    )
    train.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run (default: the newest of this file), or from a checkpoint in it",
    )
    train.add_argument(
        "--checkpoint-every", type=int, metavar="STEPS", help="save so often (default: about 3%% of time)"
    )
    train.add_argument("--keep", type=int, metavar="N", help="how many checkpoints to keep (default: 3)")
    train.add_argument("--workers", type=int, metavar="N", help="threads that read images (default: one a core)")
    train.add_argument("--no-pictures", action="store_false", dest="pictures", help="draw none, and write no report")
    train.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard too")
    train.add_argument("--norms", action="store_true", help="write how long weights and updates are into the metrics")
    tries = train.add_mutually_exclusive_group()
    tries.add_argument(
        "--check-gradients", action="store_true", help="train nothing; hold every gradient against what it has to be"
    )
    tries.add_argument(
        "--overfit-one-batch", nargs="?", type=int, const=200, metavar="STEPS",
        help="train on the first batch only, and say whether it can be learnt (default: within 200)",
    )  # fmt: skip
    _setup(train)
    _kernels(train, run=True)
    evaluate = commands.add_parser("eval", help="top-1 and top-5 error of trained nets, and of their average")
    evaluate.add_argument("runs", nargs="+", metavar="RUN_OR_WEIGHTS", help="a run's folder or a weights file")
    evaluate.add_argument("--data", metavar="DIR", help="the data's directory, in the place of the file's")
    evaluate.add_argument("--ten-crop", action="store_true", help="ten crops too, where the data has one of the centre")
    _setup(evaluate)
    _kernels(evaluate, run=True)
    _dense(evaluate, "images of this size, scored at every position and averaged")
    _json(evaluate)
    _add_asking(commands)
    devices = commands.add_parser("devices", help="list what programs can run on, and what is missing for more")
    _json(devices)
    profile = commands.add_parser("profile", help="measure how fast this machine is, to compile for it")
    profile.add_argument("--devices", metavar="LIST", help="cpu, or cpu,cpu for logical devices that share it")
    profile.add_argument("-o", "--output", metavar="FILE", help="write it as JSON, for --profile FILE")
    profile.add_argument("--quick", action="store_true", help="roughly, in less than a second")
    _json(profile)


def _add_asking(commands: Commands) -> None:
    """What a trained net is asked, and the report of its run."""
    predict = commands.add_parser("predict", help="what a trained net says of images")
    predict.add_argument("--top", type=int, default=5, metavar="N", help="how many classes (default: 5)")
    features = commands.add_parser("features", help="images as the values of a layer of a trained net")
    features.add_argument("--layer", metavar="NAME", help="such as fc7 (default: the last hidden layer)")
    features.add_argument("-o", "--output", metavar="FILE", required=True, help="f.npy: float32 [images, units]")
    similar = commands.add_parser("similar", help="the images that are most like one, to a trained net")
    similar.add_argument("--in", dest="within", metavar="DIR", required=True, help="images, or a prepared set")
    similar.add_argument("--top", type=int, default=6, metavar="N", help="how many images (default: 6)")
    similar.add_argument("-o", "--output", metavar="FILE", help="draw them: out.png")
    for asking in (predict, features, similar):
        asking.add_argument("run_or_weights", metavar="RUN_OR_WEIGHTS", help="a run's folder or a weights file")
        _setup(asking)
        _kernels(asking, run=True)
        _json(asking)
    for several in (predict, features):
        several.add_argument("images", nargs="+", metavar="IMG")
    similar.add_argument("image", metavar="IMG")
    report = commands.add_parser("report", help="a run as one HTML page")
    report.add_argument("run", metavar="RUN", help="a run's folder, finished or not")
    report.add_argument("-o", "--output", metavar="FILE", help="report.html (default: in the run's folder)")


def _model(parser: argparse.ArgumentParser, *, net: bool = True) -> None:
    """What every command takes that starts from one model."""
    parser.add_argument("file", nargs="?", metavar="FILE")
    parser.set_defaults(net=None)
    if net:
        parser.add_argument("--net", metavar="NAME", help="which net, without a recipe")
    parser.add_argument("--recipe", metavar="NAME", help="which `train` section")
    parser.add_argument("--data-section", metavar="NAME", help="which `data` section")
    parser.add_argument("--batch", type=int, metavar="N", help="images a step, in the place of the recipe's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="net.act=tanh, train.batch=64; may be repeated"
    )


def _setup(parser: argparse.ArgumentParser, *, limited: bool = True) -> None:
    """What a program is compiled for."""
    parser.add_argument(
        "--devices",
        metavar="LIST",
        help="cpu, numbers of GPUs, or host for their kernels on the CPU; cpu,cpu or 0,0: logical devices (default: "
        "what there is)",
    )
    parser.add_argument(
        "--place", metavar="NAME", help="a `place` section, or single, columns, data, weird_trick, auto"
    )
    parser.add_argument("--profile", metavar="NAME", help="how fast a device is: gtx580, ..., or a file of `profile`")
    parser.add_argument("--precision", metavar="NAME", help="on GPUs: fp32, tf32 (the default where there is) or bf16")
    parser.set_defaults(memory_limit=None, arch=None, graph=True, check=False, threads=None, conv=None)
    if limited:
        parser.add_argument(
            "--memory-limit", metavar="BYTES", help="of a device, such as 3GiB: recompute what goes beyond"
        )


def _kernels(parser: argparse.ArgumentParser, *, run: bool = False) -> None:
    """How kernels are emitted, and how they run."""
    parser.add_argument(
        "--arch", metavar="NAME", help="what to emit for: avx512, avx2, sse or neon; of GPUs sm_80, sm_90, ..."
    )
    parser.add_argument("--threads", type=int, metavar="N", help="on the CPU (default: one a core)")
    parser.add_argument(
        "--conv", metavar="HOW", help="on the CPU: fast (the default), or exact: without Winograd's algorithms"
    )
    if not run:
        return
    parser.add_argument("--no-graph", action="store_false", dest="graph", help="launch kernels one by one on a GPU")
    parser.add_argument("--check", action="store_true", help="on the host: look at every access of every kernel")


def _dense(parser: argparse.ArgumentParser, help_: str) -> None:
    parser.add_argument("--dense", metavar="HxW", help=help_)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


if __name__ == "__main__":
    sys.exit(main())
