"""What the codes of the parser mean at greater length."""

from __future__ import annotations

from alexnet_ir.dsl.explanation import Explanation, explained

SYNTAX: dict[str, Explanation] = {
    "P001": explained(
        "unexpected character",
        "The language is written in ASCII: names are made of the letters a to z and A to Z, digits and `_`, and do\n"
        "not start with a digit. Anything may stand in strings and comments.",
        "größe = input(3, 32, 32)",
        "size = input(3, 32, 32)   # die Größe",
    ),
    "P002": explained(
        "unterminated string",
        'A string begins and ends with `"` on one line. There are no escapes: a backslash is a backslash.',
        'source: folder("imagenet)',
        'source: folder("imagenet")',
    ),
    "P003": explained(
        "malformed number",
        "Numbers are written 10, 450_000, 0.5, .5, 1e-4 and 50%; they have no units, and whole numbers are less than\n"
        "2 to the power of 63.",
        "input(3, 224px, 224.)",
        "input(3, 224, 224)",
    ),
    "P004": explained(
        "misspelt mark",
        "Stages are joined by `->`, values named with `=`, strings put in double quotes, comments begun with `#`.\n"
        "Nothing is ended by `;`: a statement ends where the next one begins.",
        "x := image => relu;   // first",
        "x = image -> relu     # first",
    ),
    "P005": explained(
        "unclosed bracket",
        "A `(`, `[` or `{` has no partner. It is reported where it opened; the note says what came instead.",
        "-> conv1: conv(96, 11, stride = 4\n-> relu",
        "-> conv1: conv(96, 11, stride = 4)\n-> relu",
    ),
    "P006": explained(
        "unmatched closing bracket",
        "A `)`, `]` or `}` closes nothing, or stands where another bracket must be closed first.",
        "train: [random_crop(224], random_flip())",
        "train: [random_crop(224), random_flip()]",
    ),
    "P007": explained(
        "missing version",
        "A model file starts with the version of the language that it is written in, so that it can be read for ever.",
        "net A { ... }",
        "alx 1\n\nnet A { ... }",
    ),
    "P008": explained(
        "unknown version",
        "The file is written in a version of the language that this release does not know. Older versions are all\n"
        "known; for a newer one a newer release is needed.",
        "alx 2",
        "alx 1",
    ),
    "P009": explained(
        "empty file",
        "There is nothing in the file but, perhaps, comments. `alexnet-ir new alexnet` writes a model to start from.",
        "# my model",
        "alx 1\n\nnet Mine {\n  image = input(3, 32, 32)\n  return image -> flatten -> fc(10)\n}",
    ),
    "P010": explained(
        "unexpected word or mark",
        "The text does not fit the grammar here. The message says what could have stood in this place.",
        "image = input(3, 32 32)",
        "image = input(3, 32, 32)",
    ),
    "P011": explained(
        "comma between fields or statements",
        "Commas separate arguments and elements of lists. Fields of a section, rules of `defaults` and statements\n"
        "just follow each other.",
        "train paper {\n  net: AlexNet,\n  batch: 128\n}",
        "train paper {\n  net: AlexNet\n  batch: 128\n}",
    ),
    "P012": explained(
        "missing `return`",
        "The body of a net or block ends with `return`, which says what its value is.",
        "block b(x) { y = x -> relu }",
        "block b(x) { return x -> relu }",
    ),
    "P013": explained(
        "label without a unit",
        "A label `name:` inside a chain names the op, block or group that stands right behind it.",
        "image -> conv1: -> relu",
        "image -> conv1: conv(96, 11) -> relu",
    ),
    "P014": explained(
        "missing stage",
        "Behind `->` stands an op, a block or a group in round brackets, perhaps with a label before it and `* count`\n"
        "behind it. An `if` inside a chain stands in brackets.",
        "x -> -> if deep then conv(8, 3) else identity",
        "x -> (if deep then conv(8, 3) else identity)",
    ),
    "P015": explained(
        "reserved word as a name",
        "`if`, `then`, `else` and `return` are reserved. All other words may be names, those that begin items and\n"
        "sections too.",
        "else = image -> relu",
        "other = image -> relu",
    ),
    "P016": explained(
        "`defaults` not first",
        "A body has at most one `defaults`, before its statements, because it holds for all of them.",
        "net A {\n  image = input(3, 32, 32)\n  defaults { conv: (bias = 0) }\n  return image\n}",
        "net A {\n  defaults { conv: (bias = 0) }\n  image = input(3, 32, 32)\n  return image\n}",
    ),
    "P017": explained(
        "`if` without `else`",
        "An `if` has a value, so both cases are given; `identity` is the op that does nothing.",
        "y = if project then x -> relu",
        "y = if project then x -> relu else x",
    ),
    "P018": explained(
        "nested too deeply",
        "An expression may be some 60 calls deep. Name parts of it and use the names.",
        "x = f(f(f(f( ... ))))",
        "part = f(f( ... ))\nx = f(f(part))",
    ),
    "P019": explained(
        "`:` and `=` exchanged",
        "Fields of a section, rules of `defaults` and labels take `:`; arguments, parameters and values take `=`.",
        "batch = 128\nconv(96, 11, stride: 4)",
        "batch: 128\nconv(96, 11, stride = 4)",
    ),
    "P020": explained(
        "missing `->`",
        "Two names stand side by side, or a line begins with a stage. Stages are joined by `->`, at the end of a line\n"
        "or at the beginning of the next; a statement is `name = value`.",
        "features = image\n  conv1: conv(96, 11)\n  relu",
        "features = image\n  -> conv1: conv(96, 11)\n  -> relu",
    ),
    "P021": explained(
        "statement after `return`",
        "`return` is the last statement of a body.",
        "return scores\nscores = image -> fc(10)",
        "scores = image -> fc(10)\nreturn scores",
    ),
}
